"""The rating a local model expects to give: the mean of 1 to 10 weighted by how probable it finds each.

One forward pass instead of a written verdict, no verdict to misread, and no rounding to whole numbers (Liu et al. 2023,
G-Eval, section 2). The reasons a judge would write first are not there; nor is their help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from judges.fastchat import FastChatForm
from judges.forms import RatingForm
from judges.judgment import Grade, ScoringModel, nothing_to_grade
from judges.llm import TOO_MUCH
from tasks.conversation import Answer
from tasks.item import Item

PREFIX = "Rating: [["
RATINGS = tuple(range(1, 11))


@dataclass(frozen=True)
class ExpectedRatingJudge:
    """Rates the last answer by the log-probabilities of the ten ratings after `PREFIX`."""

    name: str
    model: ScoringModel
    form: RatingForm | FastChatForm
    secret: bytes = b""

    def describe(self) -> dict[str, Any]:
        return {
            "form": self.form.id,
            "prompt_sha256": self.form.sha256,
            "model": self.model.identity(),
            "read_by": "log-probabilities",
            "prefix": PREFIX,
        }

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
        if ungraded := nothing_to_grade(answers):
            return ungraded
        messages = self.form.messages(item, answers, self.secret, repeat)
        try:
            log_probs = await self.model.continuation_logprobs(messages, PREFIX, [f"{rating}]]" for rating in RATINGS])
        except ValueError as error:
            return Grade(unjudged=TOO_MUCH, explanation=str(error))
        shares = softmax(log_probs)
        score = math.fsum(rating * share for rating, share in zip(RATINGS, shares, strict=True))
        told = ", ".join(f"{rating}: {share:.3f}" for rating, share in zip(RATINGS, shares, strict=True))
        return Grade(score=score, explanation=f"probability of each rating: {told}")


def softmax(log_probs: Sequence[float]) -> list[float]:
    """Log-probabilities as shares of their sum."""
    top = max(log_probs)
    weights = [math.exp(value - top) for value in log_probs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
