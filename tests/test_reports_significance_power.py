"""Power and sample size: published examples, statsmodels, enumeration, and what was simulated."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln, ndtri, xlogy
from scipy.stats import ttest_1samp
from statsmodels.stats.power import TTestPower

from reports.significance.power import (
    detectable_mean_difference,
    detectable_share_difference,
    largest_rejected,
    mean_power,
    needed_n_mean,
    needed_n_share,
    noninferiority_n_mean,
    noninferiority_n_share,
    noninferiority_power_mean,
    share_power,
)
from reports.significance.proportions import PairedCounts, mcnemar, tango_z

# --- means ---


def test_the_least_detectable_differences_of_ratings_are_those_of_the_table() -> None:
    # By sample size, for standard deviations 1, 1.5, 2, 2.5 and 3.
    table = {
        20: (0.66, 0.99, 1.32, 1.65, 1.98),
        40: (0.45, 0.68, 0.91, 1.14, 1.36),
        80: (0.32, 0.48, 0.63, 0.79, 0.95),
        160: (0.22, 0.33, 0.45, 0.56, 0.67),
        320: (0.16, 0.24, 0.31, 0.39, 0.47),
    }
    for n, row in table.items():
        for sd, expected in zip((1, 1.5, 2, 2.5, 3), row, strict=True):
            assert detectable_mean_difference(n, sd) == pytest.approx(expected, abs=0.006)
    assert detectable_mean_difference(80, 2, sides=1) == pytest.approx(0.56, abs=0.005)
    assert detectable_mean_difference(80, 2, power=0.9) == pytest.approx(0.73, abs=0.005)


def test_a_fall_of_059_needs_53_93_or_143_questions() -> None:
    assert [needed_n_mean(-0.59, sd) for sd in (1.5, 2, 2.5)] == [53, 93, 143]
    assert [mean_power(80, -0.59, sd) for sd in (1.5, 2, 2.5)] == pytest.approx([0.935, 0.741, 0.55], abs=6e-4)


def test_the_paired_example_of_the_g_power_manual_has_its_power() -> None:
    # G*Power 3.1 manual, section 19 (matched pairs): d_z = 0.421637, n = 50 has power 0.832114.
    assert mean_power(50, 0.421637, 1.0) == pytest.approx(0.832114, abs=1e-5)


def test_power_equals_statsmodels_on_a_thousand_designs() -> None:
    random, theirs, compared = np.random.default_rng(0), TTestPower(), 0
    for _ in range(1_000):
        n, effect, alpha = int(random.integers(2, 400)), float(random.uniform(0, 0.3)), random.uniform(0.001, 0.2)
        two, one = (theirs.power(effect, n, alpha, alternative=side) for side in ("two-sided", "larger"))
        assert mean_power(n, effect, 1, alpha, sides=1) == pytest.approx(one, abs=1e-9)
        # Theirs is NaN for a few that are nearly certain.
        if np.isfinite(two):
            assert mean_power(n, 3 * effect, 3, alpha) == pytest.approx(two, abs=1e-9)
            compared += 1
    assert compared > 900


@given(
    n=st.one_of(st.integers(2, 30), st.integers(2, 10_000_000)),
    difference=st.floats(-1e4, 1e4),
    alpha=st.sampled_from([0.2, 0.05, 0.001, 1e-6]),
    sides=st.sampled_from([1, 2]),
)
def test_power_is_a_chance_wherever_scipys_t_is_nan(n: int, difference: float, alpha: float, sides: int) -> None:
    found = mean_power(n, difference, 1.0, alpha, sides)  # type: ignore[arg-type]
    assert -1e-9 <= found <= 1 + 1e-9
    assert mean_power(n, 1.01 * difference, 1.0, alpha) >= mean_power(n, difference, 1.0, alpha) - 1e-3


@pytest.mark.parametrize("n", [2, 3, 10, 1_000, 1_000_000])
def test_the_least_detectable_difference_has_the_power_and_its_n_is_needed(n: int) -> None:
    for power in (0.2, 0.8, 0.99):
        least = detectable_mean_difference(n, 2.0, power=power)
        assert least is not None
        assert mean_power(n, least, 2.0) == pytest.approx(power, abs=1e-9)
        assert needed_n_mean(1.0001 * least, 2.0, power=power) == pytest.approx(n, rel=3e-4)


def test_what_no_n_shows_is_none() -> None:
    assert detectable_mean_difference(1, 2.0) is None
    assert needed_n_mean(0.0, 2.0) is None
    assert needed_n_mean(1e-5, 1.0) is None
    assert noninferiority_n_mean(0.3, 2.0, true_difference=-0.3) is None
    assert needed_n_share(0.1, 0.1) is None
    assert noninferiority_n_share(0.05, worse=0.10, better=0.05) is None
    assert detectable_share_difference(1, 0.05) is None
    assert detectable_share_difference(20, 0.4) is None
    assert detectable_share_difference(100, 0.5) is None


def test_without_spread_two_items_are_enough() -> None:
    assert detectable_mean_difference(10, 0.0) == 0.0
    assert needed_n_mean(0.1, 0.0) == 2
    assert noninferiority_n_mean(0.1, 0.0) == 2


def test_no_sample_no_test_and_no_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="no sample"):
        mean_power(1, 1.0, 1.0)
    with pytest.raises(ValueError, match="no sample"):
        needed_n_mean(1.0, -1.0)
    with pytest.raises(ValueError, match="alpha"):
        needed_n_mean(1.0, 1.0, power=80)
    with pytest.raises(ValueError, match="no shares"):
        share_power(100, 0.7, 0.5)
    with pytest.raises(ValueError, match="margin"):
        noninferiority_n_share(5, worse=0.1, better=0.1)


def test_a_margin_of_half_a_rating_is_about_what_eighty_questions_can_show() -> None:
    powers = [noninferiority_power_mean(80, margin, 2.0) for margin in (0.2, 0.3, 0.5, 0.6, 1.0)]
    assert powers == pytest.approx([0.22, 0.38, 0.72, 0.85, 1.0], abs=0.006)
    n = noninferiority_n_mean(0.5, 2.0)
    assert n is not None
    assert noninferiority_power_mean(n - 1, 0.5, 2.0) < 0.8 <= noninferiority_power_mean(n, 0.5, 2.0)
    assert noninferiority_power_mean(80, 0.5, 2.0, true_difference=-0.5) == pytest.approx(0.05)
    assert noninferiority_power_mean(80, 0.5, 2.0, true_difference=-5.0) == 0.0


# --- paired proportions ---


def test_the_least_detectable_differences_of_a_rate_are_those_of_the_table() -> None:
    # In points, for 2, 5 and 10 % of items changing the other way.
    table = {100: (10, 13, 17), 200: (6, 8, 11), 313: (5, 6, 8), 400: (4, 5, 7)}
    for n, row in table.items():
        for against, points in zip((0.02, 0.05, 0.10), row, strict=True):
            assert detectable_share_difference(n, against) == pytest.approx(points / 100, abs=0.0052)


@pytest.mark.parametrize(
    ("before", "after", "lost", "powers"),
    [
        (0.60, 0.355, 0.05, (0.89, 0.99, 1.0)),
        (0.60, 0.355, 0.15, (0.65, 0.91, 0.998)),
        (0.60, 0.50, 0.10, (0.24, 0.44, 0.74)),
        (0.60, 0.55, 0.05, (0.12, 0.24, 0.44)),
    ],
)
def test_powers_of_a_fall_are_those_simulated(
    before: float, after: float, lost: float, powers: tuple[float, ...]
) -> None:
    found = [share_power(n, before - after + lost, lost) for n in (50, 100, 200)]
    assert found == pytest.approx(powers, abs=0.02)


def test_connor_1987_example_of_ten_to_one_needs_about_23_pairs() -> None:
    # By the normal approximation; exact power needs as many, but for a pair or two.
    assert needed_n_share(0.45, 0.05) == pytest.approx(23, abs=2)


@pytest.mark.parametrize(("n", "gained", "lost"), [(12, 0.4, 0.1), (30, 0.2, 0.0), (40, 0.6, 0.4), (25, 0.1, 0.3)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_of_mcnemar_is_that_of_all_tables(n: int, gained: float, lost: float, alpha: float) -> None:
    tables = [PairedCounts(0, b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)]
    cells = np.array([(t.baseline_only, t.candidate_only, t.neither) for t in tables])
    ways = gammaln(n + 1) - gammaln(cells + 1).sum(axis=1)
    chance = np.exp(ways + xlogy(cells, [lost, gained, max(0.0, 1 - gained - lost)]).sum(axis=1))
    rejected = np.array([mcnemar(table).mid_p < alpha for table in tables])
    assert share_power(n, gained, lost, alpha) == pytest.approx(chance[rejected].sum(), abs=1e-8)


def test_a_true_null_is_rejected_as_often_as_alpha_says() -> None:
    assert share_power(2_000, 0.1, 0.1) == pytest.approx(0.05, abs=0.001)
    assert share_power(2_000, 0.0, 0.0) == 0.0


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001, 1e-8])
def test_the_largest_rejected_cell_is_found_by_counting(alpha: float) -> None:
    m = np.r_[np.arange(0, 120), np.arange(997, 1_010)]
    for pairs, found in zip(m.tolist(), largest_rejected(m, alpha).tolist(), strict=True):
        below = [k for k in range((pairs + 1) // 2) if mcnemar(PairedCounts(0, k, pairs - k, 0)).mid_p < alpha]
        assert found == max(below, default=-1)


@pytest.mark.parametrize("n", [20, 50, 313, 5_000, 100_000])
@pytest.mark.parametrize("against", [0.0, 0.01, 0.05, 0.1])
def test_the_least_detectable_share_has_the_power_and_its_n_is_needed(n: int, against: float) -> None:
    least = detectable_share_difference(n, against)
    assert least is not None
    assert share_power(n, against + least, against) == pytest.approx(0.8, abs=0.002)
    assert needed_n_share(against + least, against) == pytest.approx(n, rel=0.008, abs=1)


def test_a_detectable_share_takes_milliseconds() -> None:
    for n, against in ((100, 0.05), (1_000, 0.19), (5_000, 0.03), (100_000, 0.001)):
        times = []
        for _ in range(3):
            begun = time.process_time()
            detectable_share_difference(n, against)
            times.append(time.process_time() - begun)
        assert min(times) < 0.1


def exact_noninferiority_power(n: int, margin: float, worse: float, better: float, alpha: float) -> float:
    cells = np.array([(w, b, n - w - b) for w in range(n + 1) for b in range(n + 1 - w)])
    ways = gammaln(n + 1) - gammaln(cells + 1).sum(axis=1)
    chance = np.exp(ways + xlogy(cells, [worse, better, 1 - worse - better]).sum(axis=1))
    likely = chance > 1e-10
    z = [tango_z(PairedCounts(0, b, w, rest), margin) for w, b, rest in cells[likely].tolist()]
    return float(chance[likely][np.array(z) < ndtri(alpha)].sum())


@pytest.mark.parametrize(
    ("margin", "worse", "better"), [(0.1, 0.05, 0.02), (0.1, 0.02, 0.02), (0.2, 0.1, 0.05), (0.05, 0.0, 0.0)]
)
def test_the_n_of_noninferiority_has_its_power(margin: float, worse: float, better: float) -> None:
    n = noninferiority_n_share(margin, worse, better)
    assert n is not None
    assert exact_noninferiority_power(n, margin, worse, better, 0.05) > 0.795
    assert exact_noninferiority_power(int(0.75 * n), margin, worse, better, 0.05) < 0.795


def test_without_any_change_the_n_of_noninferiority_is_exact() -> None:
    # Tango's upper end is z² / (n + z²), which is to stay below the margin.
    n, z = noninferiority_n_share(0.05, 0.0, 0.0), float(ndtri(0.95))
    assert n is not None
    assert z**2 / (n + z**2) <= 0.05 < z**2 / (n - 1 + z**2)


# --- simulated ---


@pytest.mark.slow
def test_simulated_paired_t_tests_find_the_detectable_difference_in_80_percent() -> None:
    random, n, sd = np.random.default_rng(2), 40, 2.0
    least = detectable_mean_difference(n, sd)
    assert least is not None
    p_values = ttest_1samp(random.normal(least, sd, (20_000, n)), 0.0, axis=1).pvalue
    assert np.mean(p_values < 0.05) == pytest.approx(0.8, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "margin", "worse", "better", "least"),
    [
        (0.05, 0.05, 0.05, 0.05, 0.80),
        (0.05, 0.1, 0.2, 0.2, 0.80),
        (0.05, 0.05, 0.02, 0.05, 0.80),
        (0.025, 0.1, 0.1, 0.1, 0.80),
        (0.025, 0.05, 0.01, 0.0, 0.77),
    ],
)
def test_the_exact_power_at_the_n_of_noninferiority(
    alpha: float, margin: float, worse: float, better: float, least: float
) -> None:
    n = noninferiority_n_share(margin, worse, better, alpha)
    assert n is not None
    assert least < exact_noninferiority_power(n, margin, worse, better, alpha) < 0.88
