"""What two runs have in common, and why the rest of them can not be compared.

A difference between two runs says something of their models only where both were asked the same in the same way and
graded by the same judge. What was asked is compared item by item, not by the hash of a file: two runs over parts of one
data set are compared on what both were asked, and items that share a name but ask something else are never paired.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from harness.frames import RunFrames
from harness.records import read_records
from harness.store import ITEM_FIELDS, ITEMS, differences
from harness.stored_run import StoredRun
from judges.stored import HUMAN, JUDGMENTS
from tasks.task import PROBE

Kind = Literal["question", "judge", "circumstance", "note"]
FORBIDDING = ("question", "judge")
HOW_ASKED = ("samples", "max_new_tokens", "temperatures")
"""Settings of a task; stored answers, of which nobody recorded them, have none."""
EXAMPLES = 3


@dataclass(frozen=True)
class Obstacle:
    """Why figures of two runs are not those of the same question.

    `question`: the task was another, or was asked in another way. `judge`: it was graded in another way. Both forbid a
    comparison. A `circumstance` (another chat template, an incomplete run) may lie in what is compared, so a comparison
    only mentions it; a gate does not pass over it. A `note` is mentioned, and no more.
    """

    task: str
    kind: Kind
    reason: str
    judge: str | None = None

    def __str__(self) -> str:
        return f"{self.task}: {self.reason}"


@dataclass(frozen=True)
class Couple:
    """A baseline and a candidate, and what stands between them."""

    baseline: StoredRun
    candidate: StoredRun
    obstacles: Sequence[Obstacle]
    in_both: Mapping[str, frozenset[str]]
    """The items of each task that both were asked, by name."""
    same: Mapping[str, frozenset[str]]
    """Those of them that ask the same of both."""

    @property
    def sides(self) -> tuple[StoredRun, StoredRun]:
        return self.baseline, self.candidate

    def only_one(self, task: str) -> int:
        """How many items of a task just one of the runs was asked."""
        return sum(int((run.frames.items.task == task).sum()) - len(self.in_both.get(task, ())) for run in self.sides)

    def refused(self, task: str, judge: str | None = None) -> list[Obstacle]:
        """What forbids to compare a task, or a task as graded by a judge."""
        return [
            it for it in self.obstacles
            if it.task == task and (it.kind == "question" or (it.kind == "judge" and it.judge in (None, judge)))
        ]  # fmt: skip

    @cached_property
    def frames(self) -> tuple[RunFrames, RunFrames]:
        """The tables of both runs, cut to the items that ask the same of both."""
        another = {it.task for it in self.obstacles if it.kind == "question"}
        return self._cut(self.same, [task for task in self.same if task not in another])

    @cached_property
    def forced_frames(self) -> tuple[RunFrames, RunFrames]:
        """The tables of both runs, cut to the items that have the same name in both."""
        return self._cut(self.in_both, list(self.in_both))

    def _cut(self, kept: Mapping[str, frozenset[str]], tasks: Sequence[str]) -> tuple[RunFrames, RunFrames]:
        places = {(task, item) for task in tasks for item in kept[task]}

        def cut(frames: RunFrames) -> RunFrames:
            items = frames.items
            there = [place in places for place in zip(items.task, items["item"], strict=True)]
            return replace(frames, items=items[there].reset_index(drop=True))

        return cut(self.baseline.frames), cut(self.candidate.frames)


def couple(baseline: StoredRun, candidate: StoredRun) -> Couple:
    """Hold two runs against each other, before any figure is."""
    asked = [_asked(run) for run in (baseline, candidate)]
    both = [task for task in baseline.described_tasks if task in candidate.described_tasks]
    in_both = {task: frozenset(asked[0].get(task, {})) & frozenset(asked[1].get(task, {})) for task in both}
    same = {
        task: frozenset(item for item in items if asked[0][task][item] == asked[1][task][item])
        for task, items in in_both.items()
    }
    found = Couple(baseline, candidate, (), in_both, same)
    obstacles = [it for task in both for it in (*_about_questions(found, task), *_about_judges(found, task))]
    return replace(found, obstacles=(*obstacles, *_circumstances(found)))


def _asked(run: StoredRun) -> dict[str, dict[str, str]]:
    """What each item of each task asks, in one text to compare by."""
    asked: dict[str, dict[str, str]] = {}
    for _, record in read_records(run.directory / ITEMS, ITEM_FIELDS):
        goal = record["metadata"].get("goal") if isinstance(record["metadata"], dict) else None
        whole = json.dumps([record["turns"], record["reference"], record["checks"], goal], sort_keys=True)
        asked.setdefault(record["task"], {})[record["item"]] = whole
    return asked


def _about_questions(found: Couple, task: str) -> Iterator[Obstacle]:
    before, after = (run.described_tasks[task] for run in found.sides)
    for key in ("scoring", "version"):
        if before[key] != after[key]:
            yield Obstacle(task, "question", f"{key} {before[key]} and {after[key]} of the task are not the same task")
    if "sha256" not in before:
        return
    for key in HOW_ASKED:
        if key in before and key in after and before[key] != after[key]:
            said = "; ".join(differences(before[key], after[key], key))
            yield Obstacle(task, "question", f"asked in different ways ({said})")
    named, same = found.in_both[task], found.same[task]
    if not named:
        yield Obstacle(task, "question", "the two runs were asked no item in common")
    elif others := sorted(named - same):
        shown = ", ".join(others[:EXAMPLES]) + (", …" if len(others) > EXAMPLES else "")
        yield Obstacle(
            task, "question", f"{len(others)} of {len(named)} items of the same name ask something else ({shown})"
        )


def _about_judges(found: Couple, task: str) -> Iterator[Obstacle]:
    before, after = (run.judges.get(task, {}) for run in found.sides)
    if not (before or after):
        return
    common = [name for name in before if name in after]
    if not common:
        told = " and ".join(", ".join(by) or "nobody" for by in (before, after))
        yield Obstacle(task, "judge", f"no judge graded both ({told}): have one grade the other, too (bench judge RUN)")
    for name in common:
        described = [json.loads(json.dumps(by[name].described)) for by in (before, after)]
        if name.split(":")[0] in (HUMAN, JUDGMENTS):
            # One file holds labels of several models, or each model has its own: who judged is in the name.
            if described[0]["sha256"] != described[1]["sha256"]:
                yield Obstacle(task, "note", f"the labels of {name} come from two files", name)
        elif differing := list(differences(*described)):
            yield Obstacle(task, "judge", f"{name} is not the same judge in both ({'; '.join(differing)})", name)
        if before[name].repeats != after[name].repeats:
            times = f"{before[name].repeats} and {after[name].repeats} times"
            yield Obstacle(task, "circumstance", f"{name} graded each answer {times}", name)


def _circumstances(found: Couple) -> Iterator[Obstacle]:
    for run, side in zip(found.sides, ("baseline", "candidate"), strict=True):
        if not run.is_complete:
            alone = found.baseline.directory == found.candidate.directory
            named = f"{run.directory}" if alone else f"the {side}, {run.directory},"
            yield Obstacle("run", "circumstance", f"{named} is incomplete")
    templates = [run.model.get("chat_template_sha256") for run in found.sides]
    if None not in templates and templates[0] != templates[1]:
        yield Obstacle("model", "circumstance", "the models have different chat templates")
    for task in found.in_both:
        if task == PROBE:
            continue
        recorded = [HOW_ASKED[0] in run.described_tasks[task] for run in found.sides]
        if any(recorded) and not all(recorded):
            which = "baseline" if not recorded[0] else "candidate"
            yield Obstacle(task, "circumstance", f"how the stored answers of the {which} were sampled is not recorded")
