"""A figure from many judgments and few human labels (prediction-powered inference; PPI++, Angelopoulos et al. 2023).

    >>> prediction_powered(human, judge, unlabelled, rate=True)      # 60 labelled items, 340 others
    PredictionPowered(judge_only=Figure(0.47, …), human_only=Figure(0.38, 0.27, 0.51),
                      corrected=Figure(0.42, 0.33, 0.51), weight=0.64, effective_n=111.0, …)

A judge alone is precise and biased, a person alone is unbiased and costly. The judge's mean over the unlabelled items
is taken, and what it is off by on the labelled ones is added back:

    estimate = λ mean(f, unlabelled) + mean(y - λ f, labelled)          y: human, f: judge
    variance = λ² var(f) / N + var(y - λ f) / n                         N unlabelled items, n labelled
    λ = cov(y, f) / (var(f) (1 + n / N)), cut to [0, 1]

λ is the weight that makes the variance least: the better the judge, the nearer to 1. With a useless judge it is 0, and
what is left is the human mean. The estimate is right, whatever the judge is like, *if the labelled items are a random
sample*: labels of the items that somebody found doubtful correct nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.agreement import Figure, Numbers
from harness.intervals import BOOTSTRAP_FROM, CONFIDENCE, Z_95, Interval, mean_interval, rate_interval, wilson

FEWEST = BOOTSTRAP_FROM
"""Labelled items below which no interval is given."""


@dataclass(frozen=True)
class PredictionPowered:
    """The same figure three times. `judge_only` is over all items, `human_only` over the labelled ones.

    `weight` is λ. `effective_n` is how many labels alone would give an interval as narrow as the corrected one: the
    variance of a human label over that of the estimate; None below ten labels.
    """

    judge_only: Figure
    human_only: Figure
    corrected: Figure
    weight: float
    effective_n: float | None
    labelled: int
    unlabelled: int


def prediction_powered(
    human: Numbers, judge: Numbers, unlabelled: Numbers, *, rate: bool, scale: tuple[float, float] | None = None
) -> PredictionPowered:
    """The human, the judge's and the corrected mean, one value an item (several answers of an item averaged first).

    `human` and `judge` are of the labelled items, `unlabelled` the judge's of all others. A `rate` is in [0, 1].

    The interval of a rate is Wilson's on the effective sample size and that of other means is symmetric, both with the
    quantile of Student's t (degrees of freedom: Welch and Satterthwaite, one lost to λ). The plain normal interval is
    too narrow where the rate or n is small. Coverage of the normal interval → of this one, 20,000 rounds each:

        labels  others  rate  sensitivity/specificity  coverage       width (human labels alone)
            60     400   .42                  .90/.85  .943 → .953    .180 (.240)
            60     400   .42                  .95/.95  .940 → .949    .136 (.240)
            60     400   .42                  .80/.70  .940 → .953    .221 (.240)
            20     380   .42                  .90/.85  .907 → .945    .296 (.388)
            10      90   .42                  .90/.85  .894 → .960    .422 (.502)
            30     370   .10                  .90/.95  .852 → .944    .149 (.215)
            30     370   .05                  .90/.95  .713 → .905    .131 (.172)
    """
    n, others = len(human), len(unlabelled)
    everything = np.concatenate([judge, unlabelled])
    scale = (0.0, 1.0) if rate else scale
    human_only = _plain(human, rate, scale) if n >= FEWEST else Figure(_mean(human))
    weight = _weight(human, judge, everything)
    residual = human - weight * judge
    from_judge = weight**2 * float(unlabelled.var(ddof=1)) / others if weight else 0.0
    from_human = float(((residual - residual.mean()) ** 2).sum()) / (n - 2) / n if weight else 0.0
    variance = from_judge + from_human
    judge_only = _plain(everything, rate, scale)
    if not variance:
        # Nothing of the judge's is used, so this is the human mean, with its interval.
        effective = float(n) if n >= FEWEST else None
        return PredictionPowered(judge_only, human_only, human_only, 0.0, effective, n, others)
    value = weight * float(unlabelled.mean()) + float(residual.mean())
    if scale:
        value = min(max(value, scale[0]), scale[1])
    interval: Interval = None
    effective = None
    if n >= FEWEST:
        freedom = variance**2 / (from_judge**2 / (others - 1) + from_human**2 / (n - 2))
        effective = float(human.var(ddof=1)) / variance
        interval = _interval(value, human, variance, freedom, rate, scale)
    return PredictionPowered(judge_only, human_only, Figure.of(value, interval), weight, effective, n, others)


def _weight(human: Numbers, judge: Numbers, everything: Numbers) -> float:
    """λ; 0 where there are too few items on either side to tell how the judge varies."""
    n, others = len(human), len(everything) - len(human)
    if n < 3 or others < 2:
        return 0.0
    spread = float(everything.var(ddof=1))
    if spread <= 1e-12:
        return 0.0
    together = float(((human - human.mean()) * (judge - judge.mean())).sum()) / (n - 1)
    return min(1.0, max(0.0, together / (spread * (1 + n / others))))


def _interval(
    value: float, human: Numbers, variance: float, freedom: float, rate: bool, scale: tuple[float, float] | None
) -> Interval:
    from scipy.special import stdtrit

    quantile = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    if rate:
        share = float(human.mean())
        # Wilson's interval depends on quantile² / n alone, so that a wider quantile is a smaller n.
        return wilson(value, share * (1 - share) / variance * (Z_95 / quantile) ** 2)
    low, high = scale or (-math.inf, math.inf)
    half = quantile * math.sqrt(variance)
    return max(low, value - half), min(high, value + half)


def _plain(values: Numbers, rate: bool, scale: tuple[float, float] | None) -> Figure:
    """A mean by itself, with the interval it has in a run's scores."""
    if not len(values):
        return Figure(None)
    whole = rate and bool(np.isin(values, (0.0, 1.0)).all())
    interval = rate_interval(values, np.arange(len(values))) if whole else mean_interval(values, scale)
    return Figure.of(float(values.mean()), interval)


def _mean(values: Numbers) -> float | None:
    return float(values.mean()) if len(values) else None
