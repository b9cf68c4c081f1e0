"""A run directory as tables: one row an item, an answer, a judgment. Texts are measured as they stream by, not kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import read_records
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS
from tasks.attacks import NONE
from tasks.collapse.measures import WORTH_COMPILING, measure
from tasks.collapse.variety import BUDGET_WORDS
from tasks.collapse.words import head

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["task", "item", "sample", "turn"]
ITEM_COLUMNS = ["task", "item", "category", "turns", "samples", "attack", "request"]
ANSWER_COLUMNS = [
    *PLACE, "finish", "error", "token_entropy", "entropy_slope", "top_1_share", "degenerate", "loop", "empty", "rep_1",
    "rep_2", "rep_3", "rep_4", "compression_ratio", "word_entropy", "non_lexical", "prompt_copy", "copied", "words",
    "whole", "opener", "closer", "sketch", "head_of_text",
]  # fmt: skip
JUDGMENT_COLUMNS = [*PLACE, "judge", "repeat", "score", "label", "error", "unjudged"]
OBJECTS = {
    "task", "item", "category", "attack", "request", "finish", "error", "judge", "label", "unjudged", "head_of_text",
    "sketch", "whole", "opener", "closer",
}  # fmt: skip
"""Columns of texts, and of hashes, which a merge must not turn into floats."""
Prompts = dict[tuple[str, str], Sequence[str]]
"""The turns of each task's items."""


@dataclass(frozen=True)
class RunFrames:
    """`items` are those asked; `answers` and `judgments` hold the newest record of each key.

    Items that put one request under several attacks share its `request`; any other item is a request of its own.
    """

    items: pd.DataFrame
    answers: pd.DataFrame
    judgments: pd.DataFrame


def read_frames(directory: Path) -> RunFrames:
    """Read a run's records."""
    prompts: Prompts = {}
    items = _frame(map(_counted, _noted(directory / ITEMS, prompts)), ITEM_COLUMNS)
    answers, judgments = (directory / name for name in RECORDS)
    grades = (record for _, record in read_records(judgments, JUDGMENT_FIELDS))
    return RunFrames(
        items=items,
        answers=_newest(_frame(_measured(answers, prompts), ANSWER_COLUMNS), PLACE),
        judgments=_newest(_frame(grades, JUDGMENT_COLUMNS), [*PLACE, "judge", "repeat"]),
    )


def _noted(path: Path, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """The items, whose turns are noted in `prompts`."""
    for _, record in read_records(path, ITEM_FIELDS):
        prompts[record["task"], record["item"]] = record["turns"]
        yield record


def prompt_of(prompts: Prompts, task: str, item: str, turn: int) -> str:
    """What the user said in a turn, counted from 1; nothing where the item or the turn is not there."""
    turns = prompts.get((task, item), ())
    return str(turns[turn - 1]) if 0 < turn <= len(turns) else ""


def _counted(record: dict[str, Any]) -> dict[str, Any]:
    """An item with the number of its turns, and with its attack and request out of its metadata."""
    attack, request = request_of(record)
    return record | {"turns": len(record["turns"]), "attack": attack, "request": request}


def request_of(record: Mapping[str, Any]) -> tuple[str, str]:
    """The attack that an item's record puts its request under, and the request; an item without one is its own."""
    named = record["metadata"] if isinstance(record["metadata"], dict) else {}
    attack, request = named.get("attack"), named.get("request")
    return (attack, request) if isinstance(attack, str) and isinstance(request, str) else (NONE, record["item"])


def _measured(path: Path, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """Answers with their collapse measures in place of their text; where nothing was said, nothing is measured.

    Of the text only its first words stay, for measures of the set. In batches: many are measured faster than one.
    """
    records = (record for _, record in read_records(path, ANSWER_FIELDS))
    while batch := list(islice(records, WORTH_COMPILING)):
        said = [record for record in batch if record["finish"] not in ("error", "missing")]
        asked = [prompt_of(prompts, *(record[key] for key in ("task", "item", "turn"))) for record in said]
        found = measure([record["text"] for record in said], prompts=asked)
        columns = {
            "degenerate": found.degenerate, "loop": found.loop, "empty": found.empty,
            **{f"rep_{n}": found.rep[:, n - 1] for n in (1, 2, 3, 4)},
            "compression_ratio": found.compression_ratio, "word_entropy": found.entropy,
            "non_lexical": found.non_lexical, "prompt_copy": found.prompt_copy, "copied": found.copied,
            "words": found.words,
            "whole": found.whole, "opener": found.opener, "closer": found.closer,
        }  # fmt: skip
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        for record, row, sketch in zip(said, rows, found.sketch, strict=True):
            text = record.pop("text") or ""
            record |= zip(columns, row, strict=True)
            record |= {"sketch": sketch.tobytes(), "head_of_text": head(text, BUDGET_WORDS) or text.strip()}
        yield from map(_with_token_stats, batch)


def _with_token_stats(record: dict[str, Any]) -> dict[str, Any]:
    return record | (record.pop("token_stats", None) or {})


def _frame(records: Iterable[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    held: dict[str, list[Any]] = {column: [] for column in columns}
    for record in records:
        for column in columns:
            value = record.get(column)
            # Lone surrogates, which models and files hold, are no text that pandas can group by.
            held[column].append(value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value)
    return pd.DataFrame({name: pd.Series(held[name], dtype=object if name in OBJECTS else None) for name in columns})


def _newest(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """A failed answer or judgment is followed by another try under the same key."""
    return frame.drop_duplicates(key, keep="last", ignore_index=True)
