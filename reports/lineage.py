"""How a checkpoint was made, as its trainer wrote it down beside the weights (lineage.json), for people to read.

    {"base": {"name": "smollm2", "sha256": …}, "seed": 0, "stages": [{"stage": "sft", "inputs": {…}, "counts": {…}}]}

Any JSON object will do: whatever wrote it, its stages are told one by one, their parts a line each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 160
"""Letters of a line; what is longer goes on in the next one."""
LONGEST_VALUE = 60
MOST_LINES = 60
LEFT_TO_JSON = ("environment", "monitor")
"""What a page of lines has no room for: libraries of the training, and every look at it."""
HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def lineage_of(text: object) -> Any:
    """The lineage as JSON; the text itself where it is none, and None where there is none."""
    if not text:
        return None
    try:
        return json.loads(str(text), parse_constant=str)
    except (ValueError, RecursionError):
        return str(text)


def lineage_lines(text: object) -> Iterator[str]:
    """The lineage in lines of a length that a page holds; hashes by their first digits, long values cut."""
    found = lineage_of(text)
    if found is None:
        return
    lines = list(_lines(found))
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more lines (provenance.json holds them all)"


def stages_of(text: object) -> list[str]:
    """The names of the stages of training, in their order."""
    found = lineage_of(text)
    stages = found.get("stages") if isinstance(found, dict) else None
    return [_name(stage, number) for number, stage in enumerate(_listed(stages), start=1)]


def _lines(found: Any) -> Iterator[str]:
    if not isinstance(found, dict):
        yield f"{_shown(found)} (no object of JSON: as it was written)"
        return
    yield from _told("", {key: value for key, value in found.items() if key not in ("stages", *LEFT_TO_JSON)})
    for number, stage in enumerate(_listed(found.get("stages")), start=1):
        name = _name(stage, number)
        if not isinstance(stage, dict):
            yield f"{name}: {_shown(stage)}"
            continue
        yield from _told(name, {key: value for key, value in stage.items() if key not in ("stage", "name")})


def _told(what: str, parts: Mapping[str, Any]) -> Iterator[str]:
    """What is one value each in a line, then every group in lines of its own."""
    yield from _wrapped(what, {key: value for key, value in parts.items() if not isinstance(value, dict)})
    for key, value in parts.items():
        if isinstance(value, dict):
            yield from _wrapped(", ".join(filter(None, (what, _shown(key)))), value)


def _listed(stages: Any) -> list[Any]:
    """Stages as a list, whether they were written as one or by name."""
    if isinstance(stages, dict):
        return [{"stage": name, **value} if isinstance(value, dict) else value for name, value in stages.items()]
    return stages if isinstance(stages, list) else []


def _name(stage: Any, number: int) -> str:
    named = (stage.get("stage") or stage.get("name")) if isinstance(stage, dict) else None
    return _shown(named) if named else f"stage {number}"


def _wrapped(what: str, values: Mapping[str, Any]) -> Iterator[str]:
    """`what: key value, key value`, as many as a line holds."""
    head = f"{what}: " if what else ""
    line = ""
    for key, value in _flat(values):
        part = f"{key} {_shown(value)}"
        if line and len(head) + len(line) + len(part) > LONGEST:
            yield f"{head}{line}"
            line = ""
        line += f"{', ' if line else ''}{part}"
    if line:
        yield f"{head}{line}"


def _flat(values: Mapping[str, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{above}{_shown(key)}"
        if isinstance(value, dict) and value and depth < 3:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = HASH.sub(r"\1", " ".join(text.split()))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
