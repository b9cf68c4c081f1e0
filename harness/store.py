"""The run directory: a manifest and two append-only files of records, durable, resumable, one writer at a time.

    runs/demo/
      run.json          the manifest (written whole, then renamed into place)
      items.jsonl       what is asked, so that the run can be graded and reported again without its sources
      answers.jsonl     {"task": "mini_mt", "item": "math-01", "sample": 0, "turn": 1, "text": "144", …}
      judgments.jsonl   {"task": "mini_mt", "item": "math-01", …, "judge": "rubric", "repeat": 0, "score": 10.0, …}
      scores.json       derived from the records
      .lock             pid and host of the process that writes, held by flock

A record counts as done when it is on the disk (fsync). Records that arrive while one batch is being synced form the
next batch, so the cost of a sync is shared and nothing waits longer than two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from harness.lock import LOCK, locked
from harness.records import RecordFile, read_record, read_records, sync_directory, write_atomically
from judges.judgment import Judgment, JudgmentKey
from tasks.conversation import Answer, AnswerKey
from tasks.errors import BadInput, RunStopped
from tasks.item import Item, item_row

SCHEMA_VERSION = 1
MANIFEST = "run.json"
MANIFEST_KEYS = ("status", "config", "identity", "model", "sources", "environment", "sittings")
JUDGES_ADDED = "judges_added"
"""Manifest key of judges that graded after the run: no part of its identity."""
ITEMS = "items.jsonl"
RECORDS = ("answers.jsonl", "judgments.jsonl")
SCORES = "scores.json"
ITEM_FIELDS = ("task", "item", "samples", "category", "turns", "reference", "checks", "metadata")
ANSWER_FIELDS = tuple(field.name for field in fields(Answer))
JUDGMENT_FIELDS = tuple(field.name for field in fields(Judgment))
Kind = Literal["answers", "judgments"]


class RunStore:
    """A run directory opened for writing. Open it with `RunStore.open`; close it, or use it as a context manager.

    `answered` maps an answer's key to the place of its record, as found when the run was opened; `judged` holds the
    keys of judgments, `unjudged` those of them that came without a verdict. Failed ones are in neither: they are tried
    again, and the newer record of a key counts.
    """

    def __init__(self, directory: Path, lock: int, writes: Sequence[Kind] = ("answers", "judgments")) -> None:
        self.directory = directory
        self._lock = lock
        self._made = [path for kind in writes if not (path := self._path(kind)).exists()]
        self._files: dict[Kind, RecordFile] = {kind: RecordFile(self._path(kind)) for kind in writes}
        sync_directory(directory)
        self.answered: dict[AnswerKey, int] = {}
        self.judged: set[JudgmentKey] = set()
        self.unjudged: set[JudgmentKey] = set()
        self._load_keys()
        self._pending: list[tuple[Kind, bytes]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, directory: Path, identity: Mapping[str, Any]) -> RunStore:
        """Create the run directory, or open it to resume.

        `identity` is what must not change between sittings (config, model fingerprint, data hashes).

        Raises:
            BadInput: unwritable, locked by another process, not a run's, of another schema, or of another identity.
        """
        try:
            _refuse_what_is_not_a_runs(directory)
            directory.mkdir(parents=True, exist_ok=True)
            with locked(directory) as lock:
                _refuse_other_identity(directory, identity)
                return cls(directory, lock)
        except OSError as error:
            raise BadInput(f"can not write to {directory}: {error.strerror or error}; choose another --out") from None

    @classmethod
    def open_to_judge(cls, directory: Path) -> RunStore:
        """Open a run's directory to add judgments; its answers are read and never written.

        Raises:
            BadInput: unwritable, locked by another process, or no run's.
        """
        run_manifest(directory)
        try:
            with locked(directory) as lock:
                return cls(directory, lock, writes=("judgments",))
        except OSError as error:
            raise BadInput(f"can not write to {directory}: {error.strerror or error}") from None

    def _path(self, kind: Kind) -> Path:
        return self.directory / f"{kind}.jsonl"

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        os.close(self._lock)

    @property
    def dropped_bytes(self) -> int:
        """Bytes of torn last lines cut when this run was opened."""
        return sum(file.dropped_bytes for file in self._files.values())

    def _load_keys(self) -> None:
        # Millions of records have few tasks and judges, whose names are kept once. No record is made a dataclass.
        place = itemgetter("item", "sample", "turn")
        for offset, record in read_records(self._path("answers"), ANSWER_FIELDS):
            if record["finish"] != "error":
                self.answered[sys.intern(record["task"]), *place(record)] = offset
        for _, record in read_records(self._path("judgments"), JUDGMENT_FIELDS):
            key = (sys.intern(record["task"]), *place(record), sys.intern(record["judge"]), record["repeat"])
            # An answer without a verdict may be graded again, and that may fail.
            (self.judged.add if record["error"] is None else self.judged.discard)(key)
            (self.unjudged.discard if record.get("unjudged") is None else self.unjudged.add)(key)

    def stored_answer(self, key: AnswerKey) -> Answer | None:
        """The stored answer of this key, read from the file, or None."""
        offset = self.answered.get(key)
        return None if offset is None else Answer(**read_record(self._path("answers"), offset))

    async def add_answer(self, answer: Answer) -> None:
        """Store an answer; returns when it is durable."""
        await self._add("answers", answer)

    async def add_judgment(self, judgment: Judgment) -> None:
        """Store a judgment; returns when it is durable."""
        await self._add("judgments", judgment)
        if judgment.error is None:
            self.judged.add(judgment.key)

    def add_batch(self, answers: Sequence[Answer], judgments: Sequence[Judgment]) -> None:
        """Store records that belong together; they are durable when this returns. Nothing else may be on its way.

        Raises:
            RunStopped: the disk gave up.
        """
        records: list[tuple[Kind, Answer | Judgment]] = [("answers", answer) for answer in answers]
        records += [("judgments", judgment) for judgment in judgments]
        try:
            self._write([(kind, (json.dumps(vars(record)) + "\n").encode()) for kind, record in records])
        except OSError as error:
            raise RunStopped(
                f"can not write to {self.directory}: {error.strerror or error}; make room and run the same command"
            ) from None
        self.judged |= {judgment.key for judgment in judgments}

    async def _add(self, kind: Kind, record: Answer | Judgment) -> None:
        # Lone surrogates, which a model can say, are written as escapes: ensure_ascii keeps every line valid UTF-8.
        self._pending.append((kind, (json.dumps(vars(record)) + "\n").encode()))
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            waiting, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, batch)
            except Exception as error:  # noqa: BLE001 - handed to everyone who waits
                reason = (isinstance(error, OSError) and error.strerror) or repr(error)
                failure = RunStopped(
                    f"can not write to {self.directory}: {reason}; what was stored before is kept, "
                    "make room and run the same command to resume"
                )
                # What came meanwhile is told that it failed, so it must not be written by a later flush.
                waiting += self._waiting
                self._pending, self._waiting = [], []
                for future in waiting:
                    if not future.done():
                        future.set_exception(failure)
                return
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def _write(self, batch: list[tuple[Kind, bytes]]) -> None:
        # Answers first: a judgment must never be on the disk without the answer it speaks of.
        kinds: tuple[Kind, Kind] = ("answers", "judgments")
        for kind in kinds:
            lines = b"".join(line for of_kind, line in batch if of_kind == kind)
            if lines:
                self._files[kind].append(lines)

    async def drain(self) -> None:
        """Wait for records still on their way to the disk (after a cancel, say)."""
        if self._flusher is not None:
            await asyncio.gather(self._flusher, return_exceptions=True)

    def discard_if_empty(self) -> None:
        """Leave nothing behind of a run that could not begin: no record yet, and no manifest."""
        if any(file.size for file in self._files.values()) or (self.directory / MANIFEST).exists():
            return
        for path in self._made:
            path.unlink(missing_ok=True)
        if not {path.name for path in self.directory.iterdir()} - {LOCK}:
            (self.directory / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.directory.rmdir()

    def write_items(self, items: Iterable[Mapping[str, Any]], count: int) -> None:
        """Write items.jsonl, one line an item, unless an earlier sitting did and all `count` are there."""
        path = self.directory / ITEMS
        if sum(1 for _ in read_records(path, ITEM_FIELDS)) != count:
            self._write_whole(path, ((json.dumps(item) + "\n").encode() for item in items))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write run.json or scores.json whole: a reader sees the old file or the new one."""
        # No NaN: it is not JSON, and no figure of ours.
        self._write_whole(self.directory / name, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode()])

    def _write_whole(self, path: Path, lines: Iterable[bytes]) -> None:
        try:
            write_atomically(path, lines)
        except OSError as error:
            raise RunStopped(f"can not write {path}: {error.strerror or error}; make room and run it again") from None


def item_record(task: str, item: Item, samples: int) -> dict[str, Any]:
    """The line of items.jsonl that says that `task` wants so many answers to an item."""
    row = item_row(item)
    return {"task": task, "item": row.pop("id"), "samples": samples, **row}


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """run.json of a run directory, or None where there is none yet.

    Raises:
        BadInput: it is unreadable or of another schema version.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"can not read {path}: {error}") from None
    if not isinstance(manifest, dict) or "schema_version" not in manifest:
        raise BadInput(f"{path} is no manifest of a run: choose another directory")
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise BadInput(
            f"{path} has schema version {manifest['schema_version']}, this bench writes {SCHEMA_VERSION}: "
            "use the version of bench that made it, or a new --out"
        )
    if missing := [key for key in MANIFEST_KEYS if key not in manifest]:
        raise BadInput(f"{path} lacks {missing[0]!r}: it is damaged; restore it, or choose another --out")
    return manifest


def run_manifest(directory: Path) -> dict[str, Any]:
    """run.json of a run directory; raises BadInput where there is none, or as `read_manifest`."""
    manifest = read_manifest(directory)
    if manifest is None:
        raise BadInput(f"{directory} holds no {MANIFEST}, so it is not a run directory")
    return manifest


def _refuse_what_is_not_a_runs(directory: Path) -> None:
    """Files of our names in a directory without a manifest are somebody else's: nothing of them is cut or replaced."""
    if (directory / MANIFEST).exists():
        return
    for name in (ITEMS, SCORES, *RECORDS):
        if (directory / name).exists() and (directory / name).stat().st_size:
            raise BadInput(f"{directory} holds {name} but no {MANIFEST}, so it is not a run's: choose another --out")


def _refuse_other_identity(directory: Path, identity: Mapping[str, Any]) -> None:
    manifest = read_manifest(directory)
    if manifest is None:
        return
    differing = sorted(differences(manifest["identity"], json.loads(json.dumps(identity))))
    if differing:
        raise BadInput(
            f"{directory} was made with other settings ({'; '.join(differing)}): choose another --out, "
            "or run with the settings it was made with"
        )


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Name each leaf that differs between two JSON values, with both sides."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name}: {json.dumps(old)} → {json.dumps(new)}"
