"""What a run came to: its scores, always computed from its records, and what a reader must know beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.store import SCHEMA_VERSION
from harness.stored_run import JudgeOfRun, StoredRun, open_run
from tasks.task import known_kind


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

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.directory),
            "status": self.status,
            "scores": self.scores,
            **({"agreement": list(self.agreement)} if self.agreement else {}),
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
    scores = [asdict(score) for score in found]
    status = "complete" if run.is_complete else "incomplete"
    notes = [
        *departures(run.described_tasks), *_prompts_used(run.judges), *_requests_made(run.manifest["sittings"])
    ]  # fmt: skip
    notes += verdict_notes(found)
    agreement = [pair.as_json() for pair in judge_pairs(run.frames, run.tasks)]
    return RunResult(run.directory, status, scores, notes, agreement=agreement)


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
                total["retries"] += sum(used["retries"].values())
                total["unpriced"] += used["cost_usd"] is None
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
        cap = known_kind(name).max_new_tokens
        if task.get("max_new_tokens", cap) != cap:
            parts.append(f"answers cut at {task['max_new_tokens']} tokens instead of {cap}")
        if parts:
            notes.append(f"{name}: {'; '.join(parts)}")
    return notes
