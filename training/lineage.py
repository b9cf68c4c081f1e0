"""Where a checkpoint comes from: lineage.json beside its weights, which `bench run` copies into its manifest.

{"schema_version": 1, "made": "dpo-cai", "base": {"name": "smollm2", "sha256": "…"},
 "recipe": {…}, "recipe_sha256": "…", "environment": {…},
 "stages": [{"stage": "critiques", "counts": {"rows": 120, …}, "inputs": {…}, "files": {…}, "wall_s": 312.0}, …],
 "monitor": {"sft": [{"step": 0, "degenerate": 0.0, …}, …], "dpo": […]}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.models.hf import LINEAGE
from harness.records import write_atomically
from tasks.errors import RunStopped
from training.cai import DPO, SFT, Training
from training.looks import TEXTS
from training.recipe import sha256_of_settings
from training.rows import rows_of
from training.stage import read_record_of

SCHEMA_VERSION = 1
RECORDS = ("critiques", "revisions", "mix", "sft", "preferences", "dpo")
TOLD = ("stage", "inputs", "counts", "files", "wall_s")


def write_lineage(training: Training, stage: str) -> None:
    """Write what made the training's folder so far, and, if `stage` made one, its checkpoint.

    Raises:
        RunStopped: it can not be written.
    """
    made = {"sft": SFT, "dpo": DPO}.get(stage)
    before = RECORDS[: RECORDS.index(stage) + 1] if made else RECORDS
    records = [record for name in before if (record := read_record_of(training.folder, name))]
    looks = {name: _looks(training.folder / "work" / name / "monitor.jsonl") for name in before}
    lineage = {
        "schema_version": SCHEMA_VERSION,
        "made": made or training.folder.name,
        "base": {"name": Path(training.recipe.base).name, **training.base_model.identity()},
        "recipe": training.recipe.as_json(),
        "recipe_sha256": sha256_of_settings(training.recipe),
        "environment": records[-1].get("environment", {}) if records else {},
        "stages": [{key: record[key] for key in TOLD if key in record} for record in records],
        "monitor": {name: seen for name, seen in looks.items() if seen},
    }
    for place in filter(None, (training.folder, training.folder / made if made else None)):
        try:
            write_atomically(place / LINEAGE, [(json.dumps(lineage, indent=1) + "\n").encode()])
        except OSError as error:
            raise RunStopped(f"can not write {place / LINEAGE}: {error.strerror or error}; make room first") from None


def _looks(file: Path) -> list[dict[str, Any]]:
    """What the monitor saw, without the texts."""
    return (
        [{key: value for key, value in row.items() if key not in TEXTS} for row in rows_of(file)]
        if file.exists()
        else []
    )
