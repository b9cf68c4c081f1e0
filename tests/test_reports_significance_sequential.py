"""A mean looked at after every item: fair bets by enumeration, Ville's bound by exact recursion, and what gates ask."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.significance.proportions import PairedCounts, tango
from reports.significance.sequential import (
    SHARES,
    SequentialMean,
    Side,
    limit,
    log_evidence,
    noninferiority,
)

ALPHA = 0.05
HARM = noninferiority(margin=0.10, direction="lower", scale=(0, 1))


# --- evidence ---


def test_evidence_of_two_items_is_that_computed_by_hand() -> None:
    # Seen from 1, an unchanged item and one that got better are 10/9 and 20/9 of what the limit of 0.1 expects. The
    # shares have mean 0.66698 and mean square 1/2: 1 + 0.66698 / 9, then 1 + 0.66698 × 12 / 9 + 11 / 81 / 2.
    assert SHARES.mean() == pytest.approx(0.66698, abs=1e-5)
    assert np.mean(SHARES**2) == pytest.approx(0.5)
    one = HARM.observe(0)
    assert HARM.e_below == 1
    assert one.e_below == pytest.approx(1.07411, abs=1e-5)
    assert one.observe(-1).e_below == pytest.approx(1.95721, abs=1e-5)


@pytest.mark.parametrize(("side", "end"), [("above", -1.0), ("below", 1.0)])
def test_at_the_threshold_the_expected_evidence_is_exactly_one(side: Side, end: float) -> None:
    def expected(chances: tuple[float, float, float], depth: int) -> float:
        total = 0.0
        for path in itertools.product(range(3), repeat=depth):
            values = np.array(path) - 1.0
            total += math.prod(chances[i] for i in path) * math.exp(log_evidence(values, end, 0.1)[-1])
        return total

    for depth in (1, 3, 6):
        assert expected((0.1, 0.7, 0.2), depth) == pytest.approx(1, abs=1e-12)
        assert expected((0.0, 0.9, 0.1), depth) == pytest.approx(1, abs=1e-12)
        assert expected((0.15, 0.7, 0.15) if side == "above" else (0.1, 0.65, 0.25), depth) < 1


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
@pytest.mark.parametrize(("side", "end"), [("above", 0.0), ("below", 1.0)])
def test_looking_after_each_of_100_items_errs_in_less_than_alpha(side: Side, end: float, rate: float) -> None:
    # Exact: the chance of every number of hits among those who are still looking. Evidence ignores the order of items.
    still = np.array([1.0])
    for n in range(1, 101):
        still = np.append(still * (1 - rate), 0) + np.append(0, still * rate)
        for hits in np.flatnonzero(still):
            values = np.repeat([1.0, 0.0], [hits, n - hits])
            if log_evidence(values, end, rate)[-1] >= math.log(1 / ALPHA):
                still[hits] = 0
    assert ALPHA / 5 < 1 - still.sum() <= ALPHA


# --- verdicts ---


def test_the_example_of_the_module_is_so() -> None:
    rule = noninferiority(margin=0.10, direction="lower", scale=(0, 1), planned=200)
    for item in range(1, 201):
        rule = rule.observe({10: 1, 0: -1}.get(item % 20, 0))
        if rule.verdict(ALPHA):
            break
    assert (rule.n, rule.verdict(ALPHA)) == (108, "pass")
    assert rule.interval(ALPHA) == pytest.approx((-0.0918, 0.0996), abs=1e-4)


def test_a_verdict_stays_whatever_comes_after_it() -> None:
    rule = HARM.observe_all([0.0] * 60)
    assert (rule.verdict(ALPHA), rule.decision(ALPHA)) == ("pass", ("below", 38))
    worse = rule.observe_all([1.0] * 200)
    assert worse.e_below < 1 < 1 / ALPHA < worse.e_above
    assert (worse.verdict(ALPHA), worse.decision(ALPHA)) == ("pass", ("below", 38))


def test_the_same_items_in_another_order_may_be_decided_earlier() -> None:
    values = np.array([1.0] * 5 + [0.0] * 95)
    first, last = HARM.observe_all(values), HARM.observe_all(values[::-1])
    assert first.e_below == pytest.approx(last.e_below)
    assert first.decision(ALPHA) != last.decision(ALPHA)


def test_items_one_by_one_are_the_same_as_all_at_once() -> None:
    values = np.random.default_rng(0).choice([-1.0, 0.0, 0.5, 1.0], 40)
    rule = HARM
    for value in values.tolist():
        rule = rule.observe(value)
    assert rule == HARM.observe_all(values)


@pytest.mark.parametrize(
    ("rule", "value", "verdict"),
    [
        (noninferiority(0.1, "lower", (0, 1)), -0.2, "pass"),
        (noninferiority(0.1, "lower", (0, 1)), 0.5, "fail"),
        (noninferiority(0.5, "higher", (1, 10)), 0.5, "pass"),
        (noninferiority(0.5, "higher", (1, 10)), -2.0, "fail"),
        (noninferiority(-0.1, "lower", (0, 1)), -0.5, "pass"),
        (noninferiority(-0.1, "lower", (0, 1)), 0.1, "fail"),
        (limit(0.05, "lower", (0, 1)), 0.0, "pass"),
        (limit(0.05, "lower", (0, 1)), 0.3, "fail"),
        (limit(7.0, "higher", (1, 10)), 8.5, "pass"),
        (limit(7.0, "higher", (1, 10)), 5.0, "fail"),
    ],
)
def test_each_rule_passes_on_its_good_side(rule: SequentialMean, value: float, verdict: str) -> None:
    assert rule.observe(value).verdict(ALPHA) is None
    assert rule.observe_all([value] * 150).verdict(ALPHA) == verdict


def test_a_last_test_decides_at_the_planned_item_with_the_rest_of_alpha() -> None:
    rule = noninferiority(0.10, "lower", (0, 1), planned=50)
    assert (HARM.looking_alpha(ALPHA), HARM.final_alpha(ALPHA)) == (0.05, 0)
    assert (rule.looking_alpha(ALPHA), rule.final_alpha(ALPHA)) == (0.025, 0.025)
    end = rule.observe_all([0, 0, 0, 1, -1] * 10)
    assert end.verdict(ALPHA) is None
    assert end.verdict(ALPHA, final=(-0.15, 0.11)) is None
    assert end.verdict(ALPHA, final=(-0.15, 0.09)) == "pass"
    assert end.verdict(ALPHA, final=(0.11, 0.2)) == "fail"
    # What looking has decided, the last test can not take back.
    assert rule.observe_all([0] * 50).verdict(ALPHA, final=(0.11, 0.2)) == "pass"


# --- intervals ---


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=60), st.sampled_from([0.05, 0.2]), st.booleans()
)
def test_an_interval_never_widens_and_leaves_out_the_threshold_exactly_when_decided(
    values: list[float], alpha: float, planned: bool
) -> None:
    rule = noninferiority(0.1, "lower", (0, 1), planned=60 if planned else None)
    before = (-1.0, 1.0)
    for end in (len(values) // 2, len(values)):
        seen = rule.observe_all(values[:end])
        found = seen.interval(alpha)
        if found is None:
            return
        assert before[0] - 1e-9 <= found[0] <= found[1] <= before[1] + 1e-9
        assert (seen.decision(alpha) is None) == (found[0] <= rule.threshold <= found[1])
        before = found


def test_an_interval_of_nothing_is_the_scale_and_of_much_is_near_the_mean() -> None:
    assert limit(7.0, "higher", (1, 10)).interval(ALPHA) == pytest.approx((1, 10))
    ratings = np.random.default_rng(0).choice([6.0, 8.0], 2_000)
    low, high = limit(7.5, "higher", (1, 10)).observe_all(ratings).interval(ALPHA) or (0, 0)
    assert 6.8 < low < 7 < high < 7.2


def test_items_that_contradict_one_mean_leave_no_interval() -> None:
    assert HARM.observe_all([-1.0] * 100 + [1.0] * 300).interval(ALPHA) is None


# --- items without a value, and mistakes ---


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=20), st.integers(0, 19), st.floats(-1.0, 0.0))
def test_an_item_nobody_judged_counts_on_both_sides_as_what_speaks_most_against(
    values: list[float], place: int, truth: float
) -> None:
    place %= len(values)
    unjudged, judged = HARM, HARM
    for i, value in enumerate(values):
        unjudged = unjudged.observe(-1.0, 0.0) if i == place else unjudged.observe(value)
        judged = judged.observe(truth if i == place else value)
    assert unjudged.e_above <= judged.e_above * (1 + 1e-9)
    assert unjudged.e_below <= judged.e_below * (1 + 1e-9)


def test_values_thresholds_and_tests_out_of_place_are_refused() -> None:
    for value in (1.5, -1.0001, math.nan):
        with pytest.raises(ValueError, match="lie"):
            HARM.observe(value)
        with pytest.raises(ValueError, match="lie"):
            HARM.observe_all([0.0, value])
    with pytest.raises(ValueError, match=r"0\.5 to -0\.5"):
        HARM.observe(0.5, -0.5)
    with pytest.raises(ValueError, match="threshold lies between -1 and 1"):
        noninferiority(1.0, "lower", (0, 1))
    with pytest.raises(ValueError, match="threshold lies between 0 and 1"):
        limit(0.0, "lower", (0, 1))
    with pytest.raises(ValueError, match="alpha"):
        HARM.verdict(0.0)
    planned = noninferiority(0.1, "lower", (0, 1), planned=3)
    with pytest.raises(ValueError, match="all 3 planned items, not of 2"):
        planned.observe_all([0, 0]).verdict(ALPHA, final=(0.2, 0.3))
    with pytest.raises(ValueError, match="no item 4"):
        planned.observe_all([0] * 4)
    with pytest.raises(ValueError, match="planned"):
        HARM.observe(0).verdict(ALPHA, final=(0.2, 0.3))


def test_evidence_of_thousands_of_items_is_infinite_not_an_error() -> None:
    assert HARM.observe_all([-1.0] * 2_000).e_below == math.inf


@pytest.mark.slow
@pytest.mark.parametrize(("worse", "better"), [(0.10, 0.0), (0.12, 0.02), (0.25, 0.15)])
def test_at_the_margin_looking_and_a_last_test_pass_and_fail_in_less_than_alpha(worse: float, better: float) -> None:
    rounds, rule = 2_000, noninferiority(0.10, "lower", (0, 1), planned=200)
    random, found = np.random.default_rng(1), []
    for _ in range(rounds):
        seen = rule.observe_all(random.choice([1.0, -1.0, 0.0], 200, p=[worse, better, 1 - worse - better]))
        gained, lost = seen.at_least.count(1), seen.at_least.count(-1)
        bounds = tango(PairedCounts(0, lost, gained, 200 - lost - gained), 1 - 2 * rule.final_alpha(ALPHA))
        found.append(seen.verdict(ALPHA, bounds))
    assert max(found.count("pass"), found.count("fail")) / rounds <= ALPHA + 3 * math.sqrt(ALPHA / rounds)
