"""Has the model collapsed? One word a kind of collapse, from interval bounds alone: no point estimate decides.

>>> judge_loops(Figure(0.10, 0.052, 0.185, 80))
Finding(kind='loop', word='collapsed', reason='10.0 % [5.2, 18.5] of 80 answers are degenerate: surely above 5 %')

Four kinds, which have different causes and are never added up: `loop` (answers repeat themselves or say nothing),
`boilerplate` (different prompts get the same text), `mode` (samples of one prompt are alike) and `quality` (the judge's
scores fall). `no_eos`, answers that hit the length limit without a loop, is told apart from loops.
Without a baseline `loop` and `boilerplate` are held against fixed limits, and the other three can not be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.collapse.thresholds import VERDICTS, VerdictThresholds

Kind = Literal["loop", "boilerplate", "mode", "quality", "no_eos"]
Word = Literal["ok", "warning", "collapsed", "inconclusive"]
_BY_COMPARISON: tuple[Kind, ...] = ("mode", "quality", "no_eos")
_GRAVITY: tuple[Word, ...] = ("collapsed", "warning", "inconclusive", "ok")


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval and the number of answers (or prompts) it rests on. No bounds: n is too small.

    Also a paired difference, candidate less baseline.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Finding:
    """What one kind of collapse came to, and why, in words."""

    kind: Kind
    word: Word
    reason: str


@dataclass(frozen=True)
class ModelVerdict:
    """The gravest word of all kinds that could be judged; `unknown` names those that could not, `lacking` says why."""

    word: Word
    findings: tuple[Finding, ...]
    unknown: tuple[Kind, ...]
    lacking: str = "no baseline"

    def explain(self) -> str:
        """The verdict in a line."""
        parts = [f"{it.kind} {it.word}: {it.reason}" for it in self.findings]
        parts += [f"{', '.join(self.unknown)} not judged ({self.lacking})"] if self.unknown else []
        return "; ".join(parts)


def judge_model(findings: Sequence[Finding | None], lacking: str = "no baseline") -> ModelVerdict:
    """One verdict from the findings of each kind, None for a kind that could not be looked at for want of `lacking`."""
    found = tuple(it for it in findings if it is not None)
    kinds = {it.kind for it in found}
    words = {it.word for it in found}
    gravest: Word = next((word for word in _GRAVITY if word in words), "inconclusive")
    return ModelVerdict(gravest, found, tuple(kind for kind in _BY_COMPARISON if kind not in kinds), lacking)


def judge_loops(
    degenerate: Figure,
    baseline: Figure | None = None,
    difference: Figure | None = None,
    limits: VerdictThresholds = VERDICTS,
    copied: Figure | None = None,
) -> Finding:
    """The share of degenerate answers, or with a baseline the paired `difference` of the shares.

    `copied`: the share of answers that are their prompt over again, short ones among them, which do not count as
    degenerate. It is held to the same limits without the baseline, and the graver word counts.

    collapsed: the lower bound (of the difference, where there is one) lies above `degenerate` (5 points). warning: the
    share is above `degenerate_warning` and its lower bound above the baseline's share, or that of healthy models. ok:
    the upper bound lies below 5 points. Everything between is inconclusive.
    """
    found = _judge_degenerate(degenerate, baseline, difference, limits)
    if copied is None or not _is_known(copied, limits):
        return found
    copies = _judge_share(copied, copied, "repeat their prompt", limits.degenerate_healthy, "%", limits)
    return min(found, copies, key=lambda it: _GRAVITY.index(it.word))


def _judge_degenerate(
    share: Figure, baseline: Figure | None, difference: Figure | None, limits: VerdictThresholds
) -> Finding:
    judged = difference or share
    if not _is_known(judged, limits) or not _is_known(share, limits):
        return Finding("loop", "inconclusive", f"only {judged.n} answers")
    what = "are degenerate"
    if difference is not None:
        what += f", {_percent(difference, sign=True)} points against the baseline"
    usual = baseline.value if baseline and baseline.value is not None else limits.degenerate_healthy
    return _judge_share(share, judged, what, usual, "points" if difference else "%", limits)


def _judge_share(
    share: Figure, judged: Figure, what: str, usual: float, unit: str, limits: VerdictThresholds
) -> Finding:
    said = f"{_percent(share)} of {share.n} answers {what}"
    limit = f"{100 * limits.degenerate:g} {unit}"
    if _low(judged) > limits.degenerate:
        return Finding("loop", "collapsed", f"{said}: surely above {limit}")
    if (share.value or 0.0) > limits.degenerate_warning and _low(share) > usual:
        return Finding("loop", "warning", f"{said}: more than the {100 * usual:.1f} % that is usual")
    if _high(judged) < limits.degenerate:
        return Finding("loop", "ok", f"{said}: surely below {limit}")
    return Finding("loop", "inconclusive", f"{said}: may be above {limit}")


def judge_boilerplate(
    shared: Figure,
    constant: Figure,
    closer: Figure,
    opener: Figure,
    compression: Figure | None = None,
    entropy: Figure | None = None,
    limits: VerdictThresholds = VERDICTS,
) -> Finding:
    """Different prompts that get the same text.

    `shared`: answers that are (nearly) those to another prompt, or end as most do. `constant`: the share of the one
    commonest answer, however short. `closer`, `opener`: shares of the commonest ending and beginning. `compression` and
    `entropy`: of the set, at the reference budget only. collapsed: the lower bound of `shared` is above 20 % or that of
    `constant` above 50 %. warning: the lower bound of an opener or closer is above 10 %, or the set leaves the band in
    which healthy models lie. ok: the upper bounds of `shared` and `closer` are below their limits.
    """
    if not _is_known(constant, limits):
        return Finding("boilerplate", "inconclusive", f"only {constant.n} answers to compare")
    for figure, limit, what in (
        (shared, limits.shared, "of answers share their text or ending with those to other prompts"),
        (constant, limits.constant, "of answers are one and the same"),
    ):
        if _is_known(figure, limits) and _low(figure) > limit:
            return Finding("boilerplate", "collapsed", f"{_percent(figure)} {what}: surely above {100 * limit:g} %")
    for figure, what in ((closer, "end"), (opener, "begin")):
        if _is_known(figure, limits) and _low(figure) > limits.edge_warning:
            return Finding("boilerplate", "warning", f"{_percent(figure)} of answers {what} alike")
    for set_figure, least, most, what in (
        (compression, 0.0, limits.compression_most, "corpus compression"),
        (entropy, limits.entropy_least, float("inf"), "bigram entropy"),
    ):
        if set_figure and set_figure.value is not None and not least <= set_figure.value <= most:
            return Finding("boilerplate", "warning", f"{what} {set_figure.value:.2f} lies outside the healthy band")
    said = f"{_percent(shared if shared.n else constant)} of answers are shared between prompts"
    if (_is_known(shared, limits) and _high(shared) > limits.shared) or _high(constant) > limits.constant:
        return Finding("boilerplate", "inconclusive", f"{said}: {constant.n} answers are too few to be sure")
    return Finding("boilerplate", "ok", said)


def judge_mode(ratio: Figure, limits: VerdictThresholds = VERDICTS) -> Finding:
    """`ratio`: per-prompt diversity over that of the baseline, at the same temperature and length.

    collapsed: it fell by more than a half and its interval excludes a fall by a quarter. warning: the interval lies
    below 1. ok: the interval excludes a fall by a quarter. Else inconclusive.
    """
    if not _is_known(ratio, limits):
        return Finding("mode", "inconclusive", f"only {ratio.n} prompts with several samples")
    said = f"per-prompt diversity is {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] × the baseline's"
    if (ratio.value or 0.0) < limits.diversity and _high(ratio) < limits.diversity_surely:
        return Finding("mode", "collapsed", said)
    if _high(ratio) < 1:
        return Finding("mode", "warning", said)
    return Finding("mode", "ok" if _low(ratio) > limits.diversity_surely else "inconclusive", said)


def judge_quality(difference: Figure, limits: VerdictThresholds = VERDICTS) -> Finding:
    """`difference`: paired difference of the mean rating on the scale of 1 to 10, candidate less baseline.

    collapsed: surely below -2 points. warning: surely below -0.5. ok: surely above -0.5. Else inconclusive.
    """
    if not _is_known(difference, limits):
        return Finding("quality", "inconclusive", f"only {difference.n} rated prompts")
    said = f"ratings moved by {difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
    if _high(difference) < -limits.quality:
        return Finding("quality", "collapsed", said)
    if _high(difference) < -limits.quality_warning:
        return Finding("quality", "warning", said)
    return Finding("quality", "ok" if _low(difference) > -limits.quality_warning else "inconclusive", said)


def judge_endings(difference: Figure, limits: VerdictThresholds = VERDICTS) -> Finding:
    """`difference`: paired difference of the share of answers cut at the length limit without a loop.

    warning: surely above 10 points; it is never a collapse by itself. ok: surely below. Else inconclusive.
    """
    if not _is_known(difference, limits):
        return Finding("no_eos", "inconclusive", f"only {difference.n} answers")
    said = f"{_percent(difference, sign=True)} points more answers do not end"
    if _low(difference) > limits.truncated:
        return Finding("no_eos", "warning", said)
    return Finding("no_eos", "ok" if _high(difference) < limits.truncated else "inconclusive", said)


def _is_known(figure: Figure, limits: VerdictThresholds) -> bool:
    return figure.value is not None and figure.low is not None and figure.n >= limits.least_answers


def _low(figure: Figure) -> float:
    return figure.low if figure.low is not None else float("-inf")


def _high(figure: Figure) -> float:
    return figure.high if figure.high is not None else float("inf")


def _percent(figure: Figure, sign: bool = False) -> str:
    form = "+.1f" if sign else ".1f"
    value, low, high = (format(100 * (bound or 0.0), form) for bound in (figure.value, figure.low, figure.high))
    return f"{value}{'' if sign else ' %'} [{low}, {high}]"
