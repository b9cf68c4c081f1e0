"""The engine: one coroutine a conversation, each answer graded while the next turn is being generated.

There are no stages: generation and judging overlap, so a run takes about as long as the slower of the two. At most
`window` conversations are in flight, whatever the number of items, and a record goes to the disk as soon as it exists.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.models.model import Model
from harness.store import RunStore
from judges.judgment import Grade, Judge, Judgment
from tasks.conversation import Answer, Message, Settings
from tasks.item import Item
from tasks.task import Task

NO_REPLY = "no reply in the file"


class Graded(Protocol):
    """A task whose answers are graded: a `Task`, or what a run directory remembers of one."""

    @property
    def name(self) -> str: ...

    @property
    def answers(self) -> int: ...

    @property
    def graded(self) -> int: ...

    def items(self) -> Iterator[Item]: ...

    def samples(self, item: Item) -> int: ...

    def graded_turns(self, item: Item) -> range: ...


@dataclass(frozen=True)
class Assignment:
    """A task, and the judges that grade it, each `repeats` times. Only a `Task` can also be asked."""

    task: Graded
    judges: Sequence[Judge]
    repeats: int = 1

    @property
    def answers(self) -> int:
        return self.task.answers

    @property
    def judgments(self) -> int:
        return self.task.graded * len(self.judges) * self.repeats


Conversation = tuple[Assignment, Item, int]
"""What one coroutine walks: an item of a task, in one of its samples."""
Schedule = Callable[[Path, Sequence[Assignment]], Iterable[Conversation]]
"""In which order the conversations of a run directory are begun, and when no more of them are."""


@dataclass
class Tally:
    """How far a run is. `stored` counts what earlier sittings left; the rest is this sitting's."""

    answers_wanted: int
    judgments_wanted: int
    answers: int = 0
    judgments: int = 0
    stored_answers: int = 0
    stored_judgments: int = 0
    failed: int = 0
    first_failure: str | None = None
    tokens: int = 0
    started: float = field(default_factory=time.perf_counter)

    def fail(self, reason: str) -> None:
        self.failed += 1
        self.first_failure = self.first_failure or reason

    @property
    def failure(self) -> str | None:
        """What failed in this sitting, in words."""
        return self.first_failure and f"{self.failed} failed, the first: {self.first_failure}"


@dataclass(frozen=True)
class Engine:
    """Everything a conversation needs. Without a `model`, what is stored is graded and nothing is asked."""

    model: Model | None
    store: RunStore
    tally: Tally
    seed: int

    async def run(self, planned: Iterable[Conversation], window: int) -> None:
        """Do what is missing of the conversations `planned`, which are asked for as places get free, one by one.

        What failed is counted in the tally.

        Raises:
            RunStopped: the model or the disk gave up; what is stored is kept.
        """
        places = asyncio.Semaphore(window)
        try:
            async with asyncio.TaskGroup() as group:
                for assignment, item, sample in planned:
                    if self._is_stored(assignment, item, sample):
                        continue
                    await places.acquire()
                    task = group.create_task(self._converse(assignment, item, sample))
                    task.add_done_callback(lambda _: places.release())
        except BaseExceptionGroup as failures:
            # One of them is enough to tell: every conversation in flight fails the same way.
            raise first_cause(failures) from None
        finally:
            await self.store.drain()

    def _is_stored(self, assignment: Assignment, item: Item, sample: int) -> bool:
        """Count what earlier sittings left of a conversation; True if that is all of it."""
        task, store = assignment.task, self.store
        answers = sum((task.name, item.id, sample, turn) in store.answered for turn in range(1, len(item.turns) + 1))
        wanted = [
            (task.name, item.id, sample, turn, judge.name, repeat)
            for turn in task.graded_turns(item)
            for judge in assignment.judges
            for repeat in range(assignment.repeats)
        ]
        judgments = sum(key in store.judged for key in wanted)
        self.tally.stored_answers += answers
        self.tally.stored_judgments += judgments
        return answers == len(item.turns) and judgments == len(wanted)

    async def _converse(self, assignment: Assignment, item: Item, sample: int) -> None:
        """Walk one item turn by turn; after a failed answer the later turns can not be asked."""
        messages: list[Message] = []
        answers: list[Answer] = []
        graded = assignment.task.graded_turns(item)
        async with asyncio.TaskGroup() as grading:
            for turn, said in enumerate(item.turns, start=1):
                messages.append({"role": "user", "content": said})
                answer = self.store.stored_answer((assignment.task.name, item.id, sample, turn))
                if answer is None and isinstance(assignment.task, Task) and self.model:
                    answer = await self._answer(assignment.task, self.model, item, sample, turn, messages, answers)
                if answer is None or answer.finish == "error":
                    return
                messages.append({"role": "assistant", "content": answer.text})
                answers.append(answer)
                if turn in graded:
                    for judge in assignment.judges:
                        for repeat in range(assignment.repeats):
                            grading.create_task(self._grade(judge, item, tuple(answers), repeat))

    async def _answer(
        self,
        task: Task,
        model: Model,
        item: Item,
        sample: int,
        turn: int,
        messages: Sequence[Message],
        earlier: Sequence[Answer],
    ) -> Answer:
        if item.replies:
            answer = _replayed(task, item, sample, turn)
        elif any(answer.finish == "missing" for answer in earlier):
            error = "an earlier turn has no answer"
            answer = Answer(task.name, item.id, sample, turn, text="", finish="missing", error=error)
        else:
            answer = await self._generated(task, model, item, sample, turn, messages)
        await self.store.add_answer(answer)
        if answer.finish == "error":
            self.tally.fail(f"{task.name}/{item.id}: {answer.error}")
        else:
            self.tally.answers += 1
            self.tally.tokens += answer.completion_tokens or 0
        return answer

    async def _generated(
        self, task: Task, model: Model, item: Item, sample: int, turn: int, messages: Sequence[Message]
    ) -> Answer:
        seed = _seed(self.seed, task.name, item.id, sample, turn)
        start = time.perf_counter()
        said = await model.complete(messages, Settings(task.max_new_tokens, task.temperature(item), seed))
        return Answer(
            task=task.name, item=item.id, sample=sample, turn=turn, text=said.text, finish=said.finish,
            prompt_tokens=said.prompt_tokens, completion_tokens=said.completion_tokens,
            latency_s=round(time.perf_counter() - start, 3), token_entropy=said.token_entropy,
            token_stats=said.token_stats, seed=seed, error=said.error, reasoning=said.reasoning,
        )  # fmt: skip

    async def _grade(self, judge: Judge, item: Item, answers: Sequence[Answer], repeat: int) -> None:
        answer = answers[-1]
        key = (*answer.key, judge.name, repeat)
        if key in self.store.judged:
            return
        # Nothing was said, so there is nothing to grade.
        if answer.finish == "missing":
            grade = Grade(unjudged=answer.error or NO_REPLY)
        else:
            grade = await judge.grade(item, answers, repeat)
        if grade.unjudged and key in self.store.unjudged:
            self.tally.stored_judgments += 1
            return
        await self.store.add_judgment(Judgment.of(grade, answer, judge.name, repeat))
        if grade.error is None:
            self.tally.judgments += 1
        else:
            self.tally.fail(f"{judge.name} on {answer.task}/{answer.item}: {grade.error}")


def conversations(assignments: Sequence[Assignment]) -> Iterator[Conversation]:
    """Every conversation of these tasks, in the order of the data."""
    for assignment in assignments:
        for item in assignment.task.items():
            for sample in range(assignment.task.samples(item)):
                yield assignment, item, sample


def _replayed(task: Task, item: Item, sample: int, turn: int) -> Answer:
    """An answer from a file, which knows neither how it ended nor how many tokens it had."""
    replies = item.replies[sample] if sample < len(item.replies) else ()
    text = replies[turn - 1] if turn <= len(replies) else None
    return Answer(task.name, item.id, sample, turn, text=text or "", finish="missing" if text is None else "unknown")


def _seed(run_seed: int, *place: str | int) -> int:
    """A request's own seed: the same whatever runs before or beside it, and after a resume."""
    named = "\0".join(map(str, (run_seed, *place)))
    return int.from_bytes(hashlib.sha256(named.encode(errors="surrogatepass")).digest()[:4], "big")


def first_cause(failure: BaseException) -> BaseException:
    """The first exception inside nested groups."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
