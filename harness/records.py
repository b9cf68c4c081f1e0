"""Append-only files of JSON lines that never end in half a record, and files that are replaced whole."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from tasks.errors import BadInput

READ_AT_ONCE = 1 << 20
"""Bytes of a records file that are asked for at a time."""
LATE = frozenset({"reasoning", "token_stats", "unjudged"})
"""Fields that earlier records did not have; absent, they are None."""


class RecordFile:
    """One append-only JSON-lines file that never ends in half a record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped_bytes = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.size = self._drop_torn_tail()

    def _drop_torn_tail(self) -> int:
        """Cut what a killed process left of its last line: a record ends in a newline. Returns the size."""
        size = os.fstat(self._fd).st_size
        end = size
        while end:
            start = max(0, end - (1 << 16))
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            self.dropped_bytes = size - end
            os.ftruncate(self._fd, end)
            os.fsync(self._fd)
        return end

    def append(self, lines: bytes) -> None:
        """Write and sync; on failure the file is cut back to its last whole record and OSError is raised."""
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += len(lines)

    def close(self) -> None:
        os.close(self._fd)


def read_record(path: Path, offset: int) -> dict[str, Any]:
    """The record that starts at a byte offset of a records file."""
    with path.open("rb") as file:
        file.seek(offset)
        record: dict[str, Any] = json.loads(file.readline())
        return record


def read_records(path: Path, fields: Collection[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (byte offset, record) of a records file, one at a time; a last line still being written is passed over.

    A record is an object with these `fields`, its task and item being texts. Those of `LATE` may be absent.

    Raises:
        BadInput: a line is not a record; file and line are named.
    """
    if not path.exists():
        return
    offset = 0
    wanted = set(fields)
    parsed = parser()
    with path.open("rb", buffering=READ_AT_ONCE) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = parsed(line)
            except (ValueError, RecursionError):
                record = None
            if not _is_record(record, wanted):
                raise BadInput(
                    f"{path}:{number}: not a record: something else changed this file; mend or remove the line"
                )
            yield offset, record
            offset += len(line)


@cache
def parser() -> Callable[[bytes], Any]:
    """What reads a line: `json.loads`, or where orjson is installed the same three times as fast."""
    try:
        import orjson
    except ImportError:
        return json.loads

    def parsed(line: bytes) -> Any:
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            # NaN and lone surrogates, which Python writes, are no JSON to orjson.
            return json.loads(line)

    return parsed


def _is_record(value: object, fields: set[str]) -> bool:
    return (
        isinstance(value, dict)
        and (value.keys() == fields or fields - LATE <= value.keys() <= fields)
        and isinstance(value["task"], str)
        and isinstance(value["item"], str)
    )


def sync_directory(path: Path) -> None:
    """Make durable which files a folder holds; syncing a new file alone does not."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path` to write to, which takes its place once the block has ended and it is synced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, lines: Iterable[bytes]) -> None:
    """Replace a file by way of a synced temporary one beside it."""
    with replaced(path) as file:
        file.writelines(lines)
