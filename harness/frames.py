"""A run directory as tables: one row an item, an answer, a judgment. Texts are measured as they stream by, not kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import read_records
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS
from tasks.collapse import diagnose

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["task", "item", "sample", "turn"]
ITEM_COLUMNS = ["task", "item", "category", "turns", "samples"]
ANSWER_COLUMNS = [
    *PLACE, "finish", "error", "token_entropy", "degenerate", "loop", "empty", "rep_1", "rep_2", "rep_3", "rep_4",
    "compression_ratio",
]  # fmt: skip
JUDGMENT_COLUMNS = [*PLACE, "judge", "repeat", "score", "label", "error", "unjudged"]
TEXTS = {"task", "item", "category", "finish", "error", "judge", "label", "unjudged"}


@dataclass(frozen=True)
class RunFrames:
    """`items` are those asked; `answers` and `judgments` hold the newest record of each key."""

    items: pd.DataFrame
    answers: pd.DataFrame
    judgments: pd.DataFrame


def read_frames(directory: Path) -> RunFrames:
    """Read a run's records."""
    items = (record | {"turns": len(record["turns"])} for _, record in read_records(directory / ITEMS, ITEM_FIELDS))
    answers, judgments = (directory / name for name in RECORDS)
    grades = (record for _, record in read_records(judgments, JUDGMENT_FIELDS))
    return RunFrames(
        items=_frame(items, ITEM_COLUMNS),
        answers=_newest(_frame(_measured(answers), ANSWER_COLUMNS), PLACE),
        judgments=_newest(_frame(grades, JUDGMENT_COLUMNS), [*PLACE, "judge", "repeat"]),
    )


def _measured(path: Path) -> Iterator[dict[str, Any]]:
    """Answers with their collapse measures in place of their text; where nothing was said, nothing is measured."""
    for _, record in read_records(path, ANSWER_FIELDS):
        if record["finish"] not in ("error", "missing"):
            found = diagnose(record["text"])
            record |= {
                "degenerate": found.degenerate, "loop": found.loop is not None, "empty": found.empty,
                "rep_1": found.rep_1, "rep_2": found.rep_2, "rep_3": found.rep_3, "rep_4": found.rep_4,
                "compression_ratio": found.compression_ratio,
            }  # fmt: skip
        yield record


def _frame(records: Iterable[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    held: dict[str, list[Any]] = {column: [] for column in columns}
    for record in records:
        for column in columns:
            value = record.get(column)
            # Lone surrogates, which models and files hold, are no text that pandas can group by.
            held[column].append(value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value)
    return pd.DataFrame({name: pd.Series(held[name], dtype=object if name in TEXTS else None) for name in columns})


def _newest(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """A failed answer or judgment is followed by another try under the same key."""
    return frame.drop_duplicates(key, keep="last", ignore_index=True)
