"""The `openai:` back end: any server that speaks OpenAI's chat completions, under test or as a judge.

A reply of such a server, as far as it is read here:

    {"model": "gpt-4o-2024-08-06", "system_fingerprint": "fp_1",
     "choices": [{"finish_reason": "stop", "message": {"content": "Paris.", "reasoning_content": "France …"}}],
     "usage": {"prompt_tokens": 14, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}}

The client of the `openai` package does the talking, but not the retrying: retries are counted, and all requests to a
server share what it said of its load (`backoff.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.models.backoff import Gate, Patience, is_passing, retry_after
from harness.models.prices import Price, Usage
from harness.models.reply import FINISHES, error_words, mapping, number, refused_parameter, sendable, split_reasoning
from harness.printing import say
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai

OFFICIAL = "https://api.openai.com/v1"
NO_KEY = "none"
"""What a server of one's own is sent where no key is set: the client insists on one."""
CONNECT_S = 10.0
EMPTY_REPLIES = 2
"""How often an empty reply is asked again. After that it stands: a model that says nothing is a finding."""

MODERATED = re.compile(r"moderation|flagged|content.?(filter|policy)", re.I)
WRONG_KEY = re.compile(r"api.?key not valid|(invalid|incorrect).api.?key", re.I)
"""Some servers say it with status 400, which elsewhere is about one prompt."""
SECRET = re.compile(r"(?i:(?<=bearer\s))\S+|\bsk-[\w*.-]+|\S*\*{3}\S*")
"""What looks like a key in an error, whole or with its middle starred out."""
SECRET_LENGTH = 16
"""Keys from this length on are taken out of what a model says, too. A shorter one (EMPTY, test) is a stand-in for one,
and a word that answers may use."""
SERVERS_DEFAULT = "the server's default"


@dataclass(frozen=True)
class Failure:
    """A try without a usable reply. `reason` is what it is counted under, `says` what a person is told.

    `wait` False asks again at once: the server is not the trouble.
    """

    reason: str
    says: str
    told_s: float | None = None
    wait: bool = True


class ApiModel:
    """A chat model behind an API; see `Model` for the interface.

    `key_variables` are the environment variables that may hold the key, first come first taken. `ceiling` is how many
    requests are in flight at most, `timeout_s` how long one may take, `patience_s` for how long one that fails is asked
    again. It lives in one `asyncio.run`, at whose end its connections are closed.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        key_variables: Sequence[str] = ("OPENAI_API_KEY",),
        ceiling: int = 16,
        timeout_s: float = 600.0,
        patience_s: float = 120.0,
        prices: Mapping[str, Price] | None = None,
        say: Callable[[str], None] = say,
    ) -> None:
        """Check what can be checked without a request.

        Raises:
            BadInput: no name, a base URL that can not be used, or no key for the official API.
        """
        if not name:
            raise BadInput("openai:NAME lacks the NAME of the model")
        self.name = name
        self.url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL)
        self._key, self._key_variable = _key(key_variables)
        self._key_variables = " or ".join(key_variables)
        if not self._key_variable and urlsplit(self.url).hostname == urlsplit(OFFICIAL).hostname:
            raise BadInput(
                f"no key for {self.url}: set {self._key_variables}, or name a server of your own by its base URL"
            )
        self._gate = Gate(ceiling)
        self._timeout_s, self._patience_s = timeout_s, patience_s
        self._prices, self._say = prices or {}, say
        self._usage = Usage()
        self._limit_parameter = "max_tokens"
        self._left_out: set[str] = set()
        self._connection: AsyncGenerator[Any] | None = None
        self._create: Any = None

    def __repr__(self) -> str:
        return f"ApiModel({self.name!r}, {self.url!r})"

    @property
    def busy_s(self) -> float:
        return self._gate.busy_s

    @property
    def parallel(self) -> int:
        return self._gate.ceiling

    def identity(self) -> dict[str, Any]:
        return {"backend": "openai", "model": self.name, "base_url": self.url}

    def describe(self) -> dict[str, Any]:
        """The identity, and what the server has said of itself so far."""
        return {
            **self.identity(),
            "name": self.name,
            "served_models": sorted(self._usage.models),
            "system_fingerprints": sorted(self._usage.fingerprints),
            "parallel": self.parallel,
            "timeout_s": self._timeout_s,
            "patience_s": self._patience_s,
            "parameters": self._departures(),
        }

    def usage(self) -> dict[str, Any]:
        """For the manifest, when the work is done: calls, retries, tokens, cost; parameters the server refused."""
        return {**self._usage.record(self._prices, self.name), **self._departures()}

    def load(self) -> None:
        """Import the client, which takes half a second: better before a loop runs than in it."""
        import openai  # noqa: F401

    def close(self) -> None:
        """Nothing is left to close: `_connected` tells why."""

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        """Answer the last message; what goes on failing is a Completion that ends in "error".

        Raises:
            RunStopped: the key, the address, the model's name or the account is no good.
        """
        create = self._create or await self._connected()
        asked = [{"role": message["role"], "content": sendable(message["content"])} for message in messages]
        patience = Patience(self._patience_s)
        empty = 0
        failing_since = 0.0
        while True:
            began = await self._gate.enter()
            try:
                outcome = await self._try(create, asked, settings, began)
            finally:
                self._gate.leave()
            if isinstance(outcome, Completion):
                if outcome.text or outcome.error or outcome.finish != "stop" or empty == EMPTY_REPLIES:
                    return outcome
                empty += 1
                outcome = Failure("empty", "an empty reply", wait=False)
            if outcome.wait:
                failing_since = failing_since or began
                wait = patience.next_wait(time.monotonic() - began, outcome.told_s)
                if wait is None or self._gate.gone:
                    self._gate.given_up(failing_since)
                    self._usage.failed += 1
                    return Completion("", "error", error=f"{outcome.says} (given up after {patience.failures} tries)")
                await asyncio.sleep(wait)
            self._usage.retries[outcome.reason] += 1

    async def _connected(self) -> Any:
        """The client's function that asks for a completion; the client is made at the first call.

        It is held by a generator, because `asyncio.run` finishes generators, and with them the connections, while its
        loop is still there; `close` comes too late for that.
        """
        self._connection = self._connect()
        self._create = await anext(self._connection)
        return self._create

    async def _connect(self) -> AsyncGenerator[Any]:
        import openai

        client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.url,
            max_retries=0,
            timeout=openai.Timeout(self._timeout_s, connect=min(self._timeout_s, CONNECT_S)),
        )
        try:
            # The raw reply: parsing it into the package's own objects takes a sixth of a call's processor time, and
            # lets through what is no reply at all.
            yield client.chat.completions.with_raw_response.create
        finally:
            self._create = None
            await client.close()

    async def _try(
        self, create: Any, asked: list[dict[str, str]], settings: Settings, began: float
    ) -> Completion | Failure:
        import openai

        parameters = self._parameters(settings)
        self._usage.tries += 1
        try:
            # The client's own timeout starts anew with every byte.
            async with asyncio.timeout(self._timeout_s):
                reply = await create(model=self.name, messages=asked, **parameters)
        except (openai.APITimeoutError, TimeoutError):
            failure = Failure("timeout", f"{self.url} has not answered within {self._timeout_s:g} s")
        except openai.APIConnectionError as error:
            cause = self._presentable(str(error.__cause__ or error)) or type(error.__cause__).__name__
            failure = Failure("connection", f"no connection to {self.url}: {cause}")
        except openai.APIStatusError as error:
            if not is_passing(error.status_code) or "insufficient_quota" in (error.code, error.type):
                self._gate.replied()
                return self._refusal(error, parameters)
            told_s = retry_after(error.response.headers)
            told_s = min(told_s, self._patience_s) if told_s else None
            failure = Failure(str(error.status_code), self._status_says(error), told_s)
        else:
            self._gate.replied()
            return self._read(reply.http_response.content)
        self._gate.failed(began, failure.told_s)
        return failure

    def _parameters(self, settings: Settings) -> dict[str, Any]:
        wanted: dict[str, Any] = {self._limit_parameter: settings.max_new_tokens, "temperature": settings.temperature}
        if settings.temperature > 0:
            wanted["seed"] = settings.seed
        return {name: value for name, value in wanted.items() if name not in self._left_out}

    def _departures(self) -> dict[str, str]:
        """The parameters that do not go as they were asked for."""
        renamed = {} if self._limit_parameter == "max_tokens" else {"max_tokens": f"sent as {self._limit_parameter}"}
        return renamed | dict.fromkeys(sorted(self._left_out), SERVERS_DEFAULT)

    def _refusal(self, error: openai.APIStatusError, sent: Mapping[str, Any]) -> Completion | Failure:
        """What an error means that the same request would meet again.

        Raises:
            RunStopped: any other request would meet it too.
        """
        status, code, says = error.status_code, error.code, self._status_says(error)
        if status in (400, 422) and (name := refused_parameter(error.body, sent)):
            self._do_without(name)
            return Failure(f"no {name}", says, wait=False)
        if code == "content_filter" or (status in (400, 403) and MODERATED.search(says)):
            self._usage.rejected += 1
            return Completion("", "filtered", error=says)
        if status in (401, 402, 403, 404, 405, 429) or code == "model_not_found" or WRONG_KEY.search(says):
            remedy = self._remedy(404 if code == "model_not_found" else status)
            raise RunStopped(f"{says}; {remedy}; the same command resumes the run")
        self._usage.rejected += 1
        return Completion("", "missing", error=says)

    def _remedy(self, status: int) -> str:
        if status in (402, 429):
            return "the account has nothing left to spend"
        if status in (404, 405):
            hint = "" if self.url.endswith("/v1") else ", which for most servers ends in /v1"
            return f"check the model's name, {self.name}, and the base URL{hint}"
        return f"check the key in {self._key_variable}" if self._key_variable else f"set {self._key_variables}"

    def _do_without(self, name: str) -> None:
        """Leave a parameter out from now on; requests that were in flight meanwhile come here as well."""
        if name == "max_tokens":
            self._limit_parameter = "max_completion_tokens"
        elif name not in self._left_out:
            self._left_out.add(name)
            if name == "temperature":
                self._say(f"{self.name} takes no temperature: it samples at {SERVERS_DEFAULT}")

    def _read(self, content: bytes) -> Completion | Failure:
        if len(self._key) >= SECRET_LENGTH:
            content = content.replace(self._key.encode(), b"[key]")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            return Failure("unreadable reply", f"{self.url} sent a reply that is not whole JSON")
        try:
            choice = body["choices"][0]
            message, finish = choice["message"], FINISHES.get(choice.get("finish_reason"), "unknown")
            text = message.get("content") or message.get("refusal") or ""
            text, thought = split_reasoning(text)
            told = message.get("reasoning_content") or message.get("reasoning")
        except (LookupError, TypeError, AttributeError):
            says = self._presentable(error_words(body)) or "it lacks choices, or text in them"
            return Failure("no reply in the JSON", f"{self.url} sent JSON without a reply: {says}")
        prompt_tokens, completion_tokens = self._count(body)
        return Completion(
            text=text,
            finish=finish,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            reasoning=(told if isinstance(told, str) else None) or thought or None,
        )

    def _count(self, body: Mapping[str, Any]) -> tuple[int | None, int | None]:
        """Add a reply to the usage; returns its prompt and completion tokens, where they are told."""
        used = mapping(body.get("usage"))
        prompt_tokens, completion_tokens = number(used.get("prompt_tokens")), number(used.get("completion_tokens"))
        details = mapping(used.get("completion_tokens_details"))
        self._usage.add(prompt_tokens, completion_tokens, number(details.get("reasoning_tokens")))
        for name, seen in (("model", self._usage.models), ("system_fingerprint", self._usage.fingerprints)):
            if isinstance(value := body.get(name), str):
                seen.add(self._presentable(value))
        return prompt_tokens, completion_tokens

    def _status_says(self, error: openai.APIStatusError) -> str:
        return (
            f"{self.url} answers {error.status_code}: {self._presentable(error_words(error.body)) or 'no reason given'}"
        )

    def _presentable(self, words: str) -> str:
        """A server's words as one short line, without whatever looks like a key."""
        if self._key_variable:
            words = words.replace(self._key, "[key]")
        words = SECRET.sub("[key]", words)
        return " ".join("".join(c if c.isprintable() else " " for c in words[:2000]).split())[:300]


def _checked_url(url: str) -> str:
    # Not shown: it may hold a password.
    if "@" in url:
        raise BadInput("the base URL must not hold a user name or password: keys are read from the environment")
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in url.strip()):
        raise BadInput(f"the base URL must be one like http://localhost:8000/v1, not {url!r}")
    if parts.query or parts.fragment:
        raise BadInput("the base URL must end with its path: anything after a ? or # would be lost")
    return url.strip().rstrip("/")


def _key(variables: Sequence[str]) -> tuple[str, str | None]:
    """The key, and the variable that holds it (None: there is none, and the key is a stand-in)."""
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise BadInput(f"{variable} holds no usable key: there are blanks or special characters in it")
            return key, variable
    return NO_KEY, None
