"""Comparisons of runs with a baseline in a terminal: what matters in words, every figure in tables, the outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.metrics import ALL
from harness.printing import printable
from reports.comparable import FORBIDDING
from reports.comparison import Candidate, Comparison, Comparisons, Correction
from reports.pairing import OF_THE_SET, Difference
from reports.significance.means import TOO_FEW
from reports.terminal import graded_by
from reports.transition_table import print_transitions

CORRECTED: dict[Correction, str] = {"holm": "Holm", "bh": "BH"}
NARROWEST_TABLE = 96
LEGEND = (
    "Differences are candidate - baseline over what both runs were asked, with 95 % intervals; rates in points of 100.",
    "seen: the least true difference that a test of this n finds in 80 % of cases, given how far answers vary, or how "
    "many changed the other way. n counts requests.",
)


def comparison_text(found: Comparisons, console: Console | None = None) -> str:
    """All comparisons as text. Width and colours are those of `console`, by default of the terminal that stdout is."""
    console = console or Console(width=max(NARROWEST_TABLE, Console().width))
    with console.capture() as captured:
        for candidate in found.candidates:
            rows = [row for row in found.rows if row.candidate == candidate.name]
            _print_candidate(console, candidate, rows, found)
        for line in found.refused:
            console.print(Text(f"not compared: {printable(line)}"))
        if found.rows:
            for line in (*LEGEND, _correction(found)):
                console.print(Text(line))
    return captured.get().rstrip("\n")


def _print_candidate(console: Console, candidate: Candidate, rows: Sequence[Comparison], found: Comparisons) -> None:
    names = [f"{run.directory} ({run.model.get('name', 'a model')})" for run in candidate.couple.sides]
    console.print(Text(f"{printable(names[1])} against {printable(names[0])}", style="bold"))
    for row in rows:
        if row.words:
            console.print(Text(f"  {in_words(row, found.correction)}"))
    console.print()
    overall = [row for row in rows if row.group == ALL]
    for (task, judge), of_task in groupby(overall, key=lambda row: (row.task, row.judge)):
        for part in _table(f"{task}, {graded_by(judge)}", list(of_task), found.correction):
            console.print(part)
    grouped = [row for row in rows if row.group != ALL]
    for (task, judge), of_task in groupby(grouped, key=lambda row: (row.task, row.judge)):
        console.print(_groups(f"{task} by group, {graded_by(judge)}: described, not tested", list(of_task)))
    for transitions in candidate.transitions.values():
        print_transitions(console, transitions)
        console.print()
    if candidate.collapse:
        console.print(Text(f"collapse against the baseline: {candidate.collapse.word}", style="bold"))
        for finding in candidate.collapse.findings:
            console.print(Text(f"  {finding.kind} {finding.word}: {finding.reason}"))
        if candidate.collapse.unknown:
            console.print(Text(f"  not judged, the runs hold nothing of it: {', '.join(candidate.collapse.unknown)}"))
        console.print()
    for line in _notes(candidate, forced=any(row.despite for row in rows)):
        console.print(Text(printable(line)))


def in_words(row: Comparison, correction: Correction = "holm") -> str:
    """One comparison as a sentence.

    >>> in_words(row)
    'helpfulness -0.59 [-1.03, -0.15] (6.05 → 5.46, -9.8 %), p = 0.009 (Holm 0.018); n = 80; could have seen 0.63'
    """
    found = row.found
    relative = "" if found.relative is None else f", {100 * found.relative:+.1f} %"
    p = TOO_FEW if found.p is None else f"p {p_text(found.p, equals=True)}"
    adjusted = "" if row.p_adjusted is None else f" ({CORRECTED[correction]} {p_text(row.p_adjusted)})"
    seen = "" if found.minimum_detectable is None else f"; could have seen {size_text(found, found.minimum_detectable)}"
    judge = f", judged by {printable(row.judge)}" if row.judge else ""
    return (
        f"{row.words or row.metric} {difference_text(found)} ({values_text(found)}{relative}), {p}{adjusted}; "
        f"n = {found.n}{seen} [{row.task}{judge}]"
    )


def _table(title: str, rows: Sequence[Comparison], correction: Correction) -> Iterator[Table | Text]:
    """The figures of a task, and the footnotes that say what was left out of them."""
    table = _empty(title)
    table.add_column("", no_wrap=True)
    for heading in ("baseline → candidate", "difference", "p", CORRECTED[correction], "n", "seen"):
        table.add_column(heading, justify="right", no_wrap=True)
    notes: dict[str, str] = {}
    for row in rows:
        found = row.found
        tested = p_text(found.p) if found.p is not None else "" if found.test == OF_THE_SET else found.test
        table.add_row(
            *map(
                Text,
                (
                    row.metric,
                    values_text(found),
                    difference_text(found),
                    tested,
                    "" if row.p_adjusted is None else p_text(row.p_adjusted),
                    f"{found.n}{_mark(row.left_out, notes)}",
                    "" if found.minimum_detectable is None else size_text(found, found.minimum_detectable),
                ),
            )
        )
    yield table
    for reasons, mark in notes.items():
        yield Text(f"  {mark} left out: {reasons}")


def _mark(left_out: Mapping[str, int], notes: dict[str, str]) -> str:
    """The letter of the footnote that says why some answers were left out."""
    if not left_out:
        return ""
    reasons = "; ".join(f"{n} with {reason}" for reason, n in left_out.items())
    return " " + notes.setdefault(reasons, chr(ord("a") + len(notes)))


def _groups(title: str, rows: Sequence[Comparison]) -> Table:
    table = _empty(title)
    table.add_column("", overflow="fold")
    for heading in ("metric", "baseline → candidate", "difference", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        found = row.found
        table.add_row(
            *map(Text, (printable(row.group), row.metric, values_text(found), difference_text(found), str(found.n)))
        )
    return table


def _empty(title: str) -> Table:
    return Table(
        title=Text(printable(title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _notes(candidate: Candidate, *, forced: bool) -> Iterator[str]:
    both = candidate.couple
    for task in both.in_both:
        if alone := both.only_one(task):
            yield f"{task}: {alone} items left out, which only one of the runs was asked"
    for obstacle in both.obstacles:
        if obstacle.kind not in FORBIDDING:
            yield f"note: {obstacle}"
        elif forced:
            yield f"compared all the same: {obstacle}"


def _correction(found: Comparisons) -> str:
    name = {"holm": "Holm 1979", "bh": "Benjamini and Hochberg 1995"}[found.correction]
    tests = [row for row in found.rows if row.p_adjusted is not None]
    primary = sum(row.family == "primary" for row in tests)
    if found.one_family:
        return f"{CORRECTED[found.correction]}: corrected for {len(tests)} tests ({name})."
    return (
        f"{CORRECTED[found.correction]}: corrected ({name}) for {primary} tests of what is told in words above, "
        f"and for the {len(tests) - primary} others."
    )


def values_text(found: Difference) -> str:
    if found.baseline_value is None or found.candidate_value is None:
        return "–"
    before, after = (size_text(found, value) for value in (found.baseline_value, found.candidate_value))
    return f"{before} → {after}{' %' if found.is_rate else ''}"


def size_text(found: Difference, size: float) -> str:
    unit, digits = _unit(found)
    return f"{unit * size:.{digits}f}"


def difference_text(found: Difference) -> str:
    if found.difference is None:
        return "–"
    unit, digits = _unit(found)
    bounds = [found.difference, *(bound for bound in (found.low, found.high) if bound is not None)]
    # No "-0.0": adding 0 takes the sign away.
    said, *ends = (f"{round(unit * bound, digits) + 0.0:+.{digits}f}" for bound in bounds)
    return f"{said} [{', '.join(ends)}]" if len(ends) == 2 else said


def _unit(found: Difference) -> tuple[int, int]:
    """What figures are multiplied by, and how many decimals they are shown with."""
    if found.is_rate:
        return 100, 1
    return 1, 2 if max(abs(found.baseline_value or 0), abs(found.candidate_value or 0)) < 100 else 1


def p_text(p: float, *, equals: bool = False) -> str:
    sign = "= " if equals else ""
    return f"{'< ' if equals else '<'}0.001" if p < 0.001 else f"{sign}{p:.3f}"
