"""A run in the layout of FastChat's llm_judge, for its tools and for `answers:FILE` and `judgments:FILE` here.

    DIR/model_answer/MODEL.jsonl            {"question_id": 81, "answer_id": "…", "model_id": "MODEL",
                                             "choices": [{"index": 0, "turns": ["…", "…"]}], "tstamp": 1686…}
    DIR/model_judgment/JUDGE_single.jsonl   {"question_id": 81, "model": "MODEL", "judge": ["JUDGE", "PROMPT"],
                                             "user_prompt": "", "judgment": "…", "score": 7.0, "turn": 1, "tstamp": …}

FastChat's tools know a model by the name of its file and judge the first choice only, once. `user_prompt` is empty:
what a judge was asked is not among a run's records. Every `tstamp` is the time when the run began.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records import read_records, write_atomically
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS, run_manifest
from judges.judgment import Judgment, JudgmentKey
from judges.stored import FASTCHAT_UNREADABLE, JUDGMENTS
from tasks.answer_files import FASTCHAT_FAILED
from tasks.conversation import Answer, AnswerKey
from tasks.errors import BadInput, suggestion

Row = dict[str, Any]


@dataclass(frozen=True)
class Export:
    """The files that were written, and what of the run they hold as a failure or not at all.

    `unanswered` counts answers that were never given; `unrated`, by judge, the first samples' answers without a rating;
    `samples` and `repeats` the judgments that are left out.
    """

    run: Path
    task: str
    files: Sequence[Path]
    unanswered: int = 0
    unrated: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    repeats: int = 0

    def notes(self) -> list[str]:
        """What a reader of the files must know, a sentence each."""
        notes = [f"{self.unanswered} answers were never given: written as {FASTCHAT_FAILED}"] if self.unanswered else []
        for judge, number in self.unrated.items():
            notes.append(
                f"{number} answers have no rating by {judge}: written as {FASTCHAT_UNREADABLE}, which FastChat leaves "
                "out of its means"
            )
        if self.samples:
            notes.append(f"{self.samples} judgments of samples beyond the first are left out: FastChat judges choice 0")
        if self.repeats:
            notes.append(f"{self.repeats} judgments that repeat another are left out: FastChat has one an answer")
        return notes

    def as_json(self) -> Row:
        return {
            "run": str(self.run),
            "task": self.task,
            "files": [str(file) for file in self.files],
            "unanswered": self.unanswered,
            "unrated": dict(self.unrated),
            "samples_left_out": self.samples,
            "repeats_left_out": self.repeats,
        }


def export_fastchat(run: Path, out: Path, task: str | None = None) -> Export:
    """Write the answers and ratings of a run's ratings task under `out`; which one must be said where it has several.

    Raises:
        BadInput: not a run directory or no such task in it, a file that is there already or can not be written.
    """
    records = _read(run, task)
    files = {out / "model_answer" / f"{records.model}.jsonl": list(map(records.answer_row, records.items))}
    unrated = {}
    for judge in records.judges:
        path = out / "model_judgment" / f"{_file_name(_own_name(judge))}_single.jsonl"
        if path in files:
            raise BadInput(f"{run} has two judges whose ratings belong into one {path.name}, {judge} among them")
        files[path] = list(records.judgment_rows(judge))
        if missing := sum(row["score"] == FASTCHAT_UNREADABLE for row in files[path]):
            unrated[judge] = missing
    _write(files)
    judged = records.judgments.values()
    return Export(
        run=run,
        task=records.task,
        files=list(files),
        unanswered=sum(records.text(key) is None for item in records.items for key in records.keys(item)),
        unrated=unrated,
        samples=sum(judgment.sample > 0 for judgment in judged),
        repeats=sum(judgment.sample == 0 < judgment.repeat for judgment in judged),
    )


@dataclass(frozen=True)
class _Records:
    """What a run holds of one task: the rows of its items, and the newest record of each key."""

    task: str
    model: str
    began: float
    items: Sequence[Row]
    answers: Mapping[AnswerKey, Answer]
    judgments: Mapping[JudgmentKey, Judgment]
    described: Mapping[str, Mapping[str, Any]]
    """What the manifest says of each judge."""

    @property
    def judges(self) -> list[str]:
        """Those that rate; a judge that gives labels (who of two is better) has nothing to export."""
        labelling = {judgment.judge for judgment in self.judgments.values() if judgment.label is not None}
        return sorted({judgment.judge for judgment in self.judgments.values()} - labelling)

    def keys(self, item: Row) -> Iterator[AnswerKey]:
        """The answers that an item wants."""
        for sample in range(item["samples"]):
            for turn in range(1, len(item["turns"]) + 1):
                yield self.task, item["item"], sample, turn

    def text(self, key: AnswerKey) -> str | None:
        answer = self.answers.get(key)
        return None if answer is None or answer.finish in ("error", "missing") else answer.text

    def answer_row(self, item: Row) -> Row:
        samples: list[list[str]] = [[] for _ in range(item["samples"])]
        for key in self.keys(item):
            text = self.text(key)
            samples[key[2]].append(FASTCHAT_FAILED if text is None else text)
        said = json.dumps([self.model, item["item"], samples]).encode()
        return {
            "question_id": _question_id(item["item"]),
            "answer_id": hashlib.sha256(said).hexdigest()[:22],
            "model_id": self.model,
            "choices": [{"index": index, "turns": turns} for index, turns in enumerate(samples)],
            "tstamp": self.began,
        }

    def judgment_rows(self, judge: str) -> Iterator[Row]:
        """The first grade of each turn of each item's first sample; without a rating, the reason in its place."""
        by = [_own_name(judge), _prompt_id(self.described.get(judge, {}))]
        for item in self.items:
            for turn in range(1, len(item["turns"]) + 1):
                found = self.judgments.get((self.task, item["item"], 0, turn, judge, 0))
                score = found.score if found else None
                yield {
                    "question_id": _question_id(item["item"]),
                    "model": self.model,
                    "judge": by,
                    "user_prompt": "",
                    "judgment": _said(found),
                    "score": FASTCHAT_UNREADABLE if score is None else score,
                    "turn": turn,
                    "tstamp": self.began,
                }


def _read(run: Path, task: str | None) -> _Records:
    manifest = run_manifest(run)
    task = _ratings_task(run, manifest["identity"]["tasks"], task)
    items = list(_of_task(run / ITEMS, ITEM_FIELDS, task))
    if not items:
        raise BadInput(f"{run} holds no items of {task}: it has not begun; run it first")
    answers = (Answer(**record) for record in _of_task(run / RECORDS[0], ANSWER_FIELDS, task))
    judgments = (Judgment(**record) for record in _of_task(run / RECORDS[1], JUDGMENT_FIELDS, task))
    return _Records(
        task=task,
        model=_file_name(manifest["model"]["name"]),
        began=(run / ITEMS).stat().st_mtime,
        items=items,
        answers={answer.key: answer for answer in answers},
        judgments={judgment.key: judgment for judgment in judgments},
        described=manifest["identity"]["judges"].get(task, {}),
    )


def _of_task(path: Path, fields: Collection[str], task: str) -> Iterator[Row]:
    return (record for _, record in read_records(path, fields) if record["task"] == task)


def _ratings_task(run: Path, tasks: Mapping[str, Mapping[str, Any]], wanted: str | None) -> str:
    rated = [name for name, task in tasks.items() if task["scoring"] == "ratings"]
    if not rated:
        raise BadInput(f"{run} has no task with ratings, and FastChat's layout holds no other ({', '.join(tasks)})")
    if wanted is not None and wanted not in rated:
        raise BadInput(f"{run} has no ratings of {wanted!r}: {suggestion(wanted, rated, 'ratings tasks')}")
    if wanted is None and len(rated) > 1:
        raise BadInput(f"{run} has ratings of {' and '.join(rated)}: choose one, as in --task {rated[0]}")
    return wanted or rated[0]


def _question_id(item: str) -> int | str:
    """FastChat numbers its questions; an id that would not come back as the same text stays one."""
    return int(item) if re.fullmatch(r"0|[1-9][0-9]{0,17}", item) else item


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "model"


def _own_name(judge: str) -> str:
    """A replayed judgment goes back under the name of whoever gave it."""
    return judge.removeprefix(f"{JUDGMENTS}:")


def _prompt_id(described: Mapping[str, Any]) -> str:
    """What FastChat calls the prompt: the form a model was asked in, or else the version of a judge that has none."""
    return str(described.get("form") or f"version-{described.get('version', 'unknown')}")


def _said(judgment: Judgment | None) -> str:
    if judgment is None:
        return "not judged"
    return judgment.raw or judgment.explanation or judgment.unjudged or judgment.error or ""


def _write(files: Mapping[Path, Sequence[Row]]) -> None:
    for path in files:
        if path.exists():
            raise BadInput(
                f"{path} is there already: choose another --out (files of several models can be joined line by line)"
            )
    for path, rows in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, ((json.dumps(row) + "\n").encode() for row in rows))
        except OSError as error:
            raise BadInput(f"can not write {path}: {error.strerror or error}; choose another --out") from None
