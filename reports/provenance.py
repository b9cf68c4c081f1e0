"""Where the figures of a report come from: enough to make them again, and nothing of the machine beyond its kind.

In three lengths: a line a run for files that hold a single table or figure, the lines of a report's footer, and JSON
with everything in it, hashes in full.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from harness.stored_run import StoredRun
from reports.lineage import lineage_lines, lineage_of
from tasks.errors import BadInput

HASHES = {"prompt_sha256": "prompt", "weights_sha256": "weights", "sha256": "file"}
"""What judges are known by."""
SHORT = 12
"""Hex digits of a hash that stand for all of them where a person reads it."""


@dataclass(frozen=True)
class Provenance:
    """What some runs rest on. `runs` are by the name that the report has for each.

    `made_by` is the command that makes the report again; `date` is printed where there is one, and is never that of the
    clock unless it was asked for.
    """

    runs: Mapping[str, StoredRun]
    date: str | None = None
    made_by: str | None = None

    @cached_property
    def short(self) -> list[str]:
        """A line a run: model, fingerprint, records; before them the date."""
        return [*self._dated, *(_in_short(name, run) for name, run in self.runs.items())]

    @cached_property
    def lines(self) -> list[str]:
        """A line for each thing that decides a run's figures: model, lineage, tasks, judges, versions, command."""
        made = [f"this report is made by {self.made_by}"] if self.made_by else []
        return [*self._dated, *made, *(line for name, run in self.runs.items() for line in _of_run(name, run))]

    @property
    def _dated(self) -> list[str]:
        return [f"date {self.date}"] if self.date else []

    def as_json(self) -> dict[str, Any]:
        """The same, with every hash, setting and count."""
        return {
            "schema_version": 1,
            **({"date": self.date} if self.date else {}),
            **({"command": self.made_by} if self.made_by else {}),
            "runs": [_as_json(name, run) for name, run in self.runs.items()],
        }


def day(text: str) -> str:
    """A date as it is to be printed; "today" is that of the clock.

    Raises:
        BadInput: no date.
    """
    if text == "today":
        return date.today().isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise BadInput(f"--date {text}: write a date as 2026-01-31, or today") from None


def fingerprint(model: Mapping[str, Any]) -> str:
    """What a model is known by: the hash of its weights (or answers), or the server that was asked."""
    return str(model.get("sha256") or model.get("base_url") or "no fingerprint")


def shortened(text: str) -> str:
    """The first digits of a hash; any other text as it is."""
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:SHORT] if is_hash else text


def _in_short(name: str, run: StoredRun) -> str:
    model = run.model
    return (
        f"{name}: {model.get('name', 'a model')}, {shortened(fingerprint(model))}; records {run.records_sha256[:SHORT]}"
    )


def _of_run(name: str, run: StoredRun) -> Iterator[str]:
    model, manifest = run.model, run.manifest
    yield f"{name}: {model.get('name', 'a model')} by {model.get('backend', '?')}, {fingerprint(model)}"
    yield f"{name}: records {run.records_sha256}"
    yield from (f"{name}: lineage: {line}" for line in lineage_lines(model.get("lineage")))
    for task, described in run.described_tasks.items():
        asked = f", {described['items']} items, data {described['sha256']}" if "items" in described else ""
        yield f"{name}: {task} version {described['version']}{asked}"
        for judge, how in run.judges.get(task, {}).items():
            hashes = [f", {word} {how.described[key]}" for key, word in HASHES.items() if how.described.get(key)]
            yield f"{name}: {task} judged by {judge}, {how.repeats} × an answer{''.join(hashes)}"
    environment = manifest["environment"]
    libraries = ", ".join(f"{key} {value}" for key, value in environment.get("libraries", {}).items())
    commit = f"; commit {environment['git_commit'][:SHORT]}" if environment.get("git_commit") else ""
    yield f"{name}: seed {manifest['identity'].get('seed', 0)}; {libraries}{commit}"
    yield f"{name}: made by {command(run)}"


def _as_json(name: str, run: StoredRun) -> dict[str, Any]:
    manifest, environment = run.manifest, run.manifest["environment"]
    model = {key: value for key, value in run.model.items() if key != "lineage"}
    return {
        "name": name,
        "run": str(run.directory),
        "status": "complete" if run.is_complete else "incomplete",
        "model": model,
        "lineage": lineage_of(run.model.get("lineage")),
        "records_sha256": run.records_sha256,
        "tasks": {task: {**it, "source": manifest["sources"].get(task)} for task, it in run.described_tasks.items()},
        "judges": {
            task: {judge: {"repeats": how.repeats, **how.described} for judge, how in by.items()}
            for task, by in run.judges.items()
        },
        "seed": manifest["identity"].get("seed", 0),
        "environment": {key: environment.get(key) for key in ("python", "libraries", "git_commit")},
        "command": command(run),
    }


def command(run: StoredRun) -> str:
    """The command line that makes this run again, from its config."""
    parts = ["bench run"]
    for key, value in run.manifest["config"].items():
        flag = f"--{key.replace('_', '-')}"
        if value in (None, [], {}, "", False) or (key, value) in DEFAULTS:
            continue
        if key == "cache":
            continue
        if isinstance(value, dict):
            value = ",".join(f"{name}={column}" for name, column in value.items())
        for one in value if isinstance(value, list) else [value]:
            parts.append(flag if one is True else f"{flag} {shell_word(str(one))}")
    return " ".join(parts)


DEFAULTS = (
    ("judge_repeats", 1), ("judge_by", "text"), ("harm_form", "outcome"), ("timeout", 600.0), ("samples", 1),
    ("seed", 0), ("executor", "local"), ("cache", True),
)  # fmt: skip


def shell_word(text: str) -> str:
    """A word of a command line, in quotation marks where a shell would read it as more than a word."""
    return text if text and all(letter.isalnum() or letter in "/._:=,+-" for letter in text) else shlex.quote(text)
