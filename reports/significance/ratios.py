"""How far the ratio of two means may be off: that of the candidate over that of the baseline, over the same items.

>>> ratio_interval(after.distinct_2, before.distinct_2)      # less 1: the relative change
(0.91, 0.97)
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_UP_TO, CONFIDENCE, RESAMPLES, Interval
from reports.significance.bootstrap import ROUNDING, bca_ratio, sums_by_cluster

Values = NDArray[np.float64]


def ratio_interval(
    numerators: Values,
    denominators: Values,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of mean(numerators) / mean(denominators): BCa bootstrap up to 5,000 items, Fieller's beyond. Vectors.

    With `clusters` (one label a row) those are what is drawn and counted. At 5,000 items the ends of the two lie 1 % of
    the interval's width apart for rates and ratings, and 3 % for a rate with 25 hits in all. O(items), where the
    bootstrap is 10,000 times that. None as in `bca_ratio`.

    Raises:
        ValueError: as `bca_ratio`; beyond 5,000 items also for values that are no numbers.
    """
    columns = np.column_stack([numerators, denominators]).astype(float)
    if len(columns) > BOOTSTRAP_UP_TO:
        units = columns if clusters is None else sums_by_cluster(columns, clusters)
        if len(units) > BOOTSTRAP_UP_TO:
            return fieller(units[:, 0], units[:, 1], confidence)
    ends = bca_ratio(columns[:, 0], columns[:, 1], clusters, confidence, resamples, seed)
    low, high = (float(end[0]) for end in ends)
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def fieller(numerators: Values, denominators: Values, confidence: float = CONFIDENCE) -> Interval:
    """Fieller's interval (1954) of mean(numerators) / mean(denominators) of paired values, their means being normal.

    All ratios R for which the mean of numerators - R × denominators is not told from 0. Unlike the delta method's it
    knows that the denominator may be off, too, so its ends need not lie alike far from the ratio. None where the
    denominators are not told from 0, where all are in one item, or where the ratio is one and the same of every item.

    Raises:
        ValueError: values that are no numbers, or negative denominators.
    """
    if not (np.isfinite(numerators).all() and np.isfinite(denominators).all()) or np.any(denominators < 0):
        raise ValueError("a ratio of means needs finite values, and denominators of 0 or more")
    from scipy.special import ndtri

    n, below = len(denominators), float(denominators.mean()) if len(denominators) else 0.0
    if n < 2 or not below:
        return None
    ratio = float(numerators.mean()) / below
    # What an item is off the common ratio: no large numbers are subtracted from each other further on.
    off = numerators - ratio * denominators
    if np.abs(off).max() <= ROUNDING * (np.abs(numerators).max() + abs(ratio) * denominators.max()):
        return None
    spread = np.cov(off, denominators) / n * float(ndtri((1 + confidence) / 2)) ** 2
    slope = below**2 - float(spread[1, 1])
    if slope <= 0:
        return None
    middle = -float(spread[0, 1])
    half = math.sqrt(middle**2 + slope * float(spread[0, 0]))
    return ratio + (middle - half) / slope, ratio + (middle + half) / slope
