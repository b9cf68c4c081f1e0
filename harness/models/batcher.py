"""The thread that keeps a decoder busy: requests wait in line, join the running batch, and leave when they end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from harness.models.decoder import Decoder, Row, joint_groups

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Request:
    """A row and the future of the coroutine that waits for it."""

    row: Row
    done: asyncio.Future[Row]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, eq=False)
class Job:
    """Other work for the model that only its thread may do, and the future of the coroutine that waits for it."""

    work: Callable[[], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Batcher:
    """Runs one decoder in a thread of its own. `submit` and `call` from an event loop; `close` when no more comes."""

    def __init__(self, decoder: Decoder) -> None:
        self.busy_s = 0.0
        self._decoder = decoder
        self._line: deque[Request] = deque()
        self._jobs: deque[Job] = deque()
        self._running: dict[int, Request] = {}
        self._changed = threading.Condition()
        self._closed = False
        # A daemon: when the program is told to stop it need not wait for the step in progress.
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    async def submit(self, row: Row) -> Row:
        """Wait until the row has ended. Raises what the decoder raised, if it did."""
        loop = asyncio.get_running_loop()
        request = Request(row, loop.create_future(), loop)
        with self._changed:
            self._line.append(request)
            self._changed.notify()
        return await request.done

    async def call(self, work: Callable[[], Result]) -> Result:
        """Run `work` between two steps of the rows, which it must leave alone. Raises what it raised, here only."""
        loop = asyncio.get_running_loop()
        job = Job(work, loop.create_future(), loop)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        result: Result = await job.done
        return result

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._line or self._running or self._jobs or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
            start = time.perf_counter()
            try:
                with self._changed:
                    joining = self._admit()
                for group in joint_groups([request.row for request in joining]):
                    self._hand_back(self._decoder.join(group))
                if self._decoder.live:
                    self._hand_back(self._decoder.step())
            except Exception as error:  # noqa: BLE001 - handed to every waiting coroutine, which raises it
                self._fail(error)
            self._do_one_job()
            self.busy_s += time.perf_counter() - start

    def _do_one_job(self) -> None:
        """One only: between two jobs the rows take a step, and neither waits for the other to have ended."""
        if not self._jobs:
            return
        job = self._jobs.popleft()
        if job.done.cancelled():
            return
        try:
            result = job.work()
        except Exception as error:  # noqa: BLE001 - handed to the coroutine that waits, which raises it
            _deliver(job, partial(job.done.set_exception, error))
        else:
            _deliver(job, partial(job.done.set_result, result))

    def _admit(self) -> list[Request]:
        """Take from the line what fits now; whoever waits longest goes first."""
        joining: list[Request] = []
        while self._line and self._decoder.room_for(self._line[0].row, [request.row for request in joining]):
            request = self._line.popleft()
            if not request.done.cancelled():
                self._running[id(request.row)] = request
                joining.append(request)
        return joining

    def _hand_back(self, rows: list[Row]) -> None:
        for row in rows:
            request = self._running.pop(id(row))
            _deliver(request, partial(request.done.set_result, row))

    def _fail(self, error: Exception) -> None:
        with self._changed:
            requests = [*self._running.values(), *self._line]
            self._running.clear()
            self._line.clear()
        self._decoder.live.clear()
        for request in requests:
            _deliver(request, partial(request.done.set_exception, error))


def _deliver(request: Request | Job, settle: Callable[[], None]) -> None:
    def settle_if_awaited() -> None:
        if not request.done.cancelled():
            settle()

    # A closed loop means that the run was stopped: nobody waits any more.
    with contextlib.suppress(RuntimeError):
        request.loop.call_soon_threadsafe(settle_if_awaited)
