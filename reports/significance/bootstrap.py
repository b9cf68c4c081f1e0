"""BCa bootstrap intervals (Efron 1987) of means and of ratios of means: every metric of a run at once.

    >>> bca_means(np.column_stack([rating_change, refused_more]))
    (array([-0.98, -0.07]), array([-0.11, 0.02]))

A resample is how often each item was drawn. All columns share these counts, so 10,000 means of 30 metrics are one
product of matrices instead of 300,000 calls. Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 14.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_UP_TO, CONFIDENCE, RESAMPLES

Values = NDArray[np.float64]
Ends = tuple[Values, Values]
"""The low and the high ends of the columns' intervals; NaN where there is none."""

CELLS_AT_ONCE = 1_000_000
"""Counts that are held at a time (24 MB with the draws that they are made of)."""
KEPT_UP_TO = BOOTSTRAP_UP_TO * RESAMPLES
"""Counts that are kept for the next figure of as many items, a byte each (50 MB)."""
ROUNDING = 1e-12
"""Differences below this part of the largest are rounding, not spread."""


def bca_means(
    values: Values,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ends:
    """Intervals of the mean of each column, resampling items; or whole `clusters` (one label a row), where given.

    `values` holds n items × m metrics; a vector is one metric. NaN is an item without that metric: its column is
    resampled over its own items alone. The mean is over rows, so a cluster weighs as many as it has of them. Both
    ends are NaN for a column without spread (fewer than two items or clusters, or one value throughout): resampling
    shows nothing of how far its mean may be off. An interval depends on its own column and the seed alone.

    Below ten items a bootstrap is too narrow: `means.paired_mean` and `harness.intervals.mean_interval` know that.

    Raises:
        ValueError: infinite values, or labels that are not one a row.
    """
    columns = _columns(values)
    return _intervals(columns, (~np.isnan(columns)).astype(float), clusters, confidence, resamples, seed)


def bca_ratio(
    numerators: Values,
    denominators: Values,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ends:
    """Intervals of mean(numerators) / mean(denominators) of each column, both drawn together; less 1: relative change.

    Shapes, NaN (in either of the two) and clusters as in `bca_means`. Resamples whose denominators add up to 0 have no
    ratio and are passed over. Both ends are NaN where the ratio has no spread (one and the same of every item, or all
    of the denominator in one item), and where the denominators are all 0.

    Raises:
        ValueError: negative denominators (their mean may pass 0, and no such interval exists), or different shapes.
    """
    above, below = _columns(numerators), _columns(denominators)
    if above.shape != below.shape:
        raise ValueError(f"numerators are {above.shape}, denominators {below.shape}")
    if np.any(below < 0):
        raise ValueError("a ratio of means needs denominators of 0 or more")
    there = ~(np.isnan(above) | np.isnan(below))
    return _intervals(
        np.where(there, above, np.nan), np.where(there, below, 0.0), clusters, confidence, resamples, seed
    )


def bca_ends(deviations: Values, jackknife: Values, largest: float, confidence: float) -> Values:
    """Both ends of one interval, less the figure (Efron 1987; Efron and Tibshirani 1993, equations 14.9 and 14.10).

    `deviations` of the resamples and `jackknife` (the figure without each unit in turn, less the figure) have a spread;
    `largest` as in `bias_correction`.
    """
    from scipy.special import ndtr, ndtri

    z0, a = bias_correction(deviations, largest), acceleration(jackknife)
    z = z0 + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    # a is 1/6 at most, so 1 - a z stays above 0 for z below 6, a confidence of 1 - 2e-9.
    levels = ndtr(z0 + z / (1 - a * z))
    return np.asarray(np.quantile(deviations, levels), dtype=float)


def bias_correction(deviations: Values, largest: float) -> float:
    """z0 of one figure: the normal quantile of the share of resamples below it, ties counted half.

    `deviations` are those of the resamples from the figure; what rounding alone holds apart (`largest` says on which
    scale) is a tie, of which ratings give many.
    """
    from scipy.special import ndtri

    slack = ROUNDING * largest
    share = (np.mean(deviations < -slack) + np.mean(deviations <= slack)) / 2
    return float(ndtri(np.clip(share, 1 / len(deviations), 1 - 1 / len(deviations))))


def acceleration(jackknife: Values) -> float:
    """A sixth of the skewness of the leave-one-out figures; range -1/6 to 1/6 (Efron 1987, equation 7.3)."""
    off = jackknife.mean() - jackknife
    return float((off**3).sum() / (6 * (off**2).sum() ** 1.5))


def counts_of_draws(n: int, resamples: int, random: np.random.Generator) -> Iterator[Values]:
    """How often each of `n` is drawn by `n` draws with replacement: `resamples` rows, some at a time."""
    for rows in _batches(n, resamples):
        drawn = random.integers(n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def _batches(n: int, resamples: int) -> Iterator[int]:
    """How many resamples are made at a time."""
    size = max(1, CELLS_AT_ONCE // n)
    return (min(size, resamples - start) for start in range(0, resamples, size))


def _draws_of(n: int, resamples: int, seed: int) -> Iterator[Values]:
    """`counts_of_draws` of a seed. Figures of equally many items, of which a comparison has many, share them."""
    if n * resamples > KEPT_UP_TO:
        yield from counts_of_draws(n, resamples, np.random.default_rng(seed))
        return
    kept, start = _kept_draws(n, resamples, seed), 0
    for rows in _batches(n, resamples):
        yield kept[start : start + rows].astype(float)
        start += rows


@lru_cache(maxsize=1)
def _kept_draws(n: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    # No item is drawn more than 255 times: the chance of it is below 10^-500 however many there are.
    counts = counts_of_draws(n, resamples, np.random.default_rng(seed))
    return np.concatenate([batch.astype(np.uint8) for batch in counts])


# --- all columns ---


def _columns(values: Values) -> Values:
    columns = np.asarray(values, dtype=float)
    if np.isinf(columns).any():
        raise ValueError("there are infinite values")
    return columns[:, None] if columns.ndim == 1 else columns


def _intervals(
    numerators: Values,
    denominators: Values,
    clusters: Sequence[Hashable] | NDArray[Any] | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> Ends:
    """Intervals of sum(numerators) / sum(denominators); a NaN numerator is a missing row."""
    present = (~np.isnan(numerators)).astype(float)
    numerators = np.nan_to_num(numerators)
    if clusters is not None:
        present, numerators, denominators = (
            sums_by_cluster(side, clusters) for side in (present, numerators, denominators)
        )
    low, high = np.full((2, numerators.shape[1]), np.nan)
    own = present > 0
    sizes = own.sum(axis=0)
    # Columns with equally many units share resamples, whichever units these are.
    for n in np.unique(sizes):
        places = np.flatnonzero(sizes == n)
        mine = own[:, places].T
        above, below = (side[:, places].T[mine].reshape(len(places), n).T for side in (numerators, denominators))
        low[places], high[places] = _of_units(above, below, confidence, resamples, seed)
    return low, high


def sums_by_cluster(columns: Values, clusters: Sequence[Hashable] | NDArray[Any]) -> Values:
    """The sum of each column over the rows of each cluster; clusters in the order of their first row."""
    numbers: dict[Hashable, int] = {}
    of_row = np.array([numbers.setdefault(label, len(numbers)) for label in np.asarray(clusters).tolist()], dtype=int)
    if len(of_row) != len(columns):
        raise ValueError(f"{len(of_row)} cluster labels for {len(columns)} rows")
    sums = np.zeros((len(numbers), columns.shape[1]))
    np.add.at(sums, of_row, columns)
    return sums


def _of_units(numerators: Values, denominators: Values, confidence: float, resamples: int, seed: int) -> Ends:
    """Intervals of columns that have a value for every unit.

    With r = numerator - ratio × denominator, a resample is off by sum(r) / sum(denominators) of what it drew, and what
    is left without a unit by -r / (the denominators of the others): no figure has to be subtracted from another.
    """
    n, m = numerators.shape
    low, high = np.full((2, m), np.nan)
    total = denominators.sum(axis=0)
    ratio = np.divide(numerators.sum(axis=0), total, out=np.full(m, np.nan), where=total > 0)
    residuals = numerators - ratio * denominators
    size = np.abs(numerators).max(axis=0, initial=0) + np.abs(ratio) * denominators.max(axis=0, initial=0)
    chosen = np.flatnonzero(np.abs(residuals).max(axis=0, initial=0) > ROUNDING * size)
    if n < 2 or not len(chosen):
        return low, high
    residuals, denominators, total = residuals[:, chosen], denominators[:, chosen], total[chosen]
    off = np.empty((len(chosen), resamples))
    done = 0
    for counts in _draws_of(n, resamples, seed):
        drawn = total if _alike(denominators) else counts @ denominators
        with np.errstate(divide="ignore", invalid="ignore"):
            off[:, done : done + len(counts)] = (counts @ residuals / drawn).T
        done += len(counts)
    others = total - denominators
    left_out = np.divide(-residuals, others, out=np.full(residuals.shape, np.nan), where=others > ROUNDING * total)
    for place, column in enumerate(chosen):
        if not np.isnan(left_out[:, place]).any():
            mine = off[place][np.isfinite(off[place])]
            largest = float(size[column] * n / total[place])
            low[column], high[column] = ratio[column] + bca_ends(mine, left_out[:, place], largest, confidence)
    return low, high


def _alike(denominators: Values) -> bool:
    """Whether every resample has the same denominator: that of a plain mean."""
    return bool(np.ptp(denominators, axis=0).max() == 0)
