"""What a figure is made of: what every answer (or item) counts for it. One definition for a run's scores and for the
comparison of two runs, which pairs these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.intervals import Interval, mean_interval, rate_interval

if TYPE_CHECKING:
    import pandas as pd


class Rate(NamedTuple):
    """A value with its interval, and the number it rests on. Means come in this form too."""

    value: float | None
    interval: Interval
    n: int


@dataclass(frozen=True)
class Metric:
    """One figure before it is one: a value for each unit, most often an answer.

    `units` has a row each: task, item, sample, turn (0 where the unit is no single answer) and the request, which is
    the cluster; `values` holds 0 or 1 for a rate. `left_out` says what has no value here, and why.
    """

    name: str
    units: pd.DataFrame
    values: NDArray[np.float64]
    is_rate: bool = True
    scale: tuple[float, float] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def figure(self) -> Rate:
        """The share of hits, or the mean over requests of their means: a long conversation weighs as a short one."""
        n = len(self.values)
        if not n:
            return Rate(None, None, 0)
        requests = self.units.groupby(["task", "request"], sort=not self.is_rate).ngroup().to_numpy()
        if self.is_rate:
            return Rate(float(self.values.mean()), rate_interval(self.values, requests), n)
        by_request = np.bincount(requests, weights=self.values) / np.bincount(requests)
        return Rate(float(by_request.mean()), mean_interval(by_request, self.scale), n)


def rate(
    name: str,
    rows: pd.DataFrame,
    hits: NDArray[np.bool_],
    among: NDArray[np.bool_] | None = None,
    left_out: Mapping[str, int] | None = None,
) -> Metric:
    """The share of `hits` among the rows chosen by `among`, by default all."""
    if among is not None and not among.all():
        rows, hits = rows[among], hits[among]
    return Metric(name, rows, hits.astype(float), left_out=left_out or {})


def counts(reasons: pd.Series[Any]) -> dict[str, int]:
    """How often each reason was given."""
    return {str(reason): int(n) for reason, n in reasons.value_counts().items()}
