"""lm-eval's own figures of a run, kept as it gave them, beside those that are computed from the records.

    lm_eval.json    {"schema_version": 1, "units": {"capability:gsm8k": {"results": {"gsm8k": {
                     "exact_match,strict-match": 0.31, "exact_match_stderr,strict-match": 0.0127, …}}, "versions": …}}}

They are the one thing in a run directory that is derived and yet can not be had again from the records: lm-eval's way
to sum up is code of the task's. Its means agree with ours, since both are means of the same values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.figures import Rate
from harness.intervals import BOOTSTRAP_FROM, Z_95
from tasks.errors import BadInput
from tasks.task import CAPABILITY

if TYPE_CHECKING:
    from harness.capability import CapabilityUnit
    from harness.store import RunStore

LM_EVAL_FIGURES = "lm_eval.json"
NO_FIGURES = ("name", "alias", "sample_len", "sample_count")
"""What lm-eval puts among the figures of a task."""
BYPASS = "bypass"
"""The metric of tasks that only let the model write: lm-eval gives 999 for it."""
STDERR = "_stderr"

Unit = Mapping[str, Any]


def read_units(directory: Path) -> dict[str, Unit]:
    """lm-eval's figures by the unit that was run, as the run directory has them.

    Raises:
        BadInput: the file is damaged.
    """
    path = directory / LM_EVAL_FIGURES
    try:
        units = json.loads(path.read_bytes())["units"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"can not read {path}: {error}; without it, bench run has lm-eval do its tasks again") from None
    if not isinstance(units, dict) or not all(isinstance(it, dict) and "results" in it for it in units.values()):
        raise BadInput(f"{path} is damaged: remove it, and bench run has lm-eval do its tasks again")
    return units


def add_figures(store: RunStore, unit: CapabilityUnit, figures: Unit) -> None:
    """Write the figures of a unit, which is done with that."""
    store.write_json(
        LM_EVAL_FIGURES, {"schema_version": 1, "units": {**read_units(store.directory), unit.name: figures}}
    )


def figures_by_task(units: Mapping[str, Unit]) -> dict[str, dict[str, Any]]:
    """{"capability:gsm8k": {"exact_match,strict-match": 0.31, …}}, the groups of lm-eval's among them."""
    return {
        CAPABILITY + name: {key: value for key, value in found.items() if key not in NO_FIGURES}
        for unit in units.values()
        for name, found in unit["results"].items()
    }


def figures_without_values(
    units: Mapping[str, Unit], known: Collection[tuple[str, str]]
) -> Iterator[tuple[str, str, Rate]]:
    """Task, metric and figure where that is no mean over documents: all that are not in `known`, as task and metric.

    The interval is the value ± 1.96 of lm-eval's standard error, where it gives one and there are ten documents. An
    error of 0 (all documents, or resamples of them, came to the same) says nothing of the next document. lm-eval's
    `sample_len` of a group counts all its documents, those of tasks that lack the metric too.
    """
    for task, metric, key, found in _unknown(units, known):
        if isinstance(value := found[key], int | float):
            n = int(found.get("sample_count", {}).get(key, found.get("sample_len", 0)))
            name, _, of_filter = key.partition(",")
            error = found.get(f"{name}{STDERR},{of_filter}")
            half = Z_95 * error if isinstance(error, int | float) and n >= BOOTSTRAP_FROM else 0.0
            interval = (value - half, value + half) if half else None
            yield task, metric, Rate(float(value), interval, n)


def figures_without_number(units: Mapping[str, Unit], known: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Task and metric of what lm-eval gave no number for (a list, "nan"), and that is thus in no table."""
    for task, metric, key, found in _unknown(units, known):
        if not isinstance(found[key], int | float):
            yield task, metric


def _unknown(
    units: Mapping[str, Unit], known: Collection[tuple[str, str]]
) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Task, metric, and lm-eval's key of it among the figures of that task, of what is not `known`."""
    for unit in units.values():
        for name, found in unit["results"].items():
            for key in found:
                metric, _, of_filter = key.partition(",")
                shown = metric_name(metric, of_filter)
                is_figure = key not in NO_FIGURES and not metric.endswith(STDERR) and metric != BYPASS
                if is_figure and (CAPABILITY + name, shown) not in known:
                    yield CAPABILITY + name, shown, key, found


def metric_name(metric: str, of_filter: str) -> str:
    """What tables call a metric: `acc`, or `exact_match,strict-match` under a filter that has a name."""
    return metric if of_filter in ("", "none") else f"{metric},{of_filter}"


def plain(value: Any) -> Any:
    """A value of lm-eval's as JSON has it; what is not finite stays as a word."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # of numpy or torch
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | bool | int) else str(value)
