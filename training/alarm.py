"""When the collapse monitor rings: by what has become worse on the same prompts since training began.

>>> alarm, confirmation = judged({"loop": Change(gained=9, lost=0, n=16), …}, ask_the_second_set, Alarm())
>>> alarm.state, alarm.reasons
('collapsed', ('loop: 17 of 32 probes have become degenerate and 0 have ceased to be (p 7.6e-06, level 0.013)',))

A look raises a suspicion on the prompts that it watches; a second set of prompts, answered only then, confirms it or
does not. Healthy training changes answers in both directions alike, so that of the prompts whose state differs from
step 0, each is as likely better as worse: the exact one-sided sign test (McNemar's). The confirmation number j tests
each of the two signs of collapse at the level ALPHA / (2 j (j + 1)). These levels sum to ALPHA over any number of
looks, and the confirming prompts have no part in the suspicion, so a healthy training rings falsely in at most 5 % of
cases however often it is looked at. Simulated, 40 looks of 16 prompts and 32 to confirm: in at most 0.3 %, be 1 or 30 %
of the answers degenerate from the start; 0 to 8 % of those looks warn. Where from one look on 30, 40, 50 or 70 % of the
answers are degenerate, that look rings in 39, 77, 90 and 100 % of cases, and one of six in 66, 92, 99 and 100 %.

A significant rise must also be a large one: 5 points more degenerate answers (reference D5), or 20 more that end alike.
Answers to harmful prompts may rightly be alike, so the second is counted over the other prompts. What a model did
before training does not count, be it as bad as it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.collapse.thresholds import VERDICTS

State = Literal["ok", "warning", "collapsed"]
Sign = Literal["loop", "boilerplate"]
ALPHA = 0.05
SUSPICION = 0.1
"""Mid-p from which a look asks for confirmation: three more of 16, none less."""
WARNING = 0.01
"""p of the warnings, which are not confirmed: a look each, so that some false ones are to be expected."""
FLOORS: Mapping[Sign, float] = {"loop": VERDICTS.degenerate, "boilerplate": VERDICTS.shared}
WORDS: Mapping[Sign, tuple[str, str]] = {
    "loop": ("have become degenerate", "have ceased to be"),
    "boilerplate": ("have come to end alike", "have ceased to"),
}
LEAST_LOGS = 10
DISPLACED = 0.1
"""Share of its size that logps/chosen must have lost."""


@dataclass(frozen=True)
class Change:
    """Prompts of `n` that show a sign now and did not at step 0 (`gained`), and the other way round (`lost`)."""

    gained: int
    lost: int
    n: int

    @classmethod
    def of(cls, before: Sequence[bool], after: Sequence[bool]) -> Change:
        pairs = list(zip(map(bool, before), map(bool, after), strict=True))
        return cls(pairs.count((False, True)), pairs.count((True, False)), len(pairs))

    @property
    def rise(self) -> float:
        """Difference of the shares, in [-1, 1]; 0.0 of no prompts."""
        return (self.gained - self.lost) / self.n if self.n else 0.0


@dataclass(frozen=True)
class Confirmation:
    """Number `number` of a training, counted from 1, of the signs that were suspected."""

    number: int
    changes: Mapping[Sign, Change]


@dataclass(frozen=True)
class Alarm:
    """What a look came to. `confirmations` counts those spent so far, `proven` the signs that one has confirmed.

    `suspects` are the signs that this look raised.
    """

    state: State = "ok"
    reasons: tuple[str, ...] = ()
    confirmations: int = 0
    proven: tuple[Sign, ...] = ()
    suspects: tuple[Sign, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Nothing suspected, so that its weights are worth keeping."""
        return self.state != "collapsed" and not self.suspects


def sign_p(change: Change) -> float:
    """P(X >= gained) for X binomial of gained + lost with p 1/2: the exact one-sided McNemar test. 1.0 of no change."""
    n = change.gained + change.lost
    return math.ldexp(sum(math.comb(n, k) for k in range(change.gained, n + 1)), -n)


def sign_mid_p(change: Change) -> float:
    """As `sign_p`, what was seen counted half (Lancaster 1961)."""
    n = change.gained + change.lost
    return sign_p(change) - math.ldexp(math.comb(n, change.gained), -n - 1)


def level(number: int) -> float:
    """What each sign is tested at in confirmation `number` (from 1): two signs, and 1/2 + 1/6 + 1/12 + … = 1."""
    return ALPHA / (2 * number * (number + 1))


def is_suspected(sign: Sign, change: Change) -> bool:
    return change.rise > FLOORS[sign] and sign_mid_p(change) <= SUSPICION


def is_confirmed(sign: Sign, change: Change, number: int) -> bool:
    return change.rise > FLOORS[sign] and sign_p(change) <= level(number)


def least_rise(sign: Sign, n: int, number: int = 1) -> int | None:
    """The fewest of `n` healthy prompts that must come to show a sign, none ceasing to, for it to be confirmed."""
    return next((k for k in range(1, n + 1) if is_confirmed(sign, Change(k, 0, n), number)), None)


def judged(
    watched: Mapping[Sign, Change], confirm: Callable[[], Mapping[Sign, Change]], before: Alarm
) -> tuple[Alarm, Confirmation | None]:
    """The state after a look, and the confirmation that it took.

    `confirm` answers the second set of prompts and is called only where there is a suspicion that no earlier look has
    confirmed. A confirmed sign stands for as long as it is still suspected.
    """
    suspects = tuple(sign for sign, change in watched.items() if is_suspected(sign, change))
    standing = tuple(sign for sign in before.proven if sign in suspects)
    reasons = [f"{sign}: as before, {_told(sign, watched[sign])}" for sign in standing]
    confirmation = None
    proven = list(standing)
    if len(standing) < len(suspects):
        confirmation = Confirmation(before.confirmations + 1, confirm())
        for sign in (it for it in suspects if it not in standing):
            change = confirmation.changes[sign]
            held = f"p {sign_p(change):.2g}, level {level(confirmation.number):.2g}"
            if is_confirmed(sign, change, confirmation.number):
                proven.append(sign)
                reasons.append(f"{sign}: {_told(sign, change)} ({held})")
            else:
                reasons.append(
                    f"{sign} suspected, {_told(sign, watched[sign])}, and not confirmed: {_told(sign, change)} ({held})"
                )
    state: State = "collapsed" if proven else "warning" if suspects else "ok"
    spent = confirmation.number if confirmation else before.confirmations
    return Alarm(state, tuple(reasons), spent, tuple(proven), suspects), confirmation


def endless(unended: Change) -> str | None:
    """Answers that hit the length limit without a loop: a warning where they are surely more, never a collapse."""
    if unended.rise <= VERDICTS.truncated or sign_p(unended) > WARNING:
        return None
    return f"no EOS: {unended.gained} of {unended.n} probes no longer end, without a loop, and {unended.lost} now do"


def displacement(logged: Sequence[tuple[float, float]]) -> str | None:
    """Likelihood displacement (Razin et al. 2024): the chosen answers grow less likely while the margin grows.

    `logged` holds logps/chosen and rewards/margins of each log, in order. Nothing is said of fewer than ten. Both
    trends by Kendall's tau at WARNING, and logps/chosen must have lost a tenth of its size. It often comes before
    answers that nobody preferred, and is no collapse: a warning.
    """
    if len(logged) < LEAST_LOGS or not all(math.isfinite(value) for pair in logged for value in pair):
        return None
    from scipy.stats import kendalltau

    steps = range(len(logged))
    chosen, margins = zip(*logged, strict=True)
    first, last = (sorted(part)[2] for part in (chosen[:5], chosen[-5:]))
    if first - last <= DISPLACED * abs(first) or min(map(_spread, (chosen, margins))) == 0:
        return None
    falls = kendalltau(steps, chosen, alternative="less").pvalue
    rises = kendalltau(steps, margins, alternative="greater").pvalue
    if max(float(falls), float(rises)) > WARNING:
        return None
    return f"likelihood displacement: logps/chosen fell from {first:.4g} to {last:.4g} while the margin rose"


def with_warnings(alarm: Alarm, *warnings: str | None) -> Alarm:
    """The same with what is only to be said."""
    said = tuple(it for it in warnings if it)
    state: State = "warning" if said and alarm.state == "ok" else alarm.state
    return Alarm(state, alarm.reasons + said, alarm.confirmations, alarm.proven, alarm.suspects)


def _told(sign: Sign, change: Change) -> str:
    worse, better = WORDS[sign]
    return f"{change.gained} of {change.n} probes {worse} and {change.lost} {better}"


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)
