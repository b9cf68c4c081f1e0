"""How fast many metrics are bootstrapped and tested at once, beside scipy one by one.

    python -m benchmarks.significance            # 10,000 resamples × 30 metrics × 500 items

Times are CPU seconds of this process, which runs one thread. scipy.stats.bootstrap is timed on a slice (--slice
metrics) and scaled to all of them, which its loop over metrics allows. Peak memory is that of all arrays beyond the
inputs (tracemalloc), in a run that is not timed.
"""

from __future__ import annotations

import os

# One thread, so that CPU time is the time of one core.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import tracemalloc

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

from benchmarks.timing import seconds_of
from harness.intervals import RESAMPLES
from reports.significance.bootstrap import bca_means, bca_ratio
from reports.significance.means import Permutation, paired_mean, sign_flip

Values = NDArray[np.float64]
RATINGS = np.arange(1.0, 10.5, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--metrics", type=int, default=30)
    parser.add_argument("--slice", type=int, default=3, help="metrics that scipy is timed on")
    arguments = parser.parse_args()
    intervals(arguments.items, arguments.metrics, arguments.slice)
    growth(arguments.metrics)
    tests(arguments.items)


def intervals(items: int, metrics: int, some: int) -> None:
    before, after = ratings(items, metrics, 0), ratings(items, metrics, 1)
    differences = after - before
    gaps = np.where(np.random.default_rng(2).random(differences.shape) < 0.02, np.nan, differences)
    print(
        f"BCa intervals of {metrics} metrics, {RESAMPLES:,} resamples × {items} items (scipy: {some} metrics, scaled)"
    )

    def scipys_means() -> None:
        for column in differences.T[:some]:
            bootstrap((column,), np.mean, n_resamples=RESAMPLES, batch=1_000, method="BCa", rng=0)

    def scipys_ratios() -> None:
        for above, below in zip(after.T[:some], before.T[:some], strict=True):
            bootstrap(
                (above, below), ratio_of_means, paired=True, n_resamples=RESAMPLES, batch=1_000, method="BCa", rng=0
            )

    theirs = seconds_of(scipys_means) * metrics / some
    line("means, nothing missing", seconds_of(lambda: bca_means(differences)), theirs)
    line("means, 2 % missing at random", seconds_of(lambda: bca_means(gaps)), theirs)
    clusters = np.arange(items) // 2
    line("means, clusters of two", seconds_of(lambda: bca_means(differences, clusters)), theirs)
    theirs = seconds_of(scipys_ratios) * metrics / some
    line("ratios of means", seconds_of(lambda: bca_ratio(after, before)), theirs)


def ratio_of_means(above: Values, below: Values, axis: int = -1) -> Values:
    return np.asarray(above.mean(axis=axis) / below.mean(axis=axis))


def growth(metrics: int) -> None:
    print(f"\nHow it grows ({metrics} metrics)")
    for items in (80, 500, 5_000):
        differences = ratings(items, metrics, 1) - ratings(items, metrics, 0)
        seconds = seconds_of(lambda: bca_means(differences))  # noqa: B023
        tracemalloc.start()
        bca_means(differences)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"  {items:6,} items {seconds:8.3f} s   peak memory {peak / 1e6:5.0f} MB")


def tests(items: int) -> None:
    print("\nOne paired comparison")
    random = np.random.default_rng(3)
    halves = ratings(items, 1, 1)[:, 0] - ratings(items, 1, 0)[:, 0]
    shares = random.normal(0.1, 1, items)
    cases = [("ratings in halves", halves), ("any numbers", shares), ("any numbers", shares[:32])]

    def scipys(values: Values) -> None:
        permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=9_999, batch=1_000, vectorized=True, rng=0
        )

    for name, values in cases:
        found: list[Permutation] = []
        seconds = seconds_of(lambda: found.append(sign_flip(values)))  # noqa: B023
        scaled = seconds_of(lambda: scipys(values)) * 10  # noqa: B023
        how = "exact" if found[0].exact else "100,000 draws"
        line(f"sign flip, {len(values)} {name} ({how})", seconds, scaled)
    print("  (scipy's permutation_test: 9,999 draws, scaled to 100,000)")
    print(
        f"  paired_mean, {items} ratings: interval, tests, effect size {seconds_of(lambda: paired_mean(halves)):.3f} s"
    )


def ratings(items: int, metrics: int, seed: int) -> Values:
    return np.random.default_rng(seed).choice(RATINGS, size=(items, metrics))


def line(name: str, ours: float, theirs: float) -> None:
    print(f"  {name:48}{ours:8.3f} s   scipy {theirs:8.2f} s   ratio {theirs / ours:7.1f}")


if __name__ == "__main__":
    main()
