"""The words of a conversation: messages, how to generate, and what a model said.

>>> Answer(task="mini_mt", item="w1", sample=0, turn=1, text="Paris.", finish="stop")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

Finish = Literal["stop", "length", "error", "filtered", "unknown", "missing"]
"""How an answer ended: by itself, at its token limit, in a failure, in a provider's filter; or nobody recorded it
("unknown"). An "error" is tried again; "missing" is final: no answer can be had, and `error` or the source says why."""

AnswerKey = tuple[str, str, int, int]


class Message(TypedDict):
    """One message in the form every chat template and API understands."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Settings:
    """How one answer is generated.

    `temperature` 0 is greedy. `seed` makes a sampled answer the same whatever else is in its batch.
    """

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


class TokenStats(TypedDict):
    """How a model chose the tokens of one answer, from its next-token distributions before temperature.

    Entropies are in nats: three quantiles over the steps, and the slope of a line through them per 100 tokens, None for
    an answer too short to have one. `top_1_share` is the share of steps whose likeliest token had a probability above
    0.99.
    """

    entropy_q10: float
    entropy_q50: float
    entropy_q90: float
    entropy_slope: float | None
    top_1_share: float


@dataclass(frozen=True)
class Completion:
    """What a model said to one request. `token_entropy` is the mean next-token entropy in nats, where it is known.

    `token_stats` says more about the same steps, where it is known.
    `reasoning` is what a reasoning model thought before its answer, where the server tells; it is never part of `text`.
    """

    text: str
    finish: Finish
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    token_entropy: float | None = None
    token_stats: TokenStats | None = None
    error: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True)
class Answer:
    """One stored answer: what the model said to one turn of one item in one sample. Turns count from 1."""

    task: str
    item: str
    sample: int
    turn: int
    text: str
    finish: Finish
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None
    token_entropy: float | None = None
    token_stats: TokenStats | None = None
    seed: int | None = None
    error: str | None = None
    reasoning: str | None = None

    @property
    def key(self) -> AnswerKey:
        return (self.task, self.item, self.sample, self.turn)
