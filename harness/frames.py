"""A run directory as tables: one row an item, an answer, a judgment. Texts are measured as they stream by, not kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store import read_records
from tasks.collapse import diagnose

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["task", "item", "sample", "turn"]
ITEM_COLUMNS = ["task", "item", "category", "turns", "samples"]
ANSWER_COLUMNS = [
    *PLACE, "finish", "error", "completion_tokens", "token_entropy", "degenerate", "loop", "empty", "rep_1", "rep_2",
    "rep_3", "rep_4", "compression_ratio",
]  # fmt: skip
JUDGMENT_COLUMNS = [*PLACE, "judge", "repeat", "score", "label", "error", "explanation"]


@dataclass(frozen=True)
class RunFrames:
    """`items` are those asked; `answers` and `judgments` hold the newest record of each key."""

    items: pd.DataFrame
    answers: pd.DataFrame
    judgments: pd.DataFrame


def read_frames(directory: Path, samples: dict[str, int]) -> RunFrames:
    """Read a run's records. `samples` says how many answers each task wants of an item."""
    items = (record | {"turns": len(record["turns"])} for _, record in read_records(directory / "items.jsonl"))
    return RunFrames(
        items=_frame(({**item, "samples": samples[item["task"]]} for item in items), ITEM_COLUMNS),
        answers=_newest(_frame(_measured(directory / "answers.jsonl"), ANSWER_COLUMNS), PLACE),
        judgments=_newest(
            _frame((record for _, record in read_records(directory / "judgments.jsonl")), JUDGMENT_COLUMNS),
            [*PLACE, "judge", "repeat"],
        ),
    )


def _measured(path: Path) -> Iterator[dict[str, Any]]:
    """Answers with their collapse measures in place of their text; those without a text are not measured."""
    for _, record in read_records(path):
        if record["error"] is None and record["finish"] != "missing":
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
            held[column].append(record.get(column))
    return pd.DataFrame(held, columns=list(columns))


def _newest(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """A failed answer or judgment is followed by another try under the same key."""
    return frame.drop_duplicates(key, keep="last", ignore_index=True)
