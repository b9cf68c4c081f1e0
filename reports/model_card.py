"""What a run says in the card of its model on the hub: a section of Markdown, and figures for the card's metadata.

The metadata (model-index) hold single values. Intervals, verdicts in words, what was left out, who judged and what all
of it rests on stand in the section alone. Nothing of the machine goes out: no path and no command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.hub_push import Evaluation, Figure
from harness.metrics import ALL, UNJUDGED
from harness.results import RunResult, result_of
from harness.stored_run import StoredRun
from reports.escaping import markdown
from reports.provenance import HASHES, SHORT, fingerprint, shortened
from reports.table_formats import to_markdown
from reports.tables import Cell, Column, Table
from reports.tables_of_runs import figure
from reports.terminal import graded_by, is_rate
from tasks.errors import BadInput

SHOWN = {
    "asr": ("asr", "asr_lenient", "asr_coherent", "asr_any", "refusal", "degenerate", UNJUDGED),
    "collapse": ("verdict", "degenerate", "loop", "empty", "truncated", "duplicates", "rep_4"),
}
"""The metrics of a task that a card has room for; of another task all that are over its whole data."""
LIBRARIES = ("bench", "transformers", "vllm", "torch")
A_PATH = re.compile(r"(?P<kind>(?:human|judgments|answers|hf|guard):)?(?P<folder>.*/)(?P<last>[^/]+)")

Score = Mapping[str, Any]


def evaluation_of(run: StoredRun) -> Evaluation:
    """The section and the figures of a complete run.

    Raises:
        BadInput: the run is not complete, or holds no figure.
    """
    if not run.is_complete:
        raise BadInput(f"{run.directory} is incomplete: finish it with the command that began it, then push it")
    result = result_of(run)
    scores = [score for score in result.scores if _is_shown(score)]
    if not any(isinstance(score["value"], int | float) for score in scores):
        raise BadInput(f"{run.directory} holds no figures to push")
    return Evaluation("\n".join(_section(run, result, scores)), list(_figures(run, scores)))


def _is_shown(score: Score) -> bool:
    if score["group"] != ALL or (score["metric"] == UNJUDGED and not score["value"]):
        return False
    return score["metric"] in SHOWN.get(score["task"], (score["metric"],))


def _section(run: StoredRun, result: RunResult, scores: Sequence[Score]) -> Iterator[str]:
    yield "## Evaluation with bench\n"
    yield to_markdown(_table(scores)).rstrip()
    yield ""
    notes = [note for note in result.notes if note]
    yield from (f"- {markdown(note)}" for note in notes)
    yield from (f"- {markdown(line)}" for line in _rests_on(run))


def _table(scores: Sequence[Score]) -> Table:
    columns = [
        Column("Task", "left"), Column("Metric", "left"), Column("Value"), Column("95 % interval"), Column("n"),
        Column("Graded by", "left"), Column("Left out", "left"),
    ]  # fmt: skip
    rows = []
    for score in scores:
        cell = figure(score)
        left_out = "; ".join(f"{number} {reason}" for reason, number in score["excluded"].items())
        rows.append([
            Cell(score["task"]), Cell(score["metric"]), Cell(cell.text), Cell(cell.interval),
            Cell(str(score["n"])), Cell(graded_by(public(score["judge"]) if score["judge"] else None)), Cell(left_out),
        ])  # fmt: skip
    notes = ["Figures of different judges can not be compared. n counts items, or answers where an item has several."]
    return Table("evaluation", "Figures with 95 % intervals", columns, rows, notes)


def _figures(run: StoredRun, scores: Sequence[Score]) -> Iterator[Figure]:
    for score in scores:
        if isinstance(score["value"], bool) or not isinstance(score["value"], int | float):
            continue
        task = run.described_tasks.get(score["task"], {})
        judge = public(score["judge"]) if score["judge"] else None
        scale = "share from 0 to 1" if is_rate(score) else "its own scale"
        scale = "mean rating from 1 to 10" if task.get("scoring") == "ratings" else scale
        yield Figure(
            task=score["task"],
            version=str(task.get("version", "")),
            revision=task.get("sha256"),
            metric=score["metric"],
            value=score["value"],
            about=f"{score['metric']}, {scale}, {graded_by(judge)}",
            arguments={"n": score["n"], **({"judge": judge} if judge else {})},
        )


def _rests_on(run: StoredRun) -> Iterator[str]:
    """A line for each thing that decides the figures, hashes by their first digits."""
    model = run.model
    commits = ", ".join(f"{name}@{commit}" for name, commit in dict(model.get("hub_commits") or {}).items())
    yield (
        f"Model: {public(str(model.get('name', 'a model')))} by {model.get('backend', '?')}, "
        f"{shortened(fingerprint(model))}{f' ({commits})' if commits else ''}"
    )
    for task, described in run.described_tasks.items():
        asked = ""
        if "items" in described:
            asked = f", {described['items']} items, data {shortened(str(described['sha256']))}"
            asked += f", answers of up to {cap} tokens" if (cap := described.get("max_new_tokens")) else ""
        yield f"{task}: version {described.get('version', '?')}{asked}"
        for judge, how in run.judges.get(task, {}).items():
            hashes = [
                f", {word} {shortened(str(how.described[key]))}"
                for key, word in HASHES.items()
                if how.described.get(key)
            ]
            version = f", version {how.described['version']}" if how.described.get("version") else ""
            yield f"{task} {graded_by(public(judge))}, {how.repeats} × an answer{version}{''.join(hashes)}"
    environment = run.manifest["environment"]
    libraries = environment.get("libraries", {})
    versions = ", ".join(f"{name} {libraries[name]}" for name in LIBRARIES if name in libraries)
    commit = f", commit {environment['git_commit'][:SHORT]}" if environment.get("git_commit") else ""
    yield f"{versions}{commit}; seed {run.manifest['identity'].get('seed', 0)}; records {run.records_sha256[:SHORT]}"


def public(name: str) -> str:
    """A model's or judge's name without the folder of a file on this machine; the id of a hub's repository stays.

    >>> public("human:/home/ada/labels.csv"), public("hf:org/judge"), public("guard:/ckpt/guard")
    ('human:labels.csv', 'hf:org/judge', 'guard:guard')
    """
    found = A_PATH.fullmatch(name)
    if not found:
        return name
    is_file = found["kind"] in ("human:", "judgments:", "answers:")
    if is_file or found["folder"].startswith(("/", ".", "~")) or found["folder"].count("/") > 1:
        return f"{found['kind'] or ''}{found['last']}"
    return name
