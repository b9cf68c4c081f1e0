"""What a model was like while it spoke: next-token entropy along an answer, and how often it was all but certain.

>>> token_stats([2.1, 0.4, …], certain=12)
{"entropy_q10": 0.0312, "entropy_q50": 0.874, "entropy_q90": 3.21, "entropy_slope": -0.42, "top_1_share": 0.31}
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.conversation import TokenStats

CERTAIN = 0.99
"""A step with a next token at least this probable is no choice any more."""
SHORTEST_SLOPE = 64
"""Steps from which a slope per 100 tokens means something: with fewer, chance alone tilts the line by several nats."""


def token_stats(entropies: Sequence[float], certain: int) -> TokenStats | None:
    """Sum up the next-token entropies of an answer's steps (nats), of which `certain` had a top-1 probability > 0.99.

    Everything is of the model's own distribution, before temperature, and counts the step that ended the answer. None
    where nothing was said or an entropy is no number. O(n log n) for the quantiles.
    """
    steps = np.asarray(entropies, dtype=np.float64)
    if not len(steps) or not np.isfinite(steps).all():
        return None
    low, middle, high = np.quantile(steps, (0.1, 0.5, 0.9))
    slope = entropy_slope(steps) if len(steps) >= SHORTEST_SLOPE else None
    return {
        "entropy_q10": _short(low), "entropy_q50": _short(middle), "entropy_q90": _short(high),
        "entropy_slope": None if slope is None else _short(slope), "top_1_share": _short(certain / len(steps)),
    }  # fmt: skip


def entropy_slope(entropies: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """Least-squares slope of entropy over position, in nats per 100 tokens; None for fewer than two steps.

    Below 0 the model grows surer of itself as it goes on, as one does that falls into a loop. O(n).
    """
    n = len(entropies)
    if n < 2:
        return None
    places = np.arange(n) - (n - 1) / 2
    return float(100 * (places @ np.asarray(entropies, dtype=np.float64)) / (n * (n * n - 1) / 12))


def _short(value: float) -> float:
    """Four digits, so that records stay small; -0.0 is 0."""
    return float(f"{value:.4g}") + 0.0
