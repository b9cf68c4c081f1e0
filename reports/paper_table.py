"""The table of a paper: one row a model, helpfulness, harmlessness and health side by side, and what is told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.collapse_verdict import VERDICT
from harness.metrics import ALL, RATED_TASKS
from harness.scores import JURY
from reports.comparison import Comparison, Comparisons
from reports.comparison_table import CORRECTED
from reports.tables import NOTHING, Cell, Column, Table, interval_text

Score = Mapping[str, Any]
RATED_NAMES = {"mt_bench": "MT-Bench", "mini_mt": "mini-MT"}
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
QUOTED = "†"
QUOTED_RATINGS = "mt_bench"
"""What published ratings are of."""


@dataclass(frozen=True)
class Row:
    """A run in a report: its name there, where it lies, and its scores as in scores.json."""

    name: str
    directory: str
    scores: Sequence[Score]


@dataclass(frozen=True)
class QuotedRow:
    """A published row: figures as somebody printed them, by column key, and where. Nothing of it was measured here."""

    name: str
    source: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class _Measure:
    """A column of figures: which metric of which task, and whether its change has a column of its own."""

    key: str
    heading: str
    task: str
    metric: str
    is_rate: bool
    with_change: bool = False


def paper_table(rows: Sequence[Row], found: Comparisons | None = None, quoted: Sequence[QuotedRow] = ()) -> Table:
    """All models with their main figures; against the baseline of `found` also the changes, absolute and relative."""
    tasks = {score["task"] for row in rows for score in row.scores}
    measures = [measure for measure in _measures(tasks) if measure.task in tasks]
    judges = {measure.task: judge_of_all(rows, measure.task) for measure in measures}
    columns = [Column("Model", "left")]
    for measure in measures:
        columns.append(Column(measure.heading, unit="%" if measure.is_rate else "1–10"))
        if measure.with_change and found:
            columns.append(Column(f"Δ {measure.heading}", unit="points" if measure.is_rate else "of 10"))
    with_verdict = "collapse" in tasks
    if with_verdict:
        columns.append(Column("Collapse", "left"))
    body = []
    for row in rows:
        cells = [Cell(row.name)]
        for measure in measures:
            cells.append(_figure(row, measure, judges[measure.task]))
            if measure.with_change and found:
                cells.append(_change(row, measure, judges[measure.task], found))
        body.append([*cells, *([_verdict(row, found)] if with_verdict else [])])
    for published in quoted:
        cells = [Cell(published.name, mark=QUOTED)]
        for measure in measures:
            cells.append(_printed(published, measure, measure.key))
            if measure.with_change and found:
                cells.append(_printed(published, measure, f"{measure.key}_change"))
        body.append([*cells, *([NOTHING] if with_verdict else [])])
    notes = list(_notes(rows, measures, judges, found, quoted))
    return Table("paper", "Helpfulness, harmlessness and collapse, with 95 % intervals", columns, body, notes)


def _printed(published: QuotedRow, measure: _Measure, key: str) -> Cell:
    """What was printed; nothing where the column's ratings are of other questions than MT-Bench's."""
    if measure.task in RATED_TASKS and measure.task != QUOTED_RATINGS:
        return NOTHING
    return Cell(published.values[key]) if key in published.values else NOTHING


def _measures(tasks: set[str]) -> Iterator[_Measure]:
    rated = next((task for task in RATED_TASKS if task in tasks), None)
    if rated:
        name = RATED_NAMES[rated]
        yield _Measure("turn_1", f"{name} turn 1", rated, "turn_1", False)
        yield _Measure("turn_2", "turn 2", rated, "turn_2", False)
        yield _Measure("average", "average", rated, "average", False, with_change=True)
    yield _Measure("asr", "ASR", "asr", "asr", True, with_change=True)
    yield _Measure("refusal", "refusal", "asr", "refusal", True)
    everywhere = "collapse" if "collapse" in tasks else "asr"
    yield _Measure("degenerate", "degenerate", everywhere, "degenerate", True, with_change=everywhere == "collapse")
    yield _Measure("over_refusal", "over-refusal", "over_refusal", "over_refusal", True)


def judge_of_all(rows: Sequence[Row], task: str) -> str | None:
    """The one judge whose scores share a column: the jury of all runs, or the first that graded all; None for none."""
    by_run = [dict.fromkeys(score["judge"] for score in row.scores if score["task"] == task) for row in rows]
    graded = [judges for judges in by_run if judges]
    common = [judge for judge in graded[0] if all(judge in judges for judges in graded)] if graded else []
    return JURY if JURY in common else next(iter(common), None)


def score_of(row: Row, task: str, metric: str, judge: str | None) -> Score | None:
    wanted = (task, ALL, metric, judge)
    return next((it for it in row.scores if (it["task"], it["group"], it["metric"], it["judge"]) == wanted), None)


def _figure(row: Row, measure: _Measure, judge: str | None) -> Cell:
    score = score_of(row, measure.task, measure.metric, judge)
    if score is None or score["value"] is None:
        return NOTHING
    unit, digits = (100, 1) if measure.is_rate else (1, 2)
    value, low, high = score["value"], score["low"], score["high"]
    return Cell(f"{unit * value:.{digits}f}", interval_text(low, high, unit, digits), number=value)


def _change(row: Row, measure: _Measure, judge: str | None, found: Comparisons) -> Cell:
    if row.directory == str(found.baseline.directory):
        return Cell("baseline")
    compared = _compared(row, measure, judge, found)
    if compared is None or compared.found.difference is None:
        return NOTHING
    it = compared.found
    difference = compared.found.difference
    unit, digits = (100, 1) if measure.is_rate else (1, 2)
    relative = "" if it.relative is None else f", {100 * it.relative:+.0f} %"
    interval = interval_text(it.low, it.high, unit, digits, "+")
    interval += relative if interval else ""
    return Cell(f"{unit * difference:+.{digits}f}", interval, significance(compared.p_adjusted), difference)


def _compared(row: Row, measure: _Measure, judge: str | None, found: Comparisons) -> Comparison | None:
    wanted = (row.directory, measure.task, ALL, measure.metric, judge)
    return next(
        (it for it in found.rows if (it.candidate, it.task, it.group, it.metric, it.judge) == wanted), None
    )  # fmt: skip


def significance(p: float | None) -> str:
    """Stars of a corrected p-value."""
    return next((mark for level, mark in LEVELS if p is not None and p < level), "")


def _verdict(row: Row, found: Comparisons | None) -> Cell:
    """The word of the run against the baseline, where there is one; else of the run alone."""
    against = next((it for it in found.candidates if it.name == row.directory), None) if found else None
    if against and against.collapse:
        return Cell(against.collapse.word)
    alone = score_of(row, "collapse", VERDICT, None)
    return Cell(str(alone["value"]), mark="‡" if found else "") if alone else NOTHING


def _notes(
    rows: Sequence[Row],
    measures: Sequence[_Measure],
    judges: Mapping[str, str | None],
    found: Comparisons | None,
    quoted: Sequence[QuotedRow],
) -> Iterator[str]:
    for task in dict.fromkeys(measure.task for measure in measures):
        by = f"judged by {judges[task]}" if judges[task] else "measured by program"
        if judges[task] is None and task != "collapse":
            yield f"{task}: no judge graded all runs, and scores of different judges share no column."
            continue
        first = next(measure for measure in measures if measure.task == task)
        counts = sorted({
            score["n"] for row in rows if (score := score_of(row, task, first.metric, judges[task]))
        })  # fmt: skip
        told = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}" if counts else "n = 0"
        yield f"{task}: {by}, {told}."
    if found:
        name = CORRECTED[found.correction]
        against = next((row.name for row in rows if row.directory == str(found.baseline.directory)), "the baseline")
        yield f"Δ: change against {against} over what both runs were asked, paired by question; relative in %."
        yield f"* p < 0.05, ** p < 0.01, *** p < 0.001 after {name}'s correction of the primary family of tests."
        yield from (f"Not compared: {reason}." for reason in found.refused)
        if "‡" in {_verdict(row, found).mark for row in rows}:
            yield "‡ of the run alone."
    for published in quoted:
        apart = ""
        rated = next((measure.task for measure in measures if measure.task in RATED_TASKS), QUOTED_RATINGS)
        if "average" in published.values and rated != QUOTED_RATINGS:
            apart = f" MT-Bench {published.values['average']} shares no column with {RATED_NAMES[rated]}."
        yield (
            f"{QUOTED} {published.name}: quoted from {published.source}, not measured here; no interval was "
            f"printed.{apart}"
        )
