"""Paired proportions: published examples, duality of test and interval, exact coverage, scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import _confint_riskratio_paired_nam

from harness.intervals import wilson
from reports.significance.proportions import (
    PairedCounts,
    clustered_difference,
    equivalence_p,
    mcnemar,
    newcombe,
    noninferiority_p,
    null_variance,
    relative_change,
    tango,
    tango_z,
)

# Both, baseline only, candidate only, neither.
BENTUR = PairedCounts(1, 7, 1, 12)
"""Hyper-responsive airways after and before a transplantation (Bentur et al. 2009)."""
CAVO = PairedCounts(59, 16, 6, 80)
"""Complete response after and before a therapy (Cavo et al. 2012)."""
LENSES = PairedCounts(43, 1, 0, 0)
"""Contact lenses that two disinfections left clean (Tango 1998)."""
FALL = PairedCounts(38, 33, 4, 25)
"""71 % to 42 %."""

SMALL = st.integers(0, 12)
CELLS = st.builds(lambda *cells: cells, SMALL, SMALL, SMALL, SMALL).filter(any)
COUNTS = CELLS.map(lambda cells: PairedCounts(*cells))
EDGES = [PairedCounts(*cells) for cells in ((0, 0, 0, 1), (0, 1, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0), (0, 9, 0, 0))]


def test_counts_are_the_cells_of_two_arrays() -> None:
    before, after = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool), np.array([1, 0, 0, 1, 0, 0, 0], dtype=bool)
    counts = PairedCounts.of(before, after)
    assert counts == PairedCounts(1, 2, 1, 3)
    assert (counts.n, counts.discordant) == (7, 3)
    assert (counts.baseline, counts.candidate) == (3 / 7, 2 / 7)
    assert counts.difference == pytest.approx(after.mean() - before.mean())


def test_what_are_no_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        PairedCounts.of(np.ones(3, dtype=bool), np.ones(4, dtype=bool))
    with pytest.raises(ValueError, match="no pairs"):
        PairedCounts(0, 0, 0, 0)
    with pytest.raises(ValueError, match="no pairs"):
        PairedCounts(3, -1, 0, 0)
    with pytest.raises(ValueError, match="confidence"):
        tango(FALL, 95)


# --- intervals of a difference ---


@pytest.mark.parametrize(
    ("counts", "confidence", "low", "high"),
    [
        (BENTUR, 0.95, -0.517, -0.026),  # Fagerland, Lydersen and Laake 2014
        (CAVO, 0.95, -0.1240, -0.0054),  # Fagerland, Lydersen and Laake 2017, chapter 8 (R contingencytables)
        (LENSES, 0.90, -0.096, 0.037),  # Tango 1998
        (PairedCounts(4, 3, 9, 16), 0.95, -0.027, 0.390),  # Tango 1998
        (PairedCounts(53, 8, 16, 9), 0.95, -0.020, 0.207),  # Agresti and Min 2005
        (PairedCounts(8, 1, 3, 2), 0.95, -0.1670, 0.4327),  # Tang et al. 2010
        (PairedCounts(7, 2, 25, 68), 0.95, 0.139, 0.321),  # Chang et al. 2024
    ],
)
def test_tango_matches_published_examples(counts: PairedCounts, confidence: float, low: float, high: float) -> None:
    assert tango(counts, confidence) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        (BENTUR, -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014
        (CAVO, -0.1186, -0.0046),  # Fagerland, Lydersen and Laake 2017, chapter 8 (R contingencytables)
        (PairedCounts(20, 2, 12, 16), 0.0562, 0.3292),  # Newcombe 1998, method 10
        (PairedCounts(8, 1, 3, 2), -0.1574, 0.4136),  # Tang et al. 2010
        (PairedCounts(7, 2, 25, 68), 0.133, 0.318),  # Chang et al. 2024
    ],
)
def test_newcombe_matches_published_examples(counts: PairedCounts, low: float, high: float) -> None:
    assert newcombe(counts) == pytest.approx((low, high), abs=5e-4)


def test_without_discordant_pairs_tango_and_newcombe_are_wilson_of_none() -> None:
    none = wilson(0.0, 100)[1]
    for method in (tango, newcombe):
        assert method(PairedCounts(0, 0, 0, 100)) == pytest.approx((-none, none))


@given(counts=COUNTS, confidence=st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.999]))
def test_intervals_hold_what_was_seen_and_mirror(counts: PairedCounts, confidence: float) -> None:
    mirrored = PairedCounts(counts.both, counts.candidate_only, counts.baseline_only, counts.neither)
    for method in (tango, newcombe):
        low, high = method(counts, confidence)
        assert -1 <= low <= counts.difference <= high <= 1
        assert method(mirrored, confidence) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("counts", EDGES)
def test_the_smallest_tables_have_intervals(counts: PairedCounts) -> None:
    for method in (tango, newcombe):
        low, high = method(counts)
        assert -1 <= low <= counts.difference <= high <= 1
        assert high - low > 0.1
    changed = relative_change(counts)
    assert (changed is None) == (counts.baseline == 0)


def test_among_very_many_items_both_are_the_normal_interval() -> None:
    million = 10**6
    counts = PairedCounts(10 * million, 2 * million, 2 * million + 3_000, 30 * million)
    half = 1.959964 * math.sqrt(counts.discordant) / counts.n
    for method in (tango, newcombe):
        assert method(counts) == pytest.approx((counts.difference - half, counts.difference + half), rel=1e-4)


def test_the_variance_under_the_null_is_at_the_likeliest_shares() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        gained, lost = (random.dirichlet([1, 1, 1]) * random.integers(0, 2, 3))[:2]
        delta = random.uniform(-0.95, 0.95)
        share = np.linspace(max(0, -delta), (1 - delta) / 2, 100_001)
        chance = xlogy(gained, share + delta) + xlogy(lost, share)
        chance += xlogy(1 - gained - lost, np.maximum(0, 1 - 2 * share - delta))
        likeliest = share[chance.argmax()]
        assert null_variance(gained, lost, delta) == pytest.approx(2 * likeliest + delta - delta**2, abs=1e-4)


def test_at_no_difference_the_score_is_mcnemars() -> None:
    assert tango_z(FALL, 0.0) == pytest.approx((4 - 33) / math.sqrt(37))


def test_with_one_answer_each_clusters_are_agresti_and_mins_interval() -> None:
    changes = np.repeat([-1.0, 1.0, 0.0], [CAVO.baseline_only, CAVO.candidate_only, CAVO.both + CAVO.neither])
    # Fagerland, Lydersen and Laake 2017, chapter 8 (R contingencytables).
    assert clustered_difference(changes, range(len(changes))) == pytest.approx((-0.1182, -0.0045), abs=5e-5)


def test_copies_of_an_answer_say_nothing_new() -> None:
    changes = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 60)
    once = clustered_difference(changes, range(60), 0.9)
    assert clustered_difference(np.repeat(changes, 5), np.repeat(np.arange(60), 5), 0.9) == pytest.approx(once)
    assert np.ptp(clustered_difference(np.repeat(changes, 5), range(300), 0.9)) < 0.5 * np.ptp(once)


def test_differences_other_than_of_yes_and_no_are_refused() -> None:
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        clustered_difference(np.array([0.5, 1.0]), [0, 1])


# --- tests ---


@pytest.mark.parametrize(
    ("counts", "exact", "mid_p"),
    [
        (BENTUR, 0.0703, 0.0391),  # Fagerland, Lydersen and Laake 2013
        (CAVO, 0.052479, 0.034690),  # Fagerland, Lydersen and Laake 2017, chapter 8 (R contingencytables)
    ],
)
def test_mcnemar_matches_fagerland_lydersen_and_laake(counts: PairedCounts, exact: float, mid_p: float) -> None:
    assert mcnemar(counts) == pytest.approx((exact, mid_p), abs=5e-5)


def test_mcnemar_equals_scipys_and_statsmodels_on_a_thousand_tables() -> None:
    random = np.random.default_rng(1)
    for _ in range(1_000):
        b, c = (int(count) for count in random.integers(0, random.choice([4, 30, 300]), 2))
        found = mcnemar(PairedCounts(2, b, c, 3))
        test = binomtest(b, b + c) if b + c else None
        assert found.exact == pytest.approx(test.pvalue if test else 1.0, abs=1e-9)
        assert found.exact == pytest.approx(statsmodels_mcnemar([[2, b], [c, 3]], exact=True).pvalue, abs=1e-9)
        here = math.exp(gammaln(b + c + 1) - gammaln(b + 1) - gammaln(c + 1) - (b + c) * math.log(2))
        assert found.mid_p == pytest.approx(found.exact - here if b != c else 1.0, abs=1e-9)


def test_nothing_changed_or_as_much_either_way_is_p_1() -> None:
    assert mcnemar(PairedCounts(5, 0, 0, 5)) == (1.0, 1.0)
    assert mcnemar(PairedCounts(5, 4, 4, 5)) == (1.0, 1.0)


def test_tango_1998_lenses_are_not_inferior_by_a_tenth() -> None:
    # The 90 % interval, -0.096 to 0.037, ends short of the margin.
    assert noninferiority_p(LENSES, 0.1, "lower") == pytest.approx(0.0438, abs=5e-5)
    assert noninferiority_p(LENSES, 0.09, "lower") > 0.05
    assert (
        noninferiority_p(LENSES, 0.1, "higher") < noninferiority_p(LENSES, 0.1, "lower") == equivalence_p(LENSES, 0.1)
    )


@given(counts=COUNTS, margin=st.floats(0, 1), alpha=st.sampled_from([0.005, 0.025, 0.05, 0.1, 0.3]))
@example(counts=PairedCounts(0, 0, 0, 10), margin=0.0, alpha=0.05)
@example(counts=PairedCounts(0, 0, 7, 0), margin=1.0, alpha=0.05)
def test_a_test_rejects_exactly_where_its_interval_is_clear_of_the_margin(
    counts: PairedCounts, margin: float, alpha: float
) -> None:
    low, high = tango(counts, 1 - 2 * alpha)
    assume(abs(high - margin) > 1e-9 and abs(low + margin) > 1e-9)
    assert (noninferiority_p(counts, margin, "higher") < alpha) == (high < margin)
    assert (noninferiority_p(counts, margin, "lower") < alpha) == (low > -margin)
    assert (equivalence_p(counts, margin) < alpha) == (-margin < low and high < margin)


# --- relative change ---


@pytest.mark.parametrize(
    ("counts", "confidence", "low", "high"),
    [
        (BENTUR, 0.95, 0.0653, 0.9069),  # DelRocco et al. 2022
        (CAVO, 0.95, 0.7476, 0.9876),  # Fagerland, Lydersen and Laake 2017, chapter 8 (R contingencytables)
        (PairedCounts(446, 16, 5, 690), 0.90, 0.958, 0.992),  # Tang, Tang and Chan 2003
        (LENSES, 0.90, 0.904, 1.039),  # Tang, Tang and Chan 2003
    ],
)
def test_relative_change_matches_published_ratios(
    counts: PairedCounts, confidence: float, low: float, high: float
) -> None:
    assert relative_change(counts, confidence) == pytest.approx((low - 1, high - 1), abs=6e-4)


def test_relative_change_equals_statsmodels_on_a_thousand_tables() -> None:
    # Nam 2009's polynomial, whose roots need all of both, lost and gained to be there.
    random = np.random.default_rng(2)
    for both, lost, gained, neither in random.integers(1, 60, (1_000, 4)).tolist():
        theirs = _confint_riskratio_paired_nam([[both, gained], [lost, neither]]).confint
        found = relative_change(PairedCounts(both, lost, gained, neither))
        assert found == pytest.approx(np.real(theirs) - 1, abs=1e-9)


def test_the_relative_change_of_71_to_42_is_near_its_bootstrap() -> None:
    assert relative_change(FALL) == pytest.approx((-0.535, -0.277), abs=0.003)


def test_a_baseline_without_any_has_no_relative_change() -> None:
    assert relative_change(PairedCounts(0, 0, 3, 97)) is None


@given(counts=COUNTS, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]), factor=st.sampled_from([1, 7]))
def test_relative_change_holds_what_was_seen_and_inverts(counts: PairedCounts, confidence: float, factor: int) -> None:
    ends = relative_change(counts, confidence)
    assume(ends is not None)
    assert ends is not None
    assert -1 <= ends[0] <= counts.candidate / counts.baseline - 1 + 1e-12
    assert counts.candidate / counts.baseline - 1 - 1e-12 <= ends[1] < math.inf
    # Items that never say yes say nothing of a ratio.
    more = PairedCounts(counts.both, counts.baseline_only, counts.candidate_only, counts.neither + factor)
    assert relative_change(more, confidence) == ends
    if counts.candidate:
        mirrored = PairedCounts(counts.both, counts.candidate_only, counts.baseline_only, counts.neither)
        inverse = relative_change(mirrored, confidence)
        assert inverse is not None
        assert 1 / (1 + ends[1]) == pytest.approx(1 + inverse[0], rel=1e-9)


# --- how often they err ---

Values = NDArray[np.float64]


def chances(tables: NDArray[np.int_], shares: list[float]) -> Values:
    """Of tables of counts in four cells."""
    ways = gammaln(tables.sum(axis=1) + 1) - gammaln(tables + 1).sum(axis=1)
    return np.asarray(np.exp(ways + xlogy(tables, shares).sum(axis=1)))


def beyond(ends: Values, truth: float, chance: Values) -> tuple[float, float]:
    """How often the truth lies below and above an interval."""
    return float(chance[ends[:, 0] > truth + 1e-12].sum()), float(chance[ends[:, 1] < truth - 1e-12].sum())


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 30, 50, 100])
def test_tangos_exact_coverage_is_93_at_least_and_95_on_average(n: int) -> None:
    tables = np.array([(0, b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    ends = np.array([tango(PairedCounts(*cells)) for cells in tables.tolist()])
    errors = np.array(
        [
            beyond(ends, gained - lost, chances(tables, [0.0, lost, gained, 1 - lost - gained]))
            for lost in (0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
            for gained in (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3)
            if lost + gained <= 0.9
        ]
    )
    covered = 1 - errors.sum(axis=1)
    assert covered.min() > 0.929
    assert 0.95 <= covered.mean() < 0.975
    assert errors.max() < 0.051


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 30, 50])
def test_newcombes_exact_coverage_is_90_at_least_and_96_on_average(n: int) -> None:
    tables = np.array(
        [(a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)]
    )
    ends = np.array([newcombe(PairedCounts(*cells)) for cells in tables.tolist()])
    errors = np.array(
        [
            beyond(ends, gained - lost, chances(tables, [yes * same, lost, gained, (1 - yes) * same]))
            for lost in (0.01, 0.05, 0.1, 0.3, 0.6)
            for gained in (0.0, 0.01, 0.05, 0.2)
            for yes in (0.1, 0.5, 0.9)
            if (same := 1 - lost - gained) > 0.1
        ]
    )
    covered = 1 - errors.sum(axis=1)
    assert covered.min() > 0.9
    assert 0.955 < covered.mean() < 0.98
    assert errors.max() < 0.091


@pytest.mark.slow
@pytest.mark.parametrize(("n", "margin"), [(50, 0.1), (100, 0.05), (100, 0.1), (200, 0.1)])
def test_at_the_margin_noninferiority_is_found_about_as_often_as_alpha_says(n: int, margin: float) -> None:
    tables = np.array([(0, lost, gained, n - lost - gained) for lost in range(n + 1) for gained in range(n + 1 - lost)])
    for better in (0.05, 0.1, 0.2):
        chance = chances(tables, [0.0, better + margin, better, 1 - 2 * better - margin])
        likely = chance > 1e-9
        found = [noninferiority_p(PairedCounts(*cells), margin, "lower") < 0.05 for cells in tables[likely].tolist()]
        assert 0.03 < chance[likely] @ np.array(found) < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 30, 50])
def test_exact_coverage_of_relative_change_is_94_at_least(n: int) -> None:
    tables = np.array(
        [(a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)]
    )
    tables = tables[tables[:, 0] + tables[:, 1] > 0]
    # What never says yes does not matter, so that each table of the other three is solved once.
    ends = np.array([relative_change(PairedCounts(*cells)) for cells in tables.tolist()])
    errors = []
    for baseline in (0.2, 0.4, 0.6, 0.9):
        for ratio in (0.3, 0.6, 1.0):
            for correlation in (0.0, 0.3, 0.6):
                candidate = baseline * ratio
                spread = math.sqrt(baseline * (1 - baseline) * candidate * (1 - candidate))
                both = baseline * candidate + correlation * spread
                shares = [both, baseline - both, candidate - both, 1 - baseline - candidate + both]
                if min(shares) > 1e-9:
                    chance = chances(tables, shares)
                    errors.append(beyond(ends, ratio - 1, chance / chance.sum()))
    assert 1 - np.sum(errors, axis=1).max() > 0.94
    assert np.max(errors) < 0.041


@pytest.mark.slow
def test_coverage_over_clusters_is_that_of_its_docstring() -> None:
    random, rounds = np.random.default_rng(0), 1_000
    for lost, gained in ((0.05, 0.02), (0.1, 0.05), (0.3, 0.05), (0.6, 0.0)):
        requests = np.repeat(np.arange(100), 4)
        shares, missed = [lost, 1 - lost - gained, gained], 0
        for _ in range(rounds):
            of_request, own = (random.choice([-1.0, 0.0, 1.0], size, p=shares) for size in (100, 400))
            changes = np.where(random.random(400) < math.sqrt(1 / 3), of_request[requests], own)
            low, high = clustered_difference(changes, requests)
            missed += not low <= gained - lost <= high
        assert missed / rounds < 0.05 + 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("n", "lost"), [(50, 0.1), (100, 0.05), (100, 0.2), (300, 0.3)])
def test_mcnemars_exact_errors_are_5_percent_at_most_and_nearly_for_mid_p(n: int, lost: float) -> None:
    tables = np.array([(0, b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    chance = chances(tables, [0.0, lost, lost, 1 - 2 * lost])
    likely = chance > 1e-9
    found = np.array([mcnemar(PairedCounts(*cells)) for cells in tables[likely].tolist()])
    exact, mid_p = (float(chance[likely][found[:, form] < 0.05].sum()) for form in (0, 1))
    assert exact < 0.05
    assert exact < mid_p < 0.0525
