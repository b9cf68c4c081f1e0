"""A figure on the way to becoming a score: rates and means with their intervals, requests as clusters."""

from __future__ import annotations

from collections.abc import Mapping
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


Figure = tuple[str, Rate, Mapping[str, int]]
"""A metric's name, its value, and what was left out of it and why."""


def mean_of(by_item: NDArray[np.float64], n: int, scale: tuple[float, float] | None = None) -> Rate:
    """The mean of item means, which rest on `n` answers."""
    return Rate(float(by_item.mean()) if len(by_item) else None, mean_interval(by_item, scale), n)


def rate(rows: pd.DataFrame, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Rate:
    """The share of `hits` among the rows chosen by `among`, with requests as clusters."""
    requests = rows.groupby(["task", "request"], sort=False).ngroup().to_numpy()[among]
    chosen = hits[among].astype(float)
    return Rate(float(chosen.mean()) if len(chosen) else None, rate_interval(chosen, requests), len(chosen))


def counts(reasons: pd.Series[Any]) -> dict[str, int]:
    """How often each reason was given."""
    return {str(reason): int(n) for reason, n in reasons.value_counts().items()}
