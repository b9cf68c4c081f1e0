"""`bench judge RUN --judge J`: grade what a run has stored, with its own judges or more; nothing is generated.

Judges that come later are written into the manifest beside the run's identity, not into it: the run can still be
resumed as it was begun. What a judge gave no verdict on is asked again; what has one is never paid for twice.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.config import JUDGE_FLAGS, judge_config
from harness.engine import Assignment, Engine, Tally, conversations
from harness.judging import JudgeModels, judge_models
from harness.plan import refuse_idle_judge_flags
from harness.plugins import find_plugins
from harness.printing import say, say_nothing
from harness.records import read_records
from harness.results import RunResult, read_result
from harness.sitting import Sitting, recorded, work
from harness.store import ITEM_FIELDS, ITEMS, JUDGES_ADDED, MANIFEST, SCORES, RunStore, differences, run_manifest
from harness.stored_run import judges_of
from judges.catalogue import JUDGES, Grading, JudgeKind, Protocol, known_judge, open_judges
from judges.judgment import Judge
from tasks.errors import BadInput
from tasks.item import Item, parse_item
from tasks.mt_bench import judge_prompts_file
from tasks.task import GRADED_TURNS, Scoring, graded_turns


@dataclass(frozen=True)
class StoredTask:
    """A task as a run directory remembers it: its items, how many answers each has, and which turns are graded."""

    name: str
    scoring: Scoring
    asked: Sequence[Item]
    samples_of: Mapping[str, int]

    @property
    def answers(self) -> int:
        return sum(self.samples(item) * len(item.turns) for item in self.asked)

    @property
    def graded(self) -> int:
        return sum(self.samples(item) * len(self.graded_turns(item)) for item in self.asked)

    @property
    def longest(self) -> int:
        return max(len(item.turns) for item in self.asked)

    @property
    def unchecked(self) -> int:
        return sum(len(item.turns) - sum(map(bool, item.checks)) for item in self.asked)

    @property
    def referenced(self) -> int:
        return sum(any(text.strip() for text in item.reference) for item in self.asked)

    def items(self) -> Iterator[Item]:
        return iter(self.asked)

    def samples(self, item: Item) -> int:
        return self.samples_of[item.id]

    def graded_turns(self, item: Item) -> range:
        return graded_turns(self.scoring, item)


def judge_run(directory: Path, flags: Mapping[str, Any], data: Path | None = None, *, quiet: bool = False) -> RunResult:
    """Grade the stored answers of a run by the judges that the flags name, or again by its own as they were asked.

    `data` is where the judge prompts of a data source lie, if not where the run's questions came from.

    Raises:
        BadInput: no run directory, or judges that can not grade it or go by the name of another one there.
        RunStopped: it could not finish; the same command goes on.
    """
    started = time.perf_counter()
    with RunStore.open_to_judge(directory) as store:
        manifest = run_manifest(directory)
        tell = say_nothing if quiet else say
        own = flags.get("include", () if "judge" in flags else manifest["config"].get("include", ()))
        plugged = find_plugins(own, tell).judges
        config = judge_config(flags if "judge" in flags else {**_own_flags(manifest, plugged), **flags})
        refuse_idle_judge_flags(config)
        names = config.judge
        models = judge_models(config, tell, plugged)
        tasks = stored_tasks(directory, manifest)
        able = [
            task for task in tasks if any(task.scoring in known_judge(name, plugged).grades for name in names)
        ] or tasks
        judges = open_judges(
            names, [grading_of(task, manifest, data, config.protocol) for task in able], models.setting
        )
        assignments = [Assignment(task, judges[task.name], config.judge_repeats) for task in able]
        manifest = _with_judges(manifest, assignments)
        if not quiet:
            say(f"{', '.join(names)} → {directory}: {sum(a.judgments for a in assignments)} judgments")
        return grade_stored(store, assignments, manifest, models, started, quiet=quiet)


def grade_stored(
    store: RunStore,
    assignments: Sequence[Assignment],
    manifest: Mapping[str, Any],
    models: JudgeModels,
    started: float,
    *,
    quiet: bool,
) -> RunResult:
    """Let the judges of `assignments` loose on what is stored, and score the run anew."""
    mine = {judge.name for assignment in assignments for judge in assignment.judges}
    store.judged -= {key for key in store.unjudged if key[4] in mine}
    models.load()
    store.write_json(MANIFEST, manifest)
    tally = Tally(sum(a.answers for a in assignments), sum(a.judgments for a in assignments))
    sitting = Sitting(store, tally, manifest, started, time.perf_counter() - started)
    with recorded(sitting, lambda: {"usage": {"judges": models.usage()}}):
        window = max(1, 2 * models.parallel)
        work(Engine(None, store, tally, seed=0), conversations(assignments), window, models.close, quiet=quiet)
        result = replace(read_result(store.directory), failure=tally.failure)
        store.write_json(SCORES, result.as_json())
        sitting.status = result.status
    return result


def stored_tasks(directory: Path, manifest: Mapping[str, Any]) -> list[StoredTask]:
    """The tasks of a run whose answers are graded, from its items.jsonl."""
    items: dict[str, list[Item]] = {}
    samples: dict[str, dict[str, int]] = {}
    for _, record in read_records(directory / ITEMS, ITEM_FIELDS):
        items.setdefault(record["task"], []).append(parse_item({**record, "id": record["item"]}))
        samples.setdefault(record["task"], {})[record["item"]] = record["samples"]
    tasks = manifest["identity"]["tasks"].items()
    stored = [StoredTask(name, how["scoring"], items[name], samples[name]) for name, how in tasks if name in items]
    # What lm-eval has run only lm-eval can grade.
    graded = [task for task in stored if task.scoring != "capability" and GRADED_TURNS[task.scoring] != "none"]
    if not graded:
        raise BadInput(f"{directory} holds no answers that a judge could grade")
    return graded


def grading_of(
    task: StoredTask, manifest: Mapping[str, Any], data: Path | None, protocol: Protocol | None = None
) -> Grading:
    """What judges must know of a stored task; its judge prompts are those that `data` has, or that the run found.

    Raises:
        BadInput: `data` has none, or those that the run found are gone.
    """
    known = manifest.get("judge_prompts", {}).get(task.name)
    prompts = judge_prompts_file(data) if data else Path(known) if known else None
    if data and not prompts:
        raise BadInput(f"--data {data}: no judge_prompts.jsonl lies there")
    if protocol != "bench" and prompts and not prompts.exists():
        raise BadInput(
            f"the judge prompts of {task.name} are no longer at {prompts}: say where by --data PATH, or use "
            "--protocol bench"
        )
    return Grading(task.name, task.scoring, None, prompts, task.unchecked, task.longest, task.referenced)


def _own_flags(manifest: Mapping[str, Any], plugged: Mapping[str, JudgeKind]) -> dict[str, Any]:
    """The flags by which the run was made to be graded; offline judges that nobody named are named here."""
    config = manifest["config"]
    flags = {key: config[key] for key in JUDGE_FLAGS if config.get(key) is not None}
    used = [judge for judges in manifest["identity"]["judges"].values() for judge in judges]
    by_default = [judge for judge in used if judge in JUDGES or re.split("[:@]", judge)[0] in plugged]
    return {**flags, "judge": list(dict.fromkeys([*flags.get("judge", ()), *by_default]))}


def _with_judges(manifest: Mapping[str, Any], assignments: Sequence[Assignment]) -> dict[str, Any]:
    """The manifest with these judges in it.

    Raises:
        BadInput: one goes by the name of a judge that graded this run in another way.
    """
    known = judges_of(manifest)
    added = {name: dict(judges) for name, judges in manifest.get(JUDGES_ADDED, {}).items()}
    for assignment in assignments:
        task = assignment.task.name
        for judge in assignment.judges:
            described = described_judge(judge)
            before = known.get(task, {}).get(judge.name)
            if before and (differing := sorted(differences(before.described, described))):
                raise BadInput(
                    f"{task} was graded by {judge.name} in another way ({'; '.join(differing)}): the two can not "
                    "stand under one name; grade a copy of the run directory"
                )
            repeats = max(assignment.repeats, before.repeats if before else 0)
            added.setdefault(task, {})[judge.name] = {"repeats": repeats, "described": described}
    return {**manifest, JUDGES_ADDED: added}


def described_judge(judge: Judge) -> dict[str, Any]:
    """A judge's description as it reads in a manifest."""
    described: dict[str, Any] = json.loads(json.dumps(judge.describe()))
    return described
