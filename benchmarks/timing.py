"""How long a piece of work takes, as the benchmarks that run in one process tell it."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process, the best of three; never 0, so that it can be divided by."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return max(best, 1e-9)
