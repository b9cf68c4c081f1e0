"""What a judge says of an answer, and the little a judge may ask of a model.

A grade without a verdict is a value with a reason, never a number: `score` and `label` are both None. `unjudged` says
why there is none and will be none (the judge refused, its reply can not be read, there is nothing to read); `error`
says what failed on the way and is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tasks.conversation import Answer, Completion, Message, Settings
from tasks.item import Item

JudgmentKey = tuple[str, str, int, int, str, int]


@dataclass(frozen=True)
class Grade:
    """A judge's finding, before it is tied to an answer: a `score` or a `label`, why, and what it read.

    `raw` is a judge model's reply, word for word; `usage` counts its calls and tokens.
    """

    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    raw: str | None = None
    usage: Mapping[str, int] | None = None
    error: str | None = None
    unjudged: str | None = None


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
    unjudged: str | None = None

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


def taken_away(answer: Answer) -> Grade | None:
    """The grade of an answer of which the provider's filter left nothing, or None; it declined for its model.

    "degenerate" would read as a collapsed model.
    """
    if answer.finish == "filtered" and not answer.text.strip():
        return Grade(label="refused", explanation="stopped by the provider's content filter")
    return None


class JudgeModel(Protocol):
    """The little a judge may ask of a model."""

    def identity(self) -> dict[str, Any]:
        """All that decides what the model replies: weights, or a name and a server."""
        ...

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        """Answer the last message; a request that got no answer is a Completion with `error`."""
        ...


@runtime_checkable
class ScoringModel(JudgeModel, Protocol):
    """A model that also tells how probable it finds a text."""

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> list[float]:
        """Log-probability of each continuation of a reply that begins with `prefix`; ValueError beyond the context."""
        ...


class Judge(Protocol):
    """Grades the last of `answers`, which holds one answer a turn so far.

    Never raises for what an answer says: what it can not grade comes back as a `Grade` with `error` or `unjudged`.
    `repeat` counts how often the same answers were graded before.
    """

    @property
    def name(self) -> str: ...

    def describe(self) -> dict[str, Any]:
        """What the manifest records: version, parameters, hashes of prompts or weights."""
        ...

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade: ...
