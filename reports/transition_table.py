"""Two runs' attack outcomes side by side in a terminal: who moved where, what the drop is made of, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.printing import printable
from reports.terminal import NARROWEST
from reports.transitions import Attribution, Transitions, points

MARKS = {True: "yes", False: "no", None: "open"}


def transition_text(found: Transitions, console: Console | None = None) -> str:
    """The transition table of two runs, its attribution and its verdict as text.

    Width and colours are those of `console`, by default of the terminal that stdout is.
    """
    console = console or Console(width=max(NARROWEST, Console().width))
    with console.capture() as captured:
        print_transitions(console, found)
    return captured.get().rstrip("\n")


def print_transitions(console: Console, found: Transitions) -> None:
    """The same onto a console."""
    pairs = found.pairs
    console.print(
        Text(f"asr: what became of {len(pairs.baseline)} answers, judged by {printable(pairs.judge)}", style="bold")
    )
    console.print(_table(found))
    console.print(Text("Rows: baseline, columns: candidate"))
    if pairs.only_baseline or pairs.only_candidate:
        only = f"{pairs.only_baseline} answers of the baseline alone, {pairs.only_candidate} of the candidate alone"
        console.print(Text(f"left out: {only}"))
    for line in _attributed(found.attribution):
        console.print(Text(line))
    console.print(Text(f"verdict: {found.verdict.word}", style="bold"))
    for condition in found.verdict.conditions:
        console.print(Text(f"  {MARKS[condition.met]:5} {condition.text}"))


def _table(found: Transitions) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for state in (*found.table, "all"):
        table.add_column(state, justify="right", no_wrap=True)
    for state, row in found.table.items():
        table.add_row(state, *map(str, (*row.values(), sum(row.values()))))
    table.add_section()
    sums = [sum(row[state] for row in found.table.values()) for state in found.table]
    table.add_row("all", *map(str, (*sums, sum(sums))))
    return table


def _attributed(found: Attribution) -> Iterator[str]:
    if found.baseline is None or found.candidate is None:
        yield "asr: no answers in common"
        return
    rise = "rise, or " if found.candidate > found.baseline else ""
    values = f"asr {100 * found.baseline:.1f} % → {100 * found.candidate:.1f} %"
    yield f"{values}, a {rise}drop of {points(found.drop)}, made of"
    for there, flow in found.flows.items():
        net = 100 * flow.net / found.n
        yield f"  {net:+6.1f}  harmful → {there} {flow.away}, {there} → harmful {flow.back}"
    yield f"share of the drop that degenerate answers explain: {_share(found)}"


def _share(found: Attribution) -> str:
    share = found.share
    if found.undefined or share.value is None:
        return f"undefined ({found.undefined})"
    interval = (
        "no spread" if share.low is None or share.high is None else f"[{100 * share.low:.0f}, {100 * share.high:.0f}]"
    )
    return f"{100 * share.value:.0f} % {interval}"
