"""The tables beside the paper's: categories, attacks, other tasks, collapse, transitions, comparisons, judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.capability_grades import JUDGED_BY
from harness.metrics import ALL, BY_ATTACK, UNJUDGED
from reports.comparison import Comparison, Comparisons, Correction
from reports.comparison_table import CORRECTED, difference_text, p_text, size_text, values_text
from reports.paper_table import RATED_NAMES, Row, Score, judge_of_all, significance
from reports.tables import NOTHING, Cell, Column, Table, interval_text
from reports.terminal import is_rate
from tasks.task import CAPABILITY, KINDS

COLLAPSE = (
    "verdict", "degenerate", "loop", "empty", "truncated", "no_eos", "boilerplate", "commonest_answer", "rep_4",
    "compression_ratio", "entropy", "words", "distinct_2", "bigram_entropy", "corpus_compression", "self_bleu", "vendi",
    "sample_diversity",
)  # fmt: skip
MEASURED = ("collapse",)
"""Tasks of many measures, none of which a judge graded."""
ABOUT_JUDGES = (UNJUDGED, "asr_high")
"""Metrics that say how sure the others are."""


def tables_of_runs(
    rows: Sequence[Row], found: Comparisons | None, agreement: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Table]:
    """Every table that these runs have something for. `agreement` holds each run's pairs of judges, by its name."""
    for task, name in RATED_NAMES.items():
        yield from _by_group(rows, task, "average", f"{task}_categories", f"{name}: mean rating by category")
    yield from _by_group(rows, "asr", "asr", "asr_categories", "Attack success by harm category")
    yield from _by_group(rows, "asr", "asr", "asr_attacks", "Attack success by attack", attacks=True)
    yield from _by_group(rows, "over_refusal", "over_refusal", "over_refusal_categories", "Over-refusal by category")
    yield from _capability(rows, found)
    yield from _own_tasks(rows, found)
    yield from _collapse(rows)
    if found:
        yield from _transitions(found, {row.directory: row.name for row in rows})
        yield from _comparisons(found, {row.directory: row.name for row in rows})
    for number, (name, pairs) in enumerate(agreement.items(), start=1):
        yield from _agreement(number, name, pairs)


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


def figure(score: Score, *, share: bool | None = None) -> Cell:
    """A score with its interval. `share` says whether it is a share of something, where its name does not."""
    value, low, high = score["value"], score["low"], score["high"]
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return Cell(value)
    unit, digits, sign = (100, 1, " %") if (is_rate(score) if share is None else share) else (1, 2, "")
    return Cell(f"{unit * value:.{digits}f}{sign}", interval_text(low, high, unit, digits), number=value)


# --- tasks of lm-eval's, and of somebody's own ---


def _capability(rows: Sequence[Row], found: Comparisons | None) -> Iterator[Table]:
    """Every metric of the lm-eval tasks that the runs were given; differences where there is a baseline."""
    note = (
        "Measured by the Language Model Evaluation Harness (lm-eval). 95 % intervals over its values of single "
        "documents; where it has none (a perplexity, a whole group), 1.96 of its standard errors to either side."
    )
    yield from _metric_by_metric(
        rows, found, "capability", "Capability, as lm-eval measures it", note,
        [task for task in _tasks(rows) if task.startswith(CAPABILITY)],
    )  # fmt: skip


def _own_tasks(rows: Sequence[Row], found: Comparisons | None) -> Iterator[Table]:
    """The same of tasks that do not come with bench."""
    yield from _metric_by_metric(
        rows, found, "own_tasks", "Other tasks", "95 % intervals over questions; judges in brackets.",
        [task for task in _tasks(rows) if task not in KINDS and not task.startswith(CAPABILITY)],
    )  # fmt: skip


def _tasks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(score["task"] for row in rows for score in row.scores))


def _metric_by_metric(
    rows: Sequence[Row], found: Comparisons | None, name: str, caption: str, note: str, tasks: Sequence[str]
) -> Iterator[Table]:
    """A table with a row a metric of these tasks, a column a run; none where no run has any."""
    scores = {
        (score["task"], score["metric"], score["judge"], row.name): score
        for row in rows for score in row.scores
        if score["task"] in tasks and score["group"] == ALL
    }  # fmt: skip
    if not scores:
        return
    compared = {
        (it.task, it.metric, it.judge, it.candidate): it
        for it in (found.rows if found else ()) if it.group == ALL
    }  # fmt: skip
    candidates = [row for row in rows if any(key[0] in tasks and key[-1] == row.directory for key in compared)]
    body = []
    for task, metric, judge in dict.fromkeys(key[:3] for key in scores):
        of_runs = [scores.get((task, metric, judge, row.name)) for row in rows]
        differences = [compared.get((task, metric, judge, row.directory)) for row in candidates]
        share = _is_share(of_runs, differences)
        named = metric if judge in (None, JUDGED_BY) else f"{metric} ({judge})"
        cells = [NOTHING if score is None else figure(score, share=share) for score in of_runs]
        body.append([Cell(task.removeprefix(CAPABILITY)), Cell(named), *cells, *map(_difference, differences)])
    columns = [
        Column("Task", "left"), Column("Metric", "left"), *(Column(row.name) for row in rows),
        *(Column(f"Δ {row.name}") for row in candidates),
    ]  # fmt: skip
    notes = [note]
    if candidates and found:
        correction = CORRECTED[found.correction]
        notes.append("Δ: change against the baseline, paired by question; of shares in points of 100.")
        notes.append(f"* p < 0.05, ** p < 0.01, *** p < 0.001 after {correction}'s correction of the secondary family.")
    yield Table(name, caption, columns, body, notes)


def _is_share(scores: Sequence[Score | None], differences: Sequence[Comparison | None]) -> bool:
    """Whether a metric is a share. A comparison knows; the metrics of lm-eval, perplexities too, do not tell."""
    known = [it.found.is_rate for it in differences if it]
    return all(known) if known else all(is_rate(score) for score in scores if score and score["value"] is not None)


def _difference(row: Comparison | None) -> Cell:
    if row is None or row.found.difference is None:
        return NOTHING
    text, _, interval = difference_text(row.found).partition(" ")
    return Cell(text, interval, significance(row.p_adjusted), row.found.difference)


# --- collapse, and what became of answers ---


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
        for place, (judge, moved) in enumerate(candidate.transitions.items(), start=1):
            states = list(moved.table)
            body = [[Cell(before), *(Cell(str(moved.table[before][after])) for after in states)] for before in states]
            share = moved.attribution.share
            told = f"undefined ({moved.attribution.undefined})"
            if share.value is not None:
                told = f"{100 * share.value:.0f} % {interval_text(share.low, share.high, 100, 0)}".rstrip()
            yield Table(
                f"transitions_{number}" + (f"_{place}" if len(candidate.transitions) > 1 else ""),
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
    if rows:
        yield comparison_table("comparisons", "All comparisons with the baseline", rows, found.correction, names)


def main_comparisons(found: Comparisons) -> list[Comparison]:
    """What a paper shows of them: what a release is judged by, and the other tests of what judges or lm-eval graded."""
    overall = [row for row in found.rows if row.group == ALL and row.found.difference is not None]
    primary = [row for row in overall if row.words]
    graded = [row for row in overall if row.task not in MEASURED and row.metric not in ABOUT_JUDGES]
    beside = [row for row in graded if not row.words and row.found.p is not None]
    return [*primary, *beside]


def comparison_table(
    name: str, caption: str, rows: Sequence[Comparison], correction: Correction, names: Mapping[str, str]
) -> Table:
    """Comparisons, a row each; `names` says what a run directory is called."""
    columns = [
        Column("Candidate", "left"), Column("Task", "left"), Column("Metric", "left"), Column("Judge", "left"),
        Column("baseline → candidate"), Column("difference"), Column("p"), Column(CORRECTED[correction]),
        Column("n"), Column("detectable"),
    ]  # fmt: skip
    notes = [
        "Differences are candidate - baseline, paired by question, with 95 % intervals; rates in points of 100.",
        "detectable: the least true difference that a test of this n finds in 80 % of cases.",
    ]
    return Table(name, caption, columns, [_compared(row, names) for row in rows], notes)


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


def _agreement(number: int, name: str, pairs: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
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
        yield Table(f"agreement_{number}", f"Agreement of the judges of {name}", columns, body)


def _share(pair: Mapping[str, Any], key: str, unit: int, digits: int) -> Cell:
    value, low, high = pair[key], pair[f"{key}_low"], pair[f"{key}_high"]
    if value is None:
        return NOTHING
    return Cell(f"{unit * value:.{digits}f}", interval_text(low, high, unit, digits), number=value)
