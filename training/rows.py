"""The data files of a training: JSON lines, read whole or written so that a killed process leaves no half row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.records import RecordFile, write_atomically
from tasks.conversation import Message
from tasks.errors import BadInput, RunStopped

Row = dict[str, Any]


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a file; raises BadInput, with the line, for one that is none."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    raise BadInput(f"{path}:{number}: not JSON: something else changed this file") from None
                yield row
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror}") from None


def rows_for(path: Path, asked: Mapping[str, Sequence[Message]]) -> dict[str, Row]:
    """The latest row of each id that has just the messages that are `asked` under it, in the order of `asked`.

    Rows of other requests stay in the file: a set of prompts may grow and shrink, and what was answered stays answered.
    """
    found = {row["id"]: row for row in rows_of(path) if list(asked.get(row["id"], ())) == row["messages"]}
    return {name: found[name] for name in asked if name in found}


def append_row(records: RecordFile, row: Row) -> None:
    """Append and sync a row; raises RunStopped where the disk takes no more."""
    try:
        records.append(_line(row))
    except OSError as error:
        raise RunStopped(
            f"can not write {records.path}: {error.strerror or error}; make room, and the same command goes on"
        ) from None


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Replace a file as a whole; raises RunStopped where the disk takes no more."""
    try:
        write_atomically(path, map(_line, rows))
    except OSError as error:
        raise RunStopped(f"can not write {path}: {error.strerror or error}; make room, run it again") from None


def _line(row: Row) -> bytes:
    return (json.dumps(row) + "\n").encode()
