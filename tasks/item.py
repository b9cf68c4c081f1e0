"""Items: one prompt script each, read from JSON lines and validated row by row.

A row of an item file:

    {"id": "math-03", "category": "math", "turns": ["What is 12 * 12? …", "Now halve it. …"],
     "checks": [[{"kind": "number", "value": 144}, {"kind": "words", "max": 40}],
                [{"kind": "number", "value": 72}, {"kind": "words", "max": 40}]],
     "metadata": {"source": "bench"}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.checks import Check, parse_check
from tasks.errors import BadInput
from tasks.tables import RowError, Table, json_lines


@dataclass(frozen=True)
class Item:
    """One prompt script. `turns` are the user's messages; `reference` and `checks`, where given, have one entry a turn.

    `replies` are stored answers by sample, then turn, for an item that comes out of a file of answers; None stands
    where the file has no reply, as opposed to an empty one.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] = ()
    checks: tuple[tuple[Check, ...], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    replies: tuple[tuple[str | None, ...], ...] = ()

    def prompt(self, turn: int) -> str:
        """The user's message of a turn (from 1); "" for a turn that the item has not."""
        return self.turns[turn - 1] if 0 < turn <= len(self.turns) else ""

    def goal(self, turn: int) -> str:
        """What the user is after in a turn: its prompt without the attack around it, where `metadata` has the goal.

        An attack is in the last turn.
        """
        goal = self.metadata.get("goal") if turn == len(self.turns) else None
        return goal if isinstance(goal, str) and goal.strip() else self.prompt(turn)


def item_row(item: Item) -> dict[str, Any]:
    """The row that `parse_item` would make this item of. Replies are no part of it: they are answers, not questions."""
    return {
        "id": item.id,
        "category": item.category,
        "turns": list(item.turns),
        "reference": list(item.reference),
        "checks": [[check.row for check in of_turn] for of_turn in item.checks],
        "metadata": item.metadata,
    }


def read_items(path: Path) -> Iterator[Item]:
    """Yield the items of a JSON-lines file one at a time, checking each row.

    Raises:
        BadInput: a bad row, a repeated id, or no row at all; file and line are named.
    """
    return build_items(json_lines(path), lambda row, _: parse_item(row))


def build_items(table: Table, build: Callable[[Mapping[str, Any], int], Item]) -> Iterator[Item]:
    """Yield the items that `build` makes of the rows of a table; it gets a row and its number from 1.

    `build` refuses a row by a RowError or another ValueError, in words that go on from "the row …".

    Raises:
        BadInput: a row that is no object or is refused, a repeated id, or no row at all; file and line are named.
    """
    first_seen: dict[str, int] = {}
    for index, (number, row) in enumerate(table.rows, start=1):
        place = table.place(number)
        if not isinstance(row, dict):
            raise BadInput(f"{place}: the row is not a JSON object")
        try:
            item = build(row, index)
        except ValueError as error:
            raise BadInput(f"{place}: the row {error}") from None
        if item.id in first_seen:
            raise BadInput(f"{place}: the row repeats the id {item.id!r} of {table.unit} {first_seen[item.id]}")
        first_seen[item.id] = number
        yield item
    if not first_seen:
        raise BadInput(f"{table.path}: no items in this file")


def parse_item(row: Mapping[str, Any]) -> Item:
    """Build an item from a row; raises ValueError (RowError but for checks), in words for whoever wrote the row."""
    name, category = id_in(row, "id"), text_in(row, "category")
    if "turns" not in row:
        raise RowError("has no 'turns'")
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise RowError("'turns' must be a list of one or more non-empty strings")
    reference = _by_turn(row, "reference", len(turns))
    if not all(isinstance(text, str) for text in reference):
        raise RowError("'reference' must be a list of strings")
    checks = _by_turn(row, "checks", len(turns))
    if not all(isinstance(of_turn, list) and all(isinstance(check, dict) for check in of_turn) for of_turn in checks):
        raise RowError("'checks' must be a list of lists of objects, one list a turn")
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise RowError("'metadata' must be an object")
    return Item(
        id=name,
        category=category,
        turns=tuple(turns),
        reference=tuple(reference),
        checks=tuple(tuple(parse_check(check) for check in of_turn) for of_turn in checks),
        metadata=metadata,
    )


def _by_turn(row: Mapping[str, Any], key: str, n_turns: int) -> list[Any]:
    """The list under `key`, with one entry a turn; absent, null and [] all mean that there is none."""
    values = row.get(key)
    if values is None or values == []:
        return []
    if not isinstance(values, list):
        raise RowError(f"{key!r} must be a list with one entry a turn")
    if len(values) != n_turns:
        raise RowError(f"has {n_turns} turns but {len(values)} entries in {key!r}")
    return values


def id_in(row: Mapping[str, Any], key: str) -> str:
    """The id under `key`, text or a whole number, as text; raises RowError for anything else."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_in(row, key).strip()


def text_in(row: Mapping[str, Any], key: str) -> str:
    """The text under `key`, just as it stands there; raises RowError when it is missing, blank or no text."""
    if key not in row:
        raise RowError(f"has no {key!r}")
    value = row[key]
    if value is not None and not isinstance(value, str):
        raise RowError(f"has a value for {key!r} that is not text")
    if not value or not value.strip():
        raise RowError(f"has no value for {key!r}")
    return value
