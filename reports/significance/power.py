"""What n items can show: the least difference that a test finds in 80 % of cases, and the n that a difference needs.

    >>> detectable_mean_difference(80, sd=2.0), needed_n_mean(-0.59, sd=2.0)        # ratings of 1 to 10
    (0.63, 93)
    >>> detectable_share_difference(100, against=0.05), needed_n_share(gained=0.10, lost=0.05)
    (0.131, 461)

An n from a difference that was seen is no better known than that difference, twice which needs a quarter of the items.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reports.significance.proportions import null_variance

ALPHA = 0.05
POWER = 0.8
FAR_OUT = 37.0
"""Standard errors, beyond which scipy's noncentral distributions are NaN, and a mean's own scatter no longer counts."""
MOST = 10_000_000
"""Items up to which a needed n is looked for."""
TAILS = 6.5
"""Standard deviations of the number of discordant pairs that a power sums over; what lies beyond has 1e-9."""
NORMAL_FROM = 200
"""Items expected against, from which the normal approximation stands in for exact power."""

Sides = Literal[1, 2]


# --- means: the paired t test ---


def mean_power(n: int, difference: float, sd: float, alpha: float = ALPHA, sides: Sides = 2) -> float:
    """The chance that a paired t test of n differences with standard deviation `sd` finds a true `difference`.

    By the noncentral t. With one side, a difference above 0 is what the test looks for. At least two items.
    """
    from scipy.special import gammainc, ncfdtr, nctdtr, stdtrit

    _check(n, sd, alpha)
    if sd == 0:
        return float(difference != 0 if sides == 2 else difference > 0)
    freedom, shift = n - 1, difference / sd * math.sqrt(n)
    critical = float(stdtrit(freedom, 1 - alpha / sides))
    if abs(shift) > FAR_OUT:
        found = float(gammainc(freedom / 2, freedom / 2 * (shift / critical) ** 2))
        return found if sides == 2 or shift > 0 else 0.0
    if sides == 2:
        # The square of t is a noncentral F, which has both ends at once, and no NaN where t has.
        return 1 - float(ncfdtr(1, freedom, shift**2, critical**2))
    # Three standard errors on the wrong side the chance is about alpha / 1,000 at most, and scipy's t may be NaN.
    return 1 - float(nctdtr(freedom, shift, critical)) if shift > -3 else 0.0


def detectable_mean_difference(
    n: int, sd: float, alpha: float = ALPHA, power: float = POWER, sides: Sides = 2
) -> float | None:
    """The least true mean difference that n items show with this power, in the units of `sd`; None below two items."""
    _check(max(n, 2), sd, alpha, power)
    if n < 2:
        return None
    high = 1.0
    while mean_power(n, high, 1.0, alpha, sides) < power:
        high *= 2
    return sd * _root(lambda size: mean_power(n, size, 1.0, alpha, sides) - power, 0.0, high, 1e-12 * high)


def needed_n_mean(
    difference: float, sd: float, alpha: float = ALPHA, power: float = POWER, sides: Sides = 2
) -> int | None:
    """The least n that shows a true mean difference of this size; None for a difference of 0, or beyond ten million."""
    _check(2, sd, alpha, power)
    if not difference:
        return None
    return _least_n(lambda n: mean_power(n, abs(difference), sd, alpha, sides) >= power)


def noninferiority_power_mean(
    n: int, margin: float, sd: float, true_difference: float = 0.0, alpha: float = ALPHA
) -> float:
    """The chance that n items show a candidate to be worse by less than `margin`, in a one-sided paired t test.

    `true_difference` is positive for a better candidate: at 0 it is as good as the baseline, at -margin just too bad.
    """
    return mean_power(n, margin + true_difference, sd, alpha, sides=1)


def noninferiority_n_mean(
    margin: float, sd: float, true_difference: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """The least n for that; None where the truth lies at the margin or beyond, or needs more than ten million."""
    if margin + true_difference <= 0:
        return None
    return needed_n_mean(margin + true_difference, sd, alpha, power, sides=1)


# --- paired proportions: McNemar's test, mid-p ---


def share_power(n: int, gained: float, lost: float, alpha: float = ALPHA) -> float:
    """The chance that McNemar's mid-p test of n pairs tells the shares `gained` and `lost` of changed items apart.

    Exact: over every number of discordant pairs, and every way that they may fall.
    """
    from scipy.special import bdtr, gammaln, xlog1py, xlogy

    _check_shares(gained, lost)
    _check(n, 1.0, alpha)
    changed = gained + lost
    if not changed:
        return 0.0
    centre, reach = n * changed, TAILS * math.sqrt(n * changed * (1 - changed)) + TAILS
    m = np.arange(max(0, math.floor(centre - reach)), min(n, math.ceil(centre + reach)) + 1)
    chance = np.exp(
        gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1) + xlogy(m, changed) + xlog1py(n - m, -min(1.0, changed))
    )
    most = largest_rejected(m, alpha)
    m, most, chance = m[most >= 0], most[most >= 0], chance[most >= 0]
    return float(chance @ (bdtr(most, m, gained / changed) + bdtr(most, m, lost / changed)))


def largest_rejected(m: NDArray[np.int_], alpha: float) -> NDArray[np.int_]:
    """The most in the smaller of two cells of m pairs with which mid-p is below alpha; -1 where that is none."""
    from scipy.special import bdtr, ndtri

    # Where the normal approximation has it, or next to that.
    least = np.floor(m / 2 + float(ndtri(alpha / 2)) * np.sqrt(m) / 2).astype(int) - 2
    found = np.full(len(m), -1)
    below = np.where(least > 0, bdtr(np.maximum(least - 1, 0), m, 0.5), 0.0)
    for k in (least + step for step in range(5)):
        up_to = np.where(k >= 0, bdtr(np.clip(k, 0, m), m, 0.5), 0.0)
        found = np.where((k >= 0) & (2 * k < m) & (up_to + below < alpha), k, found)
        below = up_to
    return found


def detectable_share_difference(n: int, against: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The least difference of two paired shares that n items show with this power.

    `against` is the share of items that change the other way: 0.05 against makes 0.13 of 100 items detectable. None
    where no difference is, however large. From exact power, to 1 in 1,000; where more than 200 items are expected
    against, from the normal approximation (Connor 1987), which is then off by 1 in 300 at most.
    """
    from scipy.special import ndtri

    _check_shares(against, against)
    _check(max(n, 2), 1.0, alpha, power)
    most = 1 - 2 * against
    if n < 2 or most <= 0 or share_power(n, against + most, against, alpha) < power:
        return None

    def short(size: float) -> float:
        return share_power(n, against + size, against, alpha) - power

    z = float(ndtri(1 - alpha / 2) + ndtri(power)) / math.sqrt(n)
    guess = z * (z + math.sqrt(z * z + 8 * against)) / 2
    if n * against > NORMAL_FROM:
        return guess
    low, high = min(most, guess) / 1.25, min(most, guess * 1.25)
    while short(low) > 0:
        low /= 1.25
    while short(high) < 0:
        high = min(most, high * 1.25)
    return _root(short, low, high, 1e-3 * low)


def needed_n_share(gained: float, lost: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """How many items tell two shares of changed items apart; None where they are equal, or beyond ten million.

    By exact power, which rises and falls by steps where nearly every item changes: a few items less may do there.
    """
    _check_shares(gained, lost)
    _check(2, 1.0, alpha, power)
    if gained == lost:
        return None
    return _least_n(lambda n: share_power(n, gained, lost, alpha) >= power)


def noninferiority_n_share(
    margin: float, worse: float, better: float, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """How many items show a candidate to be worse by less than `margin`, for true shares that got worse and better.

    By the normal approximation to the power of Tango's score test (Nam 1997), with its variance under H0 taken at the
    shares that H0 makes likeliest. It asks for a little too many: exact power there is .80 to .87 for the .80 asked,
    and .77 at worst (.01 worse, 0 better, margin .05, alpha .025). None where the truth lies at the margin or beyond.
    """
    from scipy.special import ndtri

    _check_shares(worse, better)
    _check(2, 1.0, alpha, power)
    if not 0 < margin < 1:
        raise ValueError(f"a margin of {margin} is not between 0 and 1")
    distance = margin - (worse - better)
    if distance <= 0:
        return None
    at_margin, true = null_variance(worse, better, margin), worse + better - (worse - better) ** 2
    z = float(ndtri(1 - alpha)) * math.sqrt(at_margin) + float(ndtri(power)) * math.sqrt(max(0.0, true))
    return max(2, math.ceil((z / distance) ** 2))


# --- what they share ---


def _check(n: int, sd: float, alpha: float, power: float = POWER) -> None:
    if n < 2 or not 0 <= sd < math.inf:
        raise ValueError(f"{n} items with standard deviation {sd} are no sample of differences")
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha {alpha} and power {power} are not 0 < alpha < power < 1")


def _check_shares(one: float, other: float) -> None:
    if not (one >= 0 and other >= 0 and one + other <= 1 + 1e-12):
        raise ValueError(f"{one} and {other} are no shares of the same items")


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


def _root(function: Callable[[float], float], low: float, high: float, width: float) -> float:
    """Where a rising function passes 0: the upper end of a bracket of this width."""
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) >= 0 else (middle, high)
    return high
