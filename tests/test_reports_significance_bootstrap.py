"""BCa intervals of many columns are those that scipy gives one by one, whatever is missing or belongs together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from reports.significance import bootstrap as bootstrap_module
from reports.significance.bootstrap import acceleration, bca_ends, bca_means, bca_ratio, counts_of_draws

# Efron and Tibshirani 1993, tables 2.1 and 14.1.
MOUSE_TREATMENT = np.array([94.0, 197, 16, 38, 99, 141, 23])
SPATIAL_A = np.array(
    [48.0, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
)


def columns(n: int) -> np.ndarray:
    random = np.random.default_rng(n)
    return np.column_stack(
        [random.normal(3, 2, n), random.lognormal(0, 1.2, n), random.integers(1, 11, n), random.random(n) < 0.4]
    ).astype(float)


@pytest.mark.parametrize("n", [10, 57, 300])
def test_every_column_has_the_interval_that_scipy_gives_it_alone(n: int) -> None:
    values = columns(n)
    low, high = bca_means(values, resamples=40_000)
    for place, column in enumerate(values.T):
        # Other resamples: both ends are random by about a hundredth of the interval's width.
        expected = bootstrap((column,), np.mean, n_resamples=40_000, batch=4_000, rng=9).confidence_interval
        step = 1 / n if place > 1 else 0  # what whole numbers move by
        near = 0.03 * (expected.high - expected.low) + step
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high), abs=near)


def test_efron_and_tibshirani_1993_the_standard_error_of_the_mouse_data() -> None:
    # Table 2.1: mean 86.86; section 6.4: the bootstrap standard error of a mean tends to 25.24 / sqrt(7 / 6) = 23.36.
    draws = np.concatenate(
        [counts @ MOUSE_TREATMENT / 7 for counts in counts_of_draws(7, 20_000, np.random.default_rng(0))]
    )
    assert draws.std() == pytest.approx(23.36, rel=0.02)
    assert MOUSE_TREATMENT.mean() == pytest.approx(86.86, abs=0.005)


def test_a_jackknife_of_the_mean_has_a_sixth_of_the_skewness_as_acceleration() -> None:
    n = len(SPATIAL_A)
    left_out = (SPATIAL_A.sum() - SPATIAL_A) / (n - 1)
    off = SPATIAL_A - SPATIAL_A.mean()
    assert acceleration(left_out) == pytest.approx((off**3).sum() / (6 * (off**2).sum() ** 1.5))


@pytest.mark.parametrize("whole", [False, True])
def test_from_the_same_resamples_the_ends_are_scipys(whole: bool) -> None:
    # Means of 32 whole numbers are exact, so that scipy sees every tie; without ties any numbers will do.
    random = np.random.default_rng(8)
    values = random.integers(0, 6, 32).astype(float) ** 2 if whole else random.lognormal(size=50)
    found = bootstrap((values,), np.mean, n_resamples=5_000, method="BCa", confidence_level=0.9, rng=0)
    jackknife = (values.sum() - values) / (len(values) - 1)
    ends = bca_ends(found.bootstrap_distribution - values.mean(), jackknife, float(values.max()), 0.9)
    expected = found.confidence_interval
    assert values.mean() + ends == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_a_column_with_gaps_is_resampled_over_its_own_items() -> None:
    values = columns(60)
    gaps = values.copy()
    gaps[::7, 1] = gaps[5:25, 2] = np.nan
    low, high = bca_means(gaps)
    for place in range(4):
        own = values[~np.isnan(gaps[:, place]), place]
        alone_low, alone_high = bca_means(own)
        assert (low[place], high[place]) == pytest.approx((alone_low[0], alone_high[0]), rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 40), seed=st.integers(0, 1000), shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 100))
def test_intervals_move_and_stretch_with_the_values(n: int, seed: int, shift: float, scale: float) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    low, high = bca_means(values, resamples=500)
    moved = bca_means(shift + scale * values, resamples=500)
    slack = 1e-9 * (abs(shift) + scale)
    assert (moved[0][0], moved[1][0]) == pytest.approx((shift + scale * low[0], shift + scale * high[0]), abs=slack)
    assert low[0] <= high[0]


def test_ties_count_half_though_rounding_parts_them() -> None:
    # 0.1 has no exact float: sums of the same tenths differ by their order.
    tenths, whole = np.array([0.1] * 15 + [0.3] * 9 + [0.7]), np.array([1.0] * 15 + [3.0] * 9 + [7.0])
    assert np.array(bca_means(tenths)) * 10 == pytest.approx(np.array(bca_means(whole)))


def test_rows_of_a_cluster_are_drawn_together() -> None:
    values = np.random.default_rng(5).normal(size=40)
    alone = bca_means(values)
    # Each value three times over says no more than once, in whatever order the rows come.
    order = np.random.default_rng(6).permutation(120)
    tripled = bca_means(np.repeat(values, 3)[order], np.repeat(np.arange(40), 3)[order])
    assert tripled[1] - tripled[0] == pytest.approx(alone[1] - alone[0], rel=0.03)
    unclustered = bca_means(np.repeat(values, 3))
    assert (alone[1] - alone[0])[0] > 1.6 * (unclustered[1] - unclustered[0])[0]


def test_a_cluster_weighs_its_rows() -> None:
    values = np.array([1.0, 1, 1, 5, 2, 2, 7, 3, 3, 3, 4, 6, 6])
    clusters = list("aaabccdeeefgg")
    sums, sizes = np.array([3.0, 5, 4, 7, 9, 4, 12]), np.array([3.0, 1, 2, 1, 3, 1, 2])
    assert np.array(bca_means(values, clusters)) == pytest.approx(np.array(bca_ratio(sums, sizes)))


def test_a_ratio_of_means_has_scipys_interval() -> None:
    random = np.random.default_rng(7)
    before = random.integers(1, 11, 80).astype(float)
    after = np.clip(before + random.integers(-4, 3, 80).astype(float), 1, 10)
    found = bootstrap(
        (after, before),
        lambda a, b, axis=-1: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        n_resamples=10_000,
        method="BCa",
        rng=4,
    ).confidence_interval
    low, high = bca_ratio(after, before)
    assert (low[0], high[0]) == pytest.approx((found.low, found.high), abs=0.004)


def test_a_ratio_leaves_out_items_that_miss_either_side() -> None:
    above, below = np.array([4.0, np.nan, 6, 2, 8, 5]), np.array([5.0, 3, np.nan, 4, 7, 6])
    assert np.array(bca_ratio(above, below)) == pytest.approx(
        np.array(bca_ratio(above[[0, 3, 4, 5]], below[[0, 3, 4, 5]]))
    )


@pytest.mark.parametrize("values", [[], [3.0], [np.nan, 2.0], [0.1] * 30, [0.1 + 0.2, 0.3, 0.3], [np.nan] * 4], ids=str)
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    assert np.isnan(np.array(bca_means(np.array(values)))).all()


@pytest.mark.parametrize(
    ("above", "below"),
    [([2.0, 4, 6], [1.0, 2, 3]), ([1.0, 2, 3], [0.0, 0, 0]), ([1.0, 2, 3], [4.0, 0, 0]), ([1.0, 2], [1.0, 0])],
)
def test_a_ratio_without_spread_or_denominator_has_no_interval(above: list[float], below: list[float]) -> None:
    assert np.isnan(np.array(bca_ratio(np.array(above), np.array(below)))).all()


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        bca_ratio(np.array([1.0, 2]), np.array([1.0, -1]))
    with pytest.raises(ValueError, match="infinite"):
        bca_means(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="labels"):
        bca_means(np.array([1.0, 2]), ["a"])
    with pytest.raises(ValueError, match="denominators"):
        bca_ratio(np.ones((3, 2)), np.ones(3))


def test_the_seed_decides_and_the_other_columns_do_not() -> None:
    values = columns(30)
    assert bca_means(values, seed=1)[0].tolist() == bca_means(values, seed=1)[0].tolist()
    assert bca_means(values, seed=1)[0].tolist() != bca_means(values, seed=2)[0].tolist()
    assert np.array(bca_means(values[:, 1]))[:, 0] == pytest.approx(np.array(bca_means(values))[:, 1], rel=1e-12)


def test_draws_that_are_kept_are_those_that_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    values = columns(300)
    kept = [bca_means(values[:n], seed=3) for n in (300, 300, 299, 300)]
    monkeypatch.setattr(bootstrap_module, "KEPT_UP_TO", 0)
    assert np.array(kept).tolist() == np.array([bca_means(values[:n], seed=3) for n in (300, 300, 299, 300)]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("n", "kind", "least"), [(80, "normal", 0.935), (80, "ratings", 0.935), (200, "skewed", 0.91)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(n: int, kind: str, least: float) -> None:
    # A lognormal of variance e^2 - e is among the hardest for any interval of a mean.
    random = np.random.default_rng(n)
    size = (n, 3_000)
    if kind == "normal":
        values, true = random.normal(size=size), 0.0
    elif kind == "ratings":
        values, true = random.choice([1.0, 5, 8, 9, 10], size=size, p=[0.2, 0.1, 0.2, 0.2, 0.3]), 7.1
    else:
        values, true = random.lognormal(0, 1, size=size), np.exp(0.5)
    low, high = bca_means(values, resamples=2_000)
    assert least <= np.mean((low <= true) & (true <= high)) <= 0.965
