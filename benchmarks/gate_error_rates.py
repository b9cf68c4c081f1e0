"""How often a gate errs, and what it saves to look after every item: the gate of all items beside the sequential one.

    python -m benchmarks.gate_error_rates                      # 1,000 rounds a row: a rate of 5 % is known to ±1.4
    python -m benchmarks.gate_error_rates --rounds 10000

At the limit itself a rule may pass in 5 % of all rounds and fail in 5 % (alpha = 0.05). "all items" is one test at the
end, as `bench gate` makes it of a finished run; "looking + last" looks after every item at half of alpha and makes that
test at the end with the other half; "looking" spends all of alpha on looking. "items" is the mean share of items that
were judged before it stopped. Rates: attack success, lower is better; ratings: 1 to 10, higher is better.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.gate.intervals import Bounds, absolute_bounds, paired_bounds
from reports.pairing import Paired
from reports.significance.sequential import SequentialMean, limit, noninferiority

ALPHA = 0.05
Values = NDArray[np.float64]
Random = np.random.Generator
Runs = tuple[Values, Values]
RATINGS = np.arange(1.0, 11.0)
LOPSIDED = np.array([2, 2, 3, 3, 5, 5, 10, 20, 30, 20]) / 100
"""Ratings as judges give them: many eights and nines, few ones; mean 7.82, sd 2.18."""
TWO_HUMPS = np.array([30, 5, 5, 5, 5, 5, 10, 10, 10, 15]) / 100
"""Many ones and many tens; mean 5.20, sd 3.49."""


@dataclass(frozen=True)
class Case:
    """A rule, the true mean, and how values of both runs are drawn; the baseline's count only if it `is_paired`."""

    name: str
    rule: SequentialMean
    true: float
    draw: Callable[[Random], Runs]
    is_rate: bool = True
    is_paired: bool = True
    answers: int = 1

    @property
    def items(self) -> int:
        assert self.rule.planned is not None
        return self.rule.planned

    def right(self, found: Shares) -> float:
        """Of all rounds, in which share the verdict was that of the truth."""
        is_good = (self.true > self.rule.threshold) == (self.rule.good == "above")
        return found.passed if is_good else found.failed


@dataclass(frozen=True)
class Shares:
    """Of all rounds: passed, failed; and the mean share of items that it took."""

    passed: float
    failed: float
    items: float = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.rounds:,} rounds a row, seed {arguments.seed}, alpha {ALPHA}")
    print("\nAt the limit: the chance to pass, and to fail, wanted at most 5 %")
    at_the_limit(list(limit_cases()), arguments.rounds, arguments.seed)
    print("\nAway from it: the chance to reach the right verdict, and the items that it takes")
    away_from_it(list(other_cases()), arguments.rounds, arguments.seed)


def at_the_limit(cases: Sequence[Case], rounds: int, seed: int) -> None:
    print(f"{'':65}{'all items':^16}{'looking + last':^16}{'looking':^16}")
    print(f"{'items':65}" + f"{'pass':>8}{'fail':>8}" * 3)
    for case in cases:
        found = simulated(case, rounds, seed)
        cells = "".join(f"{100 * it.passed:8.1f}{100 * it.failed:8.1f}" for it in found)
        print(f"{case.items:5,} {case.name:59}{cells}", flush=True)


def away_from_it(cases: Sequence[Case], rounds: int, seed: int) -> None:
    print(f"{'':65}{'all items':^11}{'looking + last':^18}{'looking':^18}")
    print(f"{'items':65}{'right':>9}  " + f"{'right':>8}{'items':>8}  " * 2)
    for case in cases:
        every, *sequential = simulated(case, rounds, seed)
        cells = "".join(f"{100 * case.right(it):8.1f}{100 * it.items:7.0f}%  " for it in sequential)
        print(f"{case.items:5,} {case.name:59}{100 * case.right(every):9.1f}  {cells}", flush=True)


def simulated(case: Case, rounds: int, seed: int) -> tuple[Shares, Shares, Shares]:
    """All items, looking and a last test, looking alone; on the same draws."""
    random = np.random.default_rng(seed)
    verdicts: dict[str, list[str | None]] = {"all": [], "both": [], "looking": []}
    taken: dict[str, list[int]] = {"both": [], "looking": []}
    for _ in range(rounds):
        before, after = case.draw(random)
        by_item = (after - before if case.is_paired else after).reshape(case.items, -1).mean(axis=1)
        both = case.rule.observe_all(by_item)
        looking = replace(both, planned=None)
        verdicts["all"].append(of_all(case, bounds(case, before, after, ALPHA)))
        last = bounds(case, before, after, both.final_alpha(ALPHA))
        verdicts["both"].append(both.verdict(ALPHA, (last.low, last.high)))
        verdicts["looking"].append(looking.verdict(ALPHA))
        for name, it in (("both", both), ("looking", looking)):
            taken[name].append(found.n if (found := it.decision(ALPHA)) else case.items)
    every, with_last, alone = (
        Shares(
            found.count("pass") / rounds,
            found.count("fail") / rounds,
            float(np.mean(taken.get(name, [case.items]))) / case.items,
        )
        for name, found in verdicts.items()
    )
    return every, with_last, alone


def bounds(case: Case, before: Values, after: Values, alpha: float) -> Bounds:
    """The interval by which a gate of a finished run decides."""
    requests = np.repeat(np.arange(case.items), case.answers)
    scale = None if case.is_rate else (1.0, 10.0)
    if case.is_paired:
        found = paired_bounds(Paired(before, after, requests, case.is_rate, scale, 0, 0), 1 - 2 * alpha)
    else:
        found = absolute_bounds(after, requests, scale, case.is_rate, 1 - 2 * alpha)
    assert found is not None
    return found


def of_all(case: Case, found: Bounds) -> str | None:
    threshold = case.rule.threshold
    if found.low > threshold:
        return "pass" if case.rule.good == "above" else "fail"
    if found.high < threshold:
        return "pass" if case.rule.good == "below" else "fail"
    return None


# --- what is drawn ---


def limit_cases() -> Iterator[Case]:
    for n in (50, 100, 200, 520):
        for margin in (0.05, 0.10):
            for better in (0.0, 0.02, 0.10):
                yield rates(n, margin, better + margin, better)
    yield rates(3_000, 0.10, 0.15, 0.05)
    yield clustered(100, 0.10)
    for top in (0.02, 0.05):
        yield absolute(200, top)
    for n in (40, 80, 160):
        for margin in (0.5, 1.0):
            yield ratings(n, margin, -margin, LOPSIDED, "lopsided")
            yield ratings(n, margin, -margin, TWO_HUMPS, "two humps")
    yield ratings(80, 0.3, -0.3, LOPSIDED, "lopsided, nine of ten tied", same=0.9)
    for chances, shape in ((LOPSIDED, "lopsided"), (TWO_HUMPS, "two humps")):
        yield rating_alone(80, float(RATINGS @ chances), chances, shape)


def other_cases() -> Iterator[Case]:
    for n in (200, 520):
        yield rates(n, 0.10, 0.0, 0.0)
        yield rates(n, 0.10, 0.05, 0.05)
        yield rates(n, 0.10, 0.10, 0.10)
        yield rates(n, 0.10, 0.05, 0.15)
        yield rates(n, 0.10, 0.25, 0.05)
        yield rates(n, 0.10, 0.32, 0.02)
    yield rates(520, 0.05, 0.02, 0.02)
    yield rates(520, 0.05, 0.05, 0.05)
    yield clustered(100, 0.10, worse=0.0)
    yield absolute(200, 0.10, true=0.02)
    for n, margin in ((80, 0.5), (80, 1.0), (160, 0.5), (160, 1.0)):
        yield ratings(n, margin, 0.0, LOPSIDED, "lopsided")
    yield ratings(80, 0.5, -1.5, LOPSIDED, "lopsided")
    yield ratings(80, 0.5, -2.5, LOPSIDED, "lopsided")
    yield rating_alone(80, 6.5, LOPSIDED, "lopsided")


def rates(n: int, margin: float, worse: float, better: float) -> Case:
    def draw(random: Random) -> Runs:
        kind = random.random(n)
        turned_bad, turned_good = kind < worse, (kind >= worse) & (kind < worse + better)
        before = np.where(turned_bad, False, turned_good | (random.random(n) < 0.4))
        return before.astype(float), np.where(turned_bad, True, before & ~turned_good).astype(float)

    name = f"rates, margin {margin:.2f}: {worse:.0%} turn bad, {better:.0%} good"
    return Case(name, noninferiority(margin, "lower", (0, 1), n), worse - better, draw)


def clustered(n: int, margin: float, worse: float | None = None) -> Case:
    """Four answers an item; items are of two kinds, one of which turns bad in half of its answers."""
    extra = margin if worse is None else worse

    def draw(random: Random) -> Runs:
        before = random.random((n, 4)) < 0.1 + 0.3 * (random.random((n, 1)) < 0.5)
        after = random.random((n, 4)) < 0.1 + 0.3 * (random.random((n, 1)) < 0.5)
        # Of the kind that turns bad, all answers were good.
        turned = random.random((n, 1)) < 2 * extra
        before = np.where(turned, False, before)
        after = np.where(turned, random.random((n, 4)) < 0.5, after)
        return before.ravel().astype(float), after.ravel().astype(float)

    name = f"rates, margin {margin:.2f}: four answers an item, {extra:.0%} worse"
    return Case(name, noninferiority(margin, "lower", (0, 1), n), extra, draw, answers=4)


def absolute(n: int, top: float, true: float | None = None) -> Case:
    rate = top if true is None else true

    def draw(random: Random) -> Runs:
        return np.zeros(n), (random.random(n) < rate).astype(float)

    return Case(f"a rate of {rate:.0%}, max {top:.2f}", limit(top, "lower", (0, 1), n), rate, draw, is_paired=False)


def ratings(n: int, margin: float, change: float, chances: Values, shape: str, same: float = 0.5) -> Case:
    """A share of candidates' ratings is that of the baseline, the others are drawn anew, from a lower distribution."""
    lower = tilted(chances, float(RATINGS @ chances) + change / (1 - same))

    def draw(random: Random) -> Runs:
        before = random.choice(RATINGS, n, p=chances)
        return before, np.where(random.random(n) < same, before, random.choice(RATINGS, n, p=lower))

    name = f"ratings, margin {margin:.1f}: change {change:.1f}, {shape}"
    return Case(name, noninferiority(margin, "higher", (1, 10), n), change, draw, is_rate=False)


def rating_alone(n: int, bottom: float, chances: Values, shape: str) -> Case:
    mean = float(RATINGS @ chances)
    rule = limit(bottom, "higher", (1, 10), n)

    def draw(random: Random) -> Runs:
        return np.zeros(n), random.choice(RATINGS, n, p=chances)

    return Case(
        f"a mean rating of {mean:.2f}, min {bottom:.2f}, {shape}", rule, mean, draw, is_rate=False, is_paired=False
    )


def tilted(chances: Values, mean: float) -> Values:
    """The distribution nearest to another (in relative entropy) that has this mean."""
    low, high = -20.0, 20.0
    if not RATINGS[0] < mean < RATINGS[-1]:
        raise ValueError(f"ratings have no mean of {mean:g}")
    found = chances
    for _ in range(80):
        slope = (low + high) / 2
        found = chances * np.exp(slope * (RATINGS - mean))
        found = found / found.sum()
        low, high = (slope, high) if float(RATINGS @ found) < mean else (low, slope)
    assert math.isclose(float(RATINGS @ found), mean, abs_tol=1e-9)
    return found


if __name__ == "__main__":
    main()
