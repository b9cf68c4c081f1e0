"""The texts of two runs side by side: collapse measures of both, and the verdict against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.collapse_metrics import SetFigure, read_texts, set_figures, text_metrics
from harness.collapse_verdict import boilerplate
from harness.figures import Metric
from harness.metrics import ALL, RATED_TASKS
from harness.scores import JURY, Score
from reports.comparable import Couple
from reports.pairing import Difference
from tasks.collapse import verdict

if TYPE_CHECKING:
    import pandas as pd

TASK = "collapse"
Differences = Mapping[tuple[str, str, str | None], Difference]
"""By task, metric and judge."""


@dataclass(frozen=True)
class Texts:
    """The answers of two runs to what both were asked, with their measures; a row an answer."""

    baseline: pd.DataFrame
    candidate: pd.DataFrame

    @cached_property
    def metrics(self) -> tuple[Sequence[Metric], Sequence[Metric]]:
        """The measures of single answers, of both runs."""
        return list(text_metrics(self.baseline)), list(text_metrics(self.candidate))

    @cached_property
    def set_figures(self) -> tuple[Sequence[SetFigure], Sequence[SetFigure]]:
        """The measures of the two sets of answers."""
        return list(set_figures(self.baseline)), list(set_figures(self.candidate))

    def candidate_scores(self) -> list[Score]:
        """The collapse scores of the candidate alone, over these answers."""
        scores = [Score.measured(TASK, ALL, metric) for metric in self.metrics[1]]
        return scores + [Score.of(TASK, ALL, *figure) for figure in self.set_figures[1]]


def texts_of_both(both: Couple, *, force: bool = False) -> Texts | None:
    """The answers to what both runs were asked; None where collapse was not measured in both, or on nothing."""
    if TASK not in both.in_both or (both.refused(TASK) and not force):
        return None
    frames = both.forced_frames if force else both.frames
    before, after = (
        read_texts(tables, same_answers=run.same_answers) for tables, run in zip(frames, both.sides, strict=True)
    )
    return Texts(before, after) if len(before) and len(after) else None


def collapse_against(texts: Texts, differences: Differences) -> verdict.ModelVerdict | None:
    """Whether the candidate collapsed, against the baseline: the five kinds of `tasks.collapse.verdict`.

    A kind of which the runs hold nothing (mode without several samples, quality without ratings) is not judged. None
    where no prompt was answered in both.
    """
    degenerate = differences.get((TASK, "degenerate", None))
    if degenerate is None:
        return None
    scores = texts.candidate_scores()
    alone = {score.metric: verdict.Figure(_number(score.value), score.low, score.high, score.n) for score in scores}
    endings = differences.get((TASK, "no_eos", None))
    diversity = differences.get((TASK, "sample_diversity", None))
    quality = _quality(differences)
    before = verdict.Figure(degenerate.baseline_value, None, None, degenerate.n)
    findings = [
        verdict.judge_loops(alone["degenerate"], before, _figure(degenerate), copied=alone.get("copied")),
        boilerplate(scores),
        verdict.judge_mode(_ratio(diversity)) if diversity else None,
        verdict.judge_quality(_figure(quality)) if quality else None,
        verdict.judge_endings(_figure(endings)) if endings else None,
    ]
    return verdict.judge_model(findings, "the runs hold nothing of it")


def _quality(differences: Differences) -> Difference | None:
    """The difference of the mean rating: the jury's where there is one."""
    for task in RATED_TASKS:
        judged = {
            judge: found for (of, metric, judge), found in differences.items() if (of, metric) == (task, "average")
        }
        if judged:
            return judged.get(JURY) or next(iter(judged.values()))
    return None


def _figure(found: Difference) -> verdict.Figure:
    return verdict.Figure(found.difference, found.low, found.high, found.answers)


def _ratio(found: Difference) -> verdict.Figure:
    """How many times the baseline's value the candidate's is."""
    value, low, high = (
        None if change is None else 1 + change for change in (found.relative, found.relative_low, found.relative_high)
    )
    return verdict.Figure(value, low, high, found.answers)


def _number(value: float | str | None) -> float | None:
    return None if isinstance(value, str) else value
