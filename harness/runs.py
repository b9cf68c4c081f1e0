"""The run directories in a folder: how each stands, and the main figures that were stored when it was scored.

No record is read, so that hundreds of runs are listed at once. Figures are shown only where scores.json is no older
than the records it was computed from.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.lock import LOCK
from harness.printing import printable
from harness.store import ITEMS, MANIFEST, RECORDS, SCHEMA_VERSION, SCORES, run_manifest
from tasks.errors import BadInput
from tasks.paths import user_path

RUNS = "runs"
"""Where runs lie unless --out says otherwise."""
DEEPEST = 4
"""Folders within folders that are searched for runs."""
RATES = ("asr", "over_refusal")
MAIN = ("asr", "average", "over_refusal", "verdict")
"""The metrics that stand for their task; of a task that has none of them, as those of lm-eval, its first does."""
KERNEL_LOCKS = Path("/proc/locks")
Status = Literal["complete", "incomplete", "running", "damaged"]


@dataclass(frozen=True)
class Headline:
    """A main figure of a run, as scores.json has it; `value` of the collapse verdict is a word."""

    task: str
    metric: str
    judge: str | None
    value: float | str
    low: float | None
    high: float | None
    n: int

    def in_words(self) -> str:
        name = self.task if self.metric in ("average", "verdict", self.task) else f"{self.task} {self.metric}"
        if isinstance(self.value, str):
            return f"{name}: {printable(self.value)}"
        scale, digits, unit = (100, 1, " %") if self.metric in RATES else (1, 2, "")
        interval = "no interval"
        if self.low is not None and self.high is not None:
            interval = f"[{scale * self.low:.{digits}f}, {scale * self.high:.{digits}f}]"
        by = f" by {printable(self.judge)}" if self.judge else ""
        return f"{name} {scale * self.value:.{digits}f}{unit} {interval}{by}"


@dataclass(frozen=True)
class ListedRun:
    """A run directory as a list shows it.

    `changed` is when its manifest was last written, in seconds since 1970: at the end of a sitting, or at the start of
    one that did not end. `holder` is the process that has it open. `headlines` is None where it is not scored, or was
    before its newest record; `trouble` says what is damaged.
    """

    directory: Path
    name: str
    status: Status
    changed: float
    model: str = ""
    backend: str = ""
    tasks: Sequence[str] = ()
    holder: str | None = None
    headlines: Sequence[Headline] | None = None
    trouble: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "run": str(self.directory),
            "name": self.name,
            "status": self.status,
            "holder": self.holder,
            "model": self.model,
            "backend": self.backend,
            "tasks": list(self.tasks),
            "changed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.changed)),
            "headlines": None if self.headlines is None else [asdict(headline) for headline in self.headlines],
            "trouble": self.trouble,
        }

    def in_words(self) -> str:
        """A line about the run, and indented below it its figures, or why there are none."""
        status = f"{self.status} ({self.holder})" if self.holder else self.status
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.changed))
        parts = [str(self.directory), status, self.model, ",".join(self.tasks), when]
        line = "  ".join(printable(part) for part in parts if part)
        if self.status == "damaged":
            return f"{line}\n    {printable(self.trouble or '')}"
        if self.headlines is None:
            why = self.trouble or ("not scored yet" if self.status == "running" else "not scored")
            return f"{line}\n    {printable(why)}: bench show {printable(str(self.directory))}"
        said = [headline.in_words() for headline in self.headlines]
        return "\n    ".join([line, *(said or ["no main figure: bench show " + printable(str(self.directory))])])


@dataclass(frozen=True)
class RunList:
    """What a folder holds; the runs that changed last come first."""

    folder: Path
    runs: Sequence[ListedRun]
    unreadable: Sequence[str] = ()
    """Folders that could not be looked into, each with the reason."""

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "runs": [run.as_json() for run in self.runs],
            "unreadable": list(self.unreadable),
        }

    def notes(self) -> list[str]:
        """What is to be said beside the runs."""
        none = f"no runs in {printable(str(self.folder))}: bench run --model M makes one"
        return [f"not looked into: {printable(each)}" for each in self.unreadable] or [none] * (not self.runs)


def list_runs(folder: str | None = None) -> RunList:
    """The runs in a folder and those within it, up to `DEEPEST` levels down; links to folders are not followed.

    Raises:
        BadInput: the folder was named and is none.
    """
    root = user_path(folder if folder is not None else RUNS)
    if folder is not None and not root.is_dir():
        raise BadInput(f"no folder {folder}: pass one with runs in it (default: {RUNS})")
    held = _held_inodes()
    unreadable: list[str] = []
    runs = [_listed(directory, root, held) for directory in _run_directories(root, unreadable)]
    return RunList(root, sorted(runs, key=lambda run: (-run.changed, run.name)), unreadable)


def _run_directories(root: Path, unreadable: list[str]) -> Iterator[Path]:
    """Folders with a manifest, or with records that have lost theirs; nothing is looked for within them."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            unreadable.append(f"{error.filename}: {error.strerror}")

    for place, folders, files in os.walk(root, onerror=note):
        here = Path(place)
        if MANIFEST in files or {ITEMS, *RECORDS} <= set(files):
            folders.clear()
            yield here
        elif len(here.relative_to(root).parts) >= DEEPEST:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _listed(directory: Path, root: Path, held: frozenset[int] | None) -> ListedRun:
    name = str(directory.relative_to(root)) if directory != root else directory.resolve().name
    changed = _changed(directory / MANIFEST) or _changed(directory) or 0.0
    if (directory / MANIFEST).exists() and not (directory / MANIFEST).is_file():  # a pipe would be waited for
        return ListedRun(directory, name, "damaged", changed, trouble=f"{directory / MANIFEST} is no file")
    try:
        manifest = run_manifest(directory)
        model, backend = str(manifest["model"]["name"]), str(manifest["identity"]["model"]["backend"])
        tasks, stated = tuple(map(str, manifest["identity"]["tasks"])), manifest["status"]
    except BadInput as error:
        return ListedRun(directory, name, "damaged", changed, trouble=str(error))
    except (KeyError, TypeError) as error:
        damage = f"{directory / MANIFEST} is damaged ({type(error).__name__}: {error}): restore it"
        return ListedRun(directory, name, "damaged", changed, trouble=damage)
    holder = _holder(directory / LOCK, held, under_way=stated == "running")
    # What says that it is running, and is held by nobody, was killed.
    status: Status = "running" if holder else "complete" if stated == "complete" else "incomplete"
    headlines, trouble = _headlines(directory)
    return ListedRun(directory, name, status, changed, model, backend, tasks, holder, headlines, trouble)


def _headlines(directory: Path) -> tuple[list[Headline] | None, str | None]:
    """The stored main figures, or None; and what is wrong with the file, if anything."""
    scored = _changed(directory / SCORES)
    newest = max((_changed(directory / file) or 0.0) for file in (ITEMS, *RECORDS))
    if scored is None:
        return None, None
    if scored < newest:
        return None, f"{SCORES} is older than the records"
    try:
        rows = json.loads((directory / SCORES).read_bytes())["scores"]
        overall = [row for row in rows if row["group"] == "all" and row["value"] is not None]
        wanted = [row for row in overall if row["metric"] in MAIN]
        known = {row["task"] for row in wanted}
        first = {row["task"]: row for row in reversed(overall) if row["task"] not in known}
        found = [_headline(row) for row in (*wanted, *reversed(first.values()))]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, f"{SCORES} is damaged"
    return sorted(found, key=lambda row: MAIN.index(row.metric) if row.metric in MAIN else len(MAIN)), None


def _headline(row: Mapping[str, Any]) -> Headline:
    """A row of scores.json; raises ValueError, TypeError or OverflowError for what is none."""
    numbers = [row[key] for key in ("value", "low", "high") if not isinstance(row[key], str | None)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not a finite number")
    value = row["value"] if isinstance(row["value"], str) else float(row["value"])
    low, high = (None if row[key] is None else float(row[key]) for key in ("low", "high"))
    judge = None if row["judge"] is None else str(row["judge"])
    return Headline(row["task"], row["metric"], judge, value, low, high, int(row["n"]))


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _held_inodes() -> frozenset[int] | None:
    """The files of this machine that some process has locked, or None where the kernel does not tell.

    They are read from the kernel because trying a lock takes it for a moment, in which a run that begins is refused.
    """
    # 3: FLOCK  ADVISORY  WRITE 20317 08:01:1310982 0 EOF
    try:
        lines = KERNEL_LOCKS.read_text().splitlines()
    except OSError:
        return None
    words = [line.split() for line in lines if "FLOCK" in line]
    places = [word.rpartition(":")[2] for line in words for word in line[1:] if word.count(":") == 2]
    return frozenset(int(place) for place in places if place.isdigit())


def _holder(lock: Path, held: frozenset[int] | None, *, under_way: bool) -> str | None:
    """Who has a run directory open, as its lock says, or None. Of another machine's process only that it may be."""
    try:
        said = lock.read_text(encoding="utf-8", errors="replace")[:200].strip()
        inode = lock.stat().st_ino
    except OSError:
        return None
    words = said.split()
    if len(words) != 4 or words[0] != "pid" or not words[1].isdigit():
        return None
    if words[3] != socket.gethostname():
        return f"perhaps {said}" if under_way else None
    alive = Path("/proc", words[1]).exists()
    return said if alive and (held is None or inode in held) else None
