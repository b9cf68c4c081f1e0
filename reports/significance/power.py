"""What n items can show: the least difference that a test finds in 80 % of cases, and the n that a difference needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
POWER = 0.8
CERTAIN = 8.0
"""Standard errors from which power is 1 to eight digits; scipy's noncentral t is NaN a little farther out."""
MOST = 10_000_000
"""Items up to which a needed n is looked for."""


# --- means: the paired t test ---


def mean_power(n: float, difference: float, sd: float, alpha: float = ALPHA, sides: int = 2) -> float:
    """The chance that a paired t test of n differences with standard deviation `sd` finds a true `difference`.

    By the noncentral t.
    """
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(n - 1, 1 - alpha / sides))
    shift = abs(difference) / sd * math.sqrt(n)
    if shift > CERTAIN:
        return 1.0
    wrong_way = float(nctdtr(n - 1, shift, -critical)) if sides == 2 else 0.0
    return 1 - float(nctdtr(n - 1, shift, critical)) + wrong_way


def detectable_mean_difference(
    n: int, sd: float, alpha: float = ALPHA, power: float = POWER, sides: int = 2
) -> float | None:
    """The least true mean difference that n items show with this power, in the units of `sd`; None below two items."""
    if n < 2:
        return None
    if sd == 0:
        return 0.0
    high = 1.0
    while mean_power(n, high * sd, sd, alpha, sides) < power:
        high *= 2
    return sd * _root(lambda size: mean_power(n, size * sd, sd, alpha, sides) - power, 0.0, high)


def needed_n_mean(
    difference: float, sd: float, alpha: float = ALPHA, power: float = POWER, sides: int = 2
) -> int | None:
    """How many items show a true mean difference; None for a difference of 0, or beyond ten million."""
    if not difference:
        return None
    return _least_n(lambda n: mean_power(n, difference, sd, alpha, sides) >= power)


def noninferiority_power_mean(
    n: float, margin: float, sd: float, true_difference: float = 0.0, alpha: float = ALPHA
) -> float:
    """The chance that n items show a candidate to be worse by less than `margin`.

    `true_difference` counts towards the good side: 0 is as good as the baseline, -margin lies at the margin.
    """
    from scipy.special import nctdtr, stdtrit

    shift = (margin + true_difference) / sd * math.sqrt(n)
    if abs(shift) > CERTAIN:
        return float(shift > 0)
    return 1 - float(nctdtr(n - 1, shift, float(stdtrit(n - 1, 1 - alpha))))


def noninferiority_n_mean(
    margin: float, sd: float, true_difference: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """How many items that takes; None where the truth lies at the margin or beyond."""
    if margin + true_difference <= 0:
        return None
    return _least_n(lambda n: noninferiority_power_mean(n, margin, sd, true_difference, alpha) >= power)


# --- paired proportions: McNemar's test, mid-p ---


def share_power(n: int, gained: float, lost: float, alpha: float = ALPHA) -> float:
    """The chance that McNemar's mid-p test of n pairs finds that the shares `gained` and `lost` differ.

    Exact: over every number of discordant pairs, and every way that they may fall.
    """
    from scipy.special import bdtr, gammaln, xlogy

    both = gained + lost
    if both <= 0:
        return 0.0
    centre, width = n * both, 8 * math.sqrt(n * both * (1 - both)) + 8
    m = np.arange(max(0, math.floor(centre - width)), min(n, math.ceil(centre + width)) + 1)
    chance = np.exp(
        gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1) + xlogy(m, both) + xlogy(n - m, max(0.0, 1 - both))
    )
    most = _largest_rejected(int(m[-1]), alpha)[m]
    share = gained / both
    few = np.where(most >= 0, bdtr(np.maximum(most, 0), m, share), 0.0)
    many = np.where(most >= 0, bdtr(np.maximum(most, 0), m, 1 - share), 0.0)
    return float((chance * (few + many)).sum())


@lru_cache(maxsize=8)
def _largest_rejected(pairs: int, alpha: float) -> NDArray[np.int64]:
    """For 0 to `pairs` discordant ones, the most in the smaller cell with which mid-p is below alpha; -1 for none.

    From one number of pairs to the next it grows by 0 or 1.
    """
    from scipy.special import bdtr

    found = np.full(pairs + 1, -1)
    most = -1
    for m in range(1, pairs + 1):
        k = most + 1
        below = float(bdtr(k - 1, m, 0.5)) if k else 0.0
        if 2 * k < m and below + float(bdtr(k, m, 0.5)) < alpha:
            most = k
        found[m] = most
    return found


def detectable_share_difference(n: int, against: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The least difference of two paired shares that n items show with this power.

    `against` is the share of items that change the other way: 0.05 against makes 0.13 of 100 items detectable. None
    where no difference is, however large.
    """
    most = 1 - 2 * against
    if n < 2 or most <= 0 or share_power(n, against + most, against, alpha) < power:
        return None
    return _root(lambda size: share_power(n, against + size, against, alpha) - power, 0.0, most, steps=20)


def needed_n_share(gained: float, lost: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """How many items show that two shares of changed items differ; None where they are equal."""
    if gained == lost:
        return None
    return _least_n(lambda n: share_power(n, gained, lost, alpha) >= power)


def noninferiority_n_share(
    margin: float, worse: float, better: float, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """How many items show a candidate to be worse by less than `margin`, for true shares that got worse and better.

    By the normal approximation of Tango's score test (Nam 1997), whose variance under H0 is that at the margin. None
    where the truth lies at the margin or beyond.
    """
    from scipy.special import ndtri

    distance = margin - (worse - better)
    if distance <= 0:
        return None
    variance = worse + better - (worse - better) ** 2
    b = (2 + better - worse) * margin - worse - better
    lost = (math.sqrt(max(0.0, b * b + 8 * better * margin * (1 - margin))) - b) / 4
    at_margin = 2 * lost + margin * (1 - margin)
    z = float(ndtri(1 - alpha)) * math.sqrt(at_margin) + float(ndtri(power)) * math.sqrt(variance)
    return max(2, math.ceil((z / distance) ** 2))


def _least_n(enough: Callable[[int], bool]) -> int | None:
    """The least n from 2 that is enough, by doubling and halving."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _root(function: Callable[[float], float], low: float, high: float, steps: int = 50) -> float:
    """Where a rising function passes 0."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) >= 0 else (middle, high)
    return high
