"""The engine: turns in order, judging beside generation, failures that are tried again, and few items in flight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.engine import Assignment, Engine, Tally, conversations
from harness.records import read_records
from harness.store import ANSWER_FIELDS, JUDGMENT_FIELDS, MANIFEST_KEYS, RunStore
from judges.judgment import Grade
from tasks.conversation import Answer, Completion, Message, Settings
from tasks.errors import BadInput, RunStopped
from tasks.item import Item
from tasks.task import Task, TaskOptions, load_task


class Echo:
    """A model that repeats what it was asked, after `delay` seconds."""

    name = "echo"
    busy_s = 0.0
    parallel = 8

    def __init__(self, delay: float = 0.0, fails_on: str | None = None, breaks_after: int | None = None) -> None:
        self.delay, self.fails_on, self.breaks_after = delay, fails_on, breaks_after
        self.calls: list[list[Message]] = []
        self.seeds: list[int] = []
        self.in_flight = self.most_in_flight = 0

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        self.calls.append(list(messages))
        self.seeds.append(settings.seed)
        if self.breaks_after is not None and len(self.calls) > self.breaks_after:
            raise RunStopped("out of memory")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.delay)
        self.in_flight -= 1
        said = messages[-1]["content"]
        if self.fails_on and self.fails_on in said:
            return Completion("", "error", error="no luck")
        return Completion(f"echo {said}", "stop", 3, 4)

    def usage(self) -> dict[str, Any]:
        return {}

    def identity(self) -> dict[str, Any]:
        return {}

    describe = identity

    def load(self) -> None: ...

    def close(self) -> None: ...


class Slow:
    """A judge that takes `delay` seconds and counts the words of the answer."""

    name = "slow"

    def __init__(self, delay: float = 0.0, fails_on: str | None = None) -> None:
        self.delay, self.fails_on = delay, fails_on
        self.graded: list[tuple[str, int]] = []

    def describe(self) -> dict[str, Any]:
        return {}

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
        await asyncio.sleep(self.delay)
        self.graded.append((item.id, answers[-1].turn))
        if item.id == self.fails_on:
            return Grade(error="no idea")
        return Grade(score=float(len(answers[-1].text.split())))


def two_turn_task(tmp_path: Path, n: int, samples: int = 1) -> Task:
    path = tmp_path / "items.jsonl"
    rows = [{"id": f"q{i}", "category": "x", "turns": [f"first {i}", f"second {i}"]} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_task("mini_mt", TaskOptions(data=path, samples=samples))


def run_engine(
    tmp_path: Path, model: Echo, judge: Slow, n: int = 4, *, samples: int = 1, window: int = 100, repeats: int = 1
) -> Tally:
    assignment = Assignment(two_turn_task(tmp_path, n, samples), [judge], repeats)
    tally = Tally(assignment.answers, assignment.judgments)
    with RunStore.open(tmp_path / "run", {}) as store:
        store.write_json("run.json", {key: {} for key in MANIFEST_KEYS} | {"schema_version": 1})
        asyncio.run(Engine(model, store, tally, seed=0).run(conversations([assignment]), window))
    return tally


def complete(tally: Tally) -> bool:
    answers, judgments = tally.stored_answers + tally.answers, tally.stored_judgments + tally.judgments
    return (answers, judgments) == (tally.answers_wanted, tally.judgments_wanted)


def stored(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    fields = {"answers": ANSWER_FIELDS, "judgments": JUDGMENT_FIELDS}[name]
    return [record for _, record in read_records(tmp_path / "run" / f"{name}.jsonl", fields)]


def test_the_second_turn_is_asked_with_the_first_answer_before_it(tmp_path: Path) -> None:
    model = Echo()
    assert complete(run_engine(tmp_path, model, Slow(), n=1))
    assert [message["content"] for message in model.calls[1]] == ["first 0", "echo first 0", "second 0"]
    assert [message["role"] for message in model.calls[1]] == ["user", "assistant", "user"]


def test_a_turn_is_asked_while_the_one_before_is_being_judged(tmp_path: Path) -> None:
    class WaitsForTheNextTurn(Slow):
        async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
            if answers[-1].turn == 1:
                # An engine that graded first and asked then would wait here for ever.
                await asyncio.wait_for(second_turn_asked.wait(), timeout=5)
            return await super().grade(item, answers)

    class Tells(Echo):
        async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
            if messages[-1]["content"].startswith("second"):
                second_turn_asked.set()
            return await super().complete(messages, settings)

    second_turn_asked = asyncio.Event()
    assert complete(run_engine(tmp_path, Tells(), WaitsForTheNextTurn(), n=1))


def test_no_more_conversations_are_in_flight_than_the_window(tmp_path: Path) -> None:
    model = Echo(delay=0.005)
    assert complete(run_engine(tmp_path, model, Slow(), n=30, window=3))
    assert model.most_in_flight == 3


def test_a_failed_answer_is_counted_and_tried_again_and_nothing_else_is(tmp_path: Path) -> None:
    tally = run_engine(tmp_path, Echo(fails_on="first 2"), Slow())
    assert not complete(tally)
    assert tally.failed == 1
    assert "mini_mt/q2: no luck" in str(tally.first_failure)
    # The second turn could not be asked, and what was not said was not judged.
    assert {(r["item"], r["turn"]) for r in stored(tmp_path, "judgments")} == {
        (f"q{i}", turn) for i in (0, 1, 3) for turn in (1, 2)
    }
    model = Echo()
    assert complete(run_engine(tmp_path, model, Slow()))
    assert [messages[-1]["content"] for messages in model.calls] == ["first 2", "second 2"]


def test_a_failed_grade_is_asked_for_again_without_generating(tmp_path: Path) -> None:
    assert not complete(run_engine(tmp_path, Echo(), Slow(fails_on="q1")))
    model, judge = Echo(), Slow()
    assert complete(run_engine(tmp_path, model, judge))
    assert model.calls == []
    assert sorted(judge.graded) == [("q1", 1), ("q1", 2)]


def test_a_model_that_breaks_down_stops_the_run_and_keeps_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="out of memory"):
        run_engine(tmp_path, Echo(breaks_after=5), Slow(), window=1)
    kept = len(stored(tmp_path, "answers"))
    assert kept == 5
    model = Echo()
    assert complete(run_engine(tmp_path, model, Slow()))
    assert len(model.calls) == 8 - kept


def test_samples_and_repeats_have_their_own_records_and_seeds(tmp_path: Path) -> None:
    model = Echo()
    tally = run_engine(tmp_path, model, Slow(), n=2, samples=3, repeats=2)
    assert complete(tally)
    assert len(stored(tmp_path, "answers")) == 12
    assert len({(r["item"], r["sample"], r["turn"], r["repeat"]) for r in stored(tmp_path, "judgments")}) == 24
    assert len(set(model.seeds)) == 12


def test_seeds_do_not_depend_on_what_runs_before(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run_engine(tmp_path / "a", Echo(), Slow(), n=3)
    run_engine(tmp_path / "b", Echo(), Slow(), n=2, window=1)
    seeds = [{(r["item"], r["turn"]): r["seed"] for r in stored(tmp_path / side, "answers")} for side in "ab"]
    assert seeds[1].items() <= seeds[0].items()


def test_what_can_never_be_answered_is_final_and_so_is_what_stands_on_it(tmp_path: Path) -> None:
    class Limited(Echo):
        async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
            if messages[-1]["content"] == "first 1":
                return Completion("", "missing", error="prompt too long")
            return await super().complete(messages, settings)

    tally = run_engine(tmp_path, Limited(), Slow(), n=3)
    assert complete(tally)
    assert tally.failed == 0
    reasons = {(r["item"], r["turn"]): r["unjudged"] for r in stored(tmp_path, "judgments") if r["score"] is None}
    assert reasons == {("q1", 1): "prompt too long", ("q1", 2): "an earlier turn has no answer"}
    again = Echo()
    assert complete(run_engine(tmp_path, again, Slow(), n=3))
    assert again.calls == []


def test_data_that_change_under_a_run_stop_it(tmp_path: Path) -> None:
    task = two_turn_task(tmp_path, 3)
    (tmp_path / "items.jsonl").write_text((tmp_path / "items.jsonl").read_text().replace("first 1", "other 1"))
    with pytest.raises(BadInput, match="was changed while the run was reading it"):
        list(task.items())
