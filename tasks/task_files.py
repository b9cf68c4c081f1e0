"""Tasks that somebody wrote as a YAML file:

    name: capitals
    version: "1"
    about: capitals of countries
    licence: CC0-1.0
    items: capitals.csv              # beside this file, or the rows themselves as a list
    columns: {category: continent, reference: capital}
    turns:
      - What is the capital of {country}?
    settings: {max_new_tokens: 64}
    scoring: ratings
    judge: closeness@openai:gpt-4o

A row of the items is a whole item ("turns" and all, as in `tasks.item`), or a row of a table: `turns` are then texts
with {columns} of it, or one `prompt` column is the only turn, and `checks` are a list a turn, with {columns}, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from tasks.checks import parse_check
from tasks.errors import BadInput, suggestion
from tasks.harm_sets import UNCATEGORISED, read_harm_items
from tasks.item import Item, build_items, id_in, parse_item
from tasks.paths import user_path
from tasks.tables import RowError, Table, read_table
from tasks.task import KINDS, OTHERWISE, Scoring, TaskKind, TaskOptions, load_task
from tasks.yaml_file import Part, open_yaml, value_of, why_no_text

KEYS = (
    "name", "version", "about", "licence", "items", "columns", "turns", "checks", "settings", "scoring", "judge",
    "label", "attacks",
)  # fmt: skip
NEEDED = {
    "name": "what --tasks calls it",
    "version": 'such as version: "1"',
    "about": "a line that says what is asked",
    "licence": "that of the items, such as CC0-1.0",
    "items": "a file beside this one, such as capitals.csv, or a list of items",
    "scoring": "ratings, attack_success, over_refusal or texts",
}
DECISIVE = ("name", "version", "columns", "turns", "checks", "settings", "scoring", "label", "attacks")
"""What a task's definition is hashed over: its items are hashed by themselves, its judge says what it is, and the rest
only describes it."""
ROLES = ("id", "category", "prompt", "reference", "label")
SCORINGS: tuple[Scoring, ...] = ("ratings", "attack_success", "over_refusal", "texts")
assert set(SCORINGS) < set(get_args(Scoring))
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
RESERVED = ("all", "check", "run", "model")
"""Words that stand for something else where a task may be named."""
NO_CATEGORIES = "all"
"""The category of items that have none: they are in no group but that of all."""
MAX_NEW_TOKENS = 512
LONGEST_ANSWER, MOST_SAMPLES, HOTTEST = 131_072, 1000, 5.0
OF_LM_EVAL = frozenset({"task", "group", "dataset_path", "doc_to_text", "doc_to_target", "output_type", "include"})
"""Keys that tasks of lm-eval have, and ours have not."""
_COLUMN = re.compile(r"\{(\w+)\}")


def read_task_file(path: Path) -> TaskKind:
    """The task that a file defines; its items are not read yet.

    Raises:
        BadInput: it can not be read, or is no task: the first fault, with its line.
    """
    top = open_yaml(path)
    kind = task_in(top)
    top.refuse_faults(f"bench tasks check {path}")
    return kind


def check_task_file(path: Path) -> list[str]:
    """What is wrong with a task file, a sentence a fault, with its line; then, where it is sound, with its items."""
    try:
        top = open_yaml(path)
        kind = task_in(top)
        if top.sound:
            load_task(kind, TaskOptions())
    except BadInput as error:
        return [str(error)]
    return top.sentences


def is_of_lm_eval(top: Part) -> bool:
    """Whether a YAML file is a task (or a group of tasks) of lm-eval's."""
    return bool(OF_LM_EVAL & set(top.keys))


def task_in(top: Part) -> TaskKind:
    """The task in a file that was opened; what is wrong with it is in `top.faults`, and the task then of no use."""
    top.only(KEYS)
    for key, example in NEEDED.items():
        top.need(key, example)
    name = top.text("name")
    check_name(top, name, tuple(KINDS))
    settings = top.part("settings", "max_new_tokens, temperature and samples")
    if settings:
        settings.only(("max_new_tokens", "temperature", "samples"))
    temperatures = _by_category(settings, "temperature", 0.0, HOTTEST, whole=False)
    samples = {key: int(n) for key, n in _by_category(settings, "samples", 1, MOST_SAMPLES, whole=True).items()}
    if settings and samples and not temperatures:
        settings.fault(
            settings.at("samples"), "several samples without a temperature are all the same: add temperature"
        )
    tokens = settings.number("max_new_tokens", 1, LONGEST_ANSWER, whole=True) if settings else None
    scoring = _scoring(top)
    columns, turns = _columns(top), top.texts("turns", "texts, one a turn")
    checks = _checks(top, len(turns) or 1)
    reader = _RowReader(
        scoring, columns, tuple(turns), checks, labelled="label" in columns or top.at("label") is not None
    )
    data, read = _items(top, reader)
    return TaskKind(
        name=name,
        version=top.text("version"),
        scoring=scoring,
        max_new_tokens=int(tokens or MAX_NEW_TOKENS),
        about=" ".join(top.text("about").split()),
        data=data,
        reader=read,
        temperatures=temperatures,
        samples=samples,
        judge=top.text("judge") or None,
        label=top.text("label") or None,
        licence=" ".join(top.text("licence").split()),
        attacks=_attacks(top, scoring),
        origin=str(top.path),
        definition=definition_of(top),
    )


def check_name(top: Part, name: str, built_in: Sequence[str]) -> None:
    """A name can be written on a command line, and is nobody else's."""
    if name and not NAME.fullmatch(name):
        top.fault(
            top.at("name"), f"name is made of letters, digits, - and _, and begins with a letter: not {name[:60]!r}"
        )
    elif name in built_in or name in RESERVED:
        what = "is built in" if name in built_in else "has a meaning of its own"
        top.fault(top.at("name"), f"{name} {what}: choose another name")


def definition_of(top: Part) -> str:
    """A hash of all in a task file that decides what is asked and how it is graded, its items aside."""
    decisive = {key.value: value_of(node) for key, node in top.node.value if key.value in DECISIVE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _scoring(top: Part) -> Scoring:
    said = top.word("scoring", SCORINGS)
    return next((scoring for scoring in SCORINGS if scoring == said), "texts")


def _by_category(settings: Part | None, key: str, low: float, high: float, *, whole: bool) -> dict[str, float]:
    """One number for all items, or numbers by category."""
    node = settings.at(key) if settings else None
    if settings is None or node is None:
        return {}
    if node.id != "mapping":
        value = settings.number(key, low, high, whole=whole)
        return {} if value is None else {OTHERWISE: value}
    categories = settings.part(key, "numbers by category")
    assert categories
    values = {name: categories.number(name, low, high, whole=whole) for name in categories.keys}
    return {name: value for name, value in values.items() if value is not None}


def _checks(top: Part, turns: int) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """The checks of each turn, with columns still to be filled in."""
    found = [value_of(node) for node in top.entries("checks", "lists of checks, one a turn")]
    if any(not isinstance(of_turn, list) or not all(isinstance(it, dict) for it in of_turn) for of_turn in found):
        top.fault(top.at("checks"), "checks is a list of lists of checks, one a turn: [[{kind: number, value: 4}]]")
        return ()
    if found and len(found) != turns:
        top.fault(top.at("checks"), f"there are checks for {len(found)} turns, and {turns} turns: write a list a turn")
        return ()
    return tuple(map(tuple, found))


def _attacks(top: Part, scoring: Scoring) -> tuple[str, ...] | None:
    node = top.at("attacks")
    if node is None:
        return None
    if scoring != "attack_success":
        top.fault(node, "attacks wrap harmful requests: only a task with scoring: attack_success has them")
    if isinstance(value := value_of(node), bool):
        return None if value else ()
    from tasks.attacks import BUILT_IN as ATTACKS

    if node.id != "sequence":
        top.fault(node, f"attacks is true, false or a list of {', '.join(ATTACKS)}")
        return ()
    allowed = top.texts("attacks", "attacks")
    for name in allowed:
        if name not in ATTACKS:
            top.fault(node, f"no attack {name[:60]!r}: {suggestion(name[:60], ATTACKS, 'attacks')}")
    return tuple(allowed)


# --- what the items are ---


def _columns(top: Part) -> dict[str, tuple[str, ...]]:
    """The columns of each role: one, or of references one a turn."""
    part = top.part("columns", f"the columns of {', '.join(ROLES)}")
    if part is None:
        return {}
    part.only(ROLES)
    columns = {}
    for role in part.keys:
        node = part.at(role)
        several = role == "reference" and node.id == "sequence"
        names = part.texts(role, "columns, one a turn") if several else [part.text(role)]
        columns[role] = tuple(filter(None, names))
    if "prompt" in columns and top.at("turns") is not None:
        part.fault(part.at("prompt"), "the prompt is the only turn, and there are turns: leave one of the two out")
    return {role: names for role, names in columns.items() if names}


@dataclass(frozen=True)
class _RowReader:
    """Makes items of the rows of a table. Without `turns` a row is a whole item, or holds its one turn as `prompt`."""

    scoring: Scoring
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    turns: tuple[str, ...] = ()
    checks: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    labelled: bool = False
    """Whether rows must have a label, by which the task chooses among them."""

    def file(self, path: Path) -> Iterator[Item]:
        """The items of a file or folder."""
        if not (self.turns or self.columns or self.checks) and self.scoring in ("attack_success", "over_refusal"):
            return read_harm_items(path)
        return self.table(read_table(path))

    def table(self, table: Table) -> Iterator[Item]:
        self._refuse_missing(table, set(table.columns))
        return build_items(table, self._whole if self._is_whole(table.columns) else self._row)

    def _is_whole(self, columns: Collection[str]) -> bool:
        return not self.turns and "turns" in columns

    def _refuse_missing(self, table: Table, columns: set[str]) -> None:
        """Columns that are spoken of and not there: said once, not of the first row."""
        named = [name for names in self.columns.values() for name in names]
        named += [name for text in _texts_in([self.turns, self.checks]) for name in _COLUMN.findall(text)]
        if self._is_whole(columns):
            if self.columns or self.checks:
                raise BadInput(f"{table.path}: its rows have 'turns' and are whole items: leave out columns and checks")
            return
        if not self.turns and "prompt" not in self.columns:
            named.append("prompt")
        named += [role for role in ("id", *(["label"] if self.labelled else ())) if role not in self.columns]
        for name in named:
            # Rows of JSON may lack keys of others, so that the first row does not speak for all.
            if name not in columns and (table.kind == "csv" or columns):
                where = "header" if table.kind == "csv" else "first row"
                near = suggestion(name, sorted(columns), "columns")
                raise BadInput(f"{table.path}: no column {name!r} in its {where}: {near}")

    def _whole(self, row: Mapping[str, Any], _: int) -> Item:
        return parse_item(row)

    def _row(self, row: Mapping[str, Any], _: int) -> Item:
        name, prompt = id_in(row, self._one("id")), self._one("prompt")
        turns = [_filled(text, row) for text in self.turns] or [_cell(row, prompt)]
        if blank := [number for number, turn in enumerate(turns, start=1) if not turn.strip()]:
            raise RowError(f"has nothing to ask in turn {blank[0]}")
        category, label = self._one("category"), self._one("label")
        metadata = {"source": "task file"}
        if self.labelled:
            metadata["label"] = _cell(row, label)
        return Item(
            id=name,
            category=(_cell(row, category, "") or UNCATEGORISED) if category in row else NO_CATEGORIES,
            turns=tuple(turns),
            reference=self._references(row, len(turns)),
            checks=tuple(tuple(parse_check(_filled_in(check, row)) for check in of_turn) for of_turn in self.checks),
            metadata=metadata,
        )

    def _one(self, role: str) -> str:
        return self.columns.get(role, (role,))[0]

    def _references(self, row: Mapping[str, Any], turns: int) -> tuple[str, ...]:
        names = self.columns.get("reference", ())
        if names and len(names) != turns:
            raise RowError(f"has {turns} turns, and columns.reference names {len(names)} columns: name one a turn")
        texts = tuple(_cell(row, name, "") for name in names)
        return texts if any(texts) else ()


def _filled(text: str, row: Mapping[str, Any]) -> str:
    """What is put in is never searched for columns again."""
    return _COLUMN.sub(lambda found: _cell(row, found[1]), text)


def _filled_in(value: Any, row: Mapping[str, Any]) -> Any:
    """A check, or a part of one, with the columns in its texts. Tables hold texts: a `number` is made one of them."""
    if isinstance(value, str):
        return _filled(value, row)
    if isinstance(value, list):
        return [_filled_in(entry, row) for entry in value]
    if not isinstance(value, dict):
        return value
    check = {key: _filled_in(entry, row) for key, entry in value.items()}
    if check.get("kind") == "number" and isinstance(number := check.get("value"), str):
        try:
            check["value"] = float(number)
        except ValueError:
            raise RowError(f"has {number[:60]!r} where the check needs a number") from None
    return check


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(entry)


def _cell(row: Mapping[str, Any], column: str, missing: str | None = None) -> str:
    """The text in a column; `missing` stands for what is not there, which is refused where that is None."""
    value = row.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and (value.strip() or missing is not None):
        return value
    if value is None and missing is not None:
        return missing
    if value is None or isinstance(value, str):
        raise RowError(f"has no value for {column!r}")
    raise RowError(f"has a value for {column!r} that is not text: put it in quotes")


def _items(top: Part, reader: _RowReader) -> tuple[Path, Callable[[Path], Iterator[Item]]]:
    """Where the items lie, and how they are read; another file, given by --data, is read in the same way."""
    node = top.at("items")
    if node is None or node.id != "sequence":
        return _items_file(top), reader.file
    rows = []
    for entry in top.entries("items", "items"):
        if entry.id != "mapping":
            top.fault(entry, "an item has keys with values, such as {id: fr, country: France}")
        else:
            rows.append((entry.start_mark.line + 1, value_of(entry)))
    if top.sound:
        _check_rows(top, reader, rows)
    return top.path, partial(_inline, top.path, rows, reader)


def _inline(own: Path, rows: Sequence[tuple[int, Any]], reader: _RowReader, path: Path) -> Iterator[Item]:
    if path != own:
        return reader.file(path)
    columns = tuple(dict.fromkeys(key for _, row in rows for key in row))
    return reader.table(Table(own, "jsonl", columns, iter(rows)))


def _check_rows(top: Part, reader: _RowReader, rows: Sequence[tuple[int, Any]]) -> None:
    try:
        for _ in _inline(top.path, rows, reader, top.path):
            pass
    except BadInput as error:
        top.faults.append((0, str(error)))


def _items_file(top: Part) -> Path:
    """The file named by `items`. One beside the task stays below its folder; elsewhere it is named by its whole path,
    so that nobody's folder of tasks reads a file that its user did not mean to show it."""
    node = top.at("items")
    text = top.text("items") if node is not None and not why_no_text(node) else ""
    if not text:
        if node is not None:
            top.fault(node, "items is a file beside this one, or a list of items")
        return top.path
    try:
        named = user_path(text)
    except BadInput as error:
        top.fault(node, str(error))
        return top.path
    path = named if named.is_absolute() else top.path.parent / named
    if not named.is_absolute() and not path.resolve().is_relative_to(top.path.parent.resolve()):
        top.fault(node, f"items: {text} lies outside the folder of this file: move it there, or write its whole path")
    elif not path.exists():
        top.fault(node, f"items: there is no {path}")
    return path
