"""A run directory as it lies on the disk, for scoring, reporting and comparing: manifest, tasks, judges, tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.capability_figures import LM_EVAL_FIGURES, Unit, read_units
from harness.frames import RunFrames, read_frames
from harness.grades import Scored, is_complete
from harness.models.replay import ANSWERS_BACKEND
from harness.store import ITEMS, JUDGES_ADDED, RECORDS, run_manifest
from tasks.downloads import sha256_of


@dataclass(frozen=True)
class JudgeOfRun:
    """How a judge graded a task of a run: how often each answer, and its description."""

    repeats: int
    described: Mapping[str, Any]


@dataclass(frozen=True)
class StoredRun:
    """A run directory and its manifest; its records are read when `frames` is first asked for."""

    directory: Path
    manifest: Mapping[str, Any]

    @cached_property
    def frames(self) -> RunFrames:
        return read_frames(self.directory)

    @property
    def model(self) -> Mapping[str, Any]:
        """What the manifest says of the model: its name, back end, fingerprint."""
        described: Mapping[str, Any] = self.manifest["model"]
        return described

    @property
    def described_tasks(self) -> Mapping[str, Any]:
        """What decides the meaning of each task's figures: version, data hash, sampling."""
        described: Mapping[str, Any] = self.manifest["identity"]["tasks"]
        return described

    @property
    def judges(self) -> Mapping[str, Mapping[str, JudgeOfRun]]:
        """The judges of each task, by name."""
        return judges_of(self.manifest)

    @property
    def tasks(self) -> Mapping[str, Scored]:
        """How each task is scored."""
        judges = self.judges
        return {
            name: Scored(task["scoring"], {judge: how.repeats for judge, how in judges.get(name, {}).items()})
            for name, task in self.described_tasks.items()
        }

    @property
    def same_answers(self) -> bool:
        """Whether its tasks read the same stored answers, which then count once."""
        return bool(self.manifest["identity"]["model"]["backend"] == ANSWERS_BACKEND)

    @cached_property
    def lm_eval_units(self) -> Mapping[str, Unit]:
        """lm-eval's own figures, by the unit of `capability:` tasks that it ran."""
        return read_units(self.directory)

    @property
    def not_run_by_lm_eval(self) -> list[str]:
        """The units of `capability:` tasks that lm-eval has not run to their end."""
        units = dict.fromkeys(task["unit"] for task in self.described_tasks.values() if "unit" in task)
        return [unit for unit in units if unit not in self.lm_eval_units]

    @cached_property
    def is_complete(self) -> bool:
        """Whether its records hold every item, answer and judgment that it was to have."""
        if self.not_run_by_lm_eval:
            return False
        asked = sum(task.get("items", 0) for task in self.described_tasks.values())
        return len(self.frames.items) == asked and is_complete(self.frames, self.tasks)

    @cached_property
    def records_sha256(self) -> str:
        """A hash of everything that a comparison with this run rests on: its records, its identity, its judges.

        It changes when a judge is added or a failed answer is tried again, and with nothing else that is done to a run.
        """
        decisive = [self.manifest["identity"], self.manifest["model"], self.manifest.get(JUDGES_ADDED, {})]
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        for name in (ITEMS, *RECORDS, *((LM_EVAL_FIGURES,) if self.lm_eval_units else ())):
            digest.update(f"\n{name} {sha256_of(self.directory / name)}".encode())
        return digest.hexdigest()


def open_run(directory: Path) -> StoredRun:
    """The run in a directory.

    Raises:
        BadInput: no run directory, a damaged one, or one of another schema version.
    """
    return StoredRun(directory, run_manifest(directory))


def judges_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, JudgeOfRun]]:
    """The judges of each task: those the run was made with, then those that graded it later."""
    identity = manifest["identity"]
    judges = {
        task: {name: JudgeOfRun(identity["judge_repeats"], described) for name, described in by.items()}
        for task, by in identity["judges"].items()
    }
    for task, by in manifest.get(JUDGES_ADDED, {}).items():
        judges.setdefault(task, {}).update({name: JudgeOfRun(**how) for name, how in by.items()})
    return judges
