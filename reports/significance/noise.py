"""How much of a figure's uncertainty is the judge's own noise, and what more gradings or more items would buy.

    >>> noise = judge_noise(ratings, items)            # 80 questions, each answer graded three times
    >>> noise.share, noise.standard_error(80, 1), noise.standard_error(80, 3), noise.standard_error(160, 1)
    (0.25, 0.224, 0.204, 0.158)

Random-effects analysis of variance (Searle, Casella and McCulloch 1992, Variance Components, chapters 3 and 4); how
its parts add up to a standard error is Miller 2024, section 3.1. Estimates below 0 are cut at 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class JudgeNoise:
    """Variance between items, and of one grading about its item's mean; in squared units of the scores.

    `items` were graded `gradings` times in all.
    """

    between: float
    within: float
    items: int
    gradings: int

    @property
    def share(self) -> float | None:
        """Share of the variance of one grading that is the judge's noise, 0 to 1; None where nothing varies.

        One less the intraclass correlation ICC(1,1) of Shrout and Fleiss (1979).
        """
        total = self.between + self.within
        return self.within / total if total > 0 else None

    def standard_error(self, items: int, repeats: float = 1) -> float:
        """Standard error of the mean over `items`, each graded `repeats` times."""
        return math.sqrt((self.between + self.within / repeats) / items)

    def items_worth(self, repeats: float) -> float | None:
        """How many times the items, graded once, would do as well as `repeats` gradings; None where nothing varies.

        Never more than 1 / (1 - share), however many repeats.
        """
        graded_often = self.between + self.within / repeats
        return (self.between + self.within) / graded_often if graded_often > 0 else None


def judge_noise(scores: Values, items: Sequence[Hashable] | NDArray[Any]) -> JudgeNoise | None:
    """Split the variance of `scores`, of which several belong to one item (`items`: one label a score).

    Items may be graded different numbers of times; those graded once tell of the items alone. None with fewer than
    two items, and where no item was graded twice: the judge's noise then shows nowhere.
    For a difference of two models pass differences: the noise of both judgings is then in `within`.

    Raises:
        ValueError: scores that are no numbers, or labels that are not one a score.
    """
    values = np.asarray(scores, dtype=float)
    labels = np.asarray(items)
    if values.ndim != 1 or labels.shape[:1] != values.shape or not np.isfinite(values).all():
        raise ValueError("pass one finite score a grading, and the item of each")
    numbers: dict[Hashable, int] = {}
    of_score = np.array([numbers.setdefault(label, len(numbers)) for label in labels.tolist()], dtype=int)
    times = np.bincount(of_score)
    n, total = len(times), len(values)
    if n < 2 or total == n:
        return None
    means = np.bincount(of_score, weights=values) / times
    within = float(((values - means[of_score]) ** 2).sum()) / (total - n)
    between_square = float((times * (means - values.mean()) ** 2).sum()) / (n - 1)
    # What the mean square between items holds of their variance: the number of gradings, were it equal.
    effective = (total - float((times**2).sum()) / total) / (n - 1)
    return JudgeNoise(max(0.0, (between_square - within) / effective), within, n, total)


@dataclass(frozen=True)
class PanelNoise:
    """Variance of scores that every judge of a panel gave to every item, in squared units of the scores.

    `item`: how items differ. `judge`: how judges differ in severity. `taste`: how they differ from item to item beyond
    that. `within`: one judge's grading of one answer about its own mean; None with one grading each, which has it in
    `taste`.
    """

    item: float
    judge: float
    taste: float
    within: float | None

    @property
    def share(self) -> float | None:
        """Share of the variance of one judge's one grading that is not the item's, 0 to 1; None without any."""
        noise = self.judge + self.taste + (self.within or 0.0)
        return noise / (self.item + noise) if self.item + noise > 0 else None

    def standard_error(self, items: int, judges: int, repeats: float = 1, *, other_judges: bool = False) -> float:
        """Standard error of the mean over `items`, each graded `repeats` times by each of `judges`.

        Severity is left out, as it falls out of every paired difference; with `other_judges` it counts: the mean is
        then to hold for judges like these. Without `within` `repeats` has to be 1.

        Raises:
            ValueError: several repeats asked of a panel whose judges graded once.
        """
        if self.within is None and repeats != 1:
            raise ValueError("what repeats would change can not be told from one grading a judge")
        noise = (self.taste + (self.within or 0.0) / repeats) / judges
        return math.sqrt((self.item + noise) / items + (self.judge / judges if other_judges else 0.0))


def panel_noise(scores: Values) -> PanelNoise | None:
    """Split the variance of `scores`, n items × J judges × K gradings (K may be left out), all of them there.

    Two-way random effects with interaction. None below two items or two judges.

    Raises:
        ValueError: a score is missing: leave out the items that some judge did not grade.
    """
    values = np.asarray(scores, dtype=float)
    values = values[:, :, None] if values.ndim == 2 else values
    if values.ndim != 3 or not np.isfinite(values).all():
        raise ValueError("pass finite scores, items × judges × gradings")
    n, judges, repeats = values.shape
    if n < 2 or judges < 2 or not repeats:
        return None
    cells = values.mean(axis=2)
    by_item, by_judge, grand = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    left = cells - by_item[:, None] - by_judge + grand
    item_square = repeats * judges * float(((by_item - grand) ** 2).sum()) / (n - 1)
    judge_square = repeats * n * float(((by_judge - grand) ** 2).sum()) / (judges - 1)
    taste_square = repeats * float((left**2).sum()) / ((n - 1) * (judges - 1))
    within = float(((values - cells[:, :, None]) ** 2).sum()) / (n * judges * (repeats - 1)) if repeats > 1 else None
    return PanelNoise(
        item=max(0.0, item_square - taste_square) / (repeats * judges),
        judge=max(0.0, judge_square - taste_square) / (repeats * n),
        taste=max(0.0, taste_square - (within or 0.0)) / repeats,
        within=within,
    )
