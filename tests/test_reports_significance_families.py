"""Adjusted p-values: a worked example, statsmodels, and the error rates that they are for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from reports.significance.families import benjamini_hochberg, holm


def test_benjamini_and_hochberg_1995_find_four_of_fifteen_and_holm_three() -> None:
    # Section 3.2: fifteen endpoints of myocardial infarction under thrombolysis.
    small = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p_values = [*small, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert [p <= 0.05 for p in benjamini_hochberg(p_values)] == [True] * 4 + [False] * 11  # type: ignore[operator]
    assert [p <= 0.05 for p in holm(p_values)] == [True] * 3 + [False] * 12  # type: ignore[operator]


# statsmodels takes 40 ms for one of Holm's.
@pytest.mark.parametrize(("ours", "theirs", "families"), [(holm, "holm", 8), (benjamini_hochberg, "fdr_bh", 1_000)])
def test_adjusted_p_values_equal_statsmodels(
    ours: Callable[[Sequence[float | None]], list[float | None]], theirs: str, families: int
) -> None:
    random = np.random.default_rng(0)
    for _ in range(families):
        p_values = random.choice([random.random(), 0.0, 1.0, *random.random(8) ** 3], size=random.integers(1, 12))
        assert ours(p_values.tolist()) == pytest.approx(multipletests(p_values, method=theirs)[1], abs=1e-12)


def test_a_test_that_was_not_made_stays_none_and_counts_for_nothing() -> None:
    for adjust in (holm, benjamini_hochberg):
        some = adjust([0.04, 0.01])
        assert adjust([None, 0.04, None, 0.01, None]) == [None, some[0], None, some[1], None]
        assert adjust([None]) == [None]
        assert adjust([]) == []
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


@pytest.mark.parametrize("p", [-0.01, 1.01, float("nan")])
def test_what_is_no_p_value_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([0.5, p])


@pytest.mark.slow
def test_holm_keeps_the_rate_of_any_false_finding_and_benjamini_hochberg_the_share_of_false_ones() -> None:
    from scipy.special import ndtr

    random, rounds, true = np.random.default_rng(1), 10_000, 4
    any_false, share_false = 0, 0.0
    for _ in range(rounds):
        z = random.normal(size=10) + np.r_[np.full(true, 2.5), np.zeros(10 - true)]
        p_values = (2 * ndtr(-np.abs(z))).tolist()
        any_false += any(p < 0.05 for p in holm(p_values)[true:] if p is not None)
        found = np.array([p < 0.05 for p in benjamini_hochberg(p_values) if p is not None])
        share_false += found[true:].sum() / max(1, found.sum())
    assert any_false / rounds < 0.05 + 0.005
    # Exactly alpha × the share of true null hypotheses.
    assert share_false / rounds == pytest.approx(0.05 * 6 / 10, abs=0.004)
