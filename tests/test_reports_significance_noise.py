"""The judge's noise: textbook data, simulated truth, and what too few gradings can not tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.significance.noise import JudgeNoise, judge_noise, panel_noise

# Yield of dyestuff, six batches of five (Davies 1947, Statistical Methods in Research and Production, table 6.1).
DYESTUFF = np.array([
    [1545, 1440, 1440, 1520, 1580], [1540, 1555, 1490, 1560, 1495], [1595, 1550, 1605, 1510, 1560],
    [1445, 1440, 1595, 1465, 1545], [1595, 1630, 1515, 1635, 1625], [1520, 1455, 1450, 1480, 1445],
], dtype=float)  # fmt: skip
# Ratings of six targets by four judges (Shrout and Fleiss 1979, Psychological Bulletin 86:420, table 2).
TARGETS = np.array([
    [9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]
], dtype=float)  # fmt: skip


def test_davies_1947_dyestuff() -> None:
    found = judge_noise(DYESTUFF.ravel(), np.repeat(list("ABCDEF"), 5))
    assert found is not None
    assert (found.between, found.within) == pytest.approx((1764.05, 2451.25), abs=0.005)
    # The error of the mean as it was seen: that of six batch means.
    assert found.standard_error(6, 5) == pytest.approx(DYESTUFF.mean(axis=1).std(ddof=1) / math.sqrt(6))


def test_shrout_and_fleiss_1979() -> None:
    one_way, panel = judge_noise(TARGETS.ravel(), np.repeat(np.arange(6), 4)), panel_noise(TARGETS)
    assert one_way is not None
    assert panel is not None
    assert one_way.share == pytest.approx(1 - 0.17, abs=0.005)  # ICC(1,1)
    assert panel.share == pytest.approx(1 - 0.29, abs=0.005)  # ICC(2,1)
    assert panel.item / (panel.item + panel.taste) == pytest.approx(0.71, abs=0.005)  # ICC(3,1)
    assert panel.within is None


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.216), (0.25, 0.204), (0.5, 0.183)])
def test_three_gradings_of_80_questions_save_little(share: float, expected: float) -> None:
    noise = JudgeNoise(between=4 * (1 - share), within=4 * share, items=80, gradings=240)
    assert noise.share == pytest.approx(share)
    assert noise.standard_error(80) == pytest.approx(0.224, abs=5e-4)
    assert noise.standard_error(80, 3) == pytest.approx(expected, abs=5e-4)
    worth = noise.items_worth(3)
    assert worth is not None
    assert noise.standard_error(80, 3) == pytest.approx(noise.standard_error(1) / math.sqrt(80 * worth))
    assert worth < 1 / (1 - share)


def test_unequal_numbers_of_gradings_are_split_without_bias() -> None:
    random = np.random.default_rng(0)
    items = np.repeat(np.arange(400), random.integers(1, 6, 400))
    splits = []
    for _ in range(60):
        scores = random.normal(6, 1.5, 400)[items] + random.normal(0, 0.8, len(items))
        found = judge_noise(scores, items)
        assert found is not None
        splits.append((found.between, found.within))
    assert np.mean(splits, axis=0) == pytest.approx([2.25, 0.64], rel=0.03)


def test_noise_that_shows_nowhere_is_not_made_up() -> None:
    assert judge_noise(np.array([1.0, 2, 3]), ["a", "b", "c"]) is None
    assert judge_noise(np.array([1.0, 2, 3]), ["a", "a", "a"]) is None
    steady = judge_noise(np.array([1.0, 1, 5, 5]), ["a", "a", "b", "b"])
    assert steady is not None
    assert (steady.within, steady.share) == (0, 0)
    silent = judge_noise(np.ones(4), ["a", "a", "b", "b"])
    assert silent is not None
    assert (silent.share, silent.items_worth(3)) == (None, None)
    with pytest.raises(ValueError, match="finite"):
        judge_noise(np.array([1.0, np.nan]), ["a", "a"])


def test_a_panel_is_split_into_what_made_it() -> None:
    random = np.random.default_rng(1)
    splits = []
    for _ in range(40):
        scores = random.normal(0, 2, (150, 1, 1)) + random.normal(0, 0.7, (1, 8, 1)) + random.normal(0, 1, (150, 8, 1))
        found = panel_noise(scores + random.normal(0, 0.5, (150, 8, 3)))
        assert found is not None
        assert found.within is not None
        splits.append((found.item, found.judge, found.taste, found.within))
    item, judge, taste, within = np.mean(splits, axis=0)
    assert (item, taste, within) == pytest.approx((4, 1, 0.25), rel=0.05)
    assert judge == pytest.approx(0.49, rel=0.25)


def test_severity_counts_only_when_the_mean_is_to_hold_for_other_judges() -> None:
    panel = panel_noise(np.stack([TARGETS, TARGETS + 1], axis=2))
    assert panel is not None
    here, anywhere = panel.standard_error(6, 4), panel.standard_error(6, 4, other_judges=True)
    assert anywhere**2 - here**2 == pytest.approx(panel.judge / 4)
    assert panel.standard_error(6, 4, 5) < here
    once = panel_noise(TARGETS)
    assert once is not None
    with pytest.raises(ValueError, match="repeats"):
        once.standard_error(6, 4, 2)
    assert panel_noise(TARGETS[:, :1]) is None
    with pytest.raises(ValueError, match="finite"):
        panel_noise(np.where(TARGETS == 10, np.nan, TARGETS))
