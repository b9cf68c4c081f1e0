"""The same units in two runs, value against value: paired differences, and what a test says of them.

The item (its request, whatever attack is wrapped around it) is the unit of every interval and test: answers, turns and
samples of one are averaged, or taken as one cluster (Miller 2024, section 2.2 and 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.agreement import Figure
from harness.figures import Metric, Rate
from harness.intervals import BOOTSTRAP_FROM, CONFIDENCE, Interval
from reports.significance.means import SIGN_FLIP, TOO_FEW, UNTESTED, clustered_se, paired_mean, sign_flip
from reports.significance.power import detectable_mean_difference, detectable_share_difference
from reports.significance.proportions import PairedCounts, clustered_difference, mcnemar, relative_change, tango
from reports.significance.ratios import ratio_interval

UNIT = ["task", "item", "sample", "turn"]
Values = NDArray[np.float64]
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Paired:
    """A metric of two runs over the units that have a value in both; one entry a unit.

    `only_baseline` and `only_candidate` count the units with a value in one of them alone.
    """

    baseline: Values
    candidate: Values
    requests: NDArray[np.integer[Any]]
    is_rate: bool
    scale: tuple[float, float] | None
    only_baseline: int
    only_candidate: int

    @cached_property
    def by_request(self) -> tuple[Values, Values]:
        """The mean of each request, in both runs."""
        sizes = np.bincount(self.requests)
        before, after = (np.bincount(self.requests, weights=side) / sizes for side in (self.baseline, self.candidate))
        return before, after

    @property
    def n(self) -> int:
        """Requests, which are what a test counts."""
        return int(self.requests.max()) + 1 if len(self.requests) else 0

    @property
    def one_answer_each(self) -> bool:
        return self.n == len(self.requests)

    @property
    def values(self) -> tuple[float, float]:
        """The figure of each run over these units: a rate weighs answers, a mean weighs requests."""
        before, after = (self.baseline, self.candidate) if self.is_rate else self.by_request
        return float(before.mean()), float(after.mean())

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many units have a value in one of the runs alone, in words."""
        alone = {
            "a value in the baseline alone": self.only_baseline,
            "a value in the candidate alone": self.only_candidate,
        }
        return {reason: n for reason, n in alone.items() if n}

    @property
    def counts(self) -> PairedCounts:
        """The four cells of a rate."""
        return PairedCounts.of(self.baseline > 0, self.candidate > 0)


def pair(baseline: Metric, candidate: Metric) -> Paired:
    """Pair two runs' values of one metric by what they are values of."""
    before, after = (metric.units[[*UNIT, "request"]].assign(value=metric.values) for metric in (baseline, candidate))
    both = before.merge(after, on=UNIT, suffixes=("_before", "_after")).sort_values(UNIT)
    requests = both.groupby(["task", "request_before"], sort=True).ngroup().to_numpy(dtype=np.intp)
    return Paired(
        both.value_before.to_numpy(dtype=np.float64),
        both.value_after.to_numpy(dtype=np.float64),
        requests,
        # Whether lm-eval's values are all 0 or 1 shows in the values of a run alone.
        baseline.is_rate and candidate.is_rate,
        baseline.scale if baseline.scale == candidate.scale else None,
        len(before) - len(both),
        len(after) - len(both),
    )


def aligned(before: Iterable[Metric], after: Iterable[Metric]) -> Iterator[tuple[Metric, Metric]]:
    """The metrics that both have, in the order of the first."""
    there = {metric.name: metric for metric in after}
    return ((metric, there[metric.name]) for metric in before if metric.name in there)


# --- differences ---


@dataclass(frozen=True)
class Difference:
    """candidate - baseline, with a 95 % interval and a two-sided test that it is 0.

    `n` counts requests, `answers` the units that were paired. `p_beside` is that of a second test, as a check.
    `relative` is the change over the baseline's value (0.4 less of 0.7: -0.43). `minimum_detectable` is the least true
    difference that a test at 5 % finds in 80 % of such comparisons. What is not known is None; `test` then says why.
    """

    baseline_value: float | None
    candidate_value: float | None
    difference: float | None
    is_rate: bool
    low: float | None = None
    high: float | None = None
    p: float | None = None
    test: str = ""
    p_beside: float | None = None
    test_beside: str | None = None
    standard_error: float | None = None
    effect_size: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    minimum_detectable: float | None = None
    n: int = 0
    answers: int = 0


OF_THE_SET = "of the set as a whole"


def difference(paired: Paired, *, tested: bool = True) -> Difference:
    """The difference of a metric; `tested` unless it is only to be described.

    Rates with one answer a request: Tango's interval (1998) and McNemar's test (mid-p; exact beside it). Rates with
    several: an interval over requests, and a sign-flip permutation of requests. Means: BCa bootstrap over requests,
    sign-flip permutation (Wilcoxon's signed ranks beside it). Below ten requests neither an interval nor a test.
    """
    before, after = paired.values
    plain = Difference(before, after, after - before, paired.is_rate, n=paired.n, answers=len(paired.baseline))
    if paired.n < BOOTSTRAP_FROM:
        return replace(plain, test=TOO_FEW)
    if paired.is_rate:
        low, high = rate_interval(paired) or (None, None)
        plain = replace(plain, low=low, high=high)
        found = _of_rates(paired, plain) if paired.one_answer_each else _of_clustered_rates(paired, plain, tested)
    else:
        found = _of_means(paired, plain, tested)
    return found if tested else replace(found, p=None, test=UNTESTED, p_beside=None, test_beside=None)


def _of_means(paired: Paired, plain: Difference, tested: bool) -> Difference:
    before, after = paired.by_request
    changes = after - before
    found = paired_mean(changes, tested=tested)
    ratio = ratio_interval(after, before) if (before >= 0).all() else None
    return replace(
        plain,
        low=found.low, high=found.high, p=found.p, test=found.test,
        p_beside=found.p_wilcoxon, test_beside=None if found.p_wilcoxon is None else "Wilcoxon signed-rank",
        standard_error=found.se, effect_size=found.d_z,
        relative=_share_changed(plain) if before.mean() > 0 else None,
        relative_low=ratio and ratio[0] - 1, relative_high=ratio and ratio[1] - 1,
        minimum_detectable=detectable_mean_difference(paired.n, float(changes.std(ddof=1))) if found.se else None,
    )  # fmt: skip


def _of_rates(paired: Paired, plain: Difference) -> Difference:
    counts = paired.counts
    test = mcnemar(counts)
    relative = relative_change(counts)
    # Half an item more than was seen: that none changed this way is not known.
    against = (min(counts.baseline_only, counts.candidate_only) + 0.5) / counts.n
    return replace(
        plain,
        p=test.mid_p, test="McNemar mid-p", p_beside=test.exact, test_beside="McNemar exact",
        standard_error=_standard_error(counts),
        relative=_share_changed(plain), relative_low=relative and relative[0], relative_high=relative and relative[1],
        minimum_detectable=detectable_share_difference(counts.n, against),
    )  # fmt: skip


def _standard_error(counts: PairedCounts) -> float:
    """Of the difference of two paired proportions, as of any mean of differences."""
    n, discordant = counts.n, counts.baseline_only + counts.candidate_only
    return math.sqrt(max(0.0, discordant - n * counts.difference**2) / (n * (n - 1)))


def _of_clustered_rates(paired: Paired, plain: Difference, tested: bool) -> Difference:
    changes = paired.candidate - paired.baseline
    by_request = np.bincount(paired.requests, weights=changes).astype(float)
    error = clustered_se(changes, paired.requests)
    ratio = ratio_interval(paired.candidate, paired.baseline, paired.requests)
    return replace(
        plain,
        p=sign_flip(by_request).p if tested else None, test=SIGN_FLIP, standard_error=error,
        relative=_share_changed(plain), relative_low=ratio and ratio[0] - 1, relative_high=ratio and ratio[1] - 1,
        minimum_detectable=detectable_mean_difference(paired.n, error * math.sqrt(paired.n)) if error else None,
    )  # fmt: skip


def _share_changed(found: Difference) -> float | None:
    """The change over the baseline's value; None where that is 0."""
    return found.difference / found.baseline_value if found.baseline_value and found.difference is not None else None


def of_sets(before: Rate, after: Rate) -> Difference:
    """A measure of a whole set of answers has no values to pair: two figures and no test.

    They grow with the number of texts, so those of sets of unequal size have no difference either.
    """
    known = before.value is not None and after.value is not None and before.n == after.n
    change = (after.value or 0.0) - (before.value or 0.0) if known else None
    return Difference(before.value, after.value, change, False, test=OF_THE_SET, n=min(before.n, after.n))


def rate_difference(baseline: Hits, candidate: Hits, requests: NDArray[np.integer[Any]]) -> Figure:
    """candidate - baseline of two rates over the same answers, with the interval that `difference` gives it."""
    if not len(baseline):
        return Figure(None)
    clusters = np.unique(requests, return_inverse=True)[1]
    paired = Paired(baseline.astype(float), candidate.astype(float), clusters, True, (0.0, 1.0), 0, 0)
    before, after = paired.values
    return Figure(after - before, *(rate_interval(paired) or (None, None)))


def rate_interval(paired: Paired, confidence: float = CONFIDENCE) -> Interval:
    """Tango's interval of the difference of two rates; over requests where one has several answers.

    None below ten requests.
    """
    if paired.n < BOOTSTRAP_FROM:
        return None
    if paired.one_answer_each:
        return tango(paired.counts, confidence)
    return clustered_difference(paired.candidate - paired.baseline, paired.requests, confidence)
