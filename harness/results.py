"""What a run came to: its scores, always computed from its records, and what a reader must know beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.capability_figures import figures_by_task, figures_without_number, figures_without_values
from harness.capability_grades import JUDGED_BY, PREFIX
from harness.store import SCHEMA_VERSION
from harness.stored_run import JudgeOfRun, StoredRun, open_run
from tasks.task import CAPABILITY, known_kind

if TYPE_CHECKING:
    from harness.scores import Score


@dataclass(frozen=True)
class RunResult:
    """Where a run lies, whether it is complete, its scores (as in scores.json), and where its wall time went.

    `agreement` has a row for each two judges of a task that is graded by labels.
    `notes` say in which ways the run departs from its tasks as they are (fewer items, shorter answers).
    """

    directory: Path
    status: str
    scores: list[dict[str, Any]]
    notes: list[str]
    timing: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    agreement: Sequence[Mapping[str, Any]] = ()
    lm_eval: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """lm-eval's own figures by task, word for word, with its standard errors."""

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.directory),
            "status": self.status,
            "scores": self.scores,
            **({"agreement": list(self.agreement)} if self.agreement else {}),
            **({"lm_eval": dict(self.lm_eval)} if self.lm_eval else {}),
        }


def read_result(directory: Path) -> RunResult:
    """The result of a run directory, computed anew from its records; whether it is complete, too.

    Raises:
        BadInput: not a run directory, or a damaged one.
    """
    return result_of(open_run(directory))


def result_of(run: StoredRun) -> RunResult:
    """The same of a run that is open already, and whose records are then read once."""
    from harness.collapse_verdict import verdict_notes
    from harness.disagreement import judge_pairs
    from harness.scores import run_scores

    found = run_scores(run.frames, run.tasks, same_answers=run.same_answers)
    found += _of_lm_eval_alone(run, found)
    scores = [asdict(score) for score in found]
    status = "complete" if run.is_complete else "incomplete"
    notes = [
        *departures(run.described_tasks), *_prompts_used(run.judges), *_requests_made(run.manifest["sittings"])
    ]  # fmt: skip
    notes += [*_about_lm_eval(run, found), *verdict_notes(found)]
    agreement = [pair.as_json() for pair in judge_pairs(run.frames, run.tasks)]
    lm_eval = figures_by_task(run.lm_eval_units)
    return RunResult(run.directory, status, scores, notes, agreement=agreement, lm_eval=lm_eval)


def _of_lm_eval_alone(run: StoredRun, known: Sequence[Score]) -> list[Score]:
    """Figures of lm-eval's that are no mean over documents (a perplexity, an F1, the sum of a group)."""
    from harness.figures import counts
    from harness.metrics import ALL
    from harness.scores import Score

    if not run.lm_eval_units:
        return []
    there = {(score.task, score.metric) for score in known}
    by_metric = dict(list(run.frames.judgments.groupby(["task", "judge"], sort=False)))
    found = []
    for task, metric, figure in figures_without_values(run.lm_eval_units, there):
        left_out: Mapping[str, int] = {}
        # A group has no documents of its own.
        if (rows := by_metric.get((task, PREFIX + metric))) is not None:
            figure, left_out = figure._replace(n=int(rows.label.notna().sum())), counts(rows.unjudged)
        found.append(Score.of(task, ALL, metric, figure, left_out, JUDGED_BY))
    return found


def _about_lm_eval(run: StoredRun, found: Sequence[Score]) -> Iterator[str]:
    """What a reader must know of the tasks that lm-eval ran, and what of them is in no other figure."""
    asked = {name: task for name, task in run.described_tasks.items() if task["scoring"] == "capability"}
    if asked:
        by_shots: dict[int, list[str]] = {}
        for name, task in asked.items():
            by_shots.setdefault(task["num_fewshot"], []).append(name.removeprefix(CAPABILITY))
        shots = "; ".join(
            f"{number}-shot" + (f": {', '.join(names)}" if len(by_shots) > 1 else "")
            for number, names in by_shots.items()
        )
        yield f"capability: run by lm-eval {next(iter(asked.values()))['lm_eval']} without a chat template, {shots}"
    if asked and "collapse" in run.described_tasks:
        number = int(run.frames.answers.task.isin(list(asked)).sum())
        yield f"collapse: {number} answers to lm-eval's tasks are left out, most of which are choices"
    for task, metric in figures_without_number(run.lm_eval_units, {(score.task, score.metric) for score in found}):
        yield f"{task}: lm-eval's {metric} is no number, so it is in no table; scores.json has it under lm_eval"
    for unit in run.not_run_by_lm_eval:
        yield f"{unit}: lm-eval has not run it to its end"


def _prompts_used(judges: Mapping[str, Mapping[str, JudgeOfRun]]) -> list[str]:
    """Which prompts each judge model was asked with, a line a judge and task."""
    return [
        f"{task}: {name} was asked with {how.described['form']}"
        + (f" ({sha256[:8]})" if (sha256 := how.described.get("prompt_sha256")) else "")
        for task, by in judges.items()
        for name, how in by.items()
        if "form" in how.described
    ]


def _requests_made(sittings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each model behind an API was asked over all sittings, and what that cost where prices were given."""
    totals: dict[str, Counter[str]] = {}
    for sitting in sittings:
        usage = sitting.get("usage", {})
        for who, used in {"the model": usage.get("model", {}), **usage.get("judges", {})}.items():
            if used:
                total = totals.setdefault(who, Counter())
                total.update({key: value for key, value in used.items() if isinstance(value, int | float)})
                total["retries"] += sum((used.get("retries") or {}).values())
                total["unpriced"] += used.get("cost_usd") is None
    return [
        f"{who}: {total['calls']} replies ({total['retries']} tries again), {total['prompt_tokens']:,} tokens in, "
        f"{total['completion_tokens']:,} out" + ("" if total["unpriced"] else f", {total['cost_usd']:.2f} USD")
        for who, total in totals.items()
    ]


def departures(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How a run differs from its tasks as they stand, a line a task."""
    notes = []
    for name, task in tasks.items():
        said = [f"{n} rows {reason}" for reason, n in task.get("left_out", {}).items()]
        parts = [f"{task['items']} items asked, {' and '.join(said)} left out"] if said else []
        # What is plugged in may not be here any more: the run says it.
        cap = task["task_max_new_tokens"] if "task_max_new_tokens" in task else known_kind(name).max_new_tokens
        if task.get("max_new_tokens", cap) != cap:
            parts.append(f"answers cut at {task['max_new_tokens']} tokens instead of {cap}")
        if parts:
            notes.append(f"{name}: {'; '.join(parts)}")
    return notes
