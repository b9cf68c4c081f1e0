"""MT-Bench's own judge prompts, byte for byte as the data source has them (Zheng et al. 2023, appendix A).

They have no fence around the answer, and nothing in an answer is changed: whoever compares with published ratings wants
the published prompts. An item with a reference takes the prompt for mathematics, a second turn the multi-turn prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judges import prompts
from judges.forms import rated
from judges.judgment import Grade
from judges.prompts import JudgePrompt
from tasks.conversation import Answer, Message
from tasks.errors import BadInput
from tasks.item import Item
from tasks.mt_bench import SourcePrompt

SINGLE = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
PAIR = ("pair-v2", "pair-math-v1", "pair-v2-multi-turn", "pair-math-v1-multi-turn")


@dataclass(frozen=True)
class FastChatForm:
    """A rating from 1 to 10, asked with the prompts `SINGLE` out of `source`."""

    source: Mapping[str, SourcePrompt]

    def __post_init__(self) -> None:
        _refuse_missing(self.source, SINGLE)

    @property
    def id(self) -> str:
        return "fastchat-single-v1"

    @property
    def sha256(self) -> str:
        return prompts.digest_of(self.source[name] for name in SINGLE)

    @property
    def reminder(self) -> str:
        return prompts.RATING.reminder

    def messages(self, item: Item, answers: Sequence[Answer], secret: bytes, repeat: int) -> list[Message]:  # noqa: ARG002
        values = {"question": item.prompt(1), "answer": answers[0].text, **_references(item)}
        for turn, answer in enumerate(answers, start=1):
            values |= {f"question_{turn}": item.prompt(turn), f"answer_{turn}": answer.text}
        return _filled(self.source, SINGLE, item, len(answers), values)

    def read(self, reply: str, answers: Sequence[Answer]) -> Grade | None:
        return rated(reply, answers)


@dataclass(frozen=True)
class FastChatPairForm:
    """Which of two answers is better, asked with the prompts `PAIR` out of `source`."""

    source: Mapping[str, SourcePrompt]

    def __post_init__(self) -> None:
        _refuse_missing(self.source, PAIR)

    @property
    def id(self) -> str:
        return "fastchat-pair-v2"

    @property
    def sha256(self) -> str:
        return prompts.digest_of(self.source[name] for name in PAIR)

    def messages(
        self,
        item: Item,
        first: Sequence[Answer],
        second: Sequence[Answer],
        secret: bytes,  # noqa: ARG002
        repeat: int,  # noqa: ARG002
    ) -> list[Message]:
        values = {
            "question": item.prompt(1),
            "answer_a": first[0].text,
            "answer_b": second[0].text,
            **_references(item),
        }
        for turn, (a, b) in enumerate(zip(first, second, strict=True), start=1):
            values |= {f"question_{turn}": item.prompt(turn), f"answer_a_{turn}": a.text, f"answer_b_{turn}": b.text}
        return _filled(self.source, PAIR, item, len(first), values)


def _references(item: Item) -> dict[str, str]:
    return {f"ref_answer_{turn}": text for turn, text in enumerate(item.reference, start=1)}


def _filled(
    source: Mapping[str, SourcePrompt], names: Sequence[str], item: Item, turn: int, values: Mapping[str, str]
) -> list[Message]:
    """The prompt for this turn, out of the four: (general, mathematics) × (first turn, second turn)."""
    if turn > 2:
        raise BadInput(f"item {item.id!r} has a turn {turn}, FastChat's prompts know two: use --protocol bench")
    prompt = source[names[bool(item.reference) + 2 * (turn == 2)]]
    return JudgePrompt(prompt.name, prompt.system_prompt, prompt.prompt_template, "").messages(values)


def _refuse_missing(source: Mapping[str, SourcePrompt], names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in source]:
        raise BadInput(f"the judge prompts lack {missing[0]!r}: use --protocol bench, or the prompts of FastChat")
