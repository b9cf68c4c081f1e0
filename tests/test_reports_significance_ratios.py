"""Ratios of means: a bootstrap of few items, Fieller's interval of many, and no jump between the two."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.significance.bootstrap import bca_ratio
from reports.significance.ratios import fieller, ratio_interval

BORDER = 5_000


def sides(kind: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    if kind == "rates":
        before = random.random(n) < 0.4
        return (before & (random.random(n) < 0.7)).astype(float), before.astype(float)
    if kind == "ratings":
        before = random.integers(1, 11, n).astype(float)
        return np.clip(before + random.integers(-3, 3, n), 1, 10).astype(float), before
    return random.lognormal(0, 1, n), random.lognormal(0.1, 1, n)


@pytest.mark.parametrize(("kind", "apart"), [("rates", 0.02), ("ratings", 0.02), ("skewed", 0.03)])
def test_at_the_border_it_is_the_bootstraps_and_beyond_it_goes_on_smoothly(kind: str, apart: float) -> None:
    above, below = sides(kind, BORDER + 1)
    at = np.ravel(bca_ratio(above[:-1], below[:-1]))
    assert ratio_interval(above[:-1], below[:-1]) == tuple(at)
    beyond = ratio_interval(above, below)
    assert beyond == fieller(above, below)
    assert beyond == pytest.approx(tuple(at), abs=apart * float(np.ptp(at)))


def test_the_ends_are_the_ratios_that_a_test_of_the_mean_just_does_not_reject() -> None:
    above, below = sides("skewed", 60)
    found = fieller(above, below, 0.9)
    assert found
    for end in found:
        off = above - end * below
        assert abs(off.mean()) / (off.std(ddof=1) / 60**0.5) == pytest.approx(stats.norm.ppf(0.95))
    assert fieller(above * 1e6, below) == pytest.approx(tuple(end * 1e6 for end in fieller(above, below) or ()))


def test_clusters_are_what_is_counted() -> None:
    above, below = sides("ratings", BORDER)
    # 10,000 answers of 5,000 requests are not beyond the border, and say no more than one answer of each.
    for n, alone in ((BORDER, ratio_interval), (BORDER + 1, fieller)):
        above, below = sides("ratings", n)
        found = ratio_interval(np.repeat(above, 2), np.repeat(below, 2), np.repeat(np.arange(n), 2))
        assert found == pytest.approx(alone(above, below))


def test_a_ratio_that_nothing_is_known_of_has_no_interval() -> None:
    n = BORDER + 1
    one = np.eye(1, n)[0]
    assert ratio_interval(np.full(n, 3.0), np.full(n, 2.0)) is None
    assert ratio_interval(np.ones(n), np.zeros(n)) is None
    assert ratio_interval(np.ones(n), one) is None
    assert ratio_interval(one[:9], np.zeros(9)) is None
    assert fieller(np.array([]), np.array([])) is None
    with pytest.raises(ValueError, match="0 or more"):
        ratio_interval(np.ones(n), -np.ones(n))
    with pytest.raises(ValueError, match="finite"):
        ratio_interval(np.full(n, np.nan), np.ones(n))


def test_it_holds_the_true_ratio_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    true = 0.5
    held = 0
    for _ in range(1_000):
        below = random.random(400) < 0.2
        above = below & (random.random(400) < true)
        low, high = fieller(above.astype(float), below.astype(float)) or (0.0, 0.0)
        held += low <= true <= high
    assert held / 1_000 == pytest.approx(0.95, abs=0.02)
