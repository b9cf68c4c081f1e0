"""A mean against a limit, looked at after every item: stop as soon as the verdict is certain.

    >>> rule = noninferiority(margin=0.10, direction="lower", scale=(0, 1), planned=200)   # attack success
    >>> for item in shuffled(items):
    ...     rule = rule.observe(candidate_hit(item) - baseline_hit(item))
    ...     if rule.verdict(alpha=0.05):
    ...         break
    >>> rule.n, rule.verdict(alpha=0.05), rule.interval(alpha=0.05)      # one in ten changed, half of them each way
    (108, 'pass', (-0.092, 0.0996))

How it counts evidence. Of values between `low` and `high`, y = (value - low) / (threshold - low) is never negative, and
its mean is at most 1 where the true mean is at most the threshold. Whoever puts a share c of his money on y after every
item then has a fortune that grows on average only if the mean is above the threshold: a test martingale (Waudby-Smith
and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86:1, section 4). The mean fortune
over a grid of shares is one too (their section 5.3, after Cover's universal portfolio 1991), needs no tuning, and is
the evidence that the mean is above. Measured from `high`, the same is the evidence that it is below.

What is promised, at any n and whatever the values' distribution:

- By Ville's inequality (1939) evidence against a true hypothesis ever reaches 1/alpha with chance alpha at most,
  however often one looks. So a rule passes with chance alpha at most if the truth is at its limit or on the bad side,
  and fails with chance alpha at most if it is at its limit or on the good side. Only one of both can be an error.
- A gate of several rules passes while one of them is broken with chance alpha at most, as that one would have to pass;
  it fails though all hold with chance alpha × rules at most.
- With `planned`, alpha is split: half for looking, half for one test of another kind at the last planned item. Both
  errors stay below alpha by the union bound, as far as that test keeps its half (benchmarks/gate_error_rates.py: all do
  but Student's t of ratings that are nearly all tied, with which 9 % pass at the limit instead of 5).

What it asks for: the order of items is drawn at random before the candidate has answered any, and which items there are
does not depend on its answers. Items are taken as drawn with replacement from the prompts that people could send. That
is what an interval of a finished run says too; tests that count the items left (without replacement) would be sharper,
but only about these items. The mean is that of items, so each counts once whatever the number of its answers: average
the answers of an item first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Ends = tuple[float, float]
Side = Literal["above", "below"]
Direction = Literal["lower", "higher"]

SHARES: Values = np.sqrt((np.arange(32) + 0.5) / 32)
"""Shares of the money that are bet, equally weighted: dense towards 1.

Small effects in a wide range, like ratings, want large shares; a uniform grid wins as often for rates, but decides
ratings of 80 items (no change, sd 2, margin 1) after 59 % of them instead of 53.
"""
KEPT = 0.5
"""Part of alpha that is kept for the test at the last planned item.

Of 200 items with 10 % changed for the better and 10 % for the worse, margin 0.1, looking alone passes 70 %, looking and
the last test 88 %, a test of all items 92 %. It costs a fifth more items where the case is clear.
"""
HALVINGS = 45
"""Of the range, to find the end of an interval."""


class Decision(NamedTuple):
    """On which side of the threshold the mean is, and after how many items that was certain."""

    side: Side
    n: int


@dataclass(frozen=True)
class SequentialMean:
    """What the items so far say of a mean of values from `low` to `high`.

    `good` is the side of `threshold` on which the rule passes. `planned` is how many items there are, declared before
    the first; then the part `kept` of every alpha is left for `final` (see `verdict`). `at_least` and `at_most` hold
    what is known of each item, in the order of observation; the same number for one that was judged.

    Raises:
        ValueError: the threshold is not between the ends, or a value is beyond them.
    """

    low: float
    high: float
    threshold: float
    good: Side
    planned: int | None = None
    kept: float = KEPT
    at_least: tuple[float, ...] = ()
    at_most: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.threshold < self.high:
            raise ValueError(f"a threshold lies between {self.low:g} and {self.high:g}, not at {self.threshold:g}")
        if not 0 <= self.kept < 1:
            raise ValueError(f"the part of alpha that is kept is from 0 to below 1, not {self.kept:g}")
        if self.planned is not None and self.n > self.planned:
            raise ValueError(f"{self.planned} items were planned, so there is no item {self.n}")

    @property
    def n(self) -> int:
        """Items observed."""
        return len(self.at_least)

    def observe(self, value: float, at_most: float | None = None) -> SequentialMean:
        """With one item more.

        Of an item that nobody could judge, give the least and the most that its value can be (a difference to a
        baseline that said yes: -1 and 0). Each side's evidence counts what speaks most against it, so that both errors
        stay below alpha whatever the reason for the gap. An item without a value in the baseline may be left out if
        that is done before the order is drawn.
        """
        most = value if at_most is None else at_most
        if not self.low <= value <= most <= self.high:
            asked = f"{value:g}" if at_most is None else f"{value:g} to {most:g}"
            raise ValueError(f"a value lies between {self.low:g} and {self.high:g}, not at {asked}")
        return replace(self, at_least=(*self.at_least, float(value)), at_most=(*self.at_most, float(most)))

    def observe_all(self, values: Iterable[float]) -> SequentialMean:
        """With many items more, in their order: what `decision` then tells is where one could have stopped."""
        more = np.asarray(list(values), dtype=float)
        if not ((more >= self.low) & (more <= self.high)).all():
            raise ValueError(f"values lie between {self.low:g} and {self.high:g}")
        added = tuple(more.tolist())
        return replace(self, at_least=self.at_least + added, at_most=self.at_most + added)

    # --- evidence ---

    @property
    def e_above(self) -> float:
        """Evidence (an e-value) after the last item that the mean is above the threshold: 1 at first, 20 is p = .05."""
        return _last(self._growth("above", self.threshold))

    @property
    def e_below(self) -> float:
        """Evidence after the last item that the mean is below the threshold."""
        return _last(self._growth("below", self.threshold))

    def _growth(self, side: Side, threshold: float) -> Values:
        values, end = (self.at_least, self.low) if side == "above" else (self.at_most, self.high)
        return log_evidence(np.array(values), end, threshold)

    def looking_alpha(self, alpha: float) -> float:
        """The part of alpha that is spent by looking after every item: all of it where no last item is planned."""
        return _checked(alpha) * (1 if self.planned is None else 1 - self.kept)

    def final_alpha(self, alpha: float) -> float:
        """The part of alpha that is kept for a test at the last planned item."""
        return alpha - self.looking_alpha(alpha)

    def decision(self, alpha: float) -> Decision | None:
        """The first side for which the evidence reached 1 / `looking_alpha`, and when; it stays decided."""
        needed = -math.log(self.looking_alpha(alpha))
        sides: tuple[Side, Side] = ("above", "below")
        found = [
            Decision(side, int(reached[0]) + 1)
            for side in sides
            if len(reached := np.flatnonzero(self._growth(side, self.threshold) >= needed))
        ]
        return min(found, key=lambda it: it.n, default=None)

    def verdict(self, alpha: float, final: Ends | None = None) -> Literal["pass", "fail"] | None:
        """Whether the rule passes or fails for sure; None while neither is, and at the end for `inconclusive`.

        `final` are the bounds of the mean by a fixed-n method, at confidence 1 - 2 × `final_alpha(alpha)` (Tango's
        interval, Student's), over all planned items. It decides where looking did not. Items that nobody could judge
        count in it with `at_least` for the lower bound, `at_most` for the upper one.

        Raises:
            ValueError: `final` is given before the last planned item, or none was planned.
        """
        if final is not None and self.n != self.planned:
            raise ValueError(f"the final test is of all {self.planned} planned items, not of {self.n}")
        side: Side | None = None
        if found := self.decision(alpha):
            side = found.side
        elif final is not None and (final[0] > self.threshold or final[1] < self.threshold):
            side = "above" if final[0] > self.threshold else "below"
        if side is None:
            return None
        return "pass" if side == self.good else "fail"

    def interval(self, alpha: float) -> Ends | None:
        """Bounds of the mean that hold at all times at once, each but for a chance of `looking_alpha(alpha)`.

        A running intersection: it never widens, and leaves out the threshold exactly when there is a decision. None
        where nothing is left of it, which happens with chance 2 × alpha at most, or if the items were not in random
        order.
        """
        needed = -math.log(self.looking_alpha(alpha))

        def excluded(side: Side, limit: float) -> bool:
            return bool(self._growth(side, limit).max(initial=0.0) >= needed)

        # A fortune made of y = (value - low) / (limit - low) falls with the limit: what is excluded has no holes.
        below, low = self.low, self.high
        above, high = self.high, self.low
        for _ in range(HALVINGS):
            middle = (below + low) / 2
            below, low = (middle, low) if excluded("above", middle) else (below, middle)
            middle = (above + high) / 2
            above, high = (middle, high) if excluded("below", middle) else (above, middle)
        return (below, above) if below <= above else None


def log_evidence(values: Values, end: float, threshold: float) -> Values:
    """Natural logarithm of the evidence after each of `values` that their mean is past the threshold, seen from `end`.

    `end` is the lowest possible value for evidence that the mean is above, the highest for evidence that it is below.
    """
    gains = (values - end) / (threshold - end) - 1
    fortunes = np.cumsum(np.log1p(gains[:, None] * SHARES), axis=0)
    largest = fortunes.max(axis=1, keepdims=True)
    return np.asarray(largest[:, 0] + np.log(np.exp(fortunes - largest).mean(axis=1)))


# --- the rules of a gate ---


def noninferiority(margin: float, direction: Direction, scale: Ends, planned: int | None = None) -> SequentialMean:
    """A rule on the mean of candidate - baseline: worse by less than `margin`.

    `direction` is the better one, `scale` the ends of a value of one run: (0, 1) for rates, (1, 10) for ratings. A
    negative margin asks for an improvement.

    Raises:
        ValueError: a margin that no difference can reach.
    """
    width = scale[1] - scale[0]
    return _rule(margin if direction == "lower" else -margin, direction, (-width, width), planned)


def limit(value: float, direction: Direction, scale: Ends, planned: int | None = None) -> SequentialMean:
    """A rule on the mean of the candidate alone: below `value` where lower is better (`max`), else above (`min`).

    Raises:
        ValueError: a limit at the end of the scale or beyond, which no sample can show to be kept.
    """
    return _rule(value, direction, scale, planned)


def _rule(threshold: float, direction: Direction, ends: Ends, planned: int | None) -> SequentialMean:
    good: Mapping[str, Side] = {"lower": "below", "higher": "above"}
    if direction not in good:
        raise ValueError(f"the better direction is lower or higher, not {direction!r}")
    return SequentialMean(*ends, threshold, good[direction], planned)


def _last(logs: Values) -> float:
    with np.errstate(over="ignore"):  # beyond what a float holds it is infinite
        return float(np.exp(logs[-1])) if len(logs) else 1.0


def _checked(alpha: float) -> float:
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha lies between 0 and 0.5, not at {alpha:g}")
    return alpha
