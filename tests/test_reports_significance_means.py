"""Paired means: worked examples of Fisher, Student and Miller; equal to enumeration, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from reports.significance import means
from reports.significance.bootstrap import bca_means
from reports.significance.means import (
    clustered_se,
    effect_size,
    equivalence_mean,
    mean_difference_interval,
    noninferiority_mean,
    paired_mean,
    sign_flip,
    wilcoxon,
)

# Darwin's maize, crossed less self-fertilised, in eighths of an inch (Fisher 1935, section 17).
MAIZE = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
# Hours of sleep gained by the second drug over the first (Student 1908, Biometrika 6:1).
SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])


# --- sign flips ---


def test_fisher_1935_darwins_maize() -> None:
    # Section 21: 863 of 2^15 sums are at least 314, so 1726 at least as far from 0.
    assert MAIZE.sum() == 314
    assert sign_flip(MAIZE) == (1726 / 2**15, True)
    assert sign_flip(MAIZE / 8) == (1726 / 2**15, True)


def test_student_1908_sleep() -> None:
    # Nine of ten gained and one stayed: the sum is the largest of 2^9, and its mirror.
    assert sign_flip(SLEEP) == (2 / 2**9, True)
    assert wilcoxon(SLEEP) == pytest.approx(2 / 2**9)


def enumerated(values: np.ndarray) -> float:
    sums = np.array(list(itertools.product([-1, 1], repeat=len(values)))) @ values
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9 * np.abs(values).sum()))


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.integers(-12, 12), min_size=1, max_size=11), step=st.sampled_from([1, 2, 3, 7, 0.1, 18]))
def test_on_a_grid_the_p_is_that_of_enumeration(values: list[int], step: float) -> None:
    differences = np.array(values) / step
    found = sign_flip(differences)
    assert found.exact
    assert found.p == pytest.approx(enumerated(differences), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 14])
def test_off_every_grid_the_p_is_that_of_enumeration(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    found = sign_flip(differences)
    assert found.exact
    assert found.p == pytest.approx(enumerated(differences), rel=1e-12)


def test_the_exact_ways_agree_and_random_signs_come_near() -> None:
    ratings = np.random.default_rng(1).integers(-5, 8, 30) / 2
    on_grid = sign_flip(ratings)
    # Irrational sizes, but sums in the same order as those of the ratings.
    off_grid = sign_flip(ratings * math.pi + np.random.default_rng(2).normal(0, 1e-11, 30))
    assert on_grid.exact
    assert off_grid.exact
    assert off_grid.p == pytest.approx(on_grid.p, rel=0.05)
    sums = means._random_sums(np.abs(ratings), 200_000, np.random.default_rng(3))
    assert np.mean(np.abs(sums) >= abs(ratings.sum())) == pytest.approx(on_grid.p, abs=0.004)


def test_many_numbers_off_a_grid_are_flipped_at_random() -> None:
    differences = np.random.default_rng(4).normal(0.12, 1, 400)
    found = sign_flip(differences)
    assert not found.exact
    assert found == sign_flip(differences)
    assert found != sign_flip(differences, seed=1)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.005)
    assert sign_flip(differences + 5).p == 1 / 100_001


def test_a_thousand_ratings_are_counted_exactly() -> None:
    differences = np.random.default_rng(5).integers(-9, 10, 1_000) / 6 + 1 / 6
    found = sign_flip(differences)
    assert found.exact
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.1)
    assert 0 < sign_flip(np.abs(differences)).p < 1e-250


def test_differences_of_zero_change_nothing() -> None:
    assert sign_flip(np.append(MAIZE, np.zeros(40))) == sign_flip(MAIZE)
    assert wilcoxon(np.append(MAIZE, np.zeros(40))) == wilcoxon(MAIZE)
    assert sign_flip(np.zeros(7)) == (1.0, True)
    assert sign_flip(np.array([])) == (1.0, True)
    assert wilcoxon(np.zeros(7)) is None


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=12), scale=st.floats(0.01, 100))
@settings(deadline=None, max_examples=60)
def test_no_test_minds_the_order_the_unit_or_which_run_came_first(values: list[float], scale: float) -> None:
    differences = np.round(values, 3)
    for test in (lambda d: sign_flip(d).p, wilcoxon):
        p, mirrored = test(differences), test(-differences[::-1] * scale)
        assert (p is None and mirrored is None) or p == pytest.approx(mirrored, rel=1e-9)


# --- Wilcoxon ---


def test_wilcoxon_of_darwins_maize() -> None:
    # W+ = 96 of 120, exact p 0.04126.
    assert wilcoxon(MAIZE) == pytest.approx(0.04126, abs=5e-6)


def test_wilcoxon_equals_scipys_where_no_sizes_are_equal_and_beyond_fifty() -> None:
    random = np.random.default_rng(6)
    for n in (8, 30, 50, 51, 200):
        values = random.normal(0.2, 1, n)
        assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values).pvalue, rel=1e-9)
    ratings = random.integers(-4, 6, 90).astype(float)
    assert wilcoxon(ratings) == pytest.approx(stats.wilcoxon(ratings).pvalue, rel=1e-9)


def test_wilcoxon_with_equal_sizes_is_exact_and_blind_to_rounding() -> None:
    ratings = np.array([1.0, -1, 2, 2, -3, 1, 4, 2, -1, 3, 3, 5])
    ranks = stats.rankdata(np.abs(ratings)) * np.sign(ratings)
    assert wilcoxon(ratings) == pytest.approx(enumerated(ranks), rel=1e-12)
    assert wilcoxon((ratings * 0.1 + 7.3) - 7.3) == wilcoxon(ratings)


# --- standard errors ---


def test_clusters_of_one_have_the_plain_standard_error() -> None:
    assert clustered_se(SLEEP, range(10)) == pytest.approx(SLEEP.std(ddof=1) / math.sqrt(10))  # Student: 0.389


def test_clustered_errors_are_statsmodels() -> None:
    random = np.random.default_rng(7)
    for _ in range(20):
        clusters = random.integers(0, 15, 60)
        values = random.normal(size=60) + clusters
        fit = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
        assert clustered_se(values, [f"question {c}" for c in clusters]) == pytest.approx(fit.bse[0], rel=1e-9)


def test_clustered_errors_are_millers_2024_but_for_the_small_sample_factor() -> None:
    random = np.random.default_rng(8)
    clusters = random.integers(0, 9, 30)
    values = random.normal(size=30) + clusters
    residuals = values - values.mean()
    # Section 2.2: SE_CLT^2 + (1/n^2) of the products of different rows of one cluster; here with variance over n.
    pairs = sum(
        residuals[i] * residuals[j] for i in range(30) for j in range(30) if i != j and clusters[i] == clusters[j]
    )
    miller = values.var() / 30 + pairs / 30**2
    count = len(set(clusters.tolist()))
    assert clustered_se(values, clusters) == pytest.approx(math.sqrt(count / (count - 1) * miller))


def test_two_turns_of_each_question_have_the_error_of_the_questions_averages() -> None:
    turns = np.random.default_rng(9).normal(size=(40, 2)) + np.arange(40)[:, None] / 8
    by_question = turns.mean(axis=1)
    found = clustered_se(turns.ravel(), np.repeat(np.arange(40), 2))
    assert found == pytest.approx(by_question.std(ddof=1) / math.sqrt(40))
    assert clustered_se(turns.ravel(), ["the same"] * 80) is None


# --- effect size and margins ---


def test_effect_size_of_students_sleep() -> None:
    found = effect_size(SLEEP)
    assert found is not None
    assert found.d_z == pytest.approx(4.0621 / math.sqrt(10), abs=1e-5)  # t = 4.06
    # Noncentral t puts 2.5 % beyond the t that was seen, at either end.
    t = found.d_z * math.sqrt(10)
    assert stats.nct.sf(t, 9, found.low * math.sqrt(10)) == pytest.approx(0.025, abs=1e-6)
    assert stats.nct.cdf(t, 9, found.high * math.sqrt(10)) == pytest.approx(0.025, abs=1e-6)


@pytest.mark.parametrize("n", [2, 12, 400, 5_000])
@pytest.mark.parametrize("shift", [0.0, 0.3, 3.0, 40.0])
def test_effect_sizes_have_an_interval_however_large_and_mirror(n: int, shift: float) -> None:
    values = np.random.default_rng(n).normal(shift, 1, n)
    found, mirrored = effect_size(values), effect_size(-values)
    assert found is not None
    assert mirrored is not None
    assert found.low < found.d_z < found.high
    assert mirrored == pytest.approx((-found.d_z, -found.high, -found.low), rel=1e-6)


@given(seed=st.integers(0, 10_000), n=st.integers(3, 90), margin=st.floats(0.05, 2))
@settings(deadline=None, max_examples=100)
def test_margins_equal_statsmodels_and_agree_with_their_interval(seed: int, n: int, margin: float) -> None:
    random = np.random.default_rng(seed)
    before, after = random.normal(size=(2, n))
    differences = after - before
    p, (_, p_low, _), (_, p_high, _) = ttost_paired(after, before, -margin, margin)
    both = equivalence_mean(differences, margin)
    lower, higher = noninferiority_mean(differences, margin), noninferiority_mean(differences, margin, worse="higher")
    assert both is not None
    assert lower is not None
    assert higher is not None
    assert (both.p, lower.p, higher.p) == pytest.approx((p, p_low, p_high), abs=1e-9)
    assert lower.holds == (lower.low > -margin)
    assert higher.holds == (higher.high < margin)
    assert both.holds == (-margin < both.low and both.high < margin)


def test_a_margin_of_nothing_is_refused_and_no_spread_shows_nothing() -> None:
    with pytest.raises(ValueError, match="above 0"):
        noninferiority_mean(SLEEP, 0)
    assert noninferiority_mean(np.zeros(30), 0.5) is None
    assert equivalence_mean(np.full(30, 0.1), 0.5) is None
    assert effect_size(np.full(30, 0.1)) is None


# --- all of it ---


def test_a_paired_mean_puts_them_together() -> None:
    found = paired_mean(SLEEP)
    assert (found.difference, found.se, found.d_z) == pytest.approx((1.58, 0.38896, 1.28456), abs=1e-5)
    assert (found.p, found.p_wilcoxon, found.test, found.n) == (2 / 2**9, 2 / 2**9, means.SIGN_FLIP, 10)
    # Ten are too few for a bootstrap: Student's own interval.
    assert (found.low, found.high) == pytest.approx((0.70, 2.46), abs=0.005)


def test_from_forty_items_on_the_interval_is_the_bootstraps() -> None:
    skewed = np.random.default_rng(1).exponential(1.0, 40)
    found, (low, high) = paired_mean(skewed), bca_means(skewed)
    assert (found.low, found.high) == (low[0], high[0])
    assert paired_mean(skewed[:39]).low == pytest.approx(stats.ttest_1samp(skewed[:39], 0).confidence_interval().low)


def test_below_ten_items_there_is_students_interval_and_no_test() -> None:
    found = paired_mean(SLEEP[:9])
    expected = stats.ttest_1samp(SLEEP[:9], 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.p, found.p_wilcoxon, found.test) == (None, None, means.TOO_FEW)
    assert paired_mean(SLEEP[:1]).low is None


def test_what_is_only_described_has_its_interval_and_no_test() -> None:
    tested, described = paired_mean(SLEEP), paired_mean(SLEEP, tested=False)
    assert (described.p, described.p_wilcoxon, described.test) == (None, None, means.UNTESTED)
    assert (described.low, described.high, described.se) == (tested.low, tested.high, tested.se)
    assert paired_mean(SLEEP[:9], tested=False).test == means.TOO_FEW


def test_equal_differences_have_a_p_and_no_interval() -> None:
    same = paired_mean(np.zeros(20))
    assert (same.difference, same.p, same.low, same.high, same.se, same.d_z) == (0, 1, None, None, None, None)
    assert same.p_wilcoxon is None
    assert paired_mean(np.full(20, -0.3)).p == pytest.approx(2.0**-19)


def test_beyond_the_bootstrap_the_interval_goes_on_smoothly() -> None:
    values = np.random.default_rng(10).normal(size=5_001)
    assert mean_difference_interval(values) == pytest.approx(mean_difference_interval(values[:-1]), abs=0.002)


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf, 1.0], [[1.0, 2.0]]])
def test_differences_that_are_no_numbers_are_refused(values: list[float]) -> None:
    for function in (sign_flip, wilcoxon, effect_size, paired_mean):
        with pytest.raises(ValueError, match="finite"):
            function(np.array(values))
    with pytest.raises(ValueError, match="no differences"):
        paired_mean(np.array([]))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "kind"), [(12, "normal"), (20, "ratings"), (80, "ratings"), (80, "skewed")])
def test_tests_of_no_difference_reject_no_more_often_than_they_say(n: int, kind: str) -> None:
    random = np.random.default_rng(n)
    size = (4_000, n)
    draws = {
        "normal": random.normal(size=size),
        "ratings": (random.integers(2, 21, size) - random.integers(2, 21, size)) / 2,
        # Two lognormal values of one distribution: long tails, and symmetric about 0 as the test asks.
        "skewed": random.lognormal(0, 1, size) - random.lognormal(0, 1, size),
    }[kind]
    flips = np.array([sign_flip(row, draws=2_000).p for row in draws])
    ranks = np.array([wilcoxon(row) for row in draws], dtype=float)
    for p in (flips, ranks):
        assert 0.035 < np.mean(p <= 0.05) < 0.058


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 80])
def test_a_candidate_that_is_worse_by_the_margin_passes_as_rarely_as_alpha_says(n: int) -> None:
    random = np.random.default_rng(n)
    passed = [noninferiority_mean(row, 0.5) for row in random.normal(-0.5, 2, (6_000, n))]
    assert np.mean([found is not None and found.holds for found in passed]) == pytest.approx(0.05, abs=0.009)


@pytest.mark.slow
def test_power_against_a_margin_is_that_of_the_reference_table() -> None:
    # n = 80, standard deviation 2, no true difference, alpha 0.05: 0.72 for a margin of 0.5.
    random = np.random.default_rng(0)
    passed = [noninferiority_mean(row, 0.5) for row in random.normal(0, 2, (6_000, 80))]
    assert np.mean([found is not None and found.holds for found in passed]) == pytest.approx(0.72, abs=0.02)


def test_of_very_many_differences_the_normal_limit_is_taken() -> None:
    random = np.random.default_rng(3)
    many = random.exponential(1, 6_000) * random.choice([-1, 1], 6_000) + 0.02
    limit = means.sign_flip(many)
    drawn = np.abs(random.choice([-1, 1], (4_000, 6_000)) @ np.abs(many)) >= abs(many.sum())
    assert not limit.exact
    assert limit.p == pytest.approx(drawn.mean(), abs=0.03)
