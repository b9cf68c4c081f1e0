"""Conversations as tokens, with the part of them that is trained: what the model itself has to say, up to and with the
token that ends its turn.

A chat template often puts a line break behind that token. It is read as the beginning of what follows, and no model
that stops where it should ever says it: training on it would move weight off the token that ends the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import BadInput
from training.rows import rows_of

IGNORED = -100
"""The label of a token that is not trained, as PyTorch's cross entropy has it."""
TOO_LONG, NOT_RENDERED, EMPTY = "too_long", "not_rendered", "empty"


class LeftOutError(Exception):
    """A row that can not be trained on; its argument is the reason by which such rows are counted."""


@dataclass(frozen=True)
class Encoded:
    """A conversation in tokens. `spans` are the trained parts, [start, end), each ending with a stop id."""

    ids: list[int]
    spans: tuple[tuple[int, int], ...]

    def labels(self) -> list[int]:
        labels = [IGNORED] * len(self.ids)
        for start, end in self.spans:
            labels[start:end] = self.ids[start:end]
        return labels


@dataclass(frozen=True)
class Speech:
    """How conversations are written for a model: its tokenizer with a chat template, and what ends an answer."""

    tokenizer: Any
    stop_ids: frozenset[int]

    def encode(
        self, messages: Sequence[Mapping[str, Any]], *, every_turn: bool = False, empty: bool = False
    ) -> Encoded:
        """A conversation that ends with an answer: trained are all the assistant's messages, or the last alone.

        It is cut off behind the token that ends the last of them. An earlier message that the template writes
        differently once others follow (reasoning that it strips, say), or does not close, is not trained.

        Raises:
            LeftOutError: the template refuses the conversation, or the last answer is empty and may not be.
            BadInput: the template ends no answer with a token that stops generation.
        """
        ids = self.tokens(messages)
        spans = []
        last = len(messages) - 1
        for place in range(last + 1) if every_turn else [last]:
            if messages[place]["role"] != "assistant":
                continue
            asked = self.tokens(messages[:place], ask=True)
            start = common_start(asked, ids)
            if place != last and start < len(asked):
                continue
            limit = len(ids) if place == last else common_start(self.tokens(messages[: place + 1]), ids)
            end = next((at + 1 for at in range(start, limit) if ids[at] in self.stop_ids), None)
            if end is None and place != last:
                continue
            if end is None:
                raise BadInput(
                    "the chat template ends an answer with no token that stops generation, so the model would learn to "
                    "go on for ever: pass --chat-template FILE with an end-of-turn or EOS token behind each answer"
                )
            spans.append((start, end))
        start, end = spans[-1]
        if not empty and not self.tokenizer.decode(ids[start : end - 1]).strip():
            raise LeftOutError(EMPTY)
        return Encoded(ids[:end], tuple(spans))

    def prompt_left_over(self) -> str:
        """What the template puts at the end of a prompt and not before an answer that it writes, "" for nothing.

        Answers are then trained behind another prompt than the one that a model is asked with.
        """
        asking = [{"role": "user", "content": "Well?"}]
        asked, answered = (
            self.tokens(asking, ask=True),
            self.tokens([*asking, {"role": "assistant", "content": "Yes."}]),
        )
        left: str = self.tokenizer.decode(asked[common_start(asked, answered) :])
        return left

    def tokens(self, messages: Sequence[Mapping[str, Any]], *, ask: bool = False) -> list[int]:
        """As the model would read it: the template's own BOS, and none added to it."""
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=ask, tokenize=False)
        except (TemplateError, TypeError, ValueError):
            raise LeftOutError(NOT_RENDERED) from None
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def common_start(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def conversations_of(path: Path, fields: Sequence[str], answers: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a training's data file, without those that it marks as not kept.

    Raises:
        BadInput: a row lacks a conversation in `fields`, or one in `answers` ends with no answer; its line is named.
    """
    rows = []
    for number, row in enumerate(rows_of(path), start=1):
        if isinstance(row, dict) and not row.get("kept", True):
            continue
        for name in fields:
            messages = row.get(name) if isinstance(row, dict) else None
            if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
                raise BadInput(f"{path}:{number}: {name!r} is a list of messages with a role and a content")
        for name in answers:
            if row[name][-1]["role"] != "assistant":
                raise BadInput(f"{path}:{number}: {name!r} has to end with an assistant's message")
        rows.append(row)
    return rows


def refuse_none(rows: Sequence[object], left_out: Mapping[str, int], path: Path, remedy: str) -> None:
    """Raises BadInput where nothing is left to train on."""
    if not rows:
        raise BadInput(f"no row of {path} can be trained on ({reasons(left_out) or 'it is empty'}): {remedy}")


def reasons(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(left_out.items()))


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ("system", "user", "assistant")
        and isinstance(value.get("content"), str)
    )


# --- what the trainer really gets ---


def check_first_batch(rows: Iterable[tuple[Sequence[int], Sequence[bool]]], speech: Speech, embeddings: int) -> None:
    """Looks at the first batch as it comes out of the trainer's own hands: each row as ids and what of them is trained.

    Masked padding that masks the end of turn with it, a beginning of sequence written twice, and a text that is cut
    before its end all teach a model to go on for ever or to start badly, while the loss looks healthy.

    Raises:
        BadInput: one of these, or a row with nothing to train, or tokens that the model lacks.
    """
    tokenizer = speech.tokenizer
    for ids, trained in rows:
        said = [token for token, counts in zip(ids, trained, strict=True) if counts]
        if not said:
            raise BadInput("a row of the first batch has nothing to train: its answer is masked; check the template")
        if said[-1] not in speech.stop_ids:
            last = tokenizer.convert_ids_to_tokens(said[-1])
            stops = ", ".join(map(str, tokenizer.convert_ids_to_tokens(sorted(speech.stop_ids))))
            raise BadInput(
                f"the last trained token of a row is {last!r} and none that ends an answer ({stops}): the model would "
                "never learn to stop. Give the tokenizer a padding token of its own, or pass a --chat-template whose "
                "answers end with one of these"
            )
        if tokenizer.bos_token_id is not None and list(ids[:2]) == [tokenizer.bos_token_id] * 2:
            raise BadInput(
                f"rows begin with {tokenizer.bos_token!r} twice: take it out of the chat template (--chat-template)"
            )
        if max(ids) >= embeddings:
            raise BadInput(f"the tokenizer has tokens that the model has not ({max(ids)} of {embeddings})")
