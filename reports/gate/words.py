"""A gate in words and in a terminal: one line for each rule's figures, one for what they mean."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.printing import printable
from reports.gate.verdict import GateResult, RuleVerdict, Verdict
from reports.terminal import NARROWEST

COLOURS: dict[Verdict, str] = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "incomplete": "bold yellow",
}


def headline(found: GateResult) -> str:
    """The verdict in a line."""
    against = f" against {found.baseline.directory}" if found.baseline else ""
    return f"{found.verdict}: {found.run.directory}{against}"


def figure(it: RuleVerdict) -> str:
    """The candidate's value, beside the baseline's where it is held against that."""
    if it.value is None or isinstance(it.value, str):
        return it.value or "–"
    after = _number(it, it.value)
    return after if it.baseline_value is None else f"{_number(it, it.baseline_value)} → {after}"


def interval(it: RuleVerdict) -> str:
    """The figure that decides, with its bounds."""
    value = it.difference if it.difference is not None else it.value
    if it.low is None or it.high is None or isinstance(value, str) or value is None:
        return ""
    sign = "+" if it.difference is not None else ""
    unit, digits = (100, 1) if it.is_rate else (1, 2)
    said, low, high = (f"{unit * number:{sign}.{digits}f}" for number in (value, it.low, it.high))
    return f"{said} [{low}, {high}]"


def told(it: RuleVerdict) -> str:
    """Why a rule ended as it did."""
    parts = [f"{it.rule.metric} {interval(it)}".strip() if it.low is not None else it.rule.metric, it.reason]
    if it.n_needed:
        parts.append(f"about n = {it.n_needed} would decide")
    return ": ".join(parts[:2]) + (f"; {parts[2]}" if len(parts) > 2 else "")


def gate_text(found: GateResult, console: Console | None = None) -> str:
    """The whole gate as text."""
    console = console or Console(width=max(NARROWEST, Console().width))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("rule", overflow="fold")
    for heading in ("figures", "decides", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for it in found.rules:
        by = f", judged by {it.judge}" if it.judge else ""
        table.add_row(
            Text(it.verdict, style=COLOURS[it.verdict]),
            Text(printable(f"{it.rule.metric}: {it.rule.wants}{by}")),
            Text(figure(it)),
            Text(interval(it)),
            Text(str(it.n)),
        )
    with console.capture() as captured:
        console.print(table)
        for it in found.rules:
            if it.verdict != "pass":
                console.print(Text(printable(f"{it.verdict}: {told(it)}")))
        for note in found.notes:
            console.print(Text(printable(note)))
        if found.baseline:
            console.print(Text(f"baseline sha256 {found.baseline.records_sha256}"))
        console.print(Text(printable(headline(found)), style=COLOURS[found.verdict]))
    return captured.get().rstrip("\n")


def _number(it: RuleVerdict, value: float) -> str:
    return f"{100 * value:.1f} %" if it.is_rate else f"{value:.2f}"
