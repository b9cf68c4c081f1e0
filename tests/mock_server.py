"""A server that speaks enough of the OpenAI API to test and to time whatever talks to one. It only listens on loopback.

    with MockServer(latency_s=0.01) as server:  # in a thread with its own event loop: for sync and async tests alike
        server.behave(lambda request, call: failure(429, retry_after="1") if call == 1 else "Paris.")
        ...  # talk to server.url
    assert server.most_in_flight == 1 and server.requests[0].json["model"] == "m"

For benchmarks, as a process of its own that prints its URL and ends by itself:

    python -m tests.mock_server --latency 0.1 --seconds 300
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from aiohttp import web

JUDGE_MARK = b"[["
"""A request that shows how to write a rating, [[5]], is a judge's."""


@dataclass(frozen=True)
class Reply:
    """What the server does with one request: an HTTP answer, or a `fault` in place of one.

    "reset" breaks the connection, "hang" never answers, "cut" announces the whole body and sends half of it.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Literal["reset", "hang", "cut"] | None = None


RESET, HANG = Reply(fault="reset"), Reply(fault="hang")

Behaviour = Callable[[dict[str, Any], int], Reply | str]
"""From the JSON of a request and its number (from 1) to what is done with it; a str is what the model says."""


@dataclass
class Request:
    """One request as it came. Times are `time.monotonic()`; `ended` is None while it is in flight."""

    headers: Mapping[str, str]
    body: bytes
    began: float
    ended: float | None = None

    @functools.cached_property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


def says(text: str | None, finish: str | None = "stop", **message: Any) -> Reply:
    """A whole reply. Keywords are further fields of the message: reasoning_content, refusal, tool_calls …"""
    return Reply(json.dumps(completion(text, finish, **message)).encode())


def completion(text: str | None, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    """The JSON of a reply, for tests that break it."""
    said = {"role": "assistant", "content": text, **message}
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1,
        "model": "mock-1",
        "system_fingerprint": "fp_mock",
        "choices": [{"index": 0, "message": said, "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def failure(status: int, message: str = "failed", *, retry_after: str | None = None, **fields: Any) -> Reply:
    """An error in the shape of OpenAI's. `retry_after` is the header as sent; `fields` are code, param and type."""
    error = {"message": message, "type": None, "param": None, "code": None, **fields}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(json.dumps({"error": error}).encode(), status, headers)


class MockServer:
    """A server in a thread; a context manager. Its port stays the same when it is stopped and started again.

    Without a behaviour every request gets `reply`, a judge's request `judge_reply`. `record` False keeps no requests.
    """

    def __init__(
        self,
        reply: str = "Paris.",
        judge_reply: str = "Good. Rating: [[7]]",
        latency_s: float = 0.0,
        port: int = 0,
        *,
        record: bool = True,
    ) -> None:
        self.reply, self.judge_reply, self.latency_s, self.port = says(reply), says(judge_reply), latency_s, port
        self.requests: list[Request] = []
        self.calls = self.in_flight = self.most_in_flight = 0
        self._record = record
        self._behaviour: Behaviour | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What a client takes for --base-url."""
        return f"http://127.0.0.1:{self.port}/v1"

    def behave(self, behaviour: Behaviour | None) -> None:
        """Answer by `behaviour` from now on, counting calls from 1; None goes back to the default replies."""
        self._behaviour, self.calls = behaviour, 0

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the port is taken.
        """
        listening = threading.Event()
        trouble: list[OSError] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(listening))
            except OSError as error:
                trouble.append(error)
            finally:
                listening.set()

        self._thread = threading.Thread(target=run, name="mock server", daemon=True)
        self._thread.start()
        listening.wait()
        if trouble:
            raise trouble[0]

    def stop(self) -> None:
        """Break every connection, as a server does that dies."""
        if self._loop and self._thread:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._loop = self._thread = None

    def __enter__(self) -> MockServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, listening: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.in_flight = 0
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.01)  # 0 is for ever
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        try:
            await site.start()
            self.port = runner.addresses[0][1]
            listening.set()
            await self._stopping.wait()
            for connection in server.connections:
                if connection.transport:
                    connection.transport.abort()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seen = None
        try:
            body = await request.read()
            self.calls += 1
            if self._record:
                seen = Request(request.headers, body, time.monotonic())
                self.requests.append(seen)
            chosen = self._choose(body)
            if chosen.fault == "hang":
                await self._stopping.wait()
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            return _answer(request, chosen)
        except ConnectionResetError:  # the client went away while it was still sending
            return web.Response()
        finally:
            self.in_flight -= 1
            if seen:
                seen.ended = time.monotonic()

    def _choose(self, body: bytes) -> Reply:
        if self._behaviour is None:
            return self.judge_reply if JUDGE_MARK in body else self.reply
        chosen = self._behaviour(json.loads(body), self.calls)
        return says(chosen) if isinstance(chosen, str) else chosen


def _answer(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    if reply.fault:
        assert request.transport
        if reply.fault == "cut":
            body = reply.body or json.dumps(completion("Paris.")).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            request.transport.write(head.encode() + body[: len(body) // 2])
            request.transport.close()
        else:
            request.transport.abort()
    return web.Response(body=reply.body, status=reply.status, headers=reply.headers, content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(description="A mock OpenAI-compatible server on loopback; prints its URL.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--reply", default="Paris.", help="what it says")
    parser.add_argument("--judge-reply", default="Good. Rating: [[7]]", help="what it says to a judge's request")
    parser.add_argument("--seconds", type=float, default=600.0, help="it ends by itself after so long")
    given = parser.parse_args()
    server = MockServer(given.reply, given.judge_reply, given.latency, given.port, record=False)
    with contextlib.suppress(KeyboardInterrupt), server:
        print(server.url, flush=True)  # noqa: T201
        time.sleep(given.seconds)


if __name__ == "__main__":
    main()
