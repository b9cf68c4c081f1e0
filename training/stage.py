"""The stages of a training in their folder: each is done once, goes on where it was stopped, and is done anew only if
what it was made from has changed.

    DIR/stages/critiques.json   {"stage": "critiques", "inputs": {…}, "counts": {…}, "files": {"data/…": "sha256"}, …}
    DIR/replaced/1/…            what was made from other inputs: moved there, since it may have cost days

Files that grow line by line depend on some of a stage's inputs alone (a filter's limits do not change what was
generated), and are kept as long as those are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.environment import environment
from harness.models.hf import LINEAGE
from harness.records import write_atomically
from harness.store import differences
from tasks.downloads import sha256_of
from tasks.errors import BadInput, RunStopped

SCHEMA_VERSION = 1
RUNNING, DONE = "running", "done"
FOLLOW_S = 0.5


@dataclass(frozen=True)
class Stage:
    """What a stage reads and writes, its paths relative to the training's folder.

    `inputs` are all that decides its `outputs`; `growing` maps each file that is written line by line to those of the
    inputs that decide its rows. `scratch` is what it needs to go on after a stop, and nothing that anybody reads later.
    `together` is a stage that all processes of a distributed training do; any other is done by the first of them alone.
    """

    name: str
    inputs: Mapping[str, Any]
    outputs: Sequence[str]
    growing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scratch: Sequence[str] = ()
    together: bool = False


def run_stage(
    folder: Path, stage: Stage, make: Callable[[], Mapping[str, Any]], say: Callable[[str], None]
) -> dict[str, Any]:
    """Do a stage unless it is done; returns its record. `make` does the work and returns what to count.

    Of a distributed training the first process decides and writes; the others follow it.

    Raises:
        BadInput: the folder can not be written, or a record in it is damaged.
        RunStopped: it began and could not finish; the same command goes on.
    """
    inputs, growing = _plain(stage.inputs), _plain(stage.growing)
    if rank():
        return _followed(folder, stage.name, inputs, make if stage.together else None)
    record = read_record_of(folder, stage.name)
    if record and record["status"] == DONE and record["inputs"] == inputs and _is_whole(folder, record):
        if record["launch"] != _launch():  # the other processes wait for a record of this launch
            _write(folder, stage.name, {**record, "launch": _launch()})
        say(f"{stage.name}: done before")
        return record
    if record:
        _set_aside(folder, record, inputs, growing, say)
    started = time.time()
    begun = {
        "schema_version": SCHEMA_VERSION,
        "stage": stage.name,
        "inputs": inputs,
        "growing": growing,
        "outputs": list(stage.outputs),
        "scratch": list(stage.scratch),
        "launch": _launch(),
    }
    _write(folder, stage.name, {**begun, "status": RUNNING})
    counts = make()
    made = {
        **begun,
        "status": DONE,
        "counts": _plain(counts),
        "files": {name: fingerprint(folder / name) for name in (*stage.outputs, *growing) if (folder / name).exists()},
        "wall_s": round(time.time() - started, 1),
        "environment": environment(),
    }
    _write(folder, stage.name, made)
    return made


def rank() -> int:
    """Which process of a distributed training this is, as torchrun and accelerate tell it; 0 for a training of one."""
    return int(os.environ.get("RANK") or 0)


def _launch() -> str:
    """Tells the processes of one launch from those of another: its place of meeting, "" for a process of its own."""
    return ":".join(os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"))


def _followed(folder: Path, stage: str, inputs: Any, make: Callable[[], Mapping[str, Any]] | None) -> dict[str, Any]:
    """What the other processes do: their part of a stage, once the first has begun it, or waiting for its end."""
    while True:
        record = read_record_of(folder, stage)
        if record and record["inputs"] == inputs and record.get("launch") == _launch():
            if record["status"] == DONE:
                return record
            if make:
                return {**record, "counts": _plain(make())}
        time.sleep(FOLLOW_S)


def read_record_of(folder: Path, stage: str) -> dict[str, Any] | None:
    """The record of a stage, or None for one that was never begun here; raises BadInput for a damaged one."""
    path = folder / "stages" / f"{stage}.json"
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"can not read {path}: {error}; remove it to do the stage again") from None
    if not isinstance(record, dict) or not {"status", "inputs", "growing", "outputs", "scratch"} <= record.keys():
        raise BadInput(f"{path} is no record of a stage; remove it to do the stage again")
    return record


def fingerprint(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a folder's files, but those that tell how it was made."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(it for it in path.rglob("*") if it.is_file() and it.name != LINEAGE):
        digest.update(f"{file.relative_to(path)}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    files: Mapping[str, str] = record["files"]
    return all((folder / name).exists() and fingerprint(folder / name) == sha for name, sha in files.items())


def _set_aside(
    folder: Path, record: Mapping[str, Any], inputs: Any, growing: Mapping[str, Any], say: Callable[[str], None]
) -> None:
    """Move away what an earlier beginning made from other inputs; what grows stays where its own are the same."""
    stale = [name for name, made_from in record["growing"].items() if growing.get(name) != made_from]
    if record["inputs"] != inputs:
        changed = "; ".join(_short(it) for it in differences(record["inputs"], inputs))
        stale += [*record["outputs"], *record["scratch"]]
        say(f"{record['stage']}: done anew, since this has changed: {changed}")
    elif record["status"] == DONE:
        say(f"{record['stage']}: done anew, since its files have changed or are gone")
    else:
        say(f"{record['stage']}: goes on where it was stopped")
    there = [name for name in stale if (folder / name).exists()]
    if not there:
        return
    place = folder / "replaced" / str(1 + sum(1 for _ in (folder / "replaced").glob("*")))
    for name in there:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(place / name)
    say(f"{record['stage']}: what was made before is in {place}")


def _write(folder: Path, stage: str, record: Mapping[str, Any]) -> None:
    path = folder / "stages" / f"{stage}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [(json.dumps(record, indent=1, allow_nan=False) + "\n").encode()])
    except OSError as error:
        raise RunStopped(f"can not write {path}: {error.strerror or error}; make room and run it again") from None


def _plain(value: Any) -> Any:
    """As it will be read back from JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def _short(difference: str) -> str:
    return difference if len(difference) <= 120 else difference[:117] + "…"
