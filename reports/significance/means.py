"""Paired means: one difference an item (candidate - baseline), its interval, and tests that the true mean is 0.

    >>> paired_mean(candidate.rating - baseline.rating)
    PairedMean(difference=-0.59, low=-1.02, high=-0.14, se=0.22, p=0.0096, test="sign-flip permutation",
               p_wilcoxon=0.011, d_z=-0.29, n=80)

The item is the unit: turns and samples of one item are averaged before, or are its cluster (Miller 2024, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_FROM, BOOTSTRAP_UP_TO, CONFIDENCE, RESAMPLES, Interval
from reports.significance.bootstrap import ROUNDING, bca_means, sums_by_cluster

Values = NDArray[np.float64]

SIGN_FLIP = "sign-flip permutation"
TOO_FEW = "n too small"
UNTESTED = "described only"
STUDENT_BELOW = 40
"""Items; a bootstrap of fewer is too narrow."""


@dataclass(frozen=True)
class PairedMean:
    """The mean of n paired differences, with what is known of it; None is what is not.

    `se` is the standard error, `p` the two-sided p of `test`, `p_wilcoxon` a second one as a check, `d_z` Cohen's.
    """

    difference: float
    low: float | None
    high: float | None
    se: float | None
    p: float | None
    test: str
    p_wilcoxon: float | None
    d_z: float | None
    n: int


def paired_mean(
    differences: Values,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    tested: bool = True,
) -> PairedMean:
    """The mean difference by the rules of this house.

    From ten items on: sign-flip permutation test, Wilcoxon's signed ranks beside it; below, and where it is not to be
    `tested`, no test. The interval is that of `mean_difference_interval`. Differences that are all the same have no
    interval and no standard error, whatever their number; where all are 0, p is 1.

    Raises:
        ValueError: no differences, or some that are not numbers.
    """
    values = _numbers(differences)
    n = len(values)
    if not n:
        raise ValueError("there are no differences")
    mean = float(values.mean())
    effect = effect_size(values, confidence)
    enough = n >= BOOTSTRAP_FROM
    interval = mean_difference_interval(values, confidence, resamples, seed)
    return PairedMean(
        difference=mean,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        se=float(values.std(ddof=1)) / math.sqrt(n) if _has_spread(values) else None,
        p=sign_flip(values, seed).p if enough and tested else None,
        test=(SIGN_FLIP if tested else UNTESTED) if enough else TOO_FEW,
        p_wilcoxon=wilcoxon(values) if enough and tested else None,
        d_z=effect.d_z if effect else None,
        n=n,
    )


def mean_difference_interval(
    differences: Values, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Student's interval below forty items, BCa bootstrap up to 5,000, normal beyond; None without spread.

    Coverage of "95 %" for normal differences and for those of ratings, 4,000 rounds: Student .94 to .96 for every n
    from 10, BCa .905 and .883 (n = 10), .928 and .920 (20), .932 and .939 (40), .946 and .944 (80).
    """
    values = _numbers(differences)
    if not _has_spread(values):
        return None
    if len(values) < STUDENT_BELOW:
        return _student(values, confidence)
    if len(values) <= BOOTSTRAP_UP_TO:
        low, high = bca_means(values, confidence=confidence, resamples=resamples, seed=seed)
        return float(low[0]), float(high[0])
    from scipy.special import ndtri

    half = float(ndtri((1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def clustered_se(values: Values, clusters: Sequence[Hashable] | NDArray[Any]) -> float | None:
    """Standard error of the mean of `values` whose rows share `clusters` (one label a row); None below two clusters.

    Miller 2024, section 2.2: the squared sums of each cluster's residuals, over n². It carries the small-sample factor
    G / (G - 1) for G clusters (CR1), so that clusters of one give the plain standard error; Miller's has none beyond
    the n - 1 of its variance. Rows of one and the same number in every cluster give that of the cluster means.
    """
    rows = _numbers(values)
    by_cluster = sums_by_cluster((rows - rows.mean())[:, None], clusters)[:, 0] if len(rows) else rows
    count = len(by_cluster)
    if count < 2:
        return None
    return math.sqrt(count / (count - 1) * float((by_cluster**2).sum())) / len(rows)


# --- tests that the mean is 0 ---

EXACT_UP_TO = 32
"""Differences up to which all sign changes are counted: two lists of 2^16 sums."""
GRID_CELLS = 200_000_000
"""Additions spent on the distribution of sums on a grid (a quarter of a second)."""
GRID_UP_TO = 1_000
"""Differences on a grid; with many more, the chance of an outermost sum is below what a float can hold."""
DRAWS = 100_000
SIGNS_AT_ONCE = 12
"""Differences whose sums under all signs are looked up in one table, of 2^12: it stays in the fastest cache."""
EXACT_RANKS = 50
"""Ranks up to which Wilcoxon's test counts; beyond, its normal approximation is as good (scipy draws the same line)."""


class Permutation(NamedTuple):
    """Two-sided p of a permutation test; `exact` when every permutation was counted, else drawn at random."""

    p: float
    exact: bool


def sign_flip(differences: Values, seed: int = 0, draws: int = DRAWS) -> Permutation:
    """Two-sided sign-flip permutation test (Fisher 1935, section 21): are the differences symmetric about 0?

    p is the share of all 2^n ways to give the differences a sign whose sum is at least as far from 0. Sums that differ
    by rounding are the same. Differences of 0 change no sum, so they are kept and p is 1 when there is nothing else.
    Exact for up to 32 differences that are not 0, and for up to 1,000 on a grid (ratings and their averages); otherwise
    p = (b + 1) / (draws + 1), b the number of random sign changes that reach the sum (Phipson and Smyth 2010), so that
    p is never below 1 / (draws + 1). With more than 5,000 that are not 0, p is the limit's: their sum under random
    signs is then normal to more digits than so many draws can tell.

    Several answers of one item flip together: pass their sum or mean.
    """
    values = _numbers(differences)
    values = values[values != 0]
    sizes = np.abs(values)
    slack = ROUNDING * float(sizes.sum())
    observed = abs(float(values.sum()))
    if observed <= slack:
        return Permutation(1.0, True)
    if (steps := _on_a_grid(values)) is not None:
        return Permutation(_exact_on_a_grid(steps), True)
    if len(sizes) <= EXACT_UP_TO:
        return Permutation(_exact_by_halves(sizes, observed - slack), True)
    if len(sizes) > BOOTSTRAP_UP_TO:
        return Permutation(_normal_tails(observed / math.sqrt(float((sizes**2).sum()))), False)
    sums = _random_sums(sizes, draws, np.random.default_rng(seed))
    reached = int(np.count_nonzero(np.abs(sums) >= observed - slack))
    return Permutation((reached + 1) / (draws + 1), False)


def _normal_tails(z: float) -> float:
    from scipy.special import ndtr

    return 2 * float(ndtr(-abs(z)))


def wilcoxon(differences: Values) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test (1945); None when all differences are 0.

    Differences of 0 are left out, as Wilcoxon did; equal sizes share their mean rank, also those that rounding alone
    holds apart. Up to 50 differences that are not 0 the p is exact, given the shared ranks (a sign-flip test of the
    ranks); beyond, scipy's normal approximation.
    """
    values = _numbers(differences)
    rounding = ROUNDING * np.abs(values).max(initial=0)
    values = values[np.abs(values) > rounding]
    if not len(values):
        return None
    from scipy.stats import rankdata
    from scipy.stats import wilcoxon as signed_ranks

    sizes = np.abs(values)
    order = np.argsort(sizes)
    levels = np.empty(len(values))
    levels[order] = np.cumsum(np.diff(sizes[order], prepend=0.0) > rounding)
    if len(values) <= EXACT_RANKS:
        return sign_flip(np.copysign(rankdata(levels), values)).p
    return float(signed_ranks(np.copysign(levels, values)).pvalue)


def _on_a_grid(values: Values) -> NDArray[np.int64] | None:
    """The values as whole numbers of one step, where such a step exists and makes the exact count affordable."""
    if len(values) > GRID_UP_TO:
        return None
    sizes = np.unique(np.abs(values))
    largest, finest = float(sizes[-1]), float(np.abs(values).sum()) * len(values) / GRID_CELLS
    step = 0.0
    for size in sizes.tolist():
        left = size
        while left > 1e-9 * largest:  # Euclid's algorithm; what is below is rounding
            step, left = left, abs(math.remainder(step, left))
        if step < finest:
            return None
    # The largest difference tells the step best.
    step = largest / round(largest / step)
    steps = np.rint(values / step)
    return steps.astype(np.int64) if np.all(np.abs(values / step - steps) < 1e-6) else None


def _exact_on_a_grid(steps: NDArray[np.int64]) -> float:
    """P(|sum of ± steps| >= that observed), from the distribution of the sum of those that are positive."""
    total, observed = int(np.abs(steps).sum()), abs(int(steps.sum()))
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    reach = 0
    for step in np.sort(np.abs(steps)).tolist():
        reach += step
        chance[step : reach + 1] += chance[: reach + 1 - step].copy()
        chance[: reach + 1] /= 2
    # The sum is 2 × positive part - total, and symmetric about 0.
    return min(1.0, 2 * float(chance[(total + observed + 1) // 2 :].sum())) if observed else 1.0


def _exact_by_halves(sizes: Values, needed: float) -> float:
    """P(|sum of ± sizes| >= needed > 0): for each sum of one half, how many of the other half reach it."""
    first, second = _all_sums(sizes[::2]), np.sort(_all_sums(sizes[1::2]))
    reached = len(first) * len(second) - int(np.searchsorted(second, needed - first).sum())
    return 2 * reached / (len(first) * len(second))


def _random_sums(sizes: Values, draws: int, random: np.random.Generator) -> Values:
    """Sums under random signs."""
    sums = np.zeros(draws)
    for start in range(0, len(sizes), SIGNS_AT_ONCE):
        table = _all_sums(sizes[start : start + SIGNS_AT_ONCE])
        sums += table[random.integers(len(table), size=draws, dtype=np.uint16)]
    return sums


def _all_sums(sizes: Values) -> Values:
    sums = np.zeros(1)
    for size in sizes.tolist():
        sums = np.concatenate([sums - size, sums + size])
    return sums


# --- how large, and against a margin ---


class EffectSize(NamedTuple):
    """Cohen's d_z with its interval."""

    d_z: float
    low: float
    high: float


def effect_size(differences: Values, confidence: float = CONFIDENCE) -> EffectSize | None:
    """Cohen's d_z (1988, section 2.3.5): mean over standard deviation of the differences; None without spread.

    The interval holds every noncentrality t could have come from (Steiger and Fouladi 1997), over √n: exact for
    normal differences.
    """
    values = _numbers(differences)
    if not _has_spread(values):
        return None
    from scipy.special import nctdtrinc

    root = math.sqrt(len(values))
    d_z = float(values.mean() / values.std(ddof=1))
    # scipy.stats.nct is NaN for noncentralities far from t, where a search would have to begin.
    levels = np.array([(1 + confidence) / 2, (1 - confidence) / 2])
    ends = np.sign(d_z) * nctdtrinc(len(values) - 1, levels, abs(d_z) * root) / root
    return EffectSize(d_z, float(ends.min()), float(ends.max()))


class MarginTest(NamedTuple):
    """Whether a margin holds: p of the hypothesis that it does not, and the 1 - 2 alpha interval that says the same."""

    p: float
    low: float
    high: float
    holds: bool


def noninferiority_mean(
    differences: Values, margin: float, alpha: float = 0.05, worse: Literal["lower", "higher"] = "lower"
) -> MarginTest | None:
    """One-sided paired t test of H0 "the candidate is worse by `margin` or more"; None without spread.

    `worse` says which sign of candidate - baseline is bad: "lower" for ratings, "higher" for harm. p < alpha exactly
    when the 1 - 2 alpha interval stays clear of the margin on that side. `margin` > 0, in the units of the differences.
    """
    values = _numbers(differences)
    _check_margin(margin)
    if not _has_spread(values):
        return None
    return _margin_test(values, _tail(values, -margin if worse == "lower" else margin, worse), alpha)


def equivalence_mean(differences: Values, margin: float, alpha: float = 0.05) -> MarginTest | None:
    """Two one-sided paired t tests (Schuirmann 1987) of H0 "|true mean| is `margin` or more": the larger p.

    None without spread. p < alpha exactly when the 1 - 2 alpha interval lies within ±margin.
    """
    values = _numbers(differences)
    _check_margin(margin)
    if not _has_spread(values):
        return None
    return _margin_test(values, max(_tail(values, -margin, "lower"), _tail(values, margin, "higher")), alpha)


def _margin_test(values: Values, p: float, alpha: float) -> MarginTest:
    return MarginTest(p, *_student(values, 1 - 2 * alpha), p < alpha)


def _tail(values: Values, limit: float, worse: Literal["lower", "higher"]) -> float:
    """p of the hypothesis that the true mean is at `limit` or on the worse side of it."""
    from scipy.special import stdtr

    t = (float(values.mean()) - limit) / (float(values.std(ddof=1)) / math.sqrt(len(values)))
    return float(stdtr(len(values) - 1, -t if worse == "lower" else t))


def _student(values: Values, confidence: float) -> tuple[float, float]:
    from scipy.special import stdtrit

    mean, n = float(values.mean()), len(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


# --- what all of them ask of their differences ---


def _numbers(differences: Values) -> Values:
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("differences are one finite number an item: leave out the items that miss a value")
    return values


def _has_spread(values: Values) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > ROUNDING * np.abs(values).max())


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"a margin is above 0, not {margin}")
