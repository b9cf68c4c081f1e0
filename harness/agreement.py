"""How far two raters of the same answers agree, such as a judge and a person: on labels, or on ratings.

    >>> label_agreement(["refused", "refused", "other"], ["refused", "other", "other"], items=[0, 1, 2]).accuracy
    Figure(value=0.667, low=0.208, high=0.939)

Every figure is a function of how often each pair (human, judge) occurred. So the bootstrap resamples counts, not lists:
items whose answers have the same pairs are alike, and a resample says how often each kind of item was drawn.
Answers of one item are one cluster in every interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_FROM, CONFIDENCE, RESAMPLES, Interval, mean_interval, rate_interval

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]
"""From counts of pairs, in the last axis, to one figure each; NaN where it is undefined."""

CELLS_AT_ONCE = 4_000_000
"""Numbers of a batch of resamples that are held at a time (32 MB)."""


class Figure(NamedTuple):
    """A value with its 95 % interval; None stands for what is undefined, or too uncertain to be given."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, interval: Interval) -> Figure:
        return cls(None) if np.isnan(value) else cls(float(value), *(interval or (None, None)))

    def as_json(self, name: str) -> dict[str, float | None]:
        """`{name: …, name_low: …, name_high: …}`"""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


# --- labels ---


@dataclass(frozen=True)
class ClassFigures:
    """How one class is told by the judge. None where the denominator is 0 (no prediction, or no such human label)."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement on labels. `confusion` is by human label, then by judge's label; both name every class."""

    n: int
    accuracy: Figure
    kappa: Figure
    kappa_undefined: str | None
    classes: Mapping[str, ClassFigures]
    confusion: Mapping[str, Mapping[str, int]]

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            **self.accuracy.as_json("accuracy"),
            **self.kappa.as_json("kappa"),
            "classes": {name: vars(figures) for name, figures in self.classes.items()},
            "confusion": self.confusion,
        }


def label_agreement(
    human: Sequence[str], judge: Sequence[str], items: Sequence[Hashable], seed: int = 0
) -> LabelAgreement:
    """Accuracy with Wilson's interval, Cohen's kappa with a BCa bootstrap interval over items, and figures by class.

    Kappa is undefined where all labels of both sides are one and the same class: `kappa_undefined` then says so. Where
    the two agree on every answer the bootstrap finds no spread, and kappa has no interval.
    """
    names = sorted({*human, *judge})
    place = {name: number for number, name in enumerate(names)}
    pairs = np.array([place[h] * len(names) + place[j] for h, j in zip(human, judge, strict=True)], dtype=int)
    counts = np.bincount(pairs, minlength=len(names) ** 2)
    table = counts.reshape(len(names), len(names))
    hits = np.array([h == j for h, j in zip(human, judge, strict=True)], dtype=float)
    kappa = float(cohen_kappa(counts.astype(float)))
    undefined = f"every label of both is {names[0]!r}" if len(names) == 1 else None
    return LabelAgreement(
        n=len(hits),
        accuracy=Figure.of(hits.mean() if len(hits) else np.nan, rate_interval(hits, _numbered(items))),
        kappa=Figure.of(kappa, bootstrap_interval(cohen_kappa, pairs, items, len(counts), seed)),
        kappa_undefined=undefined if len(names) else "there is no label",
        classes={name: _class_figures(table, number) for number, name in enumerate(names)},
        confusion={h: {j: int(table[place[h], place[j]]) for j in names} for h in names},
    )


def cohen_kappa(counts: Numbers) -> Numbers:
    """Cohen's kappa (1960) of square confusion tables, flattened into the last axis: (p_o - p_e) / (1 - p_e).

    Range [-1, 1]; 0 is what two raters reach by chance who give each label as often as these do. NaN where p_e = 1.
    """
    k = round(counts.shape[-1] ** 0.5)
    table = counts.reshape(*counts.shape[:-1], k, k)
    n = table.sum(axis=(-2, -1))
    by_chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1)
    agreed = table.trace(axis1=-2, axis2=-1)
    return _ratio(n * agreed - by_chance, n**2 - by_chance)


def _class_figures(table: NDArray[np.integer[Any]], place: int) -> ClassFigures:
    """Precision, recall, and F1 = 2 TP / (2 TP + FP + FN)."""
    hits, support, predicted = int(table[place, place]), int(table[place].sum()), int(table[:, place].sum())
    return ClassFigures(
        precision=hits / predicted if predicted else None,
        recall=hits / support if support else None,
        f1=2 * hits / (support + predicted) if support + predicted else None,
        support=support,
    )


# --- ratings ---


@dataclass(frozen=True)
class RatingAgreement:
    """Agreement on ratings. `bias` is the mean of judge - human; `within_1` the share of answers at most 1 apart."""

    n: int
    spearman: Figure
    pearson: Figure
    bias: Figure
    mean_absolute_difference: Figure
    within_1: Figure

    def as_json(self) -> dict[str, Any]:
        cells: dict[str, Any] = {"n": self.n}
        for name, figure in vars(self).items():
            if isinstance(figure, Figure):
                cells |= figure.as_json(name)
        return cells


def rating_agreement(
    human: Sequence[float], judge: Sequence[float], items: Sequence[Hashable], seed: int = 0
) -> RatingAgreement:
    """Spearman's rho and Pearson's r with BCa bootstrap intervals over items, and how far the judge is off.

    A correlation is undefined (None) where one side gives one rating only. It says nothing of a constant bias: a judge
    that adds three points to every rating has r = 1.
    """
    kinds = sorted(set(zip(human, judge, strict=True)))
    place = {kind: number for number, kind in enumerate(kinds)}
    pairs = np.array([place[pair] for pair in zip(human, judge, strict=True)], dtype=int)
    x, y = np.array(kinds, dtype=float).reshape(-1, 2).T
    counts = np.bincount(pairs, minlength=len(kinds)).astype(float)

    def pearson(counts: Numbers) -> Numbers:
        return correlation(counts, x, y)

    def spearman(counts: Numbers) -> Numbers:
        return correlation(counts, midranks(counts, x), midranks(counts, y))

    def figure(statistic: Statistic) -> Figure:
        return Figure.of(float(statistic(counts)), bootstrap_interval(statistic, pairs, items, len(kinds), seed))

    difference = np.asarray(judge, dtype=float) - np.asarray(human, dtype=float)
    near = (np.abs(difference) <= 1).astype(float)
    return RatingAgreement(
        n=len(difference),
        spearman=figure(spearman),
        pearson=figure(pearson),
        bias=_mean(difference, items, seed),
        mean_absolute_difference=_mean(np.abs(difference), items, seed),
        within_1=Figure.of(near.mean() if len(near) else np.nan, rate_interval(near, _numbered(items))),
    )


def correlation(counts: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """Pearson's r of x and y, each pair weighted by its count. NaN where x or y does not vary."""
    n = counts.sum(axis=-1, keepdims=True)
    shares = counts / np.where(n > 0, n, 1)
    dx = x - (shares * x).sum(axis=-1, keepdims=True)
    dy = y - (shares * y).sum(axis=-1, keepdims=True)
    # Rounding leaves crumbs of variance where there is none.
    vx, vy = ((shares * d**2).sum(axis=-1) for d in (dx, dy))
    vx, vy = (np.where(v > 1e-12 * (1 + np.max(d**2, axis=-1, initial=0)), v, 0) for v, d in ((vx, dx), (vy, dy)))
    return _ratio((shares * dx * dy).sum(axis=-1), np.sqrt(vx * vy))


def midranks(counts: Numbers, x: Numbers) -> Numbers:
    """The mean rank of each value of `x` (less 1/2, the same for all) among values that occur `counts` times."""
    if not len(x):
        return counts
    values, place = np.unique(x, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    times = np.add.reduceat(counts[..., order], starts, axis=-1)
    ranks = np.cumsum(times, axis=-1) - times / 2
    return np.asarray(ranks[..., place], dtype=float)


def _mean(values: Numbers, items: Sequence[Hashable], seed: int) -> Figure:
    """The mean over answers' items, several answers of one item averaged first."""
    if not len(values):
        return Figure(None)
    numbers = _numbered(items)
    by_item = np.bincount(numbers, weights=values) / np.bincount(numbers)
    interval = mean_interval(by_item, seed=seed) if len(by_item) >= BOOTSTRAP_FROM else None
    return Figure.of(float(by_item.mean()), interval)


# --- the bootstrap ---


def bootstrap_interval(
    statistic: Statistic, pairs: NDArray[np.integer[Any]], items: Sequence[Hashable], cells: int, seed: int = 0
) -> Interval:
    """BCa interval (Efron 1987) of a statistic of counts, resampling items; 10,000 resamples.

    `pairs` holds the kind of pair of each answer, below `cells`, and `items` the item that it belongs to. Resamples in
    which the statistic is undefined are passed over. None below ten items, and where the resamples have no spread.
    """
    kinds, times = _kinds_of_items(pairs, items, cells)
    n = int(times.sum())
    if n < BOOTSTRAP_FROM:
        return None
    from scipy.special import ndtr, ndtri

    total = times @ kinds
    value = float(statistic(total))
    random = np.random.default_rng(seed)
    draws = (random.multinomial(n, times / n, size=size) @ kinds for size in _batches(RESAMPLES, cells + len(times)))
    found = np.concatenate([statistic(np.asarray(draw, dtype=float)) for draw in draws])
    found = found[~np.isnan(found)]
    if np.isnan(value) or not len(found) or np.ptp(found) < 1e-12:
        return None
    below = (np.mean(found < value) + np.mean(found <= value)) / 2
    bias = float(ndtri(np.clip(below, 1 / len(found), 1 - 1 / len(found))))
    acceleration = _acceleration(statistic, kinds, times, total)
    z = bias + ndtri(np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    low, high = np.quantile(found, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def _acceleration(statistic: Statistic, kinds: csr_array[Any], times: Numbers, total: Numbers) -> float:
    """A sixth of the skewness of the jackknife: leaving out one item of a kind is the same for all items of it."""
    ends = np.cumsum(list(_batches(len(times), kinds.shape[1])))
    starts = [0, *ends[:-1]]
    left = np.concatenate(
        [statistic(total - kinds[start:end].toarray()) for start, end in zip(starts, ends, strict=True)]
    )
    times, left = times[~np.isnan(left)], left[~np.isnan(left)]
    if not len(left):
        return 0.0
    off = np.average(left, weights=times) - left
    spread = float(times @ off**2)
    return float(times @ off**3) / (6 * spread**1.5) if spread > 1e-24 else 0.0


def _kinds_of_items(
    pairs: NDArray[np.integer[Any]], items: Sequence[Hashable], cells: int
) -> tuple[csr_array[Any], Numbers]:
    """Each different collection of pairs that an item has, as a row of counts, and how many items have it."""
    from scipy.sparse import csr_array

    by_item: dict[Hashable, list[int]] = {}
    for item, pair in zip(items, pairs.tolist(), strict=True):
        by_item.setdefault(item, []).append(pair)
    alike = Counter(tuple(sorted(of_item)) for of_item in by_item.values())
    rows = np.repeat(np.arange(len(alike)), [len(kind) for kind in alike])
    columns = np.array([pair for kind in alike for pair in kind], dtype=int)
    kinds = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(alike), cells))
    return kinds, np.array(list(alike.values()), dtype=float)


def _batches(rows: int, width: int) -> Iterator[int]:
    """Numbers of rows that together are `rows` and of which each fits the memory."""
    size = max(1, CELLS_AT_ONCE // max(1, width))
    for start in range(0, rows, size):
        yield min(size, rows - start)


def _numbered(items: Sequence[Hashable]) -> NDArray[np.integer[Any]]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=int)


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    nothing = np.full(np.broadcast(above, below).shape, np.nan)
    ratio: Numbers = np.divide(above, below, out=nothing, where=np.asarray(below) > 0)
    return ratio
