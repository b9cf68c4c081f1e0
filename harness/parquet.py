"""A run as three Parquet files, for pandas, datasets, DuckDB and the like.

    DIR/items.parquet       task, item, samples, category, turns (list of texts), reference, checks and metadata (JSON)
    DIR/answers.parquet     task, item, sample, turn, text, finish, prompt_tokens, …, token_entropy, entropy_q10, …
    DIR/judgments.parquet   task, item, sample, turn, judge, repeat, score, label, explanation, raw, usage (JSON), …

Of an answer or judgment that was tried again the newest record is there, as in every figure of a run. Rows are in the
order of the records. Lone surrogates, which are no text to Parquet, are written as escapes (\\ud83d).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.frames import PLACE, legible
from harness.records import read_records, replaced
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS, SCHEMA_VERSION, run_manifest
from tasks.conversation import TokenStats
from tasks.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 20_000
"""Rows of a row group: what is in memory at a time."""
STATS = tuple(TokenStats.__annotations__)
AS_JSON = frozenset({"reference", "checks", "metadata", "usage"})
"""Nested fields without a type of their own, written as JSON."""
WHOLE_NUMBERS = frozenset({"samples", "sample", "turn", "repeat", "prompt_tokens", "completion_tokens", "seed"})
NUMBERS = frozenset({"latency_s", "token_entropy", "score", *STATS})


@dataclass(frozen=True)
class Kind:
    """One of the three tables: its file of records, the fields of a record, and the key of which the newest counts."""

    records: str
    fields: Sequence[str]
    key: Sequence[str]

    @property
    def columns(self) -> list[str]:
        """The fields, with those of the token statistics in the place of these."""
        return [column for field in self.fields for column in (STATS if field == "token_stats" else (field,))]


KINDS = (
    Kind(ITEMS, ITEM_FIELDS, ("task", "item")),
    Kind(RECORDS[0], ANSWER_FIELDS, tuple(PLACE)),
    Kind(RECORDS[1], JUDGMENT_FIELDS, (*PLACE, "judge", "repeat")),
)


@dataclass(frozen=True)
class ParquetExport:
    """The files that were written, the rows of each, and how many older records of the same key were left out."""

    run: Path
    rows: Mapping[Path, int]
    older: int = 0

    @property
    def files(self) -> list[Path]:
        return list(self.rows)

    def notes(self) -> list[str]:
        """What a reader of the files must know, a sentence each."""
        return [f"{self.older} records that were tried again later are left out"] if self.older else []

    def as_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "files": [str(file) for file in self.rows],
            "rows": {file.stem: count for file, count in self.rows.items()},
            "older_left_out": self.older,
        }


def export_parquet(run: Path, out: Path) -> ParquetExport:
    """Write a run's items, answers and judgments under `out`, some thousand rows at a time.

    Raises:
        BadInput: not a run directory or damaged records, a file that is there already or can not be written, or no
            pyarrow.
    """
    run_manifest(run)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise BadInput("Parquet is written with pyarrow: pip install 'bench[parquet]'") from None
    paths = {kind: out / f"{Path(kind.records).stem}.parquet" for kind in KINDS}
    for path in paths.values():
        if path.exists():
            raise BadInput(f"{path} is there already: choose another --out")
    rows: dict[Path, int] = {}
    older = 0
    for kind, path in paths.items():
        superseded = _superseded(run / kind.records, kind)
        older += len(superseded)
        try:
            out.mkdir(parents=True, exist_ok=True)
            rows[path] = _write(path, run / kind.records, kind, superseded)
        except OSError as error:
            raise BadInput(f"can not write {path}: {error.strerror or error}; choose another --out") from None
    return ParquetExport(run, rows, older)


def _superseded(records: Path, kind: Kind) -> set[int]:
    """Where the records begin that a newer one of the same key follows."""
    newest: dict[Any, int] = {}
    older = set()
    key_of = itemgetter(*kind.key)
    for offset, record in read_records(records, kind.fields):
        key = key_of(record)
        if (before := newest.get(key)) is not None:
            older.add(before)
        newest[key] = offset
    return older


def _write(path: Path, records: Path, kind: Kind, superseded: set[int]) -> int:
    """Write one table by way of a synced temporary file beside it; the number of its rows."""
    import pyarrow.parquet as pq

    schema = _schema(kind)
    kept = (record for offset, record in read_records(records, kind.fields) if offset not in superseded)
    count = 0
    with replaced(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in _tables(kept, records, kind, schema):
            writer.write_table(table)
            count += table.num_rows
    return count


def _tables(kept: Iterator[dict[str, Any]], records: Path, kind: Kind, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows, some thousand at a time; none at all make no table."""
    import pyarrow as pa

    while batch := list(islice(kept, ROWS)):
        try:
            for record in batch:
                record |= record.get("token_stats") or {}
            columns = [
                pa.array([_plain(column, record.get(column)) for record in batch], type=schema.field(column).type)
                for column in kind.columns
            ]
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"{records} holds a record with a value of another type: {error}") from None
        yield pa.table(columns, schema=schema)


def _plain(column: str, value: Any) -> Any:
    """A value as its column holds it."""
    if column in AS_JSON:
        # Escapes of ASCII, so that lone surrogates are valid.
        return None if value is None else json.dumps(value)
    if isinstance(value, str):
        return legible(value)
    return [legible(turn) for turn in value] if column == "turns" else value


def _schema(kind: Kind) -> pa.Schema:
    import pyarrow as pa

    types = {
        **dict.fromkeys(kind.columns, pa.string()),
        **dict.fromkeys(WHOLE_NUMBERS, pa.int64()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        "turns": pa.list_(pa.string()),
    }
    about = {"bench_schema_version": str(SCHEMA_VERSION)}
    return pa.schema([(column, types[column]) for column in kind.columns], metadata=about)
