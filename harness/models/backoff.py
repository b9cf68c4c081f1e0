"""When to ask an API again, and how many requests to have in flight while it can not keep up.

A server that is overloaded says so to many requests at once. Each of them waits a random while of its own, and all of
them together ask less of it: the number in flight is halved once a round trip and grows back by one a round trip.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

TRIES = 12
"""Of one request, where the server does not say when to come back."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0

# Not the global generator: a wait must not change what anybody else draws.
_jitter = random.Random()


def is_passing(status: int) -> bool:
    """Whether an HTTP status tells of trouble that may be over at the next try."""
    return status in (408, 409, 425, 429) or status >= 500


def retry_after(headers: Mapping[str, str]) -> float | None:
    """For how many seconds a server wants to be left alone, or None where it does not say or says nothing usable."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            wait = float(said) * unit_s
        except ValueError:
            try:
                wait = parsedate_to_datetime(said).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if 0 < wait < float("inf"):
            return wait
    return None


@dataclass
class Patience:
    """How often, and for how long, one request that fails is asked again.

    `patience_s` bounds what its waits and its failed tries after the first take together. The queue does not count:
    there it waits for others.
    """

    patience_s: float
    failures: int = 0
    spent_s: float = 0.0
    _unannounced: int = 0

    def next_wait(self, try_s: float, told_s: float | None = None) -> float | None:
        """Seconds to wait after a try that took `try_s` and failed, or None: give up.

        Exponential with full jitter, on top of what the server `told`. The last try comes when patience ends.
        """
        if self.failures:
            self.spent_s += try_s
        self.failures += 1
        self._unannounced += told_s is None
        left = self.patience_s - self.spent_s
        if left <= 0 or self._unannounced >= TRIES:
            return None
        step = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self.failures - 1, 10))
        wait = min(left, (told_s or 0.0) + _jitter.uniform(0, step))
        self.spent_s += wait
        return wait


class Gate:
    """Lets at most `ceiling` requests to one server be in flight, first come first served; fewer while it fails."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self.gone = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._in_flight = 0
        self._closed_until = self._last_cut = self._last_reply = self._busy_since = float("-inf")
        self._busy_s = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds during which at least one request was in flight."""
        return self._busy_s + (time.monotonic() - self._busy_since if self._in_flight else 0.0)

    async def enter(self) -> float:
        """Wait for one's turn, and return when it came (`time.monotonic()`). `leave` must follow."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came while its owner was being cancelled
                self.leave()
            raise
        return time.monotonic()

    def leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._busy_s += time.monotonic() - self._busy_since
        self._admit()

    def replied(self) -> None:
        """The server answered, whatever it said: it is there, and may be asked a little more."""
        self.limit = min(float(self.ceiling), self.limit + 1 / self.limit)
        self.gone, self._last_reply = False, time.monotonic()

    def failed(self, began: float, told_s: float | None = None) -> None:
        """The server could not serve a request that `began` then; nobody asks it again for the `told_s` it wants.

        Requests that were in flight at the last cut tell of the same overload, and cut no further.
        """
        now = time.monotonic()
        if began > self._last_cut:
            self.limit, self._last_cut = max(1.0, self.limit / 2), now
        self._closed_until = max(self._closed_until, now + (told_s or 0.0))

    def given_up(self, since: float) -> None:
        """A request that has failed `since` then was given up.

        If nobody had a reply meanwhile, the server is `gone` until one comes, and later requests are tried once.
        """
        self.gone = self._last_reply < since

    def _admit(self) -> None:
        pause = self._closed_until - time.monotonic()
        if pause > 0:
            if self._waiting:
                asyncio.get_running_loop().call_later(pause, self._admit)
            return
        while self._waiting and self._in_flight < int(self.limit):
            turn = self._waiting.popleft()
            if turn.done():  # cancelled while it waited
                continue
            if not self._in_flight:
                self._busy_since = time.monotonic()
            self._in_flight += 1
            turn.set_result(None)
