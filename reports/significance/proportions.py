"""Paired proportions: one yes or no an item, of a baseline and of a candidate.

    >>> counts = PairedCounts(both=38, baseline_only=33, candidate_only=4, neither=25)   # 71 % → 42 %
    >>> counts.difference, tango(counts), mcnemar(counts).mid_p, relative_change(counts)
    (-0.29, (-0.396, -0.184), 6e-07, (-0.534, -0.275))

Differences are candidate - baseline. The methods are those that hold at the n of a prompt set (Fagerland, Lydersen and
Laake 2014, "Recommended tests and confidence intervals for paired binomial proportions").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.intervals import CONFIDENCE, Z_95, wilson
from reports.significance.bootstrap import sums_by_cluster

Values = NDArray[np.float64]
Ends = tuple[float, float]
HALVINGS = 60
"""Of a bracket of length 2 at most: to 2e-18, past what a float can tell."""


@dataclass(frozen=True)
class PairedCounts:
    """How many items said yes in both runs, in one of them, in neither. At least one item; else ValueError."""

    both: int
    baseline_only: int
    candidate_only: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.baseline_only, self.candidate_only, self.neither) < 0 or not self.n:
            raise ValueError(f"{self} counts no pairs")

    @classmethod
    def of(cls, baseline: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> PairedCounts:
        """Count the items of two arrays of equal length."""
        before, after = np.asarray(baseline, dtype=bool), np.asarray(candidate, dtype=bool)
        if before.ndim != 1 or before.shape != after.shape:
            raise ValueError(f"answers of shapes {before.shape} and {after.shape} are no pairs")
        cells = np.bincount(2 * before + after, minlength=4)
        return cls(int(cells[3]), int(cells[2]), int(cells[1]), int(cells[0]))

    @property
    def n(self) -> int:
        return self.both + self.baseline_only + self.candidate_only + self.neither

    @property
    def discordant(self) -> int:
        """Items whose answer changed."""
        return self.baseline_only + self.candidate_only

    @property
    def baseline(self) -> float:
        return (self.both + self.baseline_only) / self.n

    @property
    def candidate(self) -> float:
        return (self.both + self.candidate_only) / self.n

    @property
    def difference(self) -> float:
        """candidate - baseline."""
        return (self.candidate_only - self.baseline_only) / self.n


# --- intervals of a difference ---


def tango(counts: PairedCounts, confidence: float = CONFIDENCE) -> Ends:
    """Tango's score interval (1998) of the difference: all differences that a score test does not reject.

    Within [-1, 1], and holds the observed difference. Exact coverage of "95 %" for 20, 30, 50 and 100 items and shares
    of discordant pairs from 0 to .6: .93 at least, .97 to .95 on average; at most .05 beyond one end.
    """
    z, found = _two_sided_z(confidence), counts.difference
    low = _crossing(lambda delta: tango_z(counts, delta) > z, -1.0, found)
    high = _crossing(lambda delta: tango_z(counts, delta) >= -z, found, 1.0)
    return min(low, found), max(high, found)


def tango_z(counts: PairedCounts, delta: float) -> float:
    """The score statistic of H0 "the difference is delta": about standard normal under it, positive for more.

    Infinite where H0 makes what was seen impossible. At delta 0 it is McNemar's (b - c) / sqrt(b + c).
    """
    n, off = counts.n, counts.candidate_only - counts.baseline_only - counts.n * delta
    variance = n * null_variance(counts.candidate_only / n, counts.baseline_only / n, delta)
    return _over_root(off, variance)


def null_variance(gained: float, lost: float, delta: float) -> float:
    """Variance of one pair's change, at the likeliest shares of discordant pairs that differ by `delta`.

    `gained` and `lost` are the observed shares (Tango 1998, equations 5 to 8).
    """
    if not -1 <= delta <= 1:
        raise ValueError(f"{delta} is no difference of shares")
    if delta < 0:
        # The mirror image, in which no digits cancel.
        return null_variance(lost, gained, -delta)
    b = gained + lost - (2 - gained + lost) * delta
    root = math.sqrt(b * b + 8 * lost * delta * (1 - delta))
    likeliest_lost = (b + root) / 4 if b >= 0 else 2 * lost * delta * (1 - delta) / (root - b)
    return 2 * likeliest_lost + delta * (1 - delta)


def newcombe(counts: PairedCounts, confidence: float = CONFIDENCE) -> Ends:
    """Newcombe's interval (1998, method 10) of the difference: Wilson's of both shares, with their correlation.

    Within [-1, 1], and holds the observed difference. Coverage, measured as that of `tango`: .91 at least, .97 on
    average; at most .09 beyond one end.
    """
    # Wilson's interval depends on n / z² alone, so that another confidence is another n.
    n = counts.n * (Z_95 / _two_sided_z(confidence)) ** 2
    before, after, phi = counts.baseline, counts.candidate, _correlation(counts)
    low_before, high_before = wilson(before, n)
    low_after, high_after = wilson(after, n)
    down = _apart(after - low_after, high_before - before, phi)
    up = _apart(high_after - after, before - low_before, phi)
    return max(-1.0, counts.difference - down), min(1.0, counts.difference + up)


def _apart(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def _correlation(counts: PairedCounts) -> float:
    """Newcombe's phi: the correlation of both answers, towards 0 by n/2 where it is positive."""
    both, lost, gained, neither = counts.both, counts.baseline_only, counts.candidate_only, counts.neither
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if not margins:
        return 0.0
    product = both * neither - lost * gained
    return (max(product - counts.n / 2, 0) if product > 0 else product) / math.sqrt(margins)


def clustered_difference(
    differences: Values, clusters: Sequence[Hashable] | NDArray[Any], confidence: float = CONFIDENCE
) -> Ends:
    """The mean of differences of -1, 0 or 1 an answer, where several answers belong to one cluster (a request).

    Agresti and Min 2005 (Wald's, with half an observation added to each of the four cells), generalised to clusters:
    what is added are two clusters of mean size. Coverage of "95 %" for shares b and c of discordant pairs, 4,000 rounds
    (four answers a request, correlated by 1/3: 1,000):

        requests   b, c = .05, .02   .10, .05   .30, .05   .60, .00
              20       .998 (1.00)  .982 (.99)  .938 (.96)  .942 (.97)
             100       .960 (.956)  .951 (.96)  .948 (.96)  .939 (.94)
             300       .950 (.958)  .956 (.96)  .947 (.95)  .953 (.95)

    It leans towards 0: most errors are of the end that is farther from 0. At 90 % and 20 to 100 requests of 2 to 10
    answers that end is passed in .03 to .07 with .15, .05 and in .06 to .11 with .60, .00; in up to .12 where half of
    the requests have one answer and half eight that hardly differ.
    """
    changes = np.asarray(differences, dtype=float)
    if not len(changes) or not np.isin(changes, (-1, 0, 1)).all():
        raise ValueError("each answer's difference is -1, 0 or 1, and there is at least one")
    sums, sizes = sums_by_cluster(np.column_stack([changes, np.ones(len(changes))]), clusters).T
    added = float(sizes.mean())
    n = float(sizes.sum()) + 2 * added
    centre = float(sums.sum()) / n
    # The two that are added: half of one with the difference 1, half of one with -1, and one with 0.
    of_added = added**2 * ((1 - centre) ** 2 + (1 + centre) ** 2 + 2 * centre**2) / 2
    half = _two_sided_z(confidence) * math.sqrt(float(((sums - sizes * centre) ** 2).sum()) + of_added) / n
    found = float(changes.mean())
    return max(-1.0, min(found, centre - half)), min(1.0, max(found, centre + half))


# --- tests ---


class McNemar(NamedTuple):
    """Two-sided p of both forms of McNemar's test."""

    exact: float
    mid_p: float


def mcnemar(counts: PairedCounts) -> McNemar:
    """Whether as many items went one way as the other: a binomial test of the discordant ones (McNemar 1947).

    `exact` never errs more often than it says; `mid_p` counts the observed outcome half and errs about as often as it
    says (Fagerland, Lydersen and Laake 2013). Both are 1 where nothing changed.
    """
    from scipy.special import bdtr

    m, fewer = counts.discordant, min(counts.baseline_only, counts.candidate_only)
    if 2 * fewer == m:
        return McNemar(1.0, 1.0)
    up_to, below = float(bdtr(fewer, m, 0.5)), float(bdtr(fewer - 1, m, 0.5)) if fewer else 0.0
    return McNemar(min(1.0, 2 * up_to), up_to + below)


def noninferiority_p(counts: PairedCounts, margin: float, worse: Literal["lower", "higher"]) -> float:
    """One-sided p of H0 "the candidate is worse by `margin` or more", by Tango's score test.

    `worse` says which sign of candidate - baseline is bad. Below alpha exactly where `tango` at 1 - 2 alpha stays
    clear of the margin, for alpha below 1/2.
    """
    from scipy.special import ndtr

    return float(ndtr(tango_z(counts, margin) if worse == "higher" else -tango_z(counts, -margin)))


def equivalence_p(counts: PairedCounts, margin: float) -> float:
    """p of H0 "the difference is `margin` or more, either way": the larger of two one-sided tests."""
    return max(noninferiority_p(counts, margin, "lower"), noninferiority_p(counts, margin, "higher"))


# --- relative change ---


def relative_change(counts: PairedCounts, confidence: float = CONFIDENCE) -> Ends | None:
    """Interval of candidate / baseline - 1 (0.71 → 0.42: -0.41); None where the baseline has no yes.

    The score interval of a paired ratio (Nam and Blackwelder 2002; Tang, Tang and Chan 2003). Between -1 and infinity,
    and holds the observed change. Exact coverage of "95 %" for 20, 30, 50 and 100 items, shares of .1 to .9, ratios of
    .3 to 1.2 and correlations of 0 to .6: .945 at least, .965 to .951 on average; at most .04 beyond one end. Bonett
    and Price's closed form (2006) covers as much, but is beyond one end in up to .06; the logarithm's normal interval
    covers .77 at worst. A BCa bootstrap (simulated) is about as wide, covers .91 to .92 of up to 100 items for shares
    of .9, and often has no ends where few say yes.
    """
    before, after = counts.both + counts.baseline_only, counts.both + counts.candidate_only
    if not before:
        return None
    z, found = _two_sided_z(confidence), after / (before + after)
    low = min(found, _crossing(lambda share: _ratio_z(counts, share) > z, 0.0, found)) if after else 0.0
    high = max(found, _crossing(lambda share: _ratio_z(counts, share) >= -z, found, 1.0))
    return low / (1 - low) - 1, high / (1 - high) - 1


def _ratio_z(counts: PairedCounts, share: float) -> float:
    """The score statistic of H0 "candidate / baseline = share / (1 - share)", among items with a yes in either run.

    Written in the share, which treats both runs alike. The likeliest share of the items lost solves a quadratic.
    """
    both, lost, gained, rest = counts.both, counts.baseline_only, counts.candidate_only, 1 - share
    if share < rest:
        mirrored = PairedCounts(both, gained, lost, counts.neither)
        return -_ratio_z(mirrored, rest)
    n, ahead = both + lost + gained, share - rest
    b = (gained + lost) * rest * rest - (both + lost) * ahead
    root = math.sqrt(b * b + 4 * n * lost * rest * rest * ahead)
    likeliest_lost = (b + root) / (2 * n * rest) if b >= 0 else 2 * lost * rest * ahead / (root - b)
    likeliest_gained = (ahead + likeliest_lost * rest) / share
    likeliest_both = max(0.0, rest - likeliest_lost) / share
    variance = n * (rest**2 * likeliest_gained + share**2 * likeliest_lost + ahead**2 * likeliest_both)
    return _over_root(rest * (both + gained) - share * (both + lost), variance)


# --- what they share ---


def _over_root(off: float, variance: float) -> float:
    """off / sqrt(variance), of which both can be 0: nothing is off then."""
    if not variance:
        return math.copysign(math.inf, off) if off else 0.0
    return off / math.sqrt(variance)


def _crossing(before: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that holds at the low end of a bracket stops to hold."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2


def _two_sided_z(confidence: float) -> float:
    from scipy.special import ndtri

    if not 0 < confidence < 1:
        raise ValueError(f"{confidence} is no confidence between 0 and 1")
    return float(ndtri((1 + confidence) / 2))
