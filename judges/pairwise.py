"""Pairwise grading: which of two models' answers is better, asked in both orders (Zheng et al. 2023, section 3.4).

A win counts only where the judge prefers the same answer whichever is shown first. Where it prefers a place instead,
that is told as a label of its own, so that position bias is a figure and not a tie.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from judges import prompts, verdicts
from judges.judgment import Grade, JudgeModel, nothing_to_grade
from judges.llm import LLMJudge
from judges.prompts import JudgePrompt, OwnPrompt, conversation
from judges.reply_cache import ReplyCache
from tasks.conversation import Answer, Message
from tasks.item import Item

PairLabel = Literal["win", "loss", "tie", "first", "second", "mixed"]
"""`win` and `loss` are the candidate's; `tie` is one in both orders. `first` and `second`: the judge prefers that place
in both orders. `mixed`: a tie in one order only."""
Place = Literal["A", "B", "C"]
NO_BASELINE = "no baseline answer"


class PairForm(Protocol):
    """Asks which of two answers is better. The first conversation is shown as A."""

    @property
    def id(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    def messages(
        self, item: Item, first: Sequence[Answer], second: Sequence[Answer], secret: bytes, repeat: int
    ) -> list[Message]: ...


@dataclass(frozen=True)
class BenchPairForm(OwnPrompt):
    """In our own words, both conversations behind one fence."""

    prompt: JudgePrompt = prompts.PAIR

    def messages(
        self, item: Item, first: Sequence[Answer], second: Sequence[Answer], secret: bytes, repeat: int
    ) -> list[Message]:
        parts = conversation(item, first, "assistant A") + conversation(
            replace(item, reference=()), second, "assistant B"
        )
        return self.about(parts, len(first), secret, repeat)


@dataclass(frozen=True)
class _Preference:
    """The form in which one order is read: a place, A or B, or C for a tie."""

    form: PairForm
    first: Sequence[Answer]
    second: Sequence[Answer]

    @property
    def id(self) -> str:
        return self.form.id

    @property
    def sha256(self) -> str:
        return self.form.sha256

    @property
    def reminder(self) -> str:
        return prompts.PAIR.reminder

    def messages(self, item: Item, answers: Sequence[Answer], secret: bytes, repeat: int) -> list[Message]:  # noqa: ARG002
        return self.form.messages(item, self.first, self.second, secret, repeat)

    def read(self, reply: str, answers: Sequence[Answer]) -> Grade | None:  # noqa: ARG002 - both sides count
        material = [answer.text for answer in (*self.first, *self.second)]
        place = verdicts.choice(reply, material, get_args(Place))
        return None if place is None else Grade(label=place, explanation=reply)


@dataclass(frozen=True)
class PairJudge:
    """Compares an answer with the one that `baseline` finds for it: a baseline's answers up to that turn, or none."""

    name: str
    model: JudgeModel
    form: PairForm
    baseline: Callable[[Answer], Sequence[Answer]]
    secret: bytes = b""
    cache: ReplyCache | None = None

    def describe(self) -> dict[str, Any]:
        return self._asking((), ()).describe()

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
        """A `PairLabel`, or why there is none; `usage` counts both orders."""
        if ungraded := nothing_to_grade(answers):
            return ungraded
        baseline = self.baseline(answers[-1])
        if len(baseline) < len(answers):
            return Grade(unjudged=NO_BASELINE)
        there, back = await asyncio.gather(
            self._asking(answers, baseline).grade(item, answers, repeat),
            self._asking(baseline, answers).grade(item, answers, repeat),
        )
        usage = dict(Counter(there.usage) + Counter(back.usage))
        for grade in (there, back):
            if grade.label is None:
                return replace(grade, usage=usage)
        explanation = f"shown first:\n{there.explanation}\n\nshown second:\n{back.explanation}"
        return Grade(label=agreement(there.label, back.label), explanation=explanation, usage=usage)

    def _asking(self, first: Sequence[Answer], second: Sequence[Answer]) -> LLMJudge:
        return LLMJudge(self.name, self.model, _Preference(self.form, first, second), self.secret, self.cache)


def agreement(shown_first: str | None, shown_second: str | None) -> PairLabel:
    """The candidate's result from the places the judge preferred when the candidate was shown first, and second."""
    results: dict[tuple[str | None, str | None], PairLabel] = {
        ("A", "B"): "win", ("B", "A"): "loss", ("C", "C"): "tie", ("A", "A"): "first", ("B", "B"): "second",
    }  # fmt: skip
    return results.get((shown_first, shown_second), "mixed")
