"""Corrections for making several tests: adjusted p-values, of which each may be held against alpha by itself.

None stands for a test that was not made: it stays None and counts for nothing. A p outside 0 to 1 is a ValueError.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm 1979: the chance of any false finding in the family is at most alpha, however the tests depend."""
    return _adjusted(p_values, falls=False)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg 1995: of what is found at most a share alpha is false, on average (independent tests)."""
    return _adjusted(p_values, falls=True)


def _adjusted(p_values: Sequence[float | None], *, falls: bool) -> list[float | None]:
    made = [place for place, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[place] for place in made], dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values from 0 to 1, not {p}")
    order = np.argsort(p, kind="stable")
    m = len(p)
    if falls:
        steps = p[order] * m / np.arange(1, m + 1)
        steps = np.minimum.accumulate(steps[::-1])[::-1]
    else:
        steps = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    found: list[float | None] = [None] * len(p_values)
    for rank, place in enumerate(order):
        found[made[int(place)]] = min(1.0, float(steps[rank]))
    return found
