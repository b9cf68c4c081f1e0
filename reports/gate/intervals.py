"""The intervals that a gate decides by, at any confidence: those whose error rates hold at the small n of a CI run.

For a difference of rates Tango's score interval (over requests, where one has several answers), for means Student's t
with Hall's correction for skewness (a bootstrap of twenty questions is too narrow), for a rate alone Clopper and
Pearson's, which never errs more often than it says. `benchmarks/gate_error_rates.py` measures how often a gate of these
passes what it must not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_FROM, effective_n
from reports.pairing import Paired, Values, rate_interval
from reports.significance.proportions import PairedCounts, tango

UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Bounds:
    """Both ends of an interval."""

    low: float
    high: float


def paired_bounds(paired: Paired, confidence: float) -> Bounds | None:
    """Bounds of candidate - baseline; None below ten requests."""
    if paired.n < BOOTSTRAP_FROM:
        return None
    if not paired.is_rate:
        before, after = paired.by_request
        low, high = paired.scale or UNBOUNDED
        return mean_interval(after - before, (low - high, high - low), confidence)
    found = rate_interval(paired, confidence)
    return Bounds(*found) if found else None


def absolute_bounds(
    values: Values,
    requests: NDArray[np.integer[Any]],
    scale: tuple[float, float] | None,
    is_rate: bool,
    confidence: float,
) -> Bounds | None:
    """Bounds of a rate or of a mean of one run; None below ten requests."""
    sizes = np.bincount(requests)
    if len(sizes) < BOOTSTRAP_FROM:
        return None
    if is_rate:
        return clopper_pearson(float(values.mean()), effective_n(values, requests), confidence)
    return mean_interval(np.bincount(requests, weights=values) / sizes, scale or UNBOUNDED, confidence)


def mean_bounds(values: Sequence[float], ends: tuple[float, float], is_rate: bool, confidence: float) -> Bounds | None:
    """Bounds of the mean of one value a request, between two ends; None below ten.

    Differences of yes and no have Tango's interval, yes and no alone Clopper and Pearson's, anything else
    that of a mean.
    """
    found = np.asarray(values, dtype=float)
    if len(found) < BOOTSTRAP_FROM:
        return None
    if is_rate and ends == (0.0, 1.0) and np.isin(found, (0.0, 1.0)).all():
        return clopper_pearson(float(found.mean()), len(found), confidence)
    if is_rate and np.isin(found, (-1.0, 0.0, 1.0)).all():
        gained, lost = int((found > 0).sum()), int((found < 0).sum())
        return Bounds(*tango(PairedCounts(0, lost, gained, len(found) - gained - lost), confidence))
    return mean_interval(found, ends, confidence)


def clopper_pearson(rate: float, n: float, confidence: float) -> Bounds:
    """The exact interval of a proportion (Clopper and Pearson 1934); `n` may be an effective number of answers."""
    from scipy.special import betaincinv

    hits, tail = rate * n, (1 - confidence) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Bounds(low, high)


def mean_interval(values: Values, ends: tuple[float, float], confidence: float) -> Bounds:
    """Bounds of a mean of values between two `ends`: at each side the farther of Student's and Hall's.

    Student's t alone passes too much where most values are equal and a few lie far off on the bad side (two ratings of
    80 fall by eight points, say). Hall's transformation (1992, section 2) takes the skewness of the values into
    account; without any the two are one. How often "5 %" errs at the limit of a one-sided rule, 20,000 rounds:

                                          n = 40   Student, both      n = 80   Student, both
        ratings, normal with sd 2                  .048     .048               .048     .048
        exponential losses                         .089     .058               .083     .059
        nine of ten equal, losses of 1 to 8        .143     .034               .113     .012

    Values that are all the same have no spread, yet say how rare others are: at most a share of 1 - alpha^(1/n), with
    1 - 2 × alpha the confidence, and those lie at the ends at worst.
    """
    from scipy.special import stdtrit

    mean, n = float(values.mean()), len(values)
    if np.ptp(values) <= 1e-9 * max(1.0, abs(mean)):
        others = 1 - ((1 - confidence) / 2) ** (1 / n)
        return Bounds(mean - others * (mean - ends[0]), mean + others * (ends[1] - mean))
    sd = float(values.std(ddof=1))
    skewness = float(((values - mean) ** 3).mean()) / sd**3
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    low = mean - max(t, _hall(t, skewness / math.sqrt(n))) * sd / math.sqrt(n)
    high = mean - min(-t, _hall(-t, skewness / math.sqrt(n))) * sd / math.sqrt(n)
    return Bounds(max(ends[0], low), min(ends[1], high))


def _hall(quantile: float, g: float) -> float:
    """The t that Hall's cubic t + g t²/3 + g² t³/27 + g/6 takes to a quantile; it rises everywhere."""
    return quantile if abs(g) < 1e-9 else 3 / g * (math.cbrt(1 + g * (quantile - g / 6)) - 1)


def needed_n(n: int, bounds: Bounds, value: float, limit: float, alpha: float, power: float = 0.8) -> int | None:
    """How many requests would decide in `power` of all cases, were the truth what was seen.

    None where that is the limit itself. From the width of the interval, which shrinks as 1/√n.
    """
    from scipy.special import ndtri

    distance = abs(limit - value)
    error = (bounds.high - bounds.low) / (2 * float(ndtri(1 - alpha)))
    if distance < 1e-9 * max(1.0, abs(limit)):
        return None
    return max(n + 1, math.ceil(n * ((float(ndtri(1 - alpha)) + float(ndtri(power))) * error / distance) ** 2))
