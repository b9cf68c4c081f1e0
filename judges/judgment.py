"""What a judge says of an answer, and the little a judge may ask of a model.

A failed grade is a value with a reason, never a number: `score` and `label` are both None and `error` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.conversation import Answer, Completion, Message, Settings
from tasks.item import Item

JudgmentKey = tuple[str, str, int, int, str, int]


@dataclass(frozen=True)
class Grade:
    """A judge's finding, before it is tied to an answer: a `score` or a `label`, why, and what it read."""

    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    raw: str | None = None
    usage: Mapping[str, int] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Judgment:
    """One stored judgment: what `judge` said of one answer the `repeat`-th time (from 0)."""

    task: str
    item: str
    sample: int
    turn: int
    judge: str
    repeat: int
    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    raw: str | None = None
    usage: Mapping[str, int] | None = None
    error: str | None = None

    @classmethod
    def of(cls, grade: Grade, answer: Answer, judge: str, repeat: int) -> Judgment:
        """The grade of this answer as a record."""
        return cls(answer.task, answer.item, answer.sample, answer.turn, judge, repeat, **vars(grade))

    @property
    def key(self) -> JudgmentKey:
        return (self.task, self.item, self.sample, self.turn, self.judge, self.repeat)


def nothing_to_grade(answers: Sequence[Answer]) -> Grade | None:
    """The grade of answers of which the last was never given, or None where there is one to read."""
    if not answers:
        return Grade(error="no answer to grade")
    if answers[-1].finish == "error":
        return Grade(error=answers[-1].error or "the answer was not generated")
    return None


class ChatModel(Protocol):
    """The little a judge may ask of a model."""

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion: ...


class Judge(Protocol):
    """Grades the last of `answers`, which holds one answer a turn so far.

    Never raises for what an answer says: what it can not grade comes back as a `Grade` with `error`.
    """

    @property
    def name(self) -> str: ...

    def describe(self) -> dict[str, Any]:
        """What the manifest records: version, parameters, hashes of prompts or weights."""
        ...

    async def grade(self, item: Item, answers: Sequence[Answer]) -> Grade: ...
