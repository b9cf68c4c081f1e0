"""What a report does not rest on: what was left out of its figures, not judged, not compared, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.metrics import ALL, UNJUDGED
from harness.stored_run import StoredRun
from reports.comparable import FORBIDDING
from reports.comparison import Comparisons
from reports.methods_statistics import shown_scores
from reports.methods_text import Sentence, told
from reports.paper_table import Row
from reports.tables_of_runs import main_comparisons


def left_out(runs: Mapping[str, StoredRun], rows: Sequence[Row], found: Comparisons | None) -> Iterator[Sentence]:
    """A sentence for each thing that was left out; one that says so where nothing was."""
    said = [
        *_of_data(runs), *_of_figures(rows), *_unjudged(rows),
        *(_of_comparisons(found, {row.directory: row.name for row in rows}) if found else ()),
    ]  # fmt: skip
    yield from ([f"{text}."] for text in dict.fromkeys(said))
    if not said:
        yield ["No request and no answer was left out, and every answer was judged."]


def _of_data(runs: Mapping[str, StoredRun]) -> Iterator[str]:
    for name, run in runs.items():
        if not run.is_complete:
            yield f"The run {name} is incomplete"
    for task in dict.fromkeys(task for run in runs.values() for task in run.described_tasks):
        described = {name: run.described_tasks.get(task, {}).get("left_out") for name, run in runs.items()}
        if any(described.values()):
            rows = told({name: _reasons(reasons) if reasons else "none" for name, reasons in described.items()})
            yield f"Rows of the data of {task} that were not asked: {rows}"


def _of_figures(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        for score in shown_scores(row):
            if score["excluded"]:
                by = f", judged by {score['judge']}" if score["judge"] else ""
                what = f"{score['task']}, {score['metric']}{by}"
                yield f"The figure of {row.name} ({what}) leaves out {_reasons(score['excluded'])}"


def _unjudged(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        for score in row.scores:
            if score["metric"] == UNJUDGED and score["group"] == ALL and score["value"]:
                number = round(score["value"] * score["n"])
                yield f"{score['judge']} left {number} of {score['n']} answers of {row.name} unjudged ({score['task']})"


def _of_comparisons(found: Comparisons, names: Mapping[str, str]) -> Iterator[str]:
    yield from (f"Not compared: {reason}" for reason in found.refused)
    for row in main_comparisons(found):
        if row.left_out:
            name = names.get(row.candidate, row.candidate)
            yield f"The comparison of {name} ({row.task}, {row.metric}) leaves out {_reasons(row.left_out, 'with ')}"
    for candidate in found.candidates:
        both = candidate.couple
        name = names.get(candidate.name, candidate.name)
        for task in both.in_both:
            if alone := both.only_one(task):
                yield f"{alone} items of {task} were asked of only one of {name} and the baseline"
        yield from (f"Of {name}: {it}" for it in both.obstacles if it.kind not in FORBIDDING)


def _reasons(counts: Mapping[str, int], glue: str = "") -> str:
    return ", ".join(f"{number} {glue}{reason}" for reason, number in counts.items())
