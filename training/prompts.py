"""What the stages of a training ask: red-team requests and helpful ones, embedded or from a file.

A file is JSON lines, JSON or CSV, also gzipped, with one of these in a row:

    {"chosen": "\\n\\nHuman: …\\n\\nAssistant: …", …}            HH-RLHF: the person's first turn is the prompt
    {"messages": [{"role": "user", "content": "…"}, …]}         a conversation; to be answered it must end with its user
    {"turns": ["…"]} or {"prompt": "…"}                         a request; "response" may be its answer
    {"instruction": "…", "input": "…", "output": "…"}            Alpaca's columns, likewise; an empty answer is left out

Who trains on what is later asked in a test measures nothing: requests that the embedded evaluation sets hold are left
out of every file, and their number is told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.collapse.words import plain_words, spoken_words, words
from tasks.conversation import Message
from tasks.errors import BadInput
from tasks.hh_rlhf import COLUMNS as HH_COLUMNS
from tasks.hh_rlhf import hh_items
from tasks.item import text_in
from tasks.paths import user_path
from tasks.tables import RowError, Table, read_table
from training.recipe import EMBEDDED
from training.replies import seed_of

DATA = Path(__file__).with_name("data")
RED_TEAM, HELPFUL = DATA / "red_team.jsonl", DATA / "helpful.jsonl"
EVALUATION = Path(__file__).parents[1] / "tasks/data"
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Prompt:
    """A conversation: one that ends with its user, to be answered, or one that ends with its answer."""

    id: str
    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class PromptSet:
    """Prompts, a hash of them, and what to tell about how they were chosen."""

    prompts: tuple[Prompt, ...]
    source: str
    sha256: str
    notes: tuple[str, ...]

    @property
    def asked(self) -> dict[str, tuple[Message, ...]]:
        """The messages of each prompt, by its id."""
        return {prompt.id: prompt.messages for prompt in self.prompts}


def read_prompts(spec: str, limit: int | None, seed: int) -> PromptSet:
    """Requests to be answered: the embedded red-team set, or those of a file; at most `limit`, drawn by the seed.

    Raises:
        BadInput: a file that can not be read, a row without a request (its line is named), or none that is left.
    """
    return _chosen(spec, _embedded(RED_TEAM) if spec == EMBEDDED else _of_file(user_path(spec), _asked), limit, seed)


def read_conversations(spec: str, limit: int | None, seed: int) -> PromptSet:
    """Conversations of a file that end with an answer; at most `limit`, drawn by the seed. Raises as `read_prompts`."""
    return _chosen(spec, _of_file(user_path(spec), _answered), limit, seed)


def helpful_prompts() -> list[Prompt]:
    """The embedded helpful requests."""
    return list(_embedded(HELPFUL))


def _embedded(path: Path) -> Iterator[Prompt]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield Prompt(row["id"], row["category"], ({"role": "user", "content": row["turns"][0]},))


def _chosen(spec: str, prompts: Iterable[Prompt], limit: int | None, seed: int) -> PromptSet:
    kept: dict[str, Prompt] = {}
    asked: set[tuple[str, ...]] = set()
    repeated = tested = silent = 0
    for prompt in prompts:
        if not prompt.messages:
            silent += 1
            continue
        request = _normal(next(it["content"] for it in reversed(prompt.messages) if it["role"] == "user"))
        tested += request in _evaluation_requests()
        if request in _evaluation_requests():
            continue
        whole = tuple(word for it in prompt.messages for word in (it["role"], *_normal(it["content"])))
        repeated += whole in asked
        if whole not in asked:
            asked.add(whole)
            kept[prompt.id] = prompt
    notes = []
    if tested:
        notes.append(f"{spec}: {tested} prompts left out, which an embedded evaluation set asks, too")
    if silent:
        notes.append(f"{spec}: {silent} conversations left out, whose answer is empty")
    if repeated:
        notes.append(f"{spec}: {repeated} prompts left out, which repeat earlier ones")
    if not kept:
        raise BadInput(f"{spec} holds no prompt to train on ({tested} are in evaluation sets): pass another file")
    chosen = list(kept.values())
    if limit is not None and limit < len(chosen):
        drawn = {it.id for it in sorted(chosen, key=lambda it: seed_of(seed, "prompt", it.id))[:limit]}
        chosen = [it for it in chosen if it.id in drawn]
    digest = hashlib.sha256(json.dumps([(it.id, it.messages) for it in chosen]).encode())
    source = spec if spec == EMBEDDED else Path(spec).name
    return PromptSet(tuple(chosen), source, digest.hexdigest(), tuple(notes))


def _normal(text: str) -> tuple[str, ...]:
    return tuple(spoken_words(plain_words(words(text))))


@cache
def _evaluation_requests() -> frozenset[tuple[str, ...]]:
    rows = (json.loads(line) for path in EVALUATION.glob("*.jsonl") for line in path.read_text("utf-8").splitlines())
    return frozenset(_normal(turn) for row in rows for turn in row["turns"])


def _of_file(path: Path, build: Callable[[Mapping[str, Any]], list[Message]]) -> Iterator[Prompt]:
    table = read_table(path)
    if set(table.columns) >= HH_COLUMNS and build is _asked:
        for item in hh_items(table):
            if "left_out" not in item.metadata:
                yield Prompt(item.id, item.category, ({"role": "user", "content": item.turns[0]},))
        return
    yield from _rows(table, build)


def _rows(table: Table, build: Callable[[Mapping[str, Any]], list[Message]]) -> Iterator[Prompt]:
    seen: set[str] = set()
    for number, row in table.rows:
        place = table.place(number)
        if not isinstance(row, dict):
            raise BadInput(f"{place}: the row is not a JSON object")
        try:
            messages = build(row)
        except RowError as error:
            raise BadInput(f"{place}: the row {error}") from None
        name = str(row.get("id") or row.get("prompt_id") or f"row-{number}")
        if name in seen:
            raise BadInput(f"{place}: the row repeats the id {name!r}")
        seen.add(name)
        yield Prompt(name, str(row.get("category") or "uncategorised"), tuple(messages))


def _asked(row: Mapping[str, Any]) -> list[Message]:
    """The conversation of a row up to its last request."""
    messages = _messages(row)
    while messages and messages[-1]["role"] != "user":
        messages.pop()
    if not messages or not messages[-1]["content"].strip():
        raise RowError("asks nothing")
    return messages


def _answered(row: Mapping[str, Any]) -> list[Message]:
    """The conversation of a row up to its last answer, or nothing of one whose answer is empty."""
    messages = _messages(row)
    answer = next((row[key] for key in ("response", "output", "completion", "answer") if key in row), None)
    if messages[-1]["role"] == "user" and isinstance(answer, str):
        messages.append({"role": "assistant", "content": answer})
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if not any(it["role"] == "user" for it in messages):
        raise RowError("holds no answer: messages that end with the assistant, or response, output, completion, answer")
    return messages if messages[-1]["content"].strip() else []


def _messages(row: Mapping[str, Any]) -> list[Message]:
    if "messages" in row:
        found = row["messages"]
        if not isinstance(found, list) or not found or not all(map(_is_message, found)):
            raise RowError(f"has 'messages' that are no list of role ({', '.join(ROLES)}) and content")
        return [{"role": it["role"], "content": it["content"]} for it in found]
    if "turns" in row:
        turns = row["turns"]
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], str) or not turns[0].strip():
            raise RowError("has 'turns' that do not begin with a text")
        return [{"role": "user", "content": turns[0]}]
    if "instruction" in row:
        more = row.get("input")
        asked = text_in(row, "instruction") + (f"\n\n{more}" if isinstance(more, str) and more.strip() else "")
        return [{"role": "user", "content": asked}]
    for key in ("prompt", "question", "request"):
        if key in row:
            return [{"role": "user", "content": text_in(row, key)}]
    raise RowError("has none of messages, turns, prompt, instruction, question, request")


def _is_message(it: object) -> bool:
    return isinstance(it, dict) and it.get("role") in ROLES and isinstance(it.get("content"), str)
