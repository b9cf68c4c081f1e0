"""What a training left, for a terminal: its stages with what they counted, and its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.printing import printable
from training.door import Trained


def training_text(found: Trained) -> str:
    """A block a stage, a line a count; then what to do with the checkpoints."""
    lines = []
    for stage in found.stages:
        lines.append(f"{stage['stage']} ({stage['wall_s']:.0f} s)")
        lines += [f"  {key:34}{value}" for key, value in _flat(stage["counts"])]
    for checkpoint in found.checkpoints:
        lines.append(f"checkpoint {checkpoint}")
    if found.checkpoints:
        lines.append(f"evaluate it: bench run --model {found.checkpoints[-1]}")
    return "\n".join(map(printable, lines))


def _flat(counts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in counts.items():
        name = f"{above}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        else:
            yield name, "–" if value is None else str(value)
