"""What judges said of the answers that a run was to give, a row an answer; what was never answered has a row, too."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.capability_grades import JUDGED_BY, all_graded, capability_grades
from harness.frames import PLACE, RunFrames
from harness.jury import commonest
from judges.outcome import OUTCOMES
from tasks.task import GRADED_TURNS, GradedTurns, Scoring

if TYPE_CHECKING:
    import pandas as pd

RATING_SCALE = (1.0, 10.0)
ILLEGIBLE = "no verdict in the record"


@dataclass(frozen=True)
class Scored:
    """How a task of a run is scored: by which judges, and how often each is asked about an answer."""

    scoring: Scoring
    judges: Mapping[str, int] = field(default_factory=dict)

    @property
    def graded(self) -> GradedTurns:
        """The turns of an item that its judges grade."""
        return GRADED_TURNS[self.scoring]


def grades_by_judge(frames: RunFrames, task: str, how: Scored) -> dict[str, pd.DataFrame]:
    """What each judge of a task said, a row an answer that is graded: score and label, or the `reason` for neither."""
    if how.scoring == "capability":
        mine = frames.items[frames.items.task == task]
        return {JUDGED_BY: capability_grades(mine, frames.judgments[frames.judgments.task == task])}
    wanted = wanted_answers(frames.items[frames.items.task == task])
    if how.graded == "last":
        wanted = wanted[wanted.turn == wanted.turns]
    return {
        judge: _legible(_graded(wanted, frames, judge, repeats), how.scoring) for judge, repeats in how.judges.items()
    }


def _legible(graded: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """The grades without those that no judge of ours can have written: a damaged record is no verdict.

    That is a score which is no number or beyond its scale, a label which is no outcome, or neither of both.
    """
    low, high = RATING_SCALE if scoring == "ratings" else (-sys.float_info.max, sys.float_info.max)
    scores = graded.score.astype(float)
    # What is no number lies nowhere.
    graded["score"] = scores.where((scores >= low) & (scores <= high))
    if scoring in ("attack_success", "over_refusal"):
        graded["label"] = graded.label.where(graded.label.isin(OUTCOMES), None)
    graded.loc[graded.reason.isna() & graded.score.isna() & graded.label.isna(), "reason"] = ILLEGIBLE
    return graded


def is_complete(frames: RunFrames, tasks: Mapping[str, Scored]) -> bool:
    """Whether the records hold every answer and every judgment that these items want."""
    items = frames.items
    if (items.samples * items.turns).sum() > (frames.answers.finish != "error").sum():
        return False
    done = frames.judgments[frames.judgments.error.isna()]
    judged = done.groupby(["task", "judge"]).size()
    for task, how in tasks.items():
        if how.graded == "none":
            continue
        mine = items[items.task == task]
        if how.scoring == "capability":
            if not all_graded(mine, done[done.task == task]):
                return False
            continue
        answers = (mine.samples * mine.turns if how.graded == "every" else mine.samples).sum()
        if any(answers * repeats > judged.get((task, judge), 0) for judge, repeats in how.judges.items()):
            return False
    return True


def wanted_answers(items: pd.DataFrame) -> pd.DataFrame:
    """One row for each answer that these items want."""
    samples = items.loc[items.index.repeat(items.samples)].reset_index(drop=True)
    samples["sample"] = samples.groupby(["task", "item"]).cumcount()
    wanted = samples.loc[samples.index.repeat(samples.turns)].reset_index(drop=True)
    wanted["turn"] = wanted.groupby(["task", "item", "sample"]).cumcount() + 1
    return wanted


def _graded(wanted: pd.DataFrame, frames: RunFrames, judge: str, repeats: int) -> pd.DataFrame:
    """The wanted grades with their score and label, one row an answer; `reason` where there is none.

    Starting from the items, not from the records, keeps what was never answered in the denominator. An answer graded
    several times has the mean score, and the commonest label (the earliest of equals), of the grades with a verdict; it
    counts once, and only if it was graded as often as was asked.
    """
    mine = frames.judgments[frames.judgments.judge == judge].sort_values("repeat")
    if mine.score.isna().all():
        # A judge that gives labels alone: pandas would look for the mean of each answer's None in Python.
        mine = mine.assign(score=np.nan)
    by_answer = mine.groupby(PLACE, sort=False)
    grades = by_answer.agg(
        score=("score", "mean"),
        unjudged=("unjudged", "first"),
        error=("error", "first"),
        judged=("repeat", "size"),
    ).reset_index()
    grades["label"] = commonest(mine.label, by_answer.ngroup().to_numpy(), len(grades)).label
    answers = frames.answers[[*PLACE, "finish"]]
    graded = wanted.merge(answers, on=PLACE, how="left").merge(grades, on=PLACE, how="left")
    nothing = graded.score.isna() & graded.label.isna()
    graded["reason"] = None
    # The later line decides.
    graded.loc[nothing, "reason"] = graded.unjudged
    graded.loc[graded.error.notna(), "reason"] = "judge failed"
    graded.loc[~(graded.judged >= repeats), "reason"] = "not judged"
    graded.loc[graded.finish == "error", "reason"] = "generation failed"
    graded.loc[graded.finish.isna(), "reason"] = "not answered"
    graded.loc[graded.reason.notna(), ["score", "label"]] = None
    return graded
