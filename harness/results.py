"""What a run came to: its scores, always computed from its records, and what a reader must know beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.models.replay import ANSWERS_BACKEND
from harness.store import MANIFEST, SCHEMA_VERSION, read_manifest
from tasks.errors import BadInput
from tasks.task import known_kind


@dataclass(frozen=True)
class RunResult:
    """Where a run lies, whether it is complete, its scores (as in scores.json), and where its wall time went.

    `notes` say in which ways the run departs from its tasks as they are (fewer items, shorter answers).
    """

    directory: Path
    status: str
    scores: list[dict[str, Any]]
    notes: list[str]
    timing: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.directory),
            "status": self.status,
            "scores": self.scores,
        }


def read_result(directory: Path) -> RunResult:
    """The result of a run directory, computed anew from its records; whether it is complete, too.

    Raises:
        BadInput: not a run directory, or a damaged one.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise BadInput(f"{directory} holds no {MANIFEST}, so it is not a run directory")
    from harness.frames import read_frames
    from harness.scores import Scored, is_complete, run_scores

    frames = read_frames(directory)
    identity = manifest["identity"]
    tasks = {
        name: Scored(task["scoring"], list(identity["judges"].get(name, ())), identity["judge_repeats"])
        for name, task in identity["tasks"].items()
    }
    stored_answers = identity["model"]["backend"] == ANSWERS_BACKEND
    scores = [asdict(score) for score in run_scores(frames, tasks, same_answers=stored_answers)]
    asked = sum(task.get("items", 0) for task in identity["tasks"].values())
    complete = len(frames.items) == asked and is_complete(frames, tasks)
    status = "complete" if complete else "incomplete"
    return RunResult(directory, status, scores, departures(identity["tasks"]))


def departures(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How a run differs from its tasks as they stand, a line a task."""
    notes = []
    for name, task in tasks.items():
        said = [f"{n} rows {reason}" for reason, n in task.get("left_out", {}).items()]
        parts = [f"{task['items']} items asked, {' and '.join(said)} left out"] if said else []
        cap = known_kind(name).max_new_tokens
        if task.get("max_new_tokens", cap) != cap:
            parts.append(f"answers cut at {task['max_new_tokens']} tokens instead of {cap}")
        if parts:
            notes.append(f"{name}: {'; '.join(parts)}")
    return notes
