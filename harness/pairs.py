"""`bench judge RUN --against BASELINE`: which of two runs' answers is better, answer by answer.

    runs/dpo/against/base-1f0c88e2/     a run directory of its own: the candidate's answers, and pair labels on them

Only items that both runs were asked in the same words are compared; how many that leaves out is said.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.config import JudgeConfig
from harness.engine import Assignment
from harness.environment import environment
from harness.judging import judge_models
from harness.models.opening import HF, OPENAI
from harness.plan import refuse_idle_judge_flags, short_digest
from harness.printing import say, say_nothing
from harness.records import read_records
from harness.regrade import StoredTask, grade_stored, grading_of, stored_tasks
from harness.results import RunResult
from harness.store import (
    ANSWER_FIELDS,
    MANIFEST,
    RECORDS,
    SCHEMA_VERSION,
    RunStore,
    item_record,
    read_manifest,
    run_manifest,
)
from judges.catalogue import pair_form, refuse_missing_prompts
from judges.pairwise import PairJudge
from tasks.conversation import Answer
from tasks.errors import BadInput

AGAINST = "against"
"""The folder of a run in which its comparisons with other runs lie."""
NOT_SHARED = "that only one of the two runs was asked"


@dataclass(frozen=True)
class _Side:
    """One of the two runs: its manifest, its rated tasks by name, and its answers by task, item and sample."""

    directory: Path
    manifest: Mapping[str, Any]
    tasks: Mapping[str, StoredTask]
    conversations: Mapping[tuple[str, str, int], Sequence[Answer]]

    @property
    def answers_sha256(self) -> str:
        """Of what was said, wherever it lies and in whatever order it was written."""
        digest = sha256()
        for _, answers in sorted(self.conversations.items()):
            digest.update(repr([(answer.key, answer.text) for answer in answers]).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def up_to(self, answer: Answer) -> Sequence[Answer]:
        """This run's answers to the same item and sample, up to the same turn."""
        return self.conversations.get((answer.task, answer.item, answer.sample), ())[: answer.turn]


def compare_pairs(
    directory: Path, against: Path, config: JudgeConfig, data: Path | None = None, *, quiet: bool = False
) -> RunResult:
    """Let each judge of `config` compare a run's answers with a baseline's, in both orders.

    Raises:
        BadInput: two runs that share no rated questions, or no judge that compares.
        RunStopped: it could not finish; the same command goes on.
    """
    started = time.perf_counter()
    refuse_idle_judge_flags(config)
    if not config.judge or not all(name.startswith((OPENAI, HF)) for name in config.judge):
        raise BadInput("--against has a chat model compare: name one, or several, by --judge openai:NAME or hf:CKPT")
    if config.judge_by != "text":
        raise BadInput(f"--judge-by {config.judge_by} reads ratings, and --against compares: leave one of them out")
    if config.harm_form != "outcome":
        raise BadInput(
            "--harm-form is about answers to harmful requests, and --against compares: leave one of them out"
        )
    candidate, baseline = _side(directory), _side(against)
    shared, left_out = _shared(candidate, baseline)
    models = judge_models(config, say_nothing if quiet else say)
    gradings = [grading_of(task, candidate.manifest, data, config.protocol) for task in shared]
    refuse_missing_prompts(gradings, models.setting)
    assignments = []
    for task, grading in zip(shared, gradings, strict=True):
        form = pair_form(grading, models.setting)
        judges = [
            PairJudge(
                name, models.setting.open_model(name), form, baseline.up_to, models.setting.secret, models.setting.cache
            )
            for name in config.judge
        ]
        assignments.append(Assignment(task, judges, config.judge_repeats))
    identity = {
        "model": candidate.manifest["identity"]["model"],
        "answers_sha256": candidate.answers_sha256,
        "against": {"model": baseline.manifest["identity"]["model"], "answers_sha256": baseline.answers_sha256},
        "tasks": {
            task.name: {"scoring": task.scoring, "items": len(task.asked), "left_out": dict(left_out[task.name])}
            for task in shared
        },
        "judges": {a.task.name: {judge.name: judge.describe() for judge in a.judges} for a in assignments},
        "judge_repeats": config.judge_repeats,
    }
    # Other judges or answers make another comparison: the folder is named by all that decides it.
    folder = directory / AGAINST / f"{against.resolve().name}-{short_digest(identity)}"
    if not quiet:
        say(f"{directory} against {against} → {folder}: {sum(a.judgments for a in assignments)} pairs in both orders")
    models.load()
    with RunStore.open(folder, identity) as store:
        earlier = read_manifest(folder)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "config": asdict(config),
            "identity": identity,
            "model": candidate.manifest["model"],
            "sources": {task.name: f"{directory} against {against}" for task in shared},
            "environment": environment(),
            "sittings": earlier["sittings"] if earlier else [],
        }
        store.write_json(MANIFEST, manifest)
        store.write_items(_item_records(shared), sum(len(task.asked) for task in shared))
        asyncio.run(_copy_answers(store, shared, candidate))
    with RunStore.open_to_judge(folder) as store:
        return grade_stored(store, assignments, manifest, models, started, quiet=quiet)


def _side(directory: Path) -> _Side:
    manifest = run_manifest(directory)
    tasks = {task.name: task for task in stored_tasks(directory, manifest) if task.scoring == "ratings"}
    conversations: dict[tuple[str, str, int], list[Answer]] = {}
    newest = {answer.key: answer for answer in _answers(directory)}
    for answer in sorted(newest.values(), key=lambda answer: answer.key):
        said = conversations.setdefault((answer.task, answer.item, answer.sample), [])
        # A turn that was never answered ends the conversation for a comparison.
        if answer.finish not in ("error", "missing") and len(said) == answer.turn - 1:
            said.append(answer)
    return _Side(directory, manifest, tasks, conversations)


def _answers(directory: Path) -> Iterable[Answer]:
    return (Answer(**record) for _, record in read_records(directory / RECORDS[0], ANSWER_FIELDS))


def _shared(candidate: _Side, baseline: _Side) -> tuple[list[StoredTask], dict[str, Counter[str]]]:
    """The rated items that both were asked in the same words, and what that leaves out of either, by task."""
    shared, left_out = [], {}
    for name, task in candidate.tasks.items():
        other = baseline.tasks.get(name)
        theirs = {item.id: item for item in other.asked} if other else {}
        common = [item for item in task.asked if item.id in theirs and theirs[item.id].turns == item.turns]
        if not other or not common:
            continue
        samples = {item.id: min(task.samples_of[item.id], other.samples_of[item.id]) for item in common}
        shared.append(replace(task, scoring="pairs", asked=common, samples_of=samples))
        only_one = len(task.asked) + len(theirs) - 2 * len(common)
        left_out[name] = Counter({NOT_SHARED: only_one} if only_one else {})
    if not shared:
        raise BadInput(f"{candidate.directory} and {baseline.directory} share no rated questions (mt_bench, mini_mt)")
    return shared, left_out


def _item_records(tasks: Sequence[StoredTask]) -> Iterable[dict[str, Any]]:
    for task in tasks:
        for item in task.asked:
            yield item_record(task.name, item, task.samples(item))


async def _copy_answers(store: RunStore, tasks: Sequence[StoredTask], candidate: _Side) -> None:
    """What is compared lies beside the verdicts; an answer that is missing is stored as one."""
    copies = []
    for task in tasks:
        for item in task.asked:
            for sample in range(task.samples(item)):
                said = candidate.conversations.get((task.name, item.id, sample), ())
                for turn in range(len(said) + 1, len(item.turns) + 1):
                    error = "no answer of the candidate"
                    copies.append(Answer(task.name, item.id, sample, turn, text="", finish="missing", error=error))
                copies += said
    await asyncio.gather(*(store.add_answer(answer) for answer in copies if answer.key not in store.answered))
