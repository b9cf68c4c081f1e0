"""95 % intervals of one run's figures. The item is the unit: its turns and samples are one cluster (Miller 2024)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
BOOTSTRAP_FROM = 10
BOOTSTRAP_UP_TO = 5_000
"""Items; beyond, a mean's bootstrap and normal intervals agree to three digits, and the bootstrap costs gigabytes."""
Z_95 = 1.959963984540054
"""The normal quantile of 0.975."""

Interval = tuple[float, float] | None
Values = NDArray[np.float64]


def mean_interval(by_item: Values, scale: tuple[float, float] | None = None, seed: int = 0) -> Interval:
    """Interval of the mean of item means: BCa bootstrap over items (Efron 1987), 10,000 resamples.

    Below ten items the bootstrap is far too narrow, so Student's t stands in for it, cut at the ends of the `scale`
    (measured by benchmarks/interval_coverage.py).
    Values that are all the same give a bootstrap nothing to resample. On a `scale` with two ends they still say
    something: the share of items with another value is at most 1 - 0.05^(1/n) with 95 % confidence (Clopper and Pearson
    1934, none of n), and those lie at the ends at worst. None without a scale, and below two items.
    """
    n = len(by_item)
    if n < 2:
        return None
    mean = float(by_item.mean())
    if np.ptp(by_item) <= 1e-9 * max(1.0, abs(mean)):
        if scale is None:
            return None
        others = 1 - (1 - CONFIDENCE) ** (1 / n)
        return mean - others * (mean - scale[0]), mean + others * (scale[1] - mean)
    if n > BOOTSTRAP_UP_TO:
        half = Z_95 * float(by_item.std(ddof=1)) / math.sqrt(n)
        return mean - half, mean + half
    if n < BOOTSTRAP_FROM:
        from scipy.special import stdtrit

        half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * float(by_item.std(ddof=1)) / math.sqrt(n)
        low, high = scale or (-math.inf, math.inf)
        return max(low, mean - half), min(high, mean + half)
    from scipy.stats import bootstrap

    found = bootstrap(
        (by_item,), np.mean, n_resamples=RESAMPLES, batch=1_000, confidence_level=CONFIDENCE, method="BCa", rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def rate_interval(hits: Values, items: NDArray[np.integer[Any]]) -> Interval:
    """Interval of a rate: Wilson's, on the effective number of answers. None without answers.

    `hits` holds 0 or 1 an answer, `items` the item it belongs to.
    """
    return wilson(float(hits.mean()), effective_n(hits, items)) if len(hits) else None


def effective_n(hits: Values, items: NDArray[np.integer[Any]]) -> float:
    """How many independent answers these are worth.

    Where every item has one answer, that many. Several answers of one item are worth less than as many items: n is
    divided by the design effect (variance of the rate with items as clusters over its binomial variance, at least 1;
    Korn and Graubard 1998). With no hit, or hits only, the design effect can not be estimated: the number of items.
    """
    n, rate = len(hits), float(hits.mean())
    _, cluster = np.unique(items, return_inverse=True)
    clusters = int(cluster.max()) + 1
    if clusters == n:
        return n
    if rate in (0.0, 1.0) or clusters < 2:
        return clusters
    residual_sums = np.bincount(cluster, weights=hits - rate)
    variance = clusters / (clusters - 1) * float((residual_sums**2).sum()) / n**2
    return n / max(1.0, variance / (rate * (1 - rate) / n))


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion; `n` may be an effective sample size, so need not be whole."""
    centre = (rate + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(rate * (1 - rate) / n + Z_95**2 / (4 * n**2))
    return max(0.0, centre - half) if rate > 0 else 0.0, min(1.0, centre + half) if rate < 1 else 1.0
