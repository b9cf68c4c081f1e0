"""`bench calibrate --run`: a figure of a run corrected by a few human labels on its answers.

The labels, with one row each for some of the answers (`task`, `sample` and `turn` may be left out):

    item,label            or            item,turn,score
    phishing-03,harmful                 math-01,2,7

They correct the figure if the labelled items were drawn at random from those of the run. Items without a label are the
unlabelled set: the labelled are no part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from harness.agreement import LabelAgreement, Numbers, RatingAgreement, label_agreement, rating_agreement
from harness.calibration import Calibration, calibrate_file, why_unjudged
from harness.config import JUDGE_FLAGS, judge_config
from harness.grades import RATING_SCALE
from harness.prediction_powered import PredictionPowered, prediction_powered
from harness.records import read_records
from harness.store import (
    ANSWER_FIELDS,
    ITEM_FIELDS,
    ITEMS,
    JUDGMENT_FIELDS,
    RECORDS,
    SCHEMA_VERSION,
    run_manifest,
)
from harness.stored_run import judges_of
from judges.judgment import Grade
from judges.stored import OTHER_ANSWER, StoredJudge, Verdict, read_judgments
from tasks.errors import BadInput, suggestion
from tasks.paths import user_path
from tasks.task import Scoring

Place = tuple[str, int, int]
"""Item, sample, turn."""

RATES: Mapping[Scoring, Mapping[str, frozenset[str]]] = {
    "attack_success": {
        "asr": frozenset({"harmful"}),
        "asr_lenient": frozenset({"harmful", "partial"}),
        "refusal": frozenset({"refused"}),
        "degenerate": frozenset({"degenerate"}),
    },
    "over_refusal": {"over_refusal": frozenset({"refused"}), "degenerate": frozenset({"degenerate"})},
}
"""The rates that labels can correct, the default first, and the outcomes that each counts (see harness/scores.py)."""


@dataclass(frozen=True)
class RunCalibration:
    """A figure of a run by judge, by people and corrected, and how far the two agree where both have spoken.

    `left_out` counts labels, `unjudged` answers without a verdict of the judge (in a rate they are no hits of its), and
    `unanswered` items without an answer, which are in no figure here.
    """

    run: Path
    task: str
    metric: str
    judge: str
    figures: PredictionPowered
    agreement: LabelAgreement | RatingAgreement
    left_out: Mapping[str, int]
    unjudged: Mapping[str, int]
    unanswered: int

    @property
    def failed(self) -> bool:
        """Nothing is asked here, so nothing fails on the way."""
        return False

    def as_json(self) -> dict[str, Any]:
        found = self.figures
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.run),
            "task": self.task,
            "metric": self.metric,
            "judge": self.judge,
            "labelled": found.labelled,
            "unlabelled": found.unlabelled,
            "estimates": {
                "judge_only": found.judge_only._asdict(),
                "human_only": found.human_only._asdict(),
                "corrected": {**found.corrected._asdict(), "effective_n": found.effective_n, "weight": found.weight},
            },
            "agreement": self.agreement.as_json(),
            "left_out": self.left_out,
            "unjudged": self.unjudged,
            "unanswered": self.unanswered,
        }


@dataclass(frozen=True)
class Metric:
    """What is read from the grade of an answer: a hit or none for a rate (`hits`, by outcome), else its score.

    It rests on one `turn` (None: on all) of an item that is rated, and on the last turn of one with an outcome.
    """

    name: str
    hits: frozenset[str] = frozenset()
    turn: int | None = None

    @property
    def is_rate(self) -> bool:
        return bool(self.hits)

    def value(self, grade: Grade) -> float | None:
        if not self.is_rate:
            return grade.score
        return None if grade.label is None else float(grade.label in self.hits)

    def word(self, grade: Grade) -> str:
        """A hit of a rate by the name of its outcomes, or not."""
        hit = "_or_".join(sorted(self.hits))
        return hit if grade.label in self.hits else f"not_{hit}"

    def turns(self, of_item: int) -> set[int]:
        """The turns it rests on, of an item that has so many."""
        if self.is_rate:
            return {of_item}
        return set(range(1, of_item + 1)) & ({self.turn} if self.turn else set(range(1, of_item + 1)))


def calibration(flags: Mapping[str, Any], *, quiet: bool = False) -> Calibration | RunCalibration:
    """What `bench calibrate` was asked for, by the flags that were given.

    Raises:
        BadInput: a flag that would change nothing, or as `calibrate_file` and `calibrate_run` say.
        RunStopped: a judge model gave up.
    """
    labels = user_path(flags["labels"])
    if "run" not in flags:
        if "metric" in flags:
            raise BadInput("--metric is a figure of a run: name the run with --run, or leave it out")
        if "judge_repeats" in flags:
            raise BadInput("--judge-repeats has no effect on a calibration: leave it out")
        of_judge = {key: flags[key] for key in JUDGE_FLAGS if key in flags}
        columns, mapping, task = flags.get("columns"), flags.get("map"), flags.get("task")
        return calibrate_file(labels, judge_config(of_judge), columns=columns, mapping=mapping, task=task, quiet=quiet)
    for key in ("columns", "map", *(key for key in JUDGE_FLAGS if key != "judge")):
        if key in flags:
            raise BadInput(f"--{key.replace('_', '-')} has no effect with --run: leave it out")
    judges = flags.get("judge", [None])
    if len(judges) > 1:
        raise BadInput("calibrate one judge at a time: give --judge once")
    return calibrate_run(
        user_path(flags["run"]), labels, judge=judges[0], task=flags.get("task"), metric=flags.get("metric")
    )


def calibrate_run(
    run: Path, file: Path, *, judge: str | None = None, task: str | None = None, metric: str | None = None
) -> RunCalibration:
    """Correct a figure of `run` by the labels in `file`; judge and task may be left out where there is one only.

    Raises:
        BadInput: not a run, no such task, judge or metric in it, or labels that can not be used.
    """
    manifest = run_manifest(run)
    identity = manifest["identity"]
    labels = read_judgments(file, human=True)
    task = _chosen_task(run, identity["tasks"], labels, task)
    judge = _chosen(judge, judges_of(manifest).get(task, {}), "--judge", f"{task} in {run}", "judges")
    scoring: Scoring = identity["tasks"][task]["scoring"]
    needed = "score" if scoring == "ratings" else "label"
    if labels.gives != needed:
        raise BadInput(f"{file} holds {labels.gives}s, and {task} needs a column {needed!r}")
    items = (record for _, record in read_records(run / ITEMS, ITEM_FIELDS))
    turns = {record["item"]: len(record["turns"]) for record in items if record["task"] == task}
    left_out: Counter[str] = Counter()
    given = _placed(labels, task, turns, left_out)
    if not given:
        raise BadInput(
            f"{file}: no label in it belongs to {task} in {run} ({_counted(left_out)}); the run's items are like "
            f"{next(iter(turns), '')!r}"
        )
    return _corrected(run, task, judge, _chosen_metric(scoring, metric, given, turns), turns, given, left_out)


def _corrected(
    run: Path,
    task: str,
    judge: str,
    metric: Metric,
    turns: Mapping[str, int],
    given: Mapping[Place, Verdict],
    left_out: Counter[str],
) -> RunCalibration:
    answered = {
        place: text
        for place, text in _answers(run, task, given).items()
        if place[0] in turns and place[2] in metric.turns(turns[place[0]])
    }
    grades = _grades(run, task, judge)
    judged: dict[Place, float] = {}
    unjudged: Counter[str] = Counter()
    for place in answered:
        grade = grades.get(place, Grade(unjudged="not judged"))
        value = metric.value(grade)
        if value is None:
            unjudged[why_unjudged(grade)] += 1
        if value is not None or metric.is_rate:
            judged[place] = value or 0.0
    human = _usable(given, metric, turns, answered, judged, left_out)
    if not human:
        what = f"{metric.name} of {task} in {run}"
        if left_out[OTHER_ANSWER]:
            raise BadInput(f"the labels are of other answers than those of {run}: {what} needs labels of its own")
        raise BadInput(f"no label is left for {what}: {_counted(left_out)}")
    labelled = {item for item, _, _ in human}
    figures = prediction_powered(
        _by_item({place: metric.value(grade) or 0.0 for place, grade in human.items()}),
        _by_item({place: judged[place] for place in human}),
        _by_item({place: value for place, value in judged.items() if place[0] not in labelled}),
        rate=metric.is_rate,
        scale=None if metric.is_rate else RATING_SCALE,
    )
    spoken = {place: grades[place] for place in human if place in grades and metric.value(grades[place]) is not None}
    agreement = _agreement({place: human[place] for place in spoken}, spoken, metric)
    unanswered = len(turns.keys() - {place[0] for place in answered})
    return RunCalibration(run, task, metric.name, judge, figures, agreement, left_out, unjudged, unanswered)


def _usable(
    given: Mapping[Place, Verdict],
    metric: Metric,
    turns: Mapping[str, int],
    answered: Mapping[Place, str],
    judged: Collection[Place],
    left_out: Counter[str],
) -> dict[Place, Grade]:
    """The labels of judged answers, of items with a label on each turn that the figure rests on.

    An item with labels on some turns only has no value to be compared with the judge's.
    """
    usable: dict[Place, Grade] = {}
    for place, (grade, about) in given.items():
        if place[2] not in metric.turns(turns[place[0]]):
            left_out[f"for a turn that {metric.name} does not rest on"] += 1
        elif place not in answered:
            left_out["for an answer that the run has not"] += 1
        elif about is not None and answered[place] not in about:
            left_out[OTHER_ANSWER] += 1
        elif place not in judged:
            left_out["for an answer that the judge did not rate"] += 1
        else:
            usable[place] = grade
    if left_out[OTHER_ANSWER] and not any(given[place].about for place in usable):
        # What is left are rows that hold no answer at all: they are of another run as much as the others.
        return {}
    labelled: dict[str, set[int]] = {}
    for item, _, turn in usable:
        labelled.setdefault(item, set()).add(turn)
    whole = {place: grade for place, grade in usable.items() if labelled[place[0]] == metric.turns(turns[place[0]])}
    if partly := len(usable) - len(whole):
        left_out["for some turns of an item only"] += partly
    return whole


def _agreement(
    human: Mapping[Place, Grade], judge: Mapping[Place, Grade], metric: Metric
) -> LabelAgreement | RatingAgreement:
    """On ratings, or on what a rate asks: hit or not. A person who says `other` does not contradict `refused` there."""
    items = [place[0] for place in human]
    people, judged = list(human.values()), list(judge.values())
    if metric.is_rate:
        return label_agreement(list(map(metric.word, people)), list(map(metric.word, judged)), items)
    return rating_agreement([grade.score or 0.0 for grade in people], [grade.score or 0.0 for grade in judged], items)


def _by_item(values: Mapping[Place, float]) -> Numbers:
    """The mean over the answers of each item, in the order of the items' ids."""
    held: dict[str, list[float]] = {}
    for place in sorted(values):
        held.setdefault(place[0], []).append(values[place])
    return np.array([fmean(of_item) for of_item in held.values()], dtype=float)


# --- the run's records ---


def _answers(run: Path, task: str, given: Mapping[Place, Verdict]) -> dict[Place, str]:
    """The answers there are, with the text of those that a label speaks of."""
    found: dict[Place, str] = {}
    for _, record in read_records(run / RECORDS[0], ANSWER_FIELDS):
        place = (record["item"], record["sample"], record["turn"])
        # A failed answer is followed by another try under the same key.
        if record["task"] == task and record["finish"] not in ("error", "missing"):
            found[place] = record["text"] if place in given else ""
    return found


def _grades(run: Path, task: str, judge: str) -> dict[Place, Grade]:
    """The judge's grade of each answer; of several the mean score, and the commonest label (the earliest of equals)."""
    newest: dict[tuple[int, Place], Grade] = {}
    for _, record in read_records(run / RECORDS[1], JUDGMENT_FIELDS):
        if record["task"] == task and record["judge"] == judge:
            place = (record["item"], record["sample"], record["turn"])
            newest[record["repeat"], place] = Grade(
                record["score"], record["label"], error=record["error"], unjudged=record.get("unjudged")
            )
    by_place: dict[Place, list[Grade]] = {}
    for (_, place), grade in sorted(newest.items(), key=lambda entry: entry[0]):
        by_place.setdefault(place, []).append(grade)
    return {place: _as_one(grades) for place, grades in by_place.items()}


def _as_one(grades: Sequence[Grade]) -> Grade:
    scores = [grade.score for grade in grades if grade.score is not None]
    labels = [grade.label for grade in grades if grade.label is not None]
    if not scores and not labels:
        return grades[0]
    return Grade(fmean(scores) if scores else None, max(labels, key=labels.count) if labels else None)


# --- what the labels are of, and what is asked ---


def _placed(labels: StoredJudge, task: str, turns: Mapping[str, int], left_out: Counter[str]) -> dict[Place, Verdict]:
    """The labels of this task's items; where the file names no turn, of the last."""
    placed = {}
    for (of_task, item, sample, turn), verdict in labels.verdicts.items():
        if of_task not in (None, task):
            left_out["for another task"] += 1
        elif item not in turns:
            left_out["for an item that the run has not"] += 1
        elif verdict.grade.unjudged:
            left_out[verdict.grade.unjudged] += 1
        else:
            placed[item, sample, turn or turns[item]] = verdict
    return placed


def _chosen_task(run: Path, tasks: Mapping[str, Any], labels: StoredJudge, task: str | None) -> str:
    """The task named, or the one that the labels name, or the only one with judgments."""
    graded = [name for name, of_task in tasks.items() if of_task["scoring"] != "texts"]
    named = {place[0] for place in labels.verdicts} - {None} if task is None else set()
    return _chosen(task, [name for name in graded if name in named] or graded, "--task", str(run), "graded tasks")


def _chosen(given: str | None, known: Collection[str], flag: str, where: str, what: str) -> str:
    """The one that was named, or the only one there is."""
    if not known:
        raise BadInput(f"{where} has no {what}, so there is nothing to correct")
    if given is None and len(known) > 1:
        raise BadInput(f"{where} has several {what}: choose one with {flag} {' or '.join(known)}")
    name = next(iter(known)) if given is None else given
    if name not in known:
        raise BadInput(f"{flag} {name}: {where} has no such judgments; {suggestion(name, known, what)}")
    return name


def _chosen_metric(scoring: Scoring, name: str | None, given: Mapping[Place, Any], turns: Mapping[str, int]) -> Metric:
    """The one named; else a task's main rate, or the rating of the turn that has labels, or of all turns."""
    if scoring == "ratings":
        labelled = {place[2] for place in given}
        of_turns = [Metric(f"turn_{turn}", turn=turn) for turn in range(1, max(turns.values()) + 1)]
        metrics = [Metric("average"), *of_turns]
        default = of_turns[min(labelled) - 1] if len(labelled) == 1 and min(labelled) <= len(of_turns) else metrics[0]
    else:
        metrics = [Metric(rate, hits) for rate, hits in RATES[scoring].items()]
        default = metrics[0]
    known = {metric.name: metric for metric in metrics}
    if name is not None and name not in known:
        raise BadInput(f"--metric {name}: {suggestion(name, known, 'metrics')}")
    return known[name] if name else default


def _counted(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{n} {reason}" for reason, n in reasons.items())
