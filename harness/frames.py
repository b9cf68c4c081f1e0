"""A run directory as tables: one row an item, an answer, a judgment. Texts are not kept.

Who asks how answers read has their texts measured as they stream by, once; who asks what judges said does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.records import parser, read_records
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS
from tasks.attacks import NONE
from tasks.collapse.measures import WORTH_COMPILING, Way, can_compile, measure
from tasks.collapse.variety import BUDGET_WORDS
from tasks.collapse.words import head
from tasks.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["task", "item", "sample", "turn"]
ITEM_COLUMNS = ["task", "item", "category", "turns", "samples", "attack", "request"]
ANSWER_COLUMNS = [*PLACE, "finish", "error", "token_entropy", "entropy_slope", "top_1_share"]
STORED = [*PLACE, "finish", "error", "token_entropy", "token_stats"]
"""What of an answer's record `ANSWER_COLUMNS` are made of."""
MEASURED_COLUMNS = [
    "degenerate", "loop", "empty", "rep_1", "rep_2", "rep_3", "rep_4", "compression_ratio", "word_entropy",
    "non_lexical", "prompt_copy", "copied", "words", "whole", "opener", "closer", "sketch", "head_of_text",
]  # fmt: skip
JUDGMENT_COLUMNS = [*PLACE, "judge", "repeat", "score", "label", "error", "unjudged"]
OBJECTS = {
    "task", "item", "category", "attack", "request", "finish", "error", "judge", "label", "unjudged", "head_of_text",
    "sketch", "whole", "opener", "closer",
}  # fmt: skip
"""Columns of texts, and of hashes, which a merge must not turn into floats."""
NAMED = OBJECTS - {"head_of_text", "sketch", "whole", "opener", "closer"}
"""Columns of texts of which many rows have the same."""
Prompts = dict[tuple[str, str], Sequence[str]]
"""The turns of each task's items."""
Begins = dict[tuple[str, str], int]
"""Where in items.jsonl the record of each task's item begins."""
NOT_SAID = ("error", "missing")
"""How an answer ended of which there is no text to measure."""
LETTERS_AT_ONCE = 1 << 24
"""Characters of answers after which a batch is full, however few they are."""
Column = Sequence[Any] | NDArray[Any]
Batch = Mapping[str, Column]
"""Some rows of a table, a column each."""


class Names(dict[str, str]):
    """Each text that many rows have, once, as a table shows it."""

    def __missing__(self, said: str) -> str:
        self[said] = shown = legible(said)
        return shown


@dataclass(frozen=True)
class RunFrames:
    """`items` are those asked; `answers` and `judgments` hold the newest record of each key.

    Items that put one request under several attacks share its `request`; any other item is a request of its own.
    """

    items: pd.DataFrame
    answers: pd.DataFrame
    judgments: pd.DataFrame
    measured: Callable[[], pd.DataFrame]
    """Gives `texts`; tables that are cut from these share it, so that nothing is measured twice."""

    @property
    def texts(self) -> pd.DataFrame:
        """`answers` with the collapse measures of their texts, which are read and measured when first asked for."""
        return self.measured()


def read_frames(directory: Path) -> RunFrames:
    """Read a run's records.

    Raises:
        BadInput: a line that is no record.
    """
    names = Names()
    asked = map(_counted, _records(directory / ITEMS, ITEM_FIELDS))
    items = _frame(_columns(asked, ITEM_COLUMNS), ITEM_COLUMNS, names)
    answers, judgments = (directory / name for name in RECORDS)
    given = _frame(map(_with_stats, _columns(_records(answers, ANSWER_FIELDS), STORED)), ANSWER_COLUMNS, names)
    judged = _frame(_columns(_records(judgments, JUDGMENT_FIELDS), JUDGMENT_COLUMNS), JUDGMENT_COLUMNS, names)
    newest = _newest(given, PLACE)
    kept = _rows(given, newest)

    @cache
    def measured() -> pd.DataFrame:
        measures = _frame(_measured(answers, directory / ITEMS, len(newest)), MEASURED_COLUMNS, names)
        if len(measures) < len(newest):
            raise BadInput(f"{answers} was cut while it was read: read the run again")
        return _beside(kept, _rows(measures, newest))

    return RunFrames(items, kept, _rows(judged, _newest(judged, [*PLACE, "judge", "repeat"])), measured)


def _records(path: Path, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    return (record for _, record in read_records(path, fields))


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


def _columns(records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[Batch]:
    """The fields of some records at a time, a column each; what else a record holds is let go of at once."""
    fields = itemgetter(*columns)

    def taken(record: Mapping[str, Any]) -> tuple[Any, ...]:
        try:
            found: tuple[Any, ...] = fields(record)
            return found
        except KeyError:  # of an earlier version, which lacks a field
            return tuple(map(record.get, columns))

    rows = map(taken, records)
    while batch := list(islice(rows, WORTH_COMPILING)):
        yield dict(zip(columns, zip(*batch, strict=True), strict=True))


def _with_stats(batch: Batch) -> Batch:
    """Some answers, with what is wanted of the statistics of their tokens in columns of its own."""
    stats = [known or {} for known in batch["token_stats"]]
    return {**batch, **{name: [known.get(name) for known in stats] for name in ("entropy_slope", "top_1_share")}}


def _prompts(items: Path, begins: Begins, answers: Iterable[Mapping[str, Any]]) -> Prompts:
    """The turns of the items of some answers, read again: the prompts of a big run are as long as its answers."""
    wanted = {place: begins[place] for answer in answers if (place := (answer["task"], answer["item"])) in begins}
    if not wanted:
        return {}
    parsed, found = parser(), {}
    with items.open("rb") as file:
        for place, offset in sorted(wanted.items(), key=itemgetter(1)):
            file.seek(offset)
            found[place] = parsed(file.readline())["turns"]
    return found


def _measured(path: Path, items: Path, count: int) -> Iterator[Batch]:
    """The collapse measures of the first `count` answers; where nothing was said, nothing is measured.

    Of the text only its first words stay, for measures of the set. In batches: many are measured faster than one.
    """
    begins = {(record["task"], record["item"]): offset for offset, record in read_records(items, ITEM_FIELDS)}
    way: Way = "auto"
    for batch in _batches(islice(_records(path, ANSWER_FIELDS), count)):
        said = [place for place, record in enumerate(batch) if record["finish"] not in NOT_SAID]
        texts = [batch[place]["text"] for place in said]
        prompts = _prompts(items, begins, batch)
        asked = [prompt_of(prompts, *(batch[place][key] for key in ("task", "item", "turn"))) for place in said]
        found = measure(texts, way=way, prompts=asked)
        # Once it is loaded, the compiled pass is worth it for the last few, too.
        way = "compiled" if len(texts) >= WORTH_COMPILING and can_compile() else way
        columns = {
            "degenerate": found.degenerate, "loop": found.loop, "empty": found.empty,
            **{f"rep_{n}": found.rep[:, n - 1] for n in (1, 2, 3, 4)},
            "compression_ratio": found.compression_ratio, "word_entropy": found.entropy,
            "non_lexical": found.non_lexical, "prompt_copy": found.prompt_copy, "copied": found.copied,
            "words": found.words,
            "whole": found.whole.tolist(), "opener": found.opener.tolist(), "closer": found.closer.tolist(),
            "sketch": [sketch.tobytes() for sketch in found.sketch],
            "head_of_text": [
                (head(text, BUDGET_WORDS) if words >= BUDGET_WORDS else None) or (text or "").strip()
                for text, words in zip(texts, found.words.tolist(), strict=True)
            ],
        }  # fmt: skip
        if len(said) < len(batch):
            columns = {name: _spread(column, said, len(batch)) for name, column in columns.items()}
        yield columns


def _batches(answers: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Answers at a time of which so many are measured as are worth compiling for; fewer where they are long."""
    batch: list[dict[str, Any]] = []
    said = letters = 0
    for record in answers:
        batch.append(record)
        said += record["finish"] not in NOT_SAID
        letters += len(record["text"] or "")
        if said >= WORTH_COMPILING or letters >= LETTERS_AT_ONCE or len(batch) >= 4 * WORTH_COMPILING:
            yield batch
            batch, said, letters = [], 0, 0
    if batch:
        yield batch


def _spread(column: Column, places: Sequence[int], count: int) -> list[Any]:
    """A column of `count` rows that has these values in these places, and None elsewhere."""
    spread: list[Any] = [None] * count
    for place, value in zip(places, column.tolist() if isinstance(column, np.ndarray) else column, strict=True):
        spread[place] = value
    return spread


def _frame(batches: Iterable[Batch], columns: Sequence[str], names: Names) -> pd.DataFrame:
    """One table of all batches. A text that many rows have is held once, in `names`."""
    import pandas as pd

    held: dict[str, list[pd.Series[Any]]] = {column: [] for column in columns}
    for batch in batches:
        for name in columns:
            held[name].append(_series(name, batch[name], names))
    # Column by column, so that no more than one is there twice.
    return pd.DataFrame({name: _joined(name, held.pop(name)) for name in columns}, copy=False)


def _series(name: str, column: Column, names: Names) -> pd.Series[Any]:
    import pandas as pd

    if isinstance(column, np.ndarray):
        return pd.Series(column)
    kinds = set(map(type, column))
    if name in NAMED and kinds & {list, dict}:
        # Of a damaged record: as a text it is no label, and can be told from others.
        column = [str(value) if isinstance(value, list | dict) else value for value in column]
        kinds.add(str)
    if str in kinds:
        shown = names.__getitem__ if name in NAMED else legible
        column = (
            list(map(shown, column))
            if kinds == {str}
            else [shown(value) if isinstance(value, str) else value for value in column]
        )
    return pd.Series(column, dtype=object if name in OBJECTS else None)


def legible(said: str) -> str:
    """A text with its lone surrogates, which models and files hold, as escapes: pandas can group by it."""
    return said if said.isascii() else said.encode("utf-8", "backslashreplace").decode()


def _joined(name: str, parts: list[pd.Series[Any]]) -> pd.Series[Any]:
    """The parts of a column as one, of the type that the whole has: a part without a value says nothing of it."""
    import pandas as pd

    kinds = {part.dtype for part in parts}
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), np.dtype):
        return pd.Series(np.concatenate([part.to_numpy() for part in parts]), dtype=kind)
    return pd.Series([value for part in parts for value in part.tolist()], dtype=object if name in OBJECTS else None)


def _newest(frame: pd.DataFrame, key: list[str]) -> NDArray[np.bool_]:
    """Which rows are the last of their key: a failed answer or judgment is followed by another try."""
    return ~frame.duplicated(key, keep="last").to_numpy()


def _rows(frame: pd.DataFrame, kept: NDArray[np.bool_]) -> pd.DataFrame:
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _beside(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """The columns of both, row by row; none is copied."""
    import pandas as pd

    return pd.DataFrame({name: frame[name] for frame in (left, right) for name in frame}, copy=False)
