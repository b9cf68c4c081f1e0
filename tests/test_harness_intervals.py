"""Intervals: equal to published or library values where there are any, and wider where answers share an item."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from harness.intervals import BOOTSTRAP_UP_TO, mean_interval, rate_interval, wilson


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_equals_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_matches_newcombe_1998_table_1() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, method 3, for 81/263, 15/148, 0/20 and 1/29.
    for k, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(k / n, n) == pytest.approx((low, high), abs=5e-5)


def test_two_identical_answers_of_each_item_say_no_more_than_one() -> None:
    hits = np.array([1.0] * 12 + [0.0] * 28)
    items = np.arange(40)
    doubled = rate_interval(np.repeat(hits, 2), np.repeat(items, 2))
    assert doubled is not None
    # The cluster variance has n - 1 in it, so the doubled sample is worth 39 items of 40.
    assert doubled == pytest.approx(wilson(0.3, 39), abs=1e-9)


def test_no_hit_among_many_answers_of_few_items_rests_on_the_items() -> None:
    assert rate_interval(np.zeros(80), np.repeat(np.arange(10), 8)) == wilson(0.0, 10)


def test_independent_answers_keep_their_number() -> None:
    draw = np.random.default_rng(0)
    hits = (draw.random(2000) < 0.2).astype(float)
    clustered = rate_interval(hits, np.repeat(np.arange(1000), 2))
    plain = wilson(hits.mean(), 2000)
    assert clustered is not None
    assert (clustered[1] - clustered[0]) / (plain[1] - plain[0]) == pytest.approx(1, abs=0.1)


def test_the_mean_of_normal_values_has_the_intervals_of_the_t_distribution_nearly() -> None:
    values = np.random.default_rng(1).normal(5, 2, 200)
    interval = mean_interval(values)
    assert interval is not None
    half = 1.972 * values.std(ddof=1) / np.sqrt(200)
    assert interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_a_skewed_mean_reaches_further_to_its_long_side() -> None:
    values = np.random.default_rng(2).lognormal(0, 1.2, 60)
    low, high = mean_interval(values) or (0, 0)
    assert high - values.mean() > 1.2 * (values.mean() - low)


def test_beyond_the_bootstrap_the_interval_goes_on_smoothly() -> None:
    values = np.random.default_rng(3).normal(0, 1, BOOTSTRAP_UP_TO + 1)
    assert mean_interval(values) == pytest.approx(mean_interval(values[:-1]), abs=0.002)


@pytest.mark.parametrize("values", [[], [4.0]])
def test_below_two_items_there_is_no_interval(values: list[float]) -> None:
    assert mean_interval(np.array(values)) is None


def test_values_without_spread_leave_room_for_what_so_few_can_not_rule_out() -> None:
    # Five ratings of 1 on a scale from 1 to 10: up to 45 % of items may differ (0.55^5 = 0.05), by 9 points at most.
    assert mean_interval(np.array([1.0] * 5), scale=(1, 10)) == pytest.approx((1, 1 + 9 * (1 - 0.05**0.2)))
    assert mean_interval(np.array([7.0] * 5)) is None


def test_values_that_differ_by_rounding_alone_are_the_same() -> None:
    values = np.array([4.0] * 11 + [3.9999999999999996])
    assert mean_interval(values, scale=(1, 10)) == pytest.approx(mean_interval(np.array([4.0] * 12), scale=(1, 10)))


def test_below_ten_items_the_interval_is_students() -> None:
    # Student 1908's sleep data, differences: mean 1.58, t = 4.06 with n = 10; here its first nine.
    values = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6])
    half = ttest_1samp(values, 0).confidence_interval()
    assert mean_interval(values) == pytest.approx((half.low, half.high))
    assert mean_interval(values, scale=(0.9, 5))[0] == 0.9  # type: ignore[index]
