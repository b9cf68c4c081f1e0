"""Several grades of one answer: one verdict made of them, and how far they lie apart.

The frames here have a row a grade: task, item, sample, turn, score, label (and `reason`, where there is neither).
Nothing here calls Python for every answer: there may be a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.frames import PLACE

if TYPE_CHECKING:
    import pandas as pd

SPLIT = "jury split"
NOT_WHOLE = "not judged by the whole jury"


def jury(graded: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several judges' grades of the same answers as one: the mean of their scores, the label of more than half of them.

    There is no mean where one of them gives labels alone: it would be that of other judges than the label's.
    An answer that one of them did not grade has no grade of the jury, and no more has one on whose label it is split.
    """
    import pandas as pd

    grades = pd.concat(graded)
    by_answer = grades.groupby(PLACE, sort=False)
    answer = by_answer.ngroup().to_numpy()
    sizes = np.bincount(answer)
    label, times = commonest(grades.label, answer, len(sizes))
    found = by_answer.head(1)[PLACE].assign(
        # One score that is not there leaves none.
        score=np.bincount(answer, weights=grades.score.to_numpy(dtype=np.float64)) / sizes,
        label=label.where(2 * times > sizes, None).to_numpy(),
        missing=np.bincount(answer, weights=grades.reason.notna().to_numpy()) > 0,
    )
    together = graded[0].drop(columns=["score", "label", "reason"]).merge(found, on=PLACE, how="left")
    together["reason"] = None
    # A score beside labels stands for none of them.
    labelled = any(grades.label.notna().any() for grades in graded)
    together.loc[together.label.isna() & (together.score.isna() | labelled), "reason"] = SPLIT
    together.loc[together.missing.astype(bool), "reason"] = NOT_WHOLE
    together.loc[together.reason.notna(), ["score", "label"]] = None
    return together


class Commonest(NamedTuple):
    """Of each group its commonest label, and how often that occurs; None and 0 where there is no label."""

    label: pd.Series[Any]
    times: NDArray[np.int64]


def commonest(labels: pd.Series[Any], groups: NDArray[np.integer[Any]], count: int) -> Commonest:
    """The label that occurs most often in each of `count` groups, the earliest of equals.

    `groups` has the number of its group for each row, below `count`. O(rows log rows).
    """
    import pandas as pd

    kinds, names = pd.factorize(labels)
    rows = np.flatnonzero(kinds >= 0)
    # A number for each label in each group, in the order of the groups.
    pairs, first, often = np.unique(groups[rows] * len(names) + kinds[rows], return_index=True, return_counts=True)
    of_group = pairs // max(1, len(names))
    order = np.lexsort((first, -often, of_group))
    best = order[np.unique(of_group[order], return_index=True)[1]]
    label, times = np.full(count, None, dtype=object), np.zeros(count, dtype=np.int64)
    label[of_group[best]] = np.asarray(names, dtype=object)[pairs[best] % max(1, len(names))]
    times[of_group[best]] = often[best]
    return Commonest(pd.Series(label, dtype=object), times)


def variance_within(grades: pd.DataFrame) -> pd.Series[float]:
    """The variance of the scores of each answer that has two or more."""
    scored = grades[grades.score.notna()].groupby(PLACE).score
    return scored.var(ddof=1)[scored.size() > 1]


def dissent_within(grades: pd.DataFrame) -> pd.Series[float]:
    """For each answer with two labels or more, the share of them that are not the commonest."""
    labelled = grades[grades.label.notna()]
    by_answer = labelled.groupby(PLACE)
    sizes = by_answer.size()
    times = commonest(labelled.label, by_answer.ngroup().to_numpy(), len(sizes)).times
    return (1 - sizes.rdiv(times))[sizes > 1]
