"""Asking a model many things: a bounded number in flight, each reply handed over as it comes, failures counted."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.engine import first_cause
from harness.models.model import Model
from harness.printing import say
from tasks.conversation import Completion, Message, Settings

SAY_EVERY_S = 10.0
Work = TypeVar("Work")


@dataclass(frozen=True)
class Request:
    """A conversation that ends with its user, how to answer it, and a key to know the reply by."""

    key: Any
    messages: Sequence[Message]
    settings: Settings


@dataclass
class Tally:
    """How far the asking is: `done` of what was to be done, requests that failed, tokens that came."""

    what: str
    done: int = 0
    failed: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.perf_counter)

    def count(self, said: Completion) -> None:
        self.failed += said.finish == "error"
        self.tokens += said.completion_tokens or 0

    def line(self) -> str:
        speed = self.tokens / (time.perf_counter() - self.started)
        failed = f" · {self.failed} failed" if self.failed else ""
        return f"{self.what}: {self.done}{failed} · {speed:.0f} tokens/s"


def seed_of(*parts: object) -> int:
    """A seed of 32 bits from what tells one draw from another, the same in every process."""
    named = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(named.encode(errors="surrogatepass")).digest()[:4], "big")


async def replies(
    model: Model,
    requests: Iterable[Request],
    done: Callable[[Any, Completion], None],
    window: int,
    what: str = "replies",
) -> int:
    """Ask for all, `window` at a time, as places get free; `done` takes each reply as it comes, failed ones too.

    Returns how many failed: those that came with finish "error" and may be had the next time.

    Raises:
        RunStopped: the model or the disk behind `done` gave up; what was handed over before is kept.
    """
    tally = Tally(what)

    async def ask(request: Request) -> None:
        said = await model.complete(request.messages, request.settings)
        tally.count(said)
        done(request.key, said)

    await for_each(requests, ask, window, tally)
    return tally.failed


async def for_each(work: Iterable[Work], do: Callable[[Work], Awaitable[None]], window: int, tally: Tally) -> None:
    """Do all of it, `window` at a time, and say now and then how far it is; an exception ends it and is raised."""
    places = asyncio.Semaphore(window)

    async def one(piece: Work) -> None:
        try:
            await do(piece)
            tally.done += 1
        finally:
            places.release()

    telling = asyncio.create_task(_tell(tally))
    try:
        async with asyncio.TaskGroup() as group:
            for piece in work:
                await places.acquire()
                group.create_task(one(piece))
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    finally:
        telling.cancel()


async def _tell(tally: Tally) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        say(tally.line())
