"""How often a 95 % interval of a mean holds the true mean, for few items: the bootstrap alone, and what we print.

    python -m benchmarks.interval_coverage

Values are normal, or ratings on 1 to 10 from a lopsided distribution; 1,000 draws a cell (error about 0.7 points).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from harness.intervals import Interval, mean_interval

DRAWS = 1_000
RATINGS, WEIGHTS = np.arange(1.0, 11.0), np.array([30, 5, 5, 5, 5, 5, 10, 10, 10, 15]) / 100


def bootstrap_alone(values: np.ndarray) -> Interval:
    if np.ptp(values) == 0:
        return None
    found = bootstrap((values,), np.mean, n_resamples=2_000, method="BCa", rng=0).confidence_interval
    return float(found.low), float(found.high)


def coverage(interval: Callable[[np.ndarray], Interval], n: int, kind: str) -> float:
    draw = np.random.default_rng(n)
    true = 0.0 if kind == "normal" else float(RATINGS @ WEIGHTS)
    held = 0
    for _ in range(DRAWS):
        values = draw.normal(size=n) if kind == "normal" else draw.choice(RATINGS, n, p=WEIGHTS)
        low, high = interval(values) or (np.nan, np.nan)
        held += low <= true <= high
    return held / DRAWS


def main() -> None:
    print(f"{'n':>4}  {'values':8}  {'bootstrap alone':>15}  {'printed':>8}")
    for kind in ("normal", "ratings"):
        scale = None if kind == "normal" else (1.0, 10.0)
        for n in (2, 4, 6, 9, 10, 20, 40):
            printed = coverage(lambda values: mean_interval(values, scale), n, kind)  # noqa: B023
            print(f"{n:>4}  {kind:8}  {coverage(bootstrap_alone, n, kind):>15.3f}  {printed:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
