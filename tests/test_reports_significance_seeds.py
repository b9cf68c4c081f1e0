"""Training seeds: the spread between runs of a recipe is part of every interval, and too few runs give none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.significance.bootstrap import bca_means
from reports.significance.seeds import (
    FEW_QUESTIONS,
    FEW_RUNS,
    NO_SPREAD,
    hierarchical_bootstrap,
    seeds_difference,
    seeds_mean,
)


def runs(seed: int, count: int, questions: int = 80, spread: float = 0.4, mean: float = 6.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    own = random.normal(0, spread, (count, 1)) + random.normal(0, 1.3, (count, questions))
    return np.asarray(mean + np.random.default_rng(99).normal(0, 1.7, questions) + own)


def test_run_spread_widens_the_interval_beyond_that_of_these_checkpoints() -> None:
    found = seeds_mean(runs(0, 5))
    assert found.low is not None
    assert found.high is not None
    assert found.of_these_runs is not None
    assert found.low < found.of_these_runs[0] < found.value < found.of_these_runs[1] < found.high
    assert found.value == pytest.approx(np.mean(found.run_means))
    assert (found.reason, found.questions, len(found.run_means[0])) == (None, 80, 5)


def test_with_two_runs_there_is_only_the_interval_of_these_checkpoints() -> None:
    values = runs(1, 2)
    found = seeds_mean(values)
    assert (found.low, found.high, found.between_runs, found.reason) == (None, None, (None,), FEW_RUNS)
    assert found.of_these_runs == pytest.approx(np.ravel(bca_means(values.mean(axis=0))))
    assert seeds_difference(runs(2, 5), values).reason == FEW_RUNS
    assert seeds_mean(runs(3, 5, questions=9)).reason == FEW_QUESTIONS
    assert seeds_mean(np.full((4, 20), 0.1)).reason == NO_SPREAD


def test_questions_that_both_groups_share_fall_out_of_their_difference() -> None:
    before, after = runs(4, 6, spread=0), runs(5, 4, spread=0, mean=5.5)
    found = seeds_difference(after, before)
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert found.standard_error is not None
    # Questions differ by 1.7: had they been drawn for each group, the error would be at least 1.7 sqrt(2 / 80) = 0.27.
    assert found.standard_error < 0.14
    swapped = seeds_difference(before, after)
    assert (swapped.value, swapped.standard_error) == pytest.approx((-found.value, found.standard_error))
    assert swapped.run_means == found.run_means[::-1]


def test_the_bootstrap_has_the_spread_of_its_formula() -> None:
    values = runs(6, 5)
    drawn = hierarchical_bootstrap([values], resamples=40_000)
    expected = values.mean(axis=1).var() / 5 + values.mean(axis=0).var() / 80
    assert drawn.var() == pytest.approx(expected, rel=0.03)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.005)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 500), shift=st.floats(-50, 50), scale=st.floats(0.1, 10))
def test_intervals_over_runs_move_and_stretch_with_the_values(seed: int, shift: float, scale: float) -> None:
    values = runs(seed, 4, questions=12)
    plain, moved = (seeds_mean(them, resamples=300) for them in (values, shift + scale * values))
    assert plain.low is not None
    assert plain.high is not None
    assert (moved.low, moved.high) == pytest.approx((shift + scale * plain.low, shift + scale * plain.high), abs=1e-6)


def test_runs_that_miss_a_question_are_refused() -> None:
    values = runs(7, 3)
    with pytest.raises(ValueError, match="same questions"):
        seeds_difference(values, values[:, :-1])
    values[0, 0] = np.nan
    with pytest.raises(ValueError, match="leave out"):
        seeds_mean(values)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_intervals_over_runs_hold_the_truth_about_as_often_as_they_say(count: int, spread: float) -> None:
    # Of the bootstrap alone, 95 % intervals of three runs hold the truth 78 to 84 % of the time where runs differ.
    random = np.random.default_rng(count)
    held = []
    for _ in range(1_500):
        questions = random.normal(0, 1.7, 80)
        first, second = (
            questions + random.normal(0, spread, (count, 1)) + random.normal(0, 1.3, (count, 80)) for _ in range(2)
        )
        mean = seeds_mean(first, resamples=500)
        difference = seeds_difference(first, second, resamples=500)
        held.append(
            [it.low is not None and it.high is not None and it.low <= 0 <= it.high for it in (mean, difference)]
        )
    coverage = np.mean(held, axis=0)
    assert coverage.min() > 0.935
    assert coverage.max() < 0.995
