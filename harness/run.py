"""`bench run`: from a configuration to a run directory with answers, judgments and scores."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.config import DEFAULT_TASKS, RunConfig
from harness.engine import Assignment, Engine, Tally
from harness.environment import environment
from harness.models.model import Model
from harness.models.opening import answers_file, open_model
from harness.progress import shown
from harness.store import MANIFEST, SCHEMA_VERSION, RunStore, read_manifest
from judges.catalogue import open_judges
from judges.judgment import Judge
from tasks.answer_files import answer_layout
from tasks.errors import BadInput, RunStopped
from tasks.item import item_row
from tasks.task import Task, TaskOptions, known_kind, load_task

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunResult:
    """Where a run lies, whether it is complete, its scores (as in scores.json), and where its wall time went."""

    directory: Path
    status: str
    scores: list[dict[str, Any]]
    timing: Mapping[str, float]
    failure: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.directory),
            "status": self.status,
            "scores": self.scores,
        }


def run(config: RunConfig, *, quiet: bool = False) -> RunResult:
    """Do what is missing of a run, score it, and say how it stands.

    Raises:
        BadInput: the run can not begin; nothing is left behind.
        RunStopped: it began and could not finish; the same command resumes it.
    """
    started = time.perf_counter()
    say = _silent if quiet else _on_stderr
    _refuse_what_is_not_here(config)
    tasks, measured = load_tasks(config)
    judges = open_judges(config.judge, [task.kind for task in tasks])
    model = open_model(config, say)
    identity = _identity(config, model, tasks, judges, measured)
    directory = Path(config.out) if config.out else Path("runs") / _run_name(model.name, identity)
    with RunStore.open(directory, identity) as store:
        if store.dropped_bytes:
            say(f"dropped {store.dropped_bytes} bytes of a record that was cut short when the last sitting was killed")
        assignments = [Assignment(task, judges[task.name], config.judge_repeats) for task in tasks]
        earlier = read_manifest(directory) or {}
        try:
            if earlier.get("status") != "complete":
                model.load()
            manifest = {
                "schema_version": SCHEMA_VERSION, "status": "running", "config": asdict(config), "identity": identity,
                "model": model.describe(), "environment": environment(), "sittings": earlier.get("sittings", []),
            }  # fmt: skip
            if earlier.get("status") == "complete":
                manifest = earlier
            store.write_items(_item_records(tasks))
            store.write_json(MANIFEST, manifest)
        except BaseException:
            store.discard_if_empty()
            raise
        tally = Tally(sum(a.answers for a in assignments), sum(a.judgments for a in assignments))
        start_up = time.perf_counter() - started
        say(f"{model.name} → {directory}: {tally.answers_wanted} answers, {tally.judgments_wanted} judgments")
        window = config.concurrency or 2 * model.parallel
        try:
            stopped = asyncio.run(_until_done(Engine(model, store, tally, config.seed), assignments, window, quiet))
        finally:
            model.close()
        if stopped:
            raise RunStopped(
                f"stopped: {tally.stored_answers + tally.answers} answers and "
                f"{tally.stored_judgments + tally.judgments} judgments are kept in {directory}; "
                "the same command resumes the run"
            )
        status = "complete" if tally.complete else "incomplete"
        scores = score_run(directory, manifest)
        result = RunResult(
            directory, status, scores,
            {"wall_s": time.perf_counter() - started, "start_up_s": start_up, "model_s": model.busy_s},
            failure=tally.first_failure and f"{tally.failed} failed, the first: {tally.first_failure}",
        )  # fmt: skip
        store.write_json("scores.json", result.as_json())
        if tally.answers or tally.judgments or status != manifest["status"]:
            sitting = {**result.timing, "answers": tally.answers, "judgments": tally.judgments, "tokens": tally.tokens}
            rounded = {key: round(value, 2) for key, value in sitting.items()}
            store.write_json(MANIFEST, {**manifest, "status": status, "sittings": [*manifest["sittings"], rounded]})
        return result


def _refuse_what_is_not_here(config: RunConfig) -> None:
    """Flags of the interface that this version does not serve are refused, never ignored."""
    for key in ("base_url", "judge_base_url", "protocol", "include"):
        if getattr(config, key):
            raise BadInput(f"--{key.replace('_', '-')} is not in this version: leave it out")
    if config.executor != "local":
        raise BadInput(f"no executor {config.executor!r} in this version: leave --executor out")


def show(directory: Path) -> RunResult:
    """The scores of a run directory, computed anew from its records.

    Raises:
        BadInput: not a run directory.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise BadInput(f"{directory} holds no {MANIFEST}, so it is not a run directory")
    return RunResult(directory, manifest["status"], score_run(directory, manifest), {})


def load_tasks(config: RunConfig) -> tuple[list[Task], list[str]]:
    """The tasks that ask something, and the names of those that only measure what the others' answers are like."""
    answers = answers_file(config.model)
    names = config.tasks or (_tasks_of(answers, config.columns) if answers else DEFAULT_TASKS)
    kinds = [known_kind(name) for name in names]
    asking = [kind for kind in kinds if kind.data] or (kinds if answers else [])
    if not asking:
        raise BadInput(f"{', '.join(names)} reads the answers of other tasks: add one, or use --model answers:FILE")
    if config.columns and not answers:
        raise BadInput("--columns names columns of a file of answers: it goes with --model answers:FILE")
    data = _data_paths(config.data, [kind.name for kind in asking])
    tasks = [
        load_task(
            kind.name,
            TaskOptions(
                data.get(kind.name), answers, config.columns, config.limit, config.samples, config.max_new_tokens
            ),
        )
        for kind in asking
    ]
    return tasks, [kind.name for kind in kinds if kind not in asking]


def _tasks_of(answers: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    """What a file of answers is evaluated for when nobody says it: attack artifacts hold harmful requests."""
    return ("asr", "collapse") if answer_layout(answers, columns) == "jailbreakbench" else ("collapse",)


def _data_paths(given: Sequence[str], asking: Sequence[str]) -> dict[str, Path]:
    """`--data TASK=PATH`, or a path alone where only one task asks something."""
    paths = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (equals and name in asking):
            if equals and re.fullmatch(r"\w+", name) and not Path(text).exists():
                known_kind(name)
                raise BadInput(f"--data {text}: {name} is not among the tasks of this run ({', '.join(asking)})")
            if len(asking) > 1:
                raise BadInput(f"--data {text}: which task is it for? Write --data {asking[0]}={text}")
            name, path = asking[0], text
        if name in paths:
            raise BadInput(f"--data is given twice for {name}")
        paths[name] = Path(path).expanduser()
    return paths


def _identity(
    config: RunConfig,
    model: Model,
    tasks: Sequence[Task],
    judges: Mapping[str, Sequence[Judge]],
    measured: Sequence[str],
) -> dict[str, Any]:
    """Everything that decides what the records say; a run directory belongs to one identity."""
    return {
        "model": model.identity(),
        "tasks": {task.name: {"scoring": task.kind.scoring, **task.describe()} for task in tasks}
        | {name: {"scoring": known_kind(name).scoring, "version": known_kind(name).version} for name in measured},
        "judges": {name: {judge.name: judge.describe() for judge in by} for name, by in judges.items()},
        "judge_repeats": config.judge_repeats,
        "seed": config.seed,
    }


def _run_name(model: str, identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model).strip('-.') or 'model'}-{digest[:8]}"


def _item_records(tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        for item in task.items():
            row = item_row(item)
            yield {"task": task.name, "item": row.pop("id"), **row}


async def _until_done(engine: Engine, assignments: Sequence[Assignment], window: int, quiet: bool) -> bool:
    """Run the engine; True if Ctrl-C or SIGTERM ended it before its time."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    try:
        async with shown(engine.tally, quiet=quiet):
            await engine.run(assignments, window)
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    return False


def score_run(directory: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All scores of a run, from its records."""
    from harness.frames import read_frames
    from harness.scores import run_scores

    tasks, judges = manifest["identity"]["tasks"], manifest["identity"]["judges"]
    samples = {name: task["samples"] for name, task in tasks.items() if "samples" in task}
    scoring = {name: (task["scoring"], list(judges.get(name, ()))) for name, task in tasks.items()}
    return [asdict(score) for score in run_scores(read_frames(directory, samples), scoring)]


def _on_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    pass
