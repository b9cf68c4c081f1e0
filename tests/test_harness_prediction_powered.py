"""Prediction-powered estimates: the published formula, intervals that cover, and no interval from too few labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.agreement import Figure, Numbers
from harness.intervals import wilson
from harness.prediction_powered import PredictionPowered, prediction_powered

LABELS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def drawn(
    random: np.random.Generator, n: int, rate: float, sensitivity: float, specificity: float
) -> tuple[Numbers, Numbers]:
    """Truths of n items and what a judge with these errors makes of them."""
    truth = random.random(n) < rate
    says = np.where(truth, random.random(n) < sensitivity, random.random(n) > specificity)
    return truth.astype(float), says.astype(float)


def rounds(
    times: int, labelled: int, items: int, rate: float, sensitivity: float, specificity: float
) -> list[PredictionPowered]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(times):
        truth, says = drawn(random, items, rate, sensitivity, specificity)
        found.append(prediction_powered(truth[:labelled], says[:labelled], says[labelled:], rate=True))
    return found


def coverage(found: list[PredictionPowered], rate: float) -> float:
    return float(np.mean([f.corrected.low <= rate <= f.corrected.high for f in found]))  # type: ignore[operator]


def width(figures: list[Figure]) -> float:
    return float(np.mean([f.high - f.low for f in figures]))  # type: ignore[operator]


def test_the_estimate_is_the_formula_of_ppi_plus_plus() -> None:
    y, f = drawn(np.random.default_rng(5), 60, 0.42, 0.9, 0.85)
    _, other = drawn(np.random.default_rng(6), 340, 0.42, 0.9, 0.85)
    found = prediction_powered(y, f, other, rate=True)
    pooled = np.concatenate([f, other])
    weight = np.cov(y, f)[0, 1] / (pooled.var(ddof=1) * (1 + 60 / 340))
    assert found.weight == pytest.approx(weight)
    assert found.corrected.value == pytest.approx(weight * other.mean() + (y - weight * f).mean())
    residual = y - weight * f
    variance = weight**2 * other.var(ddof=1) / 340 + ((residual - residual.mean()) ** 2).sum() / 58 / 60
    assert found.effective_n == pytest.approx(y.var(ddof=1) / variance)
    assert found.judge_only.value == pytest.approx(pooled.mean())
    assert found.human_only == Figure(y.mean(), *wilson(y.mean(), 60))


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "effective", "bias", "corrected_width"),
    [(0.90, 0.85, 116, 0.045, 0.18), (0.95, 0.95, 197, 0.008, 0.135), (0.80, 0.70, 77, 0.09, 0.22)],
)
def test_sixty_labels_of_400_items_are_worth_what_was_measured(
    sensitivity: float, specificity: float, effective: float, bias: float, corrected_width: float
) -> None:
    found = rounds(400, 60, 460, 0.42, sensitivity, specificity)
    assert np.median([f.effective_n for f in found]) == pytest.approx(effective, rel=0.06)
    assert np.mean([f.judge_only.value for f in found]) == pytest.approx(0.42 + bias, abs=0.006)
    assert np.mean([f.corrected.value for f in found]) == pytest.approx(0.42, abs=0.01)
    assert width([f.corrected for f in found]) == pytest.approx(corrected_width, abs=0.006)
    assert width([f.human_only for f in found]) == pytest.approx(0.24, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labelled", "items", "rate", "sensitivity", "specificity", "least"),
    [
        (60, 460, 0.42, 0.90, 0.85, 0.94),
        (60, 460, 0.42, 0.95, 0.95, 0.94),
        (60, 460, 0.42, 0.80, 0.70, 0.94),
        (20, 400, 0.42, 0.90, 0.85, 0.93),
        (10, 100, 0.42, 0.90, 0.85, 0.93),
        (30, 400, 0.10, 0.90, 0.95, 0.93),
        (30, 400, 0.05, 0.90, 0.95, 0.89),
        (60, 400, 0.05, 0.90, 0.95, 0.94),
    ],
)
def test_the_interval_of_a_rate_covers_the_truth(
    labelled: int, items: int, rate: float, sensitivity: float, specificity: float, least: float
) -> None:
    found = rounds(2_000, labelled, items, rate, sensitivity, specificity)
    assert least <= coverage(found, rate) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize(("labelled", "noise"), [(10, 1.0), (20, 1.0), (60, 0.5), (60, 3.0)])
def test_the_interval_of_a_mean_rating_covers_the_truth(labelled: int, noise: float) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1_000):
        truth = random.normal(6, 1.5, 200)
        says = truth + 1 + random.normal(0, noise, 200)
        found = prediction_powered(truth[:labelled], says[:labelled], says[labelled:], rate=False).corrected
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 6 <= found.high
    assert 0.93 <= covered / 1_000 <= 0.975


def test_a_judge_that_tells_nothing_leaves_the_human_figure() -> None:
    y, _ = drawn(np.random.default_rng(5), 30, 0.4, 1, 1)
    found = prediction_powered(y, np.ones(30), np.ones(100), rate=True)
    assert (found.weight, found.effective_n) == (0, 30)
    assert found.corrected == found.human_only


def test_no_hit_among_the_labels_gives_no_interval_of_width_nought() -> None:
    _, f = drawn(np.random.default_rng(5), 30, 0.4, 1, 1)
    found = prediction_powered(np.zeros(30), f, np.ones(100), rate=True)
    assert found.corrected == Figure(0.0, *wilson(0.0, 30))


def test_labels_on_every_item_leave_nothing_to_the_judge() -> None:
    y, f = drawn(np.random.default_rng(5), 30, 0.4, 0.9, 0.9)
    found = prediction_powered(y, f, np.array([]), rate=True)
    assert found.corrected == found.human_only


def test_nine_labels_give_values_and_no_interval() -> None:
    y, f = drawn(np.random.default_rng(5), 100, 0.4, 0.9, 0.9)
    found = prediction_powered(y[:9], f[:9], f[9:], rate=True)
    assert found.corrected.value is not None
    assert (found.corrected.low, found.human_only.low, found.effective_n) == (None, None, None)
    assert found.judge_only.low is not None


@settings(deadline=None)
@given(labels=LABELS, others=st.lists(st.booleans(), max_size=40))
def test_whatever_the_labels_a_rate_stays_a_rate_inside_its_interval(
    labels: list[tuple[bool, bool]], others: list[bool]
) -> None:
    y, f = np.array(labels, dtype=float).T
    found = prediction_powered(y, f, np.array(others, dtype=float), rate=True)
    assert 0 <= found.weight <= 1
    for figure in (found.judge_only, found.human_only, found.corrected):
        assert figure.value is not None
        assert 0 <= figure.value <= 1
        if figure.low is not None and figure.high is not None:
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
