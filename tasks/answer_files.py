"""Reads files of stored answers, which `--model answers:FILE` replays; each row brings its item and the replies to it.

The layout is recognised by its keys or columns, never by the file's name. One row of each:

    fastchat         {"question_id": 81, "model_id": "vicuna-7b", "choices": [{"index": 0, "turns": ["…", "…"]}], …}
    alpaca_eval      {"instruction": "…", "output": "…", "generator": "phi-2", "dataset": "koala"}
    jailbreakbench   {"index": 0, "goal": "…", "category": "…", "prompt": "…", "response": "…", "jailbroken": true, …}
    conversations    {"id": "7", "category": "…", "turns": ["…", "…"], "replies": [["…", "…"]], …}   a list a sample
    table            id,type,prompt,completion,final_label      with --columns response=completion,label=final_label

An item of a file without ids is named by its prompt, so that two models' answers to one prompt are found as a pair
whatever the order of their rows.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tasks.errors import BadInput
from tasks.harm_sets import UNCATEGORISED, attack_item, slug, xstest_labels
from tasks.item import Item, build_items, id_in, text_in
from tasks.tables import RowError, Table, read_table

AnswerLayout = Literal["fastchat", "alpaca_eval", "jailbreakbench", "conversations", "table"]
Row = Mapping[str, Any]

ROLES = ("prompt", "response", "label", "id", "category")
"""What `--columns` can name."""

OWN_COLUMNS: Mapping[AnswerLayout, Mapping[str, str]] = {
    "alpaca_eval": {"prompt": "instruction", "response": "output", "category": "dataset"},
    "jailbreakbench": {"prompt": "prompt", "response": "response", "id": "index", "category": "category"},
}
"""The columns a layout gives to the roles; `--columns` comes first."""

USUAL_NAMES = {
    "prompt": ("instruction", "question", "query", "request", "goal", "behavior", "forbidden_prompt", "input"),
    "response": ("completion", "output", "answer", "generation", "reply", "model_output", "generated_text"),
}
"""Other names of the two columns that every table needs, for the hint when one is missing."""

FASTCHAT_FAILED = "$ERROR$"
"""What FastChat stores as the answer where the API gave none (API_ERROR_OUTPUT in its llm_judge/common.py)."""


def read_answered_items(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[Item]:
    """Yield the items of a file of stored answers one at a time, each with its `replies`.

    `columns` says which column plays which of ROLES; without it a table must have `prompt` and `response`, and its
    `id` and its `category` or `type` are used where there are such. A FastChat file does not hold its prompts: the
    turns of its items are empty strings, to be looked up by the item's id.

    Metadata, where the file has it: `given_label` (the column named as label, as text), `generator` (the model's name),
    `label` ("safe" or "unsafe", for prompts of XSTest), `goal` and `jailbroken` (artifacts of JailbreakBench).

    Raises:
        BadInput: a column, key or value is missing or of the wrong type, an id is repeated, there is no row, or the
            file can not be read; file and line are named.
    """
    table = read_table(path)
    layout = _layout(table, columns or {})
    yield from build_items(table, _builder(table, layout, columns or {}))


def answer_layout(path: Path, columns: Mapping[str, str] | None = None) -> AnswerLayout:
    """The layout that `read_answered_items` would read a file by; only the first row is looked at.

    Raises:
        BadInput: the file can not be read.
    """
    return _layout(read_table(path), columns or {})


def _layout(table: Table, columns: Mapping[str, str]) -> AnswerLayout:
    if unknown := sorted(set(columns) - set(ROLES)):
        raise BadInput(f"--columns names {', '.join(ROLES)}; there is no {unknown[0]!r}")
    names = set(table.columns)
    if table.holder:
        own = OWN_COLUMNS["jailbreakbench"]
        return "jailbreakbench" if all(columns.get(role, name) == name for role, name in own.items()) else "table"
    if {"question_id", "choices"} <= names and not columns:
        return "fastchat"
    if {"turns", "replies"} <= names and not {"prompt", "response"} & columns.keys():
        return "conversations"
    if {"instruction", "output", "generator"} <= names:
        return "alpaca_eval"
    return "table"


def _builder(table: Table, layout: AnswerLayout, columns: Mapping[str, str]) -> Callable[[Row, int], Item]:
    if layout == "fastchat":
        return _fastchat_item
    if layout == "conversations":
        return partial(_conversation_item, columns)
    return _table_builder(table, layout, columns) if table.columns else _without_keys


def _without_keys(_row: Row, _: int) -> Item:
    raise RowError("has no keys at all")


# --- FastChat ---


def _fastchat_item(row: Row, _: int) -> Item:
    """One question; its choices are the samples. A sample with fewer turns than the longest lacks the last replies."""
    name = id_in(row, "question_id")
    choices = row.get("choices")
    if not isinstance(choices, list) or not choices:
        raise RowError("has no list of 'choices'")
    samples = [_choice(choice, number) for number, choice in enumerate(choices)]
    if len({index for index, _ in samples}) < len(samples):
        raise RowError("has two 'choices' with the same 'index'")
    samples.sort(key=lambda sample: sample[0])
    n_turns = max(len(turns) for _, turns in samples)
    if not n_turns:
        raise RowError("has 'choices' without 'turns'")
    generator = row.get("model_id")
    return Item(
        id=name,
        category=_category(row, "category"),
        turns=("",) * n_turns,
        metadata={"source": "fastchat"} | ({"generator": generator} if isinstance(generator, str) else {}),
        replies=tuple((*turns, *(None,) * (n_turns - len(turns))) for _, turns in samples),
    )


def _choice(choice: object, number: int) -> tuple[int, list[str | None]]:
    """The index of one sample, and its replies; a reply that FastChat could not get is none."""
    if not isinstance(choice, dict):
        raise RowError("has 'choices' that are not objects")
    index, turns = choice.get("index", number), choice.get("turns")
    if not isinstance(index, int) or isinstance(index, bool):
        raise RowError("has a choice whose 'index' is not a whole number")
    if not isinstance(turns, list) or not all(turn is None or isinstance(turn, str) for turn in turns):
        raise RowError("has a choice whose 'turns' are not a list of texts")
    return index, [None if turn == FASTCHAT_FAILED else turn for turn in turns]


# --- conversations ---


def _conversation_item(columns: Mapping[str, str], row: Row, _: int) -> Item:
    """One question of one or more turns, and what was said to each of them in each sample."""
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise RowError("'turns' must be a list of one or more non-empty strings")
    samples = row.get("replies")
    if not isinstance(samples, list) or not samples:
        raise RowError("has no list of 'replies'")
    for replies in samples:
        if not isinstance(replies, list) or not all(reply is None or isinstance(reply, str) for reply in replies):
            raise RowError("has 'replies' that are not lists of texts")
        if len(replies) != len(turns):
            raise RowError(f"has {len(turns)} turns but {len(replies)} replies to them")
    metadata = {"source": "file"}
    if "label" in columns and (label := _label(row, columns["label"])):
        metadata["given_label"] = label
    return Item(
        id=id_in(row, columns.get("id", "id")),
        category=_category(row, columns.get("category", "category")),
        turns=tuple(turns),
        metadata=metadata,
        replies=tuple(map(tuple, samples)),
    )


# --- tables, AlpacaEval and JailbreakBench among them ---


def _table_builder(table: Table, layout: AnswerLayout, columns: Mapping[str, str]) -> Callable[[Row, int], Item]:
    """What makes an item of a row, once it is clear which column is which."""
    own = OWN_COLUMNS.get(layout, {})
    column: dict[str, str] = {}
    for role in ROLES:
        name = columns.get(role) or own.get(role, role)
        if role in columns or role in ("prompt", "response"):
            column[role] = _find(table, role, name)
        elif role != "label":
            found = _matches(table, name) or (_matches(table, "type") if role == "category" else [])
            column |= {role: found[0]} if found else {}
    prompts_seen: Counter[str] = Counter()
    type_column = (_matches(table, "type") or [""])[0]
    labels = xstest_labels(table.path) if layout == "table" and type_column else {}

    def asked(row: Row) -> Item:
        prompt = text_in(row, column["prompt"])
        category = _category(row, column["category"]) if "category" in column else UNCATEGORISED
        metadata: dict[str, Any] = {"source": "xstest" if labels else "file"}
        if labels:
            metadata["label"] = labels[slug(text_in(row, type_column))]
        if layout == "alpaca_eval":
            # A second answer to one instruction means that two models' files were joined: refused as a repeated id.
            metadata = {"source": "alpaca_eval", "generator": text_in(row, "generator")}
        if "id" in column:
            name = id_in(row, column["id"])
        else:
            name = f"{'alpaca' if layout == 'alpaca_eval' else 'prompt'}-{_digest(prompt)}"
            prompts_seen[name] += layout == "table"
            if prompts_seen[name] > 1:
                name = f"{name}-{prompts_seen[name]}"
        return Item(id=name, category=category, turns=(prompt,), metadata=metadata)

    def answered(row: Row, _: int) -> Item:
        item = _attacked(row) if layout == "jailbreakbench" else asked(row)
        metadata = dict(item.metadata)
        if "label" in column and (label := _label(row, column["label"])):
            metadata["given_label"] = label
        return replace(item, metadata=metadata, replies=((_reply(row, column["response"]),),))

    return answered


def _attacked(row: Row) -> Item:
    item, jailbroken = attack_item(row), row.get("jailbroken")
    if jailbroken is None:
        return item
    if not isinstance(jailbroken, bool):
        raise RowError("has a value for 'jailbroken' that is neither true nor false")
    return replace(item, metadata={**item.metadata, "jailbroken": jailbroken})


def _reply(row: Row, column: str) -> str | None:
    """The stored reply, untouched: an empty text is an answer, null is none."""
    if column not in row:
        raise RowError(f"has no {column!r}")
    reply = row[column]
    if reply is not None and not isinstance(reply, str):
        raise RowError(f"has a value for {column!r} that is not text")
    return reply


def _label(row: Row, column: str) -> str:
    """A label as text: 1, true and "1_full_compliance" are all found in published files. "" where the row has none."""
    if column not in row:
        raise RowError(f"has no {column!r}")
    label = row[column]
    if isinstance(label, list | dict):
        raise RowError(f"has a value for {column!r} that is not a label")
    return "" if label is None else label.strip() if isinstance(label, str) else json.dumps(label)


def _category(row: Row, column: str) -> str:
    category = row.get(column)
    if category is None:
        return UNCATEGORISED
    if not isinstance(category, str | int):
        raise RowError(f"has a value for {column!r} that is not text")
    return slug(str(category))


def _digest(prompt: str) -> str:
    """Twelve hex digits of a prompt: among 100,000 prompts two share them with a chance of 2 in 100,000."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _matches(table: Table, name: str) -> list[str]:
    """The column of that name, else those that differ from it in case only."""
    if name in table.columns:
        return [name]
    return [column for column in table.columns if column.lower() == name.lower()]


def _find(table: Table, role: str, name: str) -> str:
    """The column that is to play a role; if there is none, the error lists those there are and the likely ones."""
    found = _matches(table, name)
    if len(found) == 1:
        return found[0]
    close = difflib.get_close_matches(name.lower(), [column.lower() for column in table.columns])
    likely = found or [c for c in table.columns if c.lower() in close or c.lower() in USUAL_NAMES.get(role, ())]
    hint = f"; did you mean --columns {' or '.join(f'{role}={column}' for column in likely)}?" if likely else ""
    listed = ", ".join(map(repr, table.columns))
    raise BadInput(f"{table.path}: no column {name!r} among {listed[:500]}{hint}")
