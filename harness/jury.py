"""Several grades of one answer: one verdict made of them, and how far they lie apart.

The frames here have a row a grade: task, item, sample, turn, score, label (and `reason`, where there is neither).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

    by_answer = pd.concat(graded).groupby(PLACE, sort=False)
    found = by_answer.agg(
        score=("score", lambda scores: scores.mean(skipna=False)),
        label=("label", _majority),
        missing=("reason", lambda reasons: reasons.notna().any()),
    ).reset_index()
    together = graded[0].drop(columns=["score", "label", "reason"]).merge(found, on=PLACE, how="left")
    together["reason"] = None
    # A score beside labels stands for none of them.
    labelled = any(grades.label.notna().any() for grades in graded)
    together.loc[together.label.isna() & (together.score.isna() | labelled), "reason"] = SPLIT
    together.loc[together.missing.astype(bool), "reason"] = NOT_WHOLE
    together.loc[together.reason.notna(), ["score", "label"]] = None
    return together


def commonest(labels: pd.Series[Any]) -> Any:
    """The label that occurs most often, the earliest of equals; None where there is none."""
    known = labels.dropna().tolist()
    return max(known, key=known.count) if known else None


def _majority(labels: pd.Series[Any]) -> Any:
    found = commonest(labels)
    return found if found is not None and 2 * (labels == found).sum() > len(labels) else None


def variance_within(grades: pd.DataFrame) -> pd.Series[float]:
    """The variance of the scores of each answer that has two or more."""
    scored = grades[grades.score.notna()].groupby(PLACE).score
    return scored.var(ddof=1)[scored.size() > 1]


def dissent_within(grades: pd.DataFrame) -> pd.Series[float]:
    """For each answer with two labels or more, the share of them that are not the commonest."""
    labelled = grades[grades.label.notna()].groupby(PLACE).label
    share = 1 - labelled.agg(lambda labels: labels.value_counts().max()) / labelled.size()
    return share[labelled.size() > 1]
