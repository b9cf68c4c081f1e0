"""Where the figures of a report come from: enough to make them again, and nothing of the machine beyond its kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from harness.stored_run import StoredRun


def provenance(runs: Sequence[StoredRun]) -> list[str]:
    """A line for each thing that decides a run's figures: model, tasks, judges, versions, seed, command."""
    return [line for run in runs for line in _of_run(run)]


def _of_run(run: StoredRun) -> Iterator[str]:
    model, identity = run.model, run.manifest["identity"]
    name = run.directory.name
    fingerprint = model.get("sha256") or model.get("base_url") or "no fingerprint"
    yield f"{name}: {model.get('name', 'a model')} by {model.get('backend', '?')}, {fingerprint}"
    yield f"{name}: records {run.records_sha256}"
    if lineage := model.get("lineage"):
        yield f"{name}: lineage {' '.join(str(lineage).split())}"
    for task, described in run.described_tasks.items():
        asked = f", {described['items']} items, data {described['sha256']}" if "items" in described else ""
        yield f"{name}: {task} version {described['version']}{asked}"
        for judge, how in run.judges.get(task, {}).items():
            prompt = how.described.get("prompt_sha256") or how.described.get("sha256")
            told = f", prompt {prompt}" if prompt else ""
            yield f"{name}: {task} judged by {judge}, {how.repeats} × an answer{told}"
    libraries = run.manifest["environment"].get("libraries", {})
    yield f"{name}: seed {identity.get('seed', 0)}; " + ", ".join(f"{key} {value}" for key, value in libraries.items())
    yield f"{name}: made by {command(run)}"


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
            parts.append(flag if one is True else f"{flag} {_quoted(str(one))}")
    return " ".join(parts)


DEFAULTS = (
    ("judge_repeats", 1), ("judge_by", "text"), ("harm_form", "outcome"), ("timeout", 600.0), ("samples", 1),
    ("seed", 0), ("executor", "local"), ("cache", True),
)  # fmt: skip


def _quoted(text: str) -> str:
    return text if text and all(letter.isalnum() or letter in "/._:=,+-" for letter in text) else json.dumps(text)
