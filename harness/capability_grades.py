"""lm-eval's judgments as grades and metrics: a row a document and metric, and a figure where documents have values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.figures import Metric, counts, rate

if TYPE_CHECKING:
    import pandas as pd

JUDGED_BY = "lm-eval"
PREFIX = f"{JUDGED_BY}:"
"""How the judge of a record begins; what follows is the metric."""


def capability_grades(items: pd.DataFrame, judgments: pd.DataFrame) -> pd.DataFrame:
    """A row for each of the `items` of a task under each metric: score or label, or the `reason` for neither."""
    mine = judgments[judgments.judge.str.startswith(PREFIX)]
    metrics = list(dict.fromkeys(mine.judge))
    rows = items.assign(sample=0, turn=1).merge(_frame_of(metrics), how="cross")
    graded = rows.merge(mine.drop(columns="repeat"), on=["task", "item", "sample", "turn", "judge"], how="left")
    graded["metric"] = graded.judge.str.removeprefix(PREFIX)
    graded["reason"] = graded.unjudged
    graded.loc[graded.error.notna(), "reason"] = "judge failed"
    nothing = graded.score.isna() & graded.label.isna() & graded.reason.isna()
    graded.loc[nothing, "reason"] = "not judged"
    return graded


def _frame_of(metrics: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"judge": pd.Series(metrics, dtype=object)})


def capability_metrics(graded: pd.DataFrame) -> Iterator[Metric]:
    """Each metric that is a mean over documents; of one that is not, documents have labels and no scores.

    One that no document has a value of is there too, to say why.
    """
    for name, rows in graded.groupby("metric", sort=False):
        known = rows.score.notna().to_numpy()
        if not known.any() and rows.label.notna().any():
            continue
        left_out = counts(rows.reason)
        values = rows.score[known].to_numpy(dtype=np.float64)
        if np.isin(values, (0.0, 1.0)).all():
            yield rate(str(name), rows, (rows.score == 1).to_numpy(), known, left_out)
        else:
            within = bool((values >= 0).all() and (values <= 1).all())
            yield Metric(str(name), rows[known], values, False, (0.0, 1.0) if within else None, left_out)


def all_graded(items: pd.DataFrame, judgments: pd.DataFrame) -> bool:
    """Whether every one of the `items` of a task has a judgment under every metric that there is any of."""
    mine = judgments[judgments.judge.str.startswith(PREFIX)]
    return len(mine) > 0 and bool((mine.groupby("judge")["item"].nunique() >= items["item"].nunique()).all())
