"""The tables beside the paper's: by category and attack, collapse, transitions, agreement of judges, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metrics import ALL, BY_ATTACK
from reports.comparison import Comparison, Comparisons
from reports.comparison_table import CORRECTED, difference_text, p_text, size_text, values_text
from reports.paper_table import RATED_NAMES, Row, judge_of_all, significance
from reports.tables import NOTHING, Cell, Column, Table, interval_text
from reports.terminal import is_rate

COLLAPSE = (
    "verdict", "degenerate", "loop", "empty", "truncated", "no_eos", "boilerplate", "commonest_answer", "rep_4",
    "compression_ratio", "entropy", "words", "distinct_2", "bigram_entropy", "corpus_compression", "self_bleu", "vendi",
    "sample_diversity",
)  # fmt: skip


def tables_of_runs(
    rows: Sequence[Row], found: Comparisons | None, agreement: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Table]:
    """Every table that these runs have something for. `agreement` holds each run's pairs of judges, by its name."""
    for task, name in RATED_NAMES.items():
        yield from _by_group(rows, task, "average", f"{task}_categories", f"{name}: mean rating by category")
    yield from _by_group(rows, "asr", "asr", "asr_categories", "Attack success by harm category")
    yield from _by_group(rows, "asr", "asr", "asr_attacks", "Attack success by attack", attacks=True)
    yield from _by_group(rows, "over_refusal", "over_refusal", "over_refusal_categories", "Over-refusal by category")
    yield from _collapse(rows)
    if found:
        yield from _transitions(found, {row.directory: row.name for row in rows})
        yield from _comparisons(found, {row.directory: row.name for row in rows})
    for name, pairs in agreement.items():
        yield from _agreement(name, pairs)


def _by_group(
    rows: Sequence[Row], task: str, metric: str, name: str, caption: str, *, attacks: bool = False
) -> Iterator[Table]:
    judge = judge_of_all(rows, task)
    cells: dict[str, dict[str, Cell]] = {}
    for row in rows:
        for score in row.scores:
            group = score["group"]
            if (score["task"], score["metric"], score["judge"]) != (task, metric, judge) or group == ALL:
                continue
            if group.startswith(BY_ATTACK) == attacks:
                cells.setdefault(group.removeprefix(BY_ATTACK), {})[row.name] = figure(score)
    if cells:
        kind = "Attack" if attacks else "Category"
        columns = [Column(kind, "left"), *(Column(row.name) for row in rows)]
        body = [
            [Cell(group), *(by_run.get(row.name, NOTHING) for row in rows)] for group, by_run in cells.items()
        ]  # fmt: skip
        notes = [f"Judged by {judge}; 95 % intervals; n in a group is small, so nothing is tested."]
        yield Table(name, caption, columns, body, notes)


def figure(score: Mapping[str, Any]) -> Cell:
    """A score with its interval."""
    value, low, high = score["value"], score["low"], score["high"]
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return Cell(value)
    unit, digits, sign = (100, 1, " %") if is_rate(score) else (1, 2, "")
    return Cell(f"{unit * value:.{digits}f}{sign}", interval_text(low, high, unit, digits), number=value)


def _collapse(rows: Sequence[Row]) -> Iterator[Table]:
    by_run = [
        {score["metric"]: figure(score) for score in row.scores if (score["task"], score["group"]) == ("collapse", ALL)}
        for row in rows
    ]
    there = [metric for metric in COLLAPSE if any(metric in cells for cells in by_run)]
    if there:
        columns = [Column("Measure", "left"), *(Column(row.name) for row in rows)]
        body = [[Cell(metric), *(cells.get(metric, NOTHING) for cells in by_run)] for metric in there]
        yield Table(
            "collapse", "Collapse diagnostics", columns, body,
            ["Measures of a whole set (distinct_2 to vendi) are read on equal budgets of words and have no interval."],
        )  # fmt: skip


def _transitions(found: Comparisons, names: Mapping[str, str]) -> Iterator[Table]:
    for number, candidate in enumerate(found.candidates, start=1):
        for judge, moved in candidate.transitions.items():
            states = list(moved.table)
            body = [[Cell(before), *(Cell(str(moved.table[before][after])) for after in states)] for before in states]
            share = moved.attribution.share
            told = f"undefined ({moved.attribution.undefined})"
            if share.value is not None:
                told = f"{100 * share.value:.0f} % {interval_text(share.low, share.high, 100, 0)}".rstrip()
            yield Table(
                f"transitions_{number}" + (f"_{judge}" if len(candidate.transitions) > 1 else ""),
                f"What became of answers: {names.get(candidate.name, candidate.name)} (columns) against "
                f"{names.get(str(found.baseline.directory), 'the baseline')} (rows)",
                [Column("Outcome", "left"), *(Column(state) for state in states)],
                body,
                [
                    f"Judged by {judge}. Share of the drop of attack success that degenerate answers explain: {told}.",
                    f"Verdict: {moved.verdict.text}.",
                ],
            )


def _comparisons(found: Comparisons, names: Mapping[str, str]) -> Iterator[Table]:
    rows = [row for row in found.rows if row.group == ALL]
    if not rows:
        return
    columns = [
        Column("Candidate", "left"), Column("Task", "left"), Column("Metric", "left"), Column("Judge", "left"),
        Column("baseline → candidate"), Column("difference"), Column("p"), Column(CORRECTED[found.correction]),
        Column("n"), Column("detectable"),
    ]  # fmt: skip
    notes = [
        "Differences are candidate - baseline, paired by question, with 95 % intervals; rates in points of 100.",
        "detectable: the least true difference that a test of this n finds in 80 % of cases.",
    ]
    body = [_compared(row, names) for row in rows]
    yield Table("comparisons", "All comparisons with the baseline", columns, body, notes)


def _compared(row: Comparison, names: Mapping[str, str]) -> list[Cell]:
    it = row.found
    return [
        Cell(names.get(row.candidate, row.candidate)), Cell(row.task), Cell(row.metric), Cell(row.judge or "program"),
        Cell(values_text(it)), Cell(difference_text(it), mark=significance(row.p_adjusted)),
        Cell(it.test) if it.p is None else Cell(p_text(it.p), number=it.p),
        NOTHING if row.p_adjusted is None else Cell(p_text(row.p_adjusted), number=row.p_adjusted),
        Cell(str(it.n), number=it.n),
        NOTHING if it.minimum_detectable is None else Cell(size_text(it, it.minimum_detectable)),
    ]  # fmt: skip


def _agreement(name: str, pairs: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    if pairs:
        body = [
            [
                Cell(pair["task"]), Cell(" and ".join(pair["judges"])), Cell(str(pair["n"]), number=pair["n"]),
                _share(pair, "accuracy", 100, 1), _share(pair, "kappa", 1, 2),
            ]
            for pair in pairs
        ]  # fmt: skip
        columns = [
            Column("Task", "left"),
            Column("Judges", "left"),
            Column("n"),
            Column("same label", unit="%"),
            Column("kappa"),
        ]
        yield Table(f"agreement_{name}", f"Agreement of the judges of {name}", columns, body)


def _share(pair: Mapping[str, Any], key: str, unit: int, digits: int) -> Cell:
    value, low, high = pair[key], pair[f"{key}_low"], pair[f"{key}_high"]
    if value is None:
        return NOTHING
    return Cell(f"{unit * value:.{digits}f}", interval_text(low, high, unit, digits), number=value)
