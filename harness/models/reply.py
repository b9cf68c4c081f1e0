"""What servers that speak OpenAI's chat completions send: JSON of any shape, read with no more trust than that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.conversation import Finish

FINISHES: Mapping[Any, Finish] = {"stop": "stop", "length": "length", "content_filter": "filtered"}
OPTIONAL = ("max_tokens", "temperature", "seed")
"""Parameters that some models do not take."""
UNSUPPORTED = re.compile(r"unsupported|not support|not permitted|unknown|unrecogni[sz]ed|unexpected", re.I)
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def sendable(text: str) -> str:
    """The text without lone surrogates, which models can say and UTF-8 can not."""
    return text if text.isascii() else LONE_SURROGATE.sub("\ufffd", text)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """An answer, and what was thought before it: <think>…</think> at the very beginning, closed or not.

    The opening tag may be missing, where the chat template wrote it. Tags in the middle of an answer are text.
    """
    text = text.strip()
    before, closed, after = text.partition("</think>")
    if text.startswith("<think>"):
        return after.strip(), before.removeprefix("<think>").strip()
    if closed and "<think>" not in before:
        return after.strip(), before.strip()
    return text, None


def refused_parameter(body: object, sent: Mapping[str, Any]) -> str | None:
    """Which parameter an error says that this model does not take: the one in `param`, else one that it quotes."""
    words = str(body)
    if not UNSUPPORTED.search(words):
        return None
    names = [name for name in OPTIONAL if name in sent]
    if named := mapping(body).get("param"):
        return next((name for name in names if name == named), None)
    return next((name for name in names if re.search(rf"['\"`]{name}['\"`]", words)), None)


def error_words(body: object) -> str:
    """What the JSON of an error says, in whichever of the usual shapes; "" where it says nothing."""
    while not isinstance(body, str):
        if isinstance(body, list) and body:
            body = body[0]
        else:
            body = next((v for k in ("error", "message", "detail", "msg") if (v := mapping(body).get(k))), "")
    return body


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON value that ought to be an object, as one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> int | None:
    """A JSON value that ought to be a count, as one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
