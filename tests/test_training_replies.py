"""Asking a model many things: bounded, every reply handed over once, failures counted, a lost model told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tasks.conversation import Completion, Message, Settings
from tasks.errors import RunStopped
from training import replies as module
from training.replies import Request, replies, seed_of


class Fake:
    """Repeats what it is asked, the later the shorter; fails where it is told to, and counts what is in flight."""

    name = "fake"
    busy_s = 0.0
    parallel = 4

    def __init__(self) -> None:
        self.in_flight = self.most = 0

    def identity(self) -> dict[str, Any]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {}

    def load(self) -> None: ...

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(0.001 * (10 - settings.max_new_tokens % 10))
        finally:
            self.in_flight -= 1
        said = messages[-1]["content"]
        if said == "lost":
            raise RunStopped("out of memory")
        if said == "fail":
            return Completion("", "error", error="no route")
        return Completion(said, "stop", completion_tokens=1)


def asked(texts: Sequence[str]) -> Iterator[Request]:
    for number, text in enumerate(texts, start=1):
        yield Request(number, [{"role": "user", "content": text}], Settings(number))


def test_every_reply_comes_once_with_its_key_and_no_more_than_the_window_at_a_time() -> None:
    model = Fake()
    got: dict[int, str] = {}
    waiting: list[int] = []

    def requests() -> Iterator[Request]:
        for request in asked([f"say {n}" for n in range(1, 41)]):
            waiting.append(request.key)
            assert len(waiting) - len(got) <= 4, "requests are taken as places get free, since there may be a million"
            yield request

    failed = asyncio.run(replies(model, requests(), lambda key, said: got.update({key: said.text}), 3))
    assert got == {n: f"say {n}" for n in range(1, 41)}
    assert (failed, model.most) == (0, 3)


def test_a_failed_request_is_handed_over_and_counted_and_the_others_go_on() -> None:
    got: dict[int, str | None] = {}
    failed = asyncio.run(
        replies(Fake(), asked(["a", "fail", "b", "fail"]), lambda key, said: got.update({key: said.error}), 2)
    )
    assert failed == 2
    assert got == {1: None, 2: "no route", 3: None, 4: "no route"}


def test_a_lost_model_ends_it_by_its_own_exception_and_nothing_stays_in_flight() -> None:
    model = Fake()
    got: list[int] = []
    with pytest.raises(RunStopped, match="out of memory"):
        asyncio.run(replies(model, asked(["a"] * 8 + ["lost"] + ["b"] * 50), lambda key, _: got.append(key), 4))
    assert model.in_flight == 0
    assert set(range(1, 5)) <= set(got), "what came before is kept"
    assert len(got) < 20


def test_what_handing_over_raises_comes_through() -> None:
    def full(key: int, said: Completion) -> None:
        raise RunStopped("no space left")

    with pytest.raises(RunStopped, match="no space left"):
        asyncio.run(replies(Fake(), asked(["a", "b"]), full, 2))


def test_it_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(module, "SAY_EVERY_S", 0.005)
    monkeypatch.setattr(module, "say", told.append)
    asyncio.run(replies(Fake(), asked(["a", "fail"] * 20), lambda key, said: None, 2, "samples"))
    assert told
    assert all(line.startswith("samples: ") for line in told)
    assert any("failed" in line for line in told)


def test_a_seed_is_the_same_in_every_process_and_tells_its_parts_apart() -> None:
    assert seed_of(0, "pair", "red-01", 1) == 819872352
    assert seed_of("a", "bc") != seed_of("ab", "c")
    assert all(0 <= seed_of(n) < 2**32 for n in range(100))
