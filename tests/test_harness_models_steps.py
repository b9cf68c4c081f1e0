"""What is kept of an answer's next-token distributions: quantiles, slope and top-1 share against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import linregress

from harness.models.steps import SHORTEST_SLOPE, entropy_slope, token_stats

ENTROPIES = np.random.default_rng(0).gamma(2.0, 0.8, size=300)


def test_quantiles_slope_and_share_are_those_of_numpy_and_scipy() -> None:
    found = token_stats(list(ENTROPIES), certain=45)
    assert found
    quantiles = [found["entropy_q10"], found["entropy_q50"], found["entropy_q90"]]
    assert quantiles == pytest.approx(np.quantile(ENTROPIES, (0.1, 0.5, 0.9)), rel=1e-3)
    assert found["entropy_slope"] == pytest.approx(100 * linregress(range(300), ENTROPIES).slope, rel=1e-3)
    assert found["top_1_share"] == 0.15


def test_a_line_has_its_own_slope_in_nats_per_100_tokens() -> None:
    assert entropy_slope([3 - 0.02 * place for place in range(100)]) == pytest.approx(-2.0)
    assert entropy_slope([1.5] * 100) == pytest.approx(0.0, abs=1e-12)
    assert entropy_slope([1.0]) is None


def test_a_short_answer_has_no_slope() -> None:
    short, long_enough = (token_stats(ENTROPIES[:n].tolist(), 0) for n in (SHORTEST_SLOPE - 1, SHORTEST_SLOPE))
    assert short
    assert long_enough
    assert (short["entropy_slope"], long_enough["entropy_slope"] is None) == (None, False)


@pytest.mark.parametrize("entropies", [[], [1.0, math.nan], [1.0, math.inf]])
def test_where_nothing_was_measured_there_is_nothing(entropies: list[float]) -> None:
    assert token_stats(entropies, 0) is None
