"""Items: one prompt script each, read from JSON lines and validated row by row.

A row of an item file:

    {"id": "math-03", "category": "math", "turns": ["What is 12 * 12? …", "Now halve it. …"],
     "checks": [[{"kind": "number", "value": 144}, {"kind": "words", "max": 40}],
                [{"kind": "number", "value": 72}, {"kind": "words", "max": 40}]],
     "metadata": {"source": "bench"}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.checks import Check, parse_check
from tasks.errors import BadInput


@dataclass(frozen=True)
class Item:
    """One prompt script. `turns` are the user's messages; `reference` and `checks`, where given, have one entry a turn."""

    id: str
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] = ()
    checks: tuple[tuple[Check, ...], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def parse_item(row: Mapping[str, Any]) -> Item:
    """Build an item from a row; raises ValueError, in words for the person who wrote the row."""
    for key in ("id", "category", "turns"):
        if key not in row:
            raise ValueError(f"has no {key!r}")
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise ValueError("'turns' must be a list of one or more non-empty strings")
    checks = row.get("checks", [])
    if checks and len(checks) != len(turns):
        raise ValueError(f"has {len(turns)} turns but checks for {len(checks)}")
    reference = row.get("reference", [])
    if reference and len(reference) != len(turns):
        raise ValueError(f"has {len(turns)} turns but references for {len(reference)}")
    return Item(
        id=str(row["id"]),
        category=str(row["category"]),
        turns=tuple(turns),
        reference=tuple(map(str, reference)),
        checks=tuple(tuple(parse_check(check) for check in of_turn) for of_turn in checks),
        metadata=row.get("metadata", {}),
    )


def read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of a JSON-lines file; blank lines are skipped.

    Raises:
        BadInput: a line is not JSON, or the file can not be read; file and line are named.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        raise BadInput(f"{path}:{number}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"can not read {path}: {error}") from None


def read_items(path: Path) -> Iterator[Item]:
    """Yield the items of a JSON-lines file one at a time, checking each row.

    Raises:
        BadInput: a bad row, a repeated id, or no row at all; file and line are named.
    """
    first_seen: dict[str, int] = {}
    for number, row in read_rows(path):
        try:
            if not isinstance(row, dict):
                raise ValueError("is not a JSON object")
            item = parse_item(row)
            if item.id in first_seen:
                raise ValueError(f"repeats the id {item.id!r} of line {first_seen[item.id]}")
        except ValueError as error:
            raise BadInput(f"{path}:{number}: the row {error}") from None
        first_seen[item.id] = number
        yield item
    if not first_seen:
        raise BadInput(f"{path}: no items in this file")
