"""The verdict of a run alone on whether its model collapsed, from its collapse scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.metrics import ALL
from tasks.collapse import verdict
from tasks.collapse.variety import BUDGET_TEXTS, BUDGET_WORDS

VERDICT = "verdict"


class HasFigure(Protocol):
    """A score, as far as the verdict needs it."""

    @property
    def metric(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def judge(self) -> str | None: ...
    @property
    def value(self) -> float | str | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...


def verdict_notes(scores: Sequence[HasFigure]) -> list[str]:
    """What a reader must know beside the figures: why the verdict is what it is, and on which budget sets were read."""
    overall = [score for score in scores if score.judge is None and score.group == ALL]
    if VERDICT not in {score.metric for score in overall}:
        return []
    in_budget = next(score.n for score in overall if score.metric == "bigram_entropy")
    said = model_verdict(overall)
    return [
        f"collapse: {said.word}. {said.explain()}",
        f"collapse: distinct_2 to vendi are read on {in_budget} answers × {BUDGET_WORDS} words",
    ]


def model_verdict(scores: Sequence[HasFigure]) -> verdict.ModelVerdict:
    """The verdict on one run alone, from its collapse scores over all answers."""
    found = {score.metric: _figure(score) for score in scores}
    return verdict.judge_model(
        [verdict.judge_loops(found["degenerate"], copied=found.get("copied")), boilerplate(scores)]
    )


def boilerplate(scores: Sequence[HasFigure]) -> verdict.Finding:
    """What different prompts have in common, from the collapse scores over all answers of a run."""
    found = {score.metric: _figure(score) for score in scores}
    # The healthy band is that of the whole budget; smaller sets lie elsewhere.
    full = found["bigram_entropy"].n == BUDGET_TEXTS
    return verdict.judge_boilerplate(
        found["boilerplate"],
        found["commonest_answer"],
        found["boilerplate_closer"],
        found["boilerplate_opener"],
        found["corpus_compression"] if full else None,
        found["bigram_entropy"] if full else None,
    )


def _figure(score: HasFigure) -> verdict.Figure:
    value = None if isinstance(score.value, str) else score.value
    return verdict.Figure(value, score.low, score.high, score.n)
