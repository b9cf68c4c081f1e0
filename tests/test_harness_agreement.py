"""Agreement: equal to published examples and to scipy, undefined where it is undefined, and with items as the unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.agreement import Figure, LabelAgreement, cohen_kappa, label_agreement, midranks, rating_agreement
from harness.intervals import wilson

RATINGS = st.integers(1, 10).map(float)
PAIRS_OF_RATINGS = st.lists(st.tuples(RATINGS, RATINGS), min_size=2, max_size=40)


def agreement_of(table: list[list[int]], words: str = "abc") -> LabelAgreement:
    """The agreement of two raters with this confusion table, every answer an item of its own."""
    cells = [(words[h], words[j]) for h, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return label_agreement([h for h, _ in cells], [j for _, j in cells], range(len(cells)))


def test_kappa_tells_tables_of_the_same_accuracy_apart() -> None:
    # The textbook pair: 60 of 100 agreed on both times, but with other chances of it.
    assert agreement_of([[45, 15], [25, 15]]).kappa.value == pytest.approx(0.1304, abs=5e-5)
    assert agreement_of([[25, 35], [5, 35]]).kappa.value == pytest.approx(0.2593, abs=5e-5)


def test_kappa_of_the_textbook_example_is_two_fifths() -> None:
    found = agreement_of([[20, 5], [10, 15]])
    assert found.kappa.value == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt 1969: its asymptotic standard error is 0.128.
    assert found.kappa.low == pytest.approx(0.4 - 1.96 * 0.128, abs=0.03)
    assert found.kappa.high == pytest.approx(0.4 + 1.96 * 0.128, abs=0.03)


@given(table=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_kappa_is_observed_agreement_beyond_chance(table: list[list[int]]) -> None:
    counts = np.array(table, dtype=float)
    n = counts.sum()
    assume(n > 0)
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / n**2
    assume(chance < 1)
    expected = (counts.trace() / n - chance) / (1 - chance)
    assert float(cohen_kappa(counts.ravel())) == pytest.approx(expected)


def test_kappa_of_one_class_is_undefined_and_says_so() -> None:
    found = label_agreement(["a"] * 20, ["a"] * 20, range(20))
    assert found.kappa == Figure(None)
    assert found.kappa_undefined == "every label of both is 'a'"
    assert found.as_json()["kappa"] is None


def test_perfect_agreement_gives_kappa_no_interval_of_width_nought() -> None:
    found = agreement_of([[12, 0], [0, 13]])
    assert found.kappa == Figure(1.0, None, None)
    assert found.accuracy == Figure(1.0, *wilson(1.0, 25))


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    found = agreement_of([[5, 0], [3, 0]])
    assert vars(found.classes["a"]) == {"precision": 5 / 8, "recall": 1.0, "f1": 10 / 13, "support": 5}
    assert vars(found.classes["b"]) == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 3}
    assert found.confusion == {"a": {"a": 5, "b": 0}, "b": {"a": 3, "b": 0}}


def test_the_same_answers_twice_make_no_interval_narrower() -> None:
    once = agreement_of([[20, 5], [10, 15]])
    human = ["a"] * 25 + ["b"] * 25
    judge = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    twice = label_agreement(human * 2, judge * 2, [*range(50), *range(50)])
    assert twice.n == 100
    assert twice.kappa == once.kappa
    assert twice.accuracy.low == pytest.approx(once.accuracy.low, abs=0.005)


def test_below_ten_items_kappa_has_no_interval() -> None:
    found = label_agreement(list("abababababab"), list("abababababba"), [n // 2 for n in range(12)])
    assert found.kappa.value is not None
    assert found.kappa.low is None


@settings(deadline=None)
@given(pairs=PAIRS_OF_RATINGS)
def test_correlations_equal_scipys(pairs: list[tuple[float, float]]) -> None:
    human, judge = zip(*pairs, strict=True)
    found = rating_agreement(human, judge, ["one item"] * len(pairs))
    if len(set(human)) < 2 or len(set(judge)) < 2:
        assert (found.spearman.value, found.pearson.value) == (None, None)
        return
    assert found.spearman.value == pytest.approx(stats.spearmanr(human, judge).statistic)
    assert found.pearson.value == pytest.approx(stats.pearsonr(human, judge).statistic)


@given(values=st.lists(RATINGS, min_size=1, max_size=30))
def test_midranks_equal_scipys_less_a_half(values: list[float]) -> None:
    ranks = midranks(np.ones(len(values)), np.array(values))
    assert ranks == pytest.approx(stats.rankdata(values) - 0.5)


def test_intervals_of_correlations_equal_scipys_bootstrap() -> None:
    draw = np.random.default_rng(1)
    human = draw.integers(1, 11, 60).astype(float)
    judge = np.clip(human + draw.normal(0, 2, 60).round(), 1, 10)
    found = rating_agreement(list(human), list(judge), range(60))
    for figure, statistic in ((found.pearson, stats.pearsonr), (found.spearman, stats.spearmanr)):

        def correlation(x: object, y: object, of: object = statistic) -> float:
            return float(of(x, y).statistic)  # type: ignore[operator]

        expected = stats.bootstrap(
            (human, judge), correlation, paired=True, vectorized=False, n_resamples=3_000, rng=2
        ).confidence_interval
        assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high), abs=0.012)


def test_a_constant_bias_is_seen_though_the_correlation_is_perfect() -> None:
    human = [1.0, 2, 3, 4, 5, 6, 7] * 3
    found = rating_agreement(human, [rating + 2 for rating in human], range(21))
    assert found.pearson.value == pytest.approx(1)
    assert (found.bias.value, found.mean_absolute_difference.value, found.within_1.value) == (2, 2, 0)


def test_an_interval_is_the_same_whatever_the_order_of_the_answers() -> None:
    human, judge = list("aaabbbabab"), list("aabbbbabaa")
    there = label_agreement(human, judge, range(10))
    back = label_agreement(human[::-1], judge[::-1], range(10)[::-1])
    assert there.kappa.value == back.kappa.value
    assert there.accuracy == back.accuracy


def test_nothing_to_compare_is_no_error() -> None:
    assert label_agreement([], [], []).accuracy == Figure(None)
    assert rating_agreement([], [], []).spearman == Figure(None)


def test_kappas_interval_covers_at_about_its_level() -> None:
    # Cells of a judge with sensitivity and specificity .85 on a rate of .4; kappa of the population is 0.684.
    cells = np.array([0.51, 0.09, 0.06, 0.34])
    true = float(cohen_kappa(cells * 1e6))
    draw = np.random.default_rng(3)
    covered = 0
    for counts in draw.multinomial(120, cells, size=150):
        found = agreement_of(counts.reshape(2, 2).tolist()).kappa
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true <= found.high
    assert covered / 150 >= 0.90
