"""A chat model as judge: asked in one form, asked again where its reply holds no verdict, never believed without one.

    >>> judge = LLMJudge("openai:gpt-4o", model, RatingForm())
    >>> await judge.grade(item, [first, second])
    Grade(score=7.0, explanation="Both parts are right … Rating: [[7]]", usage={"calls": 1, "prompt_tokens": 812, …})

What comes back instead of a verdict is told apart: the judge refused, its reply could not be read, it could not take
the request (all final: `unjudged`); or it could not be reached (`error`, tried again by the next sitting).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from judges.forms import Form
from judges.judgment import Grade, JudgeModel, nothing_to_grade
from judges.refusal import refuses
from judges.reply_cache import ReplyCache
from tasks.conversation import Answer, Completion, Message, Settings
from tasks.item import Item

REFUSED = "judge refused"
UNREADABLE = "judge's reply unreadable"
TOO_MUCH = "judge could not take the request"
MAX_TOKENS = 2048
"""Of a judge's reply, as in FastChat (Zheng et al. 2023)."""
ATTEMPTS = 3
QUOTED = 4000
"""Characters of an unreadable reply that the judge is shown again when it is reminded of the form."""


@dataclass(frozen=True)
class LLMJudge:
    """Grades the last answer by asking `model` in `form`, at temperature 0.

    `secret` makes the fence around the material unforeseeable; `cache` keeps replies that held a verdict.
    """

    name: str
    model: JudgeModel
    form: Form
    secret: bytes = b""
    cache: ReplyCache | None = None
    attempts: int = ATTEMPTS

    def describe(self) -> dict[str, Any]:
        return {
            "form": self.form.id,
            "prompt_sha256": self.form.sha256,
            "model": self.model.identity(),
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "attempts": self.attempts,
        }

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
        if ungraded := nothing_to_grade(answers):
            return ungraded
        return await self.ask(self.form.messages(item, answers, self.secret, repeat), answers, repeat)

    async def ask(self, messages: Sequence[Message], answers: Sequence[Answer], repeat: int) -> Grade:
        """Put `messages` to the model until its reply holds a verdict, at most `attempts` times."""
        # The seed tells repeats apart where the server samples in spite of temperature 0, and in the cache.
        settings = Settings(MAX_TOKENS, temperature=0.0, seed=repeat)
        usage: Counter[str] = Counter()
        asked = list(messages)
        reason, raw = UNREADABLE, ""
        for _ in range(self.attempts):
            cached = self.cache.get(self.model.identity(), asked, settings) if self.cache else None
            reply = cached or await self.model.complete(asked, settings)
            usage += usage_of(reply, cached=cached is not None)
            if failed := no_reply(reply):
                return replace(failed, usage=dict(usage))
            raw = reply.text
            # The verdict is asked for at the end: what was cut off never came to it.
            grade = None if reply.finish == "length" else self.form.read(reply.text, answers)
            if grade is not None:
                if self.cache and cached is None:
                    self.cache.put(self.model.identity(), asked, settings, reply)
                return replace(grade, usage=dict(usage))
            if refuses(reply.text):
                reason = REFUSED
                break
            asked = [*messages, *_reminded(reply.text, self.form.reminder)]
        return Grade(unjudged=reason, raw=raw, usage=dict(usage))


def _reminded(reply: str, reminder: str) -> list[Message]:
    """The conversation goes on: at temperature 0 the same request would get the same reply."""
    said = reply[:QUOTED] or "(no reply)"
    return [{"role": "assistant", "content": said}, {"role": "user", "content": reminder}]


def no_reply(reply: Completion) -> Grade | None:
    """The grade that follows where a judge model said nothing, or None where there is a reply to read."""
    if reply.finish == "error":
        return Grade(error=reply.error or "the judge could not be reached")
    if reply.finish == "missing":
        return Grade(unjudged=TOO_MUCH, explanation=reply.error)
    if reply.finish == "filtered":
        return Grade(unjudged=REFUSED, explanation="stopped by the provider's content filter")
    return None


def usage_of(reply: Completion, *, cached: bool = False) -> Counter[str]:
    if cached:
        return Counter(cached=1)
    tokens = Counter(prompt_tokens=reply.prompt_tokens or 0, completion_tokens=reply.completion_tokens or 0)
    return Counter(calls=1) + tokens
