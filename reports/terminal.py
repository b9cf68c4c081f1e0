"""The score table in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.intervals import BOOTSTRAP_FROM
from harness.metrics import ALL, BY_ATTACK, STRONG_REJECT
from harness.printing import printable
from harness.results import RunResult
from tasks.task import CAPABILITY

SHOWN_BY_GROUP = {
    "mini_mt": ("turn_1", "turn_2", "average"),
    "mt_bench": ("turn_1", "turn_2", "average"),
    "asr": ("asr", "refusal", "degenerate"),
    "over_refusal": ("over_refusal", "degenerate"),
    "collapse": ("degenerate", "loop", "truncated"),
}
NO_RATES = (
    "turn_", "average", "judge_noise", "rep_", "prompt_copy", "compression", "entropy", "word", "distinct_", "ead_",
    "bigram_", "corpus_", "self_bleu", "vendi", "sample_", STRONG_REJECT,
)  # fmt: skip
"""How the names of metrics begin that are not shares of something."""
NO_SHARES = re.compile(r"perplexity|bits_per|(bleu|chrf|rouge|\bter\b|diff)(?!.*_acc)|brier|likelihood|mcc")
"""What the names of lm-eval's metrics hold that are not shares of something, however small they are."""
OF_THE_SET = ("distinct_", "ead_", "bigram_", "corpus_", "self_bleu", "vendi")
"""…and those of a set as a whole, which have no interval."""

SCALE_OF_STRONG_REJECT = (
    "  strongreject: mean of (1 - refused) × (convincing + specific - 2) / 8, from 0 to 1 as in Souly et al. 2024 "
    "(inspect_evals: 0 to 5); rubric in our words; degenerate answers count 0, unjudged ones are left out"
)

NARROWEST = 80

Row = Mapping[str, Any]


def run_table(result: RunResult, console: Console | None = None) -> str:
    """A run's figures as text: first each metric over everything, then the main ones by category.

    Width and colours are those of `console`, by default of the terminal that stdout is.
    """
    # Narrower terminals wrap the lines themselves: a figure cut short would be a wrong one.
    console = console or Console(width=max(NARROWEST, Console().width))
    scores = result.scores
    with console.capture() as captured:
        _print_overview(console, [row for row in scores if row["group"] == ALL])
        for task, judge in dict.fromkeys((row["task"], row["judge"]) for row in scores):
            rows = [row for row in scores if (row["task"], row["judge"]) == (task, judge) and row["group"] != ALL]
            attacks = [row for row in rows if row["group"].startswith(BY_ATTACK)]
            if others := [row for row in rows if not row["group"].startswith(BY_ATTACK)]:
                console.print(_by_group(task, judge, others, "category" if judge else "task"))
            if attacks:
                console.print(_by_group(task, judge, attacks, "attack"))
                if len({row["group"] for row in attacks}) > 1:
                    console.print(Text(_what_all_attacks_mean(attacks)))
        for row in result.agreement:
            _print_agreement(console, row)
        for line in _closing_lines(result):
            console.print(Text(line))
    return captured.get().rstrip("\n")


def _print_overview(console: Console, rows: Sequence[Row]) -> None:
    table = _table("Scores with 95 % intervals")
    # The name of a judge may be a path: it folds, never the figures.
    table.add_column("", overflow="fold")
    for heading in ("value", "interval", "n", "left out"):
        table.add_column(heading, justify="right", no_wrap=True)
    notes: dict[str, str] = {}
    section = None
    for row in rows:
        if section != (section := (row["task"], row["judge"])):
            table.add_section()
            table.add_row(Text(f"{row['task']}, {graded_by(row['judge'])}", style="bold"))
        cells = (f"  {row['metric']}", _value(row), _interval(row), str(row["n"]), _left_out(row["excluded"], notes))
        table.add_row(*map(Text, cells))
    console.print(table)
    for reasons, mark in notes.items():
        console.print(Text(f"  {mark} left out: {reasons}"))
    if any(row["metric"] == STRONG_REJECT for row in rows):
        console.print(Text(SCALE_OF_STRONG_REJECT))


def graded_by(judge: str | None) -> str:
    return f"judged by {judge}" if judge else "measured by program"


def _left_out(excluded: Mapping[str, int], notes: dict[str, str]) -> str:
    """The number left out with the mark of a footnote that says why."""
    if not excluded:
        return ""
    reasons = "; ".join(f"{n} {reason}" for reason, n in excluded.items())
    return f"{sum(excluded.values())} {notes.setdefault(reasons, chr(ord('a') + len(notes)))}"


def _what_all_attacks_mean(rows: Sequence[Row]) -> str:
    if len({row["n"] for row in rows if row["metric"] == "asr"}) > 1:
        return "Not every request was asked under every attack: asr over all answers is not the mean over attacks."
    return (
        "Every request was asked under each attack: asr over all answers is the mean over attacks, asr_any the share "
        "of requests that at least one of them got fulfilled."
    )


def _by_group(task: str, judge: str | None, rows: Sequence[Row], kind: str) -> Table:
    there = dict.fromkeys(row["metric"] for row in rows)
    metrics = [metric for metric in SHOWN_BY_GROUP.get(task, ()) if metric in there] or list(there)[:3]
    table = _table(f"{task} by {kind}, {graded_by(judge)}")
    # Where the terminal is narrow the names fold, never the figures.
    table.add_column(kind, overflow="fold")
    for metric in (*metrics, "n"):
        table.add_column(metric, justify="right", no_wrap=True)
    cells = {(row["group"], row["metric"]): row for row in rows}
    nothing = {"metric": "", "value": None, "low": None, "n": 0}
    for group in dict.fromkeys(row["group"] for row in rows):
        of_group = [cells.get((group, metric), nothing) for metric in metrics]
        values = [f"{_value(row, 0)} {_interval(row, 0)}".strip() for row in of_group]
        table.add_row(
            *map(
                Text,
                (
                    printable(group.removeprefix(BY_ATTACK if kind == "attack" else "")),
                    *values,
                    str(max(row["n"] for row in of_group)),
                ),
            )
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def is_rate(row: Row) -> bool:
    if str(row.get("task", "")).startswith(CAPABILITY):
        # lm-eval's metrics tell by their value, but for those that may be small and are no share.
        value = row["value"]
        return isinstance(value, int | float) and 0 <= value <= 1 and not NO_SHARES.search(row["metric"])
    return not row["metric"].startswith(NO_RATES)


def _value(row: Row, digits: int = 1) -> str:
    if row["value"] is None:
        return "–"
    if isinstance(row["value"], str):
        return row["value"]
    return f"{100 * row['value']:.{digits}f} %" if is_rate(row) else f"{row['value']:.{digits + 1}f}"


def _interval(row: Row, digits: int = 1) -> str:
    if isinstance(row["value"], str) or row["metric"].startswith(OF_THE_SET):
        return ""
    if row["low"] is None:
        if str(row.get("task", "")).startswith(CAPABILITY):
            return "n too small" if row["n"] < BOOTSTRAP_FROM else "not known"
        return "no spread" if row["n"] > 1 else "n too small" if row["n"] else ""
    if is_rate(row):
        return f"[{100 * row['low']:.{digits}f}, {100 * row['high']:.{digits}f}]"
    return f"[{row['low']:.{digits + 1}f}, {row['high']:.{digits + 1}f}]"


def _print_agreement(console: Console, row: Row) -> None:
    """How often each label of one judge (rows) met each label of the other (columns), and what that comes to."""
    first, second = map(printable, row["judges"])
    console.print(Text(f"{row['task']}: labels of {first} (rows) by those of {second} (columns)", style="bold"))
    left_out = "".join(f", {number} {reason} left out" for reason, number in row["excluded"].items())
    if not row["n"]:
        console.print(Text(f"n 0{left_out}\n"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for label in row["confusion"]:
        table.add_column(Text(printable(label)), justify="right", no_wrap=True)
    for label, counts in row["confusion"].items():
        table.add_row(*map(Text, (printable(label), *map(str, counts.values()))))
    console.print(table)
    agreed = _with_interval(f"{100 * row['accuracy']:.1f} %", row["accuracy_low"], row["accuracy_high"], 100, 1)
    kappa = "undefined (one label only)"
    if row["kappa"] is not None:
        kappa = _with_interval(f"{row['kappa']:.2f}", row["kappa_low"], row["kappa_high"], 1, 2)
    console.print(Text(f"same label {agreed}, Cohen's kappa {kappa}, n {row['n']}{left_out}"))
    if "degenerate" in row["confusion"]:
        console.print(Text("degenerate is found by one program for all judges but people: no disagreement there"))
    console.print()


def _with_interval(value: str, low: float | None, high: float | None, unit: int, digits: int) -> str:
    if low is None or high is None:
        return value
    return f"{value} [{unit * low:.{digits}f}, {unit * high:.{digits}f}]"


def _closing_lines(result: RunResult) -> list[str]:
    lines = [*result.notes, f"{result.status} run in {result.directory}"]
    if result.timing:
        wall, start_up, model = (result.timing[key] for key in ("wall_s", "start_up_s", "model_s"))
        other = wall - start_up - model
        ratio = f" ({wall / (start_up + model):.2f} × start-up and model)" if model else ""
        lines.append(
            f"wall {wall:.1f} s = start-up {start_up:.1f} s + model {model:.1f} s + other {other:.1f} s{ratio}"
        )
    return lines
