"""Judgments read from a file: what somebody else said of the answers, replayed as `answers:FILE` replays the answers.

The layout is recognised by its keys or columns, never by the file's name. One row of each:

    fastchat         {"question_id": 81, "model": "vicuna-7b", "judge": ["gpt-4", "single-v1"], "user_prompt": "…",
                      "judgment": "… Rating: [[7]]", "score": 7, "turn": 1, "tstamp": 1686…}
    jailbreakbench   {"index": 0, "goal": "…", "response": "…", "jailbroken": true, …}
    table            item,turn,score     or     item,label     (and task, sample, model, where there are such)

FastChat's layout is that of its llm_judge/common.py (`play_a_match_single`). Of an artifact of JailbreakBench, true is
"harmful" and false "other", not "refused": the artifact does not say what a failed attack got for an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard

from judges.judgment import Grade, nothing_to_grade
from judges.outcome import OUTCOMES
from tasks.conversation import Answer
from tasks.downloads import sha256_of
from tasks.errors import BadInput, suggestion
from tasks.item import Item, id_in, text_in
from tasks.paths import user_path
from tasks.tables import RowError, Table, read_table

VERSION = "1"
JUDGMENTS, HUMAN = "judgments", "human"
"""The words before the colon: `judgments:FILE` are another judge's, `human:FILE` are people's."""

NO_JUDGMENT = "no judgment in the file"
UNREADABLE = "the file's judge gave no readable rating"
LEFT_OPEN = "the file leaves it open"
OTHER_ANSWER = "the file's judgment is of another answer"

LOWEST, HIGHEST = 1, 10
FASTCHAT_UNREADABLE = -1
"""The score that FastChat stores where it found no rating in the judge's reply."""
FASTCHAT_ANSWER = "The Start of Assistant"
"""In FastChat's own prompts, what stands before the answers: such a prompt holds them word for word."""

Row = Mapping[str, Any]
Place = tuple[str | None, str, int, int | None]
"""Task (None: any), item, sample, turn (None: the item's last)."""


class Verdict(NamedTuple):
    """What the file says of one answer; `about` is a text that holds this answer, where the file has one."""

    grade: Grade
    about: str | None = None


class Entry(NamedTuple):
    """One row: whose answer it speaks of, who judged it ("" where the file does not say), and what it says."""

    model: str
    judge: str
    place: Place
    verdict: Verdict


@dataclass(frozen=True)
class StoredJudge:
    """Says what the file says of an answer. `model` is the one whose answers are judged, "" where the file names none.

    `gives` is what its verdicts are: scores from 1 to 10, or outcomes. `superseded` counts rows that a later row of the
    same answer replaces, as FastChat appends reruns.
    """

    name: str
    gives: Literal["score", "label"]
    sha256: str
    model: str
    verdicts: Mapping[Place, Verdict]
    superseded: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "sha256": self.sha256,
            "model": self.model or None,
            "judgments": len(self.verdicts),
            "superseded": self.superseded,
        }

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:  # noqa: ARG002 - always alike
        if ungraded := nothing_to_grade(answers):
            return ungraded
        answer = answers[-1]
        turns = (answer.turn, None) if answer.turn == len(item.turns) else (answer.turn,)
        places = ((task, answer.item, answer.sample, turn) for task, turn in product((answer.task, None), turns))
        verdict = next((self.verdicts[place] for place in places if place in self.verdicts), None)
        if verdict is None:
            return Grade(unjudged=NO_JUDGMENT)
        if verdict.about is not None and answer.text not in verdict.about:
            return Grade(unjudged=OTHER_ANSWER)
        return verdict.grade


def open_stored(name: str) -> StoredJudge:
    """The judge of `judgments:FILE` or `human:FILE`; `FILE#MODEL` chooses the model of a file that has several.

    "human" is the name of a judge whose file does not say otherwise: one that names its judge goes by that name.

    Raises:
        BadInput: as `read_judgments`.
    """
    kind, _, file = name.partition(":")
    if not file:
        raise BadInput(f"the judge {name!r} names no file: write {kind}:FILE")
    path, model = user_path(file), None
    if "#" in file and not path.exists():
        before, _, model = file.rpartition("#")
        path = user_path(before)
    return read_judgments(path, model, human=kind == HUMAN)


def read_judgments(path: Path, model: str | None = None, *, human: bool = False) -> StoredJudge:
    """Read the judgments of the answers of `model`, or of the only model there is.

    Raises:
        BadInput: the file can not be read or is of another layout, a row lacks a value or has one that is out of range,
            several models and none chosen, or several judges; file and line are named.
    """
    table = read_table(path)
    layout = _layout(table)
    by_model: dict[str, list[tuple[int, Entry]]] = {}
    for number, entry in _entries(table, layout):
        by_model.setdefault(entry.model, []).append((number, entry))
    chosen = _chosen(path, model, by_model)
    rows = by_model[chosen]
    if not layout.appends:
        _refuse_repeated(table, rows)
    judge = _one_judge(path, {entry.judge for _, entry in rows})
    verdicts = {entry.place: entry.verdict for _, entry in rows}
    return StoredJudge(
        name=HUMAN if human and not judge else f"{JUDGMENTS}:{judge or path.stem}",
        gives=layout.gives,
        sha256=sha256_of(path),
        model=chosen,
        verdicts=verdicts,
        superseded=len(rows) - len(verdicts),
    )


def _entries(table: Table, layout: Layout) -> Iterator[tuple[int, Entry]]:
    for number, row in table.rows:
        if not isinstance(row, dict):
            raise BadInput(f"{table.place(number)}: the row is not a JSON object")
        try:
            entry = layout.read(row)
        except RowError as error:
            raise BadInput(f"{table.place(number)}: the row {error}") from None
        yield number, entry


def _refuse_repeated(table: Table, rows: Iterable[tuple[int, Entry]]) -> None:
    """Two labels of one answer in a table are two opinions, and nobody says which is to count."""
    first_seen: dict[Place, int] = {}
    for number, entry in rows:
        if (earlier := first_seen.setdefault(entry.place, number)) != number:
            raise BadInput(
                f"{table.place(number)}: the row judges the answer of {table.unit} {earlier} again: keep one of them"
            )


def _chosen(path: Path, model: str | None, models: Iterable[str]) -> str:
    known = sorted(models)
    if not known:
        raise BadInput(f"{path}: no judgments in this file")
    if model is None and len(known) > 1:
        listed = ", ".join(known)[:500]
        raise BadInput(f"{path} judges {len(known)} models ({listed}): choose one, as in {path}#{known[0]}")
    if model is None:
        return known[0]
    if model not in known:
        named = [name for name in known if name]
        hint = suggestion(model, named, "models") if named else f"it names no models, leave out #{model}"
        raise BadInput(f"{path}: no judgments of answers of {model!r}: {hint}")
    return model


def _one_judge(path: Path, judges: Iterable[str]) -> str:
    first, *others = sorted(judges)
    if others:
        raise BadInput(f"{path} mixes the judgments of {first} and {' and '.join(others)}: keep one judge a file")
    return first


# --- layouts ---


@dataclass(frozen=True)
class Layout:
    """How a file's rows are read: `read` refuses one by a RowError. `appends` says that a rerun adds rows."""

    gives: Literal["score", "label"]
    read: Callable[[Row], Entry]
    appends: bool = False


def _layout(table: Table) -> Layout:
    columns = {column.lower(): column for column in table.columns}
    if table.holder:
        return Layout("label", _artifact_entry)
    if columns.keys() & {"g1_winner", "winner"}:
        raise BadInput(
            f"{table.path} holds pairwise judgments, which say who of two won: single-answer ratings are needed "
            "(FastChat's gen_judgment.py --mode single)"
        )
    if {"question_id", "judge", "score"} <= columns.keys() and table.kind != "csv":
        return Layout("score", _fastchat_entry, appends=True)
    named = next((columns[name] for name in ("item", "id", "question_id") if name in columns), None)
    verdicts = [name for name in ("score", "label") if name in columns]
    if named is None or len(verdicts) != 1:
        raise BadInput(
            f"{table.path}: a table of judgments has a column item (or id) and one of score and label; this one has "
            f"{', '.join(table.columns)[:500] or 'none'}"
        )
    gives: Literal["score", "label"] = "score" if verdicts == ["score"] else "label"
    return Layout(gives, _table_reader(columns, named, gives))


def _fastchat_entry(row: Row) -> Entry:
    judge = row.get("judge")
    if not isinstance(judge, list) or not judge or not isinstance(judge[0], str):
        raise RowError("has no list of judge and prompt under 'judge'")
    place = (None, id_in(row, "question_id"), 0, _whole(row.get("turn"), "turn", least=1))
    reply, prompt, score = row.get("judgment"), row.get("user_prompt"), row.get("score")
    grade = Grade(unjudged=UNREADABLE) if score == FASTCHAT_UNREADABLE else Grade(score=_score(score))
    if isinstance(reply, str):
        grade = replace(grade, raw=reply)
    about = prompt if isinstance(prompt, str) and FASTCHAT_ANSWER in prompt else None
    return Entry(text_in(row, "model"), judge[0], place, Verdict(grade, about))


def _artifact_entry(row: Row) -> Entry:
    """One attack of JailbreakBench, named as the items that are read from its artifacts (tasks/harm_sets.py)."""
    if "jailbroken" not in row:
        raise RowError("has no 'jailbroken'")
    jailbroken, response = row["jailbroken"], row.get("response")
    if jailbroken is None:
        grade = Grade(unjudged=LEFT_OPEN)
    elif isinstance(jailbroken, bool):
        grade = Grade(label="harmful" if jailbroken else "other")
    else:
        raise RowError("has a value for 'jailbroken' that is neither true nor false")
    about = response if isinstance(response, str) else None
    return Entry("", "jailbreakbench", (None, f"jbb-{id_in(row, 'index')}", 0, None), Verdict(grade, about))


def _table_reader(columns: Mapping[str, str], named: str, gives: Literal["score", "label"]) -> Callable[[Row], Entry]:
    """What reads a row. `columns` are those of the file by their names in lower case; `named` is that of the item."""

    def entry(row: Row) -> Entry:
        task = text_in(row, columns["task"]).strip() if "task" in columns else None
        sample = _whole(_parsed(row.get(columns["sample"])), "sample", least=0) if "sample" in columns else 0
        turn = _whole(_parsed(row.get(columns["turn"])), "turn", least=1) if "turn" in columns else None
        model = text_in(row, columns["model"]).strip() if "model" in columns else ""
        if columns[gives] not in row:
            raise RowError(f"has no {columns[gives]!r}")
        grade = _grade(row[columns[gives]], gives)
        return Entry(model, "", (task, id_in(row, named), sample, turn), Verdict(grade))

    return entry


def _grade(value: object, gives: Literal["score", "label"]) -> Grade:
    """The verdict in a cell; an empty one is a verdict not given."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return Grade(unjudged=LEFT_OPEN)
    if gives == "score":
        return Grade(score=_score(_parsed(value)))
    label = value.strip().lower() if isinstance(value, str) else None
    if label not in OUTCOMES:
        raise RowError(f"has the label {value!r}, which is none of {', '.join(OUTCOMES)}")
    return Grade(label=label)


def _parsed(value: object) -> object:
    """A number written as text, as all are in CSV, as a number; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _score(value: object) -> float:
    if not _is_number(value) or not LOWEST <= value <= HIGHEST:
        raise RowError(f"has the score {value!r}, which is no number from {LOWEST} to {HIGHEST}")
    return float(value)


def _whole(value: object, column: str, *, least: int) -> int:
    if not _is_number(value) or value < least or value % 1:
        raise RowError(f"has a value for {column!r} that is no whole number from {least} on")
    return int(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Truth values are no numbers, nor is what JSON can not hold (NaN, infinity)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
