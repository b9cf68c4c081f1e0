"""Paired proportions: one yes or no an item, of a baseline and of a candidate.

    >>> counts = PairedCounts(both=38, baseline_only=33, candidate_only=4, neither=25)   # 71 % → 42 %
    >>> counts.difference, tango(counts), mcnemar(counts).mid_p, relative_change(counts)
    (-0.29, (-0.396, -0.184), 5.6e-07, (-0.535, -0.277))

Differences are candidate - baseline. The methods are those that hold at the n of a prompt set (Fagerland, Lydersen and
Laake 2014, "Recommended tests and confidence intervals for paired binomial proportions").
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.intervals import CONFIDENCE
from reports.significance.bootstrap import sums_by_cluster

Values = NDArray[np.float64]
Ends = tuple[float, float]
STEPS = 60
"""Halvings of a bracket of length 2: to 2e-18, past what a float can tell."""


@dataclass(frozen=True)
class PairedCounts:
    """How many items said yes in both runs, in one of them, in neither."""

    both: int
    baseline_only: int
    candidate_only: int
    neither: int

    @classmethod
    def of(cls, baseline: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> PairedCounts:
        """Count the items of two arrays of equal length."""
        yes = np.asarray(baseline, dtype=bool), np.asarray(candidate, dtype=bool)
        if yes[0].shape != yes[1].shape:
            raise ValueError(f"{yes[0].shape} and {yes[1].shape} are no pairs")
        cells = np.bincount(2 * yes[0] + yes[1], minlength=4)
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
    """Tango's score interval (1998): all differences that a score test does not reject. Holds the observed one."""
    z = _z((1 + confidence) / 2)
    found = counts.difference
    low = -1.0 if found <= -1 else _crossing(lambda delta: tango_z(counts, delta) > z, -1.0, found)
    high = 1.0 if found >= 1 else _crossing(lambda delta: tango_z(counts, delta) >= -z, found, 1.0)
    return min(low, found), max(high, found)


def tango_z(counts: PairedCounts, delta: float) -> float:
    """The score statistic of H0 "the difference is delta": normal under it, positive where more was seen.

    The share of the discordant cells is the likelihood's under H0 (Tango 1998, equations 5 to 8).
    """
    n, gained, lost = counts.n, counts.candidate_only, counts.baseline_only
    b = (2 * n - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    lost_share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * lost_share + delta * (1 - delta))
    off = gained - lost - n * delta
    if variance <= 1e-15 * n:
        return math.copysign(math.inf, off) if abs(off) > 1e-12 * n else 0.0
    return off / math.sqrt(variance)


def newcombe(counts: PairedCounts, confidence: float = CONFIDENCE) -> Ends:
    """Newcombe's interval (1998, method 10): Wilson's intervals of both proportions, with their correlation."""
    z = _z((1 + confidence) / 2)
    before, after = counts.baseline, counts.candidate
    low_before, high_before = wilson(before, counts.n, z)
    low_after, high_after = wilson(after, counts.n, z)
    phi = _correlation(counts)
    down = (
        (after - low_after) ** 2 - 2 * phi * (after - low_after) * (high_before - before) + (high_before - before) ** 2
    )
    up = (high_after - after) ** 2 - 2 * phi * (high_after - after) * (before - low_before) + (before - low_before) ** 2
    difference = counts.difference
    return max(-1.0, difference - math.sqrt(max(0.0, down))), min(1.0, difference + math.sqrt(max(0.0, up)))


def wilson(share: float, n: float, z: float) -> Ends:
    """Wilson's score interval (1927) at a normal quantile."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


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
    """
    changes = np.asarray(differences, dtype=float)
    sums, sizes = sums_by_cluster(np.column_stack([changes, np.ones(len(changes))]), clusters).T
    added = float(sizes.mean())
    n = float(sizes.sum()) + 2 * added
    centre = float(sums.sum()) / n
    # The two that are added: half of one with the difference 1, half of one with -1, and one with 0.
    of_added = added**2 * ((1 - centre) ** 2 + (1 + centre) ** 2 + 2 * centre**2) / 2
    half = _z((1 + confidence) / 2) * math.sqrt(float(((sums - sizes * centre) ** 2).sum()) + of_added) / n
    return max(-1.0, centre - half), min(1.0, centre + half)


# --- tests ---


class McNemar(NamedTuple):
    """Two-sided p of both forms of McNemar's test."""

    exact: float
    mid_p: float


def mcnemar(counts: PairedCounts) -> McNemar:
    """Whether as many items went one way as the other: a binomial test of the discordant ones (McNemar 1947).

    `exact` never errs more often than it says; `mid_p` counts the observed outcome half and errs as often as it says
    (Fagerland, Lydersen and Laake 2013). Both are 1 where nothing changed.
    """
    m, fewer = counts.discordant, min(counts.baseline_only, counts.candidate_only)
    if not m:
        return McNemar(1.0, 1.0)
    tail, here = _binomial_half(m, fewer)
    return McNemar(min(1.0, 2 * tail), min(1.0, 2 * tail - here))


def _binomial_half(m: int, k: int) -> Ends:
    """P(X <= k) and P(X = k) of m fair coins."""
    from scipy.special import bdtr

    tail = float(bdtr(k, m, 0.5))
    return tail, tail - (float(bdtr(k - 1, m, 0.5)) if k else 0.0)


def noninferiority_p(counts: PairedCounts, margin: float, worse: Literal["lower", "higher"]) -> float:
    """One-sided p of H0 "the candidate is worse by `margin` or more", by Tango's score test.

    `worse` says which sign of candidate - baseline is bad. Below alpha exactly where the interval at 1 - 2 alpha stays
    clear of the margin.
    """
    z = tango_z(counts, margin) if worse == "higher" else -tango_z(counts, -margin)
    return _normal_cdf(z)


def equivalence_p(counts: PairedCounts, margin: float) -> float:
    """p of H0 "the difference is `margin` or more, either way": the larger of two one-sided tests."""
    return max(noninferiority_p(counts, margin, "lower"), noninferiority_p(counts, margin, "higher"))


# --- relative change ---


def relative_change(counts: PairedCounts, confidence: float = CONFIDENCE) -> Ends | None:
    """Interval of candidate / baseline - 1; None where the baseline has no yes. (0.71 → 0.42: -0.41.)

    Bonett and Price 2006: Wilson-type intervals of both shares among the items with a yes in either run, combined so
    that the ratio has the wanted coverage. The upper end is infinite for no baseline's yes only.
    """
    if not counts.both + counts.baseline_only:
        return None
    n = counts.both + counts.discordant
    before, after = counts.both + counts.baseline_only, counts.both + counts.candidate_only
    z = _z((1 + confidence) / 2)
    spread = math.sqrt((counts.discordant + 2) / ((after + 1) * (before + 1)))
    apart = math.sqrt((1 - (after + 1) / (n + 2)) / (after + 1)) + math.sqrt(
        (1 - (before + 1) / (n + 2)) / (before + 1)
    )
    narrowed = z * spread / apart if apart else z
    low_before, high_before = wilson(before / n, n, narrowed)
    low_after, high_after = wilson(after / n, n, narrowed)
    return low_after / high_before - 1, high_after / low_before - 1 if low_before > 0 else math.inf


def _crossing(before: Any, low: float, high: float) -> float:
    """Where a condition that holds at the low end of a bracket stops to hold."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(level))


def _normal_cdf(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(z))
