"""What the collapse monitor saw of the trainings behind some runs: a figure a training, and a table of all.

A checkpoint carries the looks of its trainings in its lineage, and a run the lineage in its manifest:

    {"stages": […], "monitor": {"sft": [{"step": 0, "rates": {"degenerate": {"value": 0.0, …}, …}, …}, …], "dpo": […]}}

The lineage is a file that anybody may have written: what is no look of the monitor is passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.figures.training_curves import Series, Training
from reports.lineage import lineage_of
from reports.tables import NOTHING, Cell, Column, Table, interval_text
from tasks.collapse.thresholds import VERDICTS

Looks = Sequence[Mapping[str, Any]]
DEGENERATE, CLOSER = "degenerate answers, %", "commonest closer, %"
RISES = {DEGENERATE: VERDICTS.degenerate, CLOSER: VERDICTS.shared}
"""How much more than at step 0 is a collapse, if it is sure."""
ON_PROBES, IN_TRAINING = "probes", "training batches"
PANELS: Mapping[str, Mapping[str, tuple[tuple[str, ...], int]]] = {
    "loss": {IN_TRAINING: (("logged", "loss"), 1)},
    DEGENERATE: {ON_PROBES: (("rates", "degenerate", "value"), 100), "loops": (("rates", "loop", "value"), 100)},
    "answers that end, %": {ON_PROBES: (("rates", "eos", "value"), 100)},
    "next-token entropy, nats": {ON_PROBES: (("entropy",), 1)},
    "length, tokens": {ON_PROBES: (("tokens",), 1)},
    CLOSER: {ON_PROBES: (("closer", "share"), 100)},
    "log-probability of the chosen": {IN_TRAINING: (("logged", "logps/chosen"), 1)},
    "reward margin": {IN_TRAINING: (("logged", "rewards/margins"), 1)},
}
"""Panels by title, each with its series: where their figures are in a look, and what they are multiplied by."""


def trainings_of_runs(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Training]:
    """What to draw of each training, by the name of its model and its stage.

    `models` are the descriptions in the manifests (manifest["model"]) by the names of the models. A training that
    several models have in common comes once, by the first of them.
    """
    return {name: _training(looks) for name, looks in _looks_of(models)}


def training_table(models: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The first and the last look of every training; None where no model brings any."""
    rows = [_row(name, looks) for name, looks in _looks_of(models)]
    if not rows:
        return None
    columns = [
        Column("Training", "left"), Column("looks"), Column("degenerate", unit="%"), Column("loops", unit="%"),
        Column("ended", unit="%"), Column("entropy", unit="nats"), Column("closer", unit="%"),
        Column("last state", "left"), Column("stopped at"), Column("kept"),
    ]  # fmt: skip
    notes = [
        "From step 0 to the last look, on the same probes; in brackets the 95 % interval of the last.",
        "ended: by a stop token before the length limit; closer: share of the commonest last six words.",
        "kept: the step of the last weights that were put aside as healthy.",
    ]
    return Table("trainings", "What the collapse monitor saw while the models were trained", columns, rows, notes)


def _looks_of(models: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Looks]]:
    seen: set[str] = set()
    for name, model in models.items():
        lineage = lineage_of(model.get("lineage"))
        stages = lineage.get("monitor") if isinstance(lineage, dict) else None
        for stage, found in stages.items() if isinstance(stages, dict) else ():
            rows = [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []
            looks = sorted((it for it in rows if _number(it, ("step",)) is not None), key=lambda it: float(it["step"]))
            key = json.dumps(looks, sort_keys=True)
            if looks and key not in seen and _panels(looks):
                seen.add(key)
                yield f"{name}: {stage}", looks


def _training(looks: Looks) -> Training:
    panels = _panels(looks)
    limits = {}
    for title, rise in RISES.items():
        where, times = PANELS[title][ON_PROBES]
        before = _number(looks[0], where)
        if title in panels and before is not None:
            limits[title] = times * min(1.0, before + rise)
    stopped = _stopped(looks)
    return Training(panels, limits, kept=None if stopped is None else _kept(looks), stopped=stopped)


def _panels(looks: Looks) -> dict[str, dict[str, Series]]:
    """Those panels for which there are figures."""
    panels: dict[str, dict[str, Series]] = {}
    for title, series in PANELS.items():
        for name, (where, times) in series.items():
            points = [(_step(look, where), _number(look, where)) for look in looks]
            if any(value is not None for _, value in points):
                scaled = [(step, None if value is None else times * value) for step, value in points]
                panels.setdefault(title, {})[name] = scaled
    return panels


def _step(look: Mapping[str, Any], where: tuple[str, ...]) -> float:
    """Figures of the trainer are of the step at which it logged them."""
    step = _number(look, ("step",)) or 0.0
    logged = _number(look, ("logged", "step")) if where[0] == "logged" else None
    return step if logged is None else logged


def _number(look: Any, where: tuple[str, ...]) -> float | None:
    for key in where:
        look = look.get(key) if isinstance(look, Mapping) else None
    if isinstance(look, bool) or not isinstance(look, int | float):
        return None
    try:
        return float(look) if math.isfinite(look) else None
    except OverflowError:
        return None


def _stopped(looks: Looks) -> float | None:
    return next((_number(look, ("step",)) for look in looks if look.get("stopped") is True), None)


def _kept(looks: Looks) -> float | None:
    return next((_number(look, ("step",)) for look in reversed(looks) if look.get("kept") is True), None)


def _row(name: str, looks: Looks) -> list[Cell]:
    def change(where: tuple[str, ...], times: int, digits: int) -> Cell:
        values = [_number(looks[place], where) for place in (0, -1)]
        if None in values:
            return NOTHING
        first, last = (times * (value or 0.0) for value in values)
        ends = [_number(looks[-1], (*where[:-1], end)) if where[0] == "rates" else None for end in ("low", "high")]
        return Cell(
            f"{first:.{digits}f} → {last:.{digits}f}", interval_text(ends[0], ends[1], times, digits), number=last
        )

    def at(step: float | None) -> Cell:
        return NOTHING if step is None else Cell(f"{step:g}", number=step)

    return [
        Cell(name), Cell(str(len(looks)), number=len(looks)),
        change(("rates", "degenerate", "value"), 100, 0), change(("rates", "loop", "value"), 100, 0),
        change(("rates", "eos", "value"), 100, 0), change(("entropy",), 1, 2), change(("closer", "share"), 100, 0),
        Cell(str(looks[-1].get("state", "–"))), at(_stopped(looks)), at(_kept(looks)),
    ]  # fmt: skip
