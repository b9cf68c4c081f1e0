"""Tables: the rows of a file and where each stands, whether the file is CSV, JSON lines or one JSON value.

CSV and JSON lines are read as a stream, also where gzip has compressed them. One JSON value is loaded whole: a list of
objects, or an artifact of JailbreakBench, which holds its rows under one key:

    {"parameters": {"method": "PAIR", …}, "jailbreaks": [{"index": 0, "goal": "…", …}, …]}
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

from tasks.errors import BadInput

LONGEST_CELL = 16 * 2**20
"""The csv module's own limit of 128 kB refuses long answers; no limit at all lets one stray quote eat any file."""

GZIPPED = b"\x1f\x8b"
"""The first bytes of a gzip file, whatever its name."""

HOLDERS = ("jailbreaks",)
"""Keys of a JSON object whose value is the list of rows."""


class RowError(ValueError):
    """A row is refused. The words go on from "the row …"; whoever knows file and line makes a BadInput of them."""


@dataclass(frozen=True)
class Table:
    """Rows with their numbers, to be read once: lines of the file, or entries of a JSON list, both counted from 1.

    A CSV row is a dict of strings; a JSON row is whatever stands there and is for the reader of the table to check.
    `columns` are those of the CSV header or the keys of the first row; `holder` is the key that holds the rows, if any.
    """

    path: Path
    kind: Literal["csv", "jsonl", "json"]
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, Any]]
    holder: str = ""

    @property
    def unit(self) -> str:
        return "entry" if self.kind == "json" else "line"

    def place(self, number: int) -> str:
        """Where a row stands: "data.csv:12", or "data.json, entry 3"."""
        return f"{self.path}, entry {number}" if self.kind == "json" else f"{self.path}:{number}"


def read_table(path: Path) -> Table:
    """Tell what kind of table a file holds, by its first line that is not blank, and open it.

    Raises:
        BadInput: here or while the rows are read: the file can not be read, or is not valid CSV, JSON or UTF-8.
    """
    with open_text(path) as file:
        first = next((line for line in file if line.strip()), "")
    if "\0" in first:
        raise BadInput(f"{path} is a binary file: CSV, JSON lines or JSON is needed")
    if first.lstrip().startswith(("{", "[")):
        return _json_table(path, first)
    lines = _csv_lines(path)
    line, header = next(lines, (0, []))
    columns = tuple(cell.strip() for cell in header)
    for column in columns:
        # Spreadsheets leave columns without a name behind; nobody can ask for those.
        if column and columns.count(column) > 1:
            raise BadInput(f"{path}:{line}: the header names {column!r} twice")
    return Table(path, "csv", tuple(filter(None, columns)), _csv_rows(path, columns, lines))


def texts_table(path: Path, column: str) -> Table:
    """A CSV file known to have one column and no header, as a table whose column is called `column`."""
    return Table(path, "csv", (column,), _csv_rows(path, (column,), _csv_lines(path)))


def json_lines(path: Path) -> Table:
    """A file known to hold JSON lines, as a table; its columns are not looked at."""
    return Table(path, "jsonl", (), read_rows(path))


def read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of a JSON-lines file; blank lines are skipped.

    Raises:
        BadInput: a line is not JSON, or the file can not be read; file and line are named.
    """
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    _refuse_json(path, error, number)
                yield number, value


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file (a byte-order mark is skipped, line ends are kept); what goes wrong is a BadInput.

    A file that gzip has compressed is unpacked as it is read.
    """
    try:
        with (
            gzip.open(path) if _is_gzipped(path) else path.open("rb") as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
        ):
            yield file
    except UnicodeDecodeError:
        raise BadInput(_not_utf8(path)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path} is a gzip file that is damaged or cut short ({error}): fetch it again") from None
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror or error}") from None


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GZIPPED)) == GZIPPED


def _not_utf8(path: Path) -> str:
    """Name the first line that is not UTF-8: the decoder itself only knows its place in a buffer."""
    with gzip.open(path) if _is_gzipped(path) else path.open("rb") as file:
        head = file.read(8192)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return f"{path} is UTF-16 text: save it as UTF-8"
        if b"\0" in head or head.startswith(GZIPPED):
            return f"{path} is a binary or compressed file: CSV, JSON lines or JSON is needed"
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"{path}:{number}: not UTF-8 text: save the file as UTF-8"
    return f"{path} is not UTF-8 text: save it as UTF-8"


# --- CSV ---


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells), without blank rows. Cells may hold newlines: a row is named by the line it begins on."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    ended = 0
    with open_text(path) as file:
        rows = csv.reader(file, strict=True)
        try:
            for cells in rows:
                line, ended = ended + 1, rows.line_num
                if any(cell.strip() for cell in cells):
                    yield line, cells
        except csv.Error as error:
            hint = "; is a quote left open there?" if "limit" in str(error) or "unexpected end" in str(error) else ""
            raise BadInput(f"{path}:{ended + 1}: not valid CSV ({error}){hint}") from None


def _csv_rows(
    path: Path, columns: tuple[str, ...], lines: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as dicts. A row that is cut short lacks its last keys: a missing cell is not an empty one."""
    for line, cells in lines:
        if len(cells) > len(columns):
            raise BadInput(f"{path}:{line}: the row has {len(cells)} cells, the header {len(columns)}")
        yield line, dict(zip(columns, cells, strict=False))


# --- JSON ---


def _json_table(path: Path, first: str) -> Table:
    """JSON lines have a whole object on their first line; what has not, or has an artifact there, is one value."""
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not _holder(value):
        return Table(path, "jsonl", tuple(value), read_rows(path))
    with open_text(path) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            _refuse_json(path, error)
    holder = _holder(value)
    rows = value[holder] if holder else value if isinstance(value, list) else [value]
    columns = tuple(rows[0]) if rows and isinstance(rows[0], dict) else ()
    return Table(path, "json", columns, iter(enumerate(rows, start=1)), holder)


def _holder(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    return next((key for key in HOLDERS if isinstance(value.get(key), list)), "")


def _refuse_json(path: Path, error: Exception, line: int | None = None) -> NoReturn:
    """Python's parser also stops at deep nesting and at numbers of thousands of digits; neither error has a line."""
    if isinstance(error, json.JSONDecodeError):
        line, reason = line or error.lineno, error.msg
    else:
        reason = "nested too deep" if isinstance(error, RecursionError) else "a number with too many digits"
    place = f"{path}:{line}" if line else str(path)
    raise BadInput(f"{place}: not valid JSON ({reason})") from None
