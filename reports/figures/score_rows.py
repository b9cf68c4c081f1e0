"""What figures take from score rows: `{"task": "asr", "group": "all", "metric": "asr", "value": 0.21, "low": …}`.

A row that a run does not have and one whose value is None are the same to a figure: not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.agreement import Figure as Estimate
from harness.metrics import ALL, BY_ATTACK
from tasks.errors import BadInput

Rows = Sequence[Mapping[str, Any]]
"""The scores of one run, as `RunResult.scores` has them."""
NOT_MEASURED = Estimate(None)


def found(rows: Rows, task: str, metric: str, judge: str | None, group: str = ALL) -> tuple[Estimate, int]:
    """A figure of a run with its interval, and its n; `NOT_MEASURED` and 0 where there is none."""
    for row in rows:
        if (row["task"], row["metric"], row["judge"], row["group"]) == (task, metric, judge, group):
            value = row["value"]
            if isinstance(value, str):
                raise ValueError(f"{task}.{metric} is a word, which no figure shows")
            return Estimate(value, row["low"], row["high"]), row["n"]
    return NOT_MEASURED, 0


def one_judge(models: Mapping[str, Rows], task: str, judge: str | None = None) -> str:
    """The judge whose figures of a task are shown: the one that is named, or the only one that there is.

    Raises:
        BadInput: several judges and none chosen, a judge that no run has, or no run with this task.
    """
    judges = sorted({row["judge"] for rows in models.values() for row in rows if row["task"] == task and row["judge"]})
    if not judges:
        raise BadInput(f"no judge graded {task} in these runs: give runs with that task (bench run --tasks {task})")
    if judge is None and len(judges) > 1:
        raise BadInput(f"{task} has figures of {', '.join(judges)}: choose one of them, they do not mix (--judge)")
    if judge is not None and judge not in judges:
        raise BadInput(f"no judge {judge!r} graded {task} in these runs, but {', '.join(judges)}: choose one of them")
    return judge or judges[0]


def categories(models: Mapping[str, Rows], task: str, judge: str) -> Iterator[str]:
    """The categories of a task in the order of the data, those of all runs."""
    groups = (row["group"] for rows in models.values() for row in rows if (row["task"], row["judge"]) == (task, judge))
    return (group for group in dict.fromkeys(groups) if group != ALL and not group.startswith(BY_ATTACK))
