"""What was asked, how answers were sampled, and who judged them: sentences from the manifests of the runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metrics import ALL
from harness.stored_run import JudgeOfRun, StoredRun
from judges.stored import HUMAN, JUDGMENTS
from reports.bibliography import OF_SETS
from reports.methods_text import Cite, Sentence, short_hash, told
from reports.paper_table import Row
from tasks.task import CAPABILITY, Scoring

ASKED: Mapping[str, Sentence] = {
    "mt_bench": ["mt_bench: the two-turn questions of MT-Bench", Cite("zheng2023")],
    "mini_mt": ["mini_mt: two-turn questions in the eight categories of MT-Bench", Cite("zheng2023"),
                " whose answers a program can check"],
    "asr": ["asr: harmful requests"],
    "over_refusal": ["over_refusal: safe requests that look dangerous"],
    "collapse": ["collapse: no questions of its own but measures of all answers"],
    "probe": ["probe: long-form prompts for the measures of collapse"],
}  # fmt: skip
SET = re.compile(r", the set (\w+), licence: ")
"""How a manifest names a published set."""
EMBEDDED = "embedded"
LM_EVALS: Scoring = "capability"


def tasks(runs: Mapping[str, StoredRun], rows: Sequence[Row]) -> Iterator[Sentence]:
    """A sentence a task: what it asks, of which set, and n."""
    for task in dict.fromkeys(task for run in runs.values() for task in run.described_tasks):
        having = {name: run for name, run in runs.items() if task in run.described_tasks}
        of_sets, works = _sets(having, task)
        counted = {name: _counted(run.described_tasks[task], task, _row(rows, name)) for name, run in having.items()}
        yield [*_asked(task), of_sets, *([Cite(*works)] if works else []), f"; {told(counted)}."]


def _asked(task: str) -> Sentence:
    if task.startswith(CAPABILITY):
        return [f"{task}: run by the Language Model Evaluation Harness", Cite("gao2023")]
    return ASKED.get(task, [task])


def _sets(runs: Mapping[str, StoredRun], task: str) -> tuple[str, list[str]]:
    """Where the questions come from, and what is cited for that."""
    sources = {name: str(run.manifest["sources"].get(task, "")) for name, run in runs.items()}
    named = {name: match[1] for name, text in sources.items() if (match := SET.search(text))}
    words = {
        name: f" (the set {named[name]})" if name in named else " (embedded in bench)"
        for name, text in sources.items() if name in named or text.split(" ")[-1] == EMBEDDED
    }  # fmt: skip
    # MT-Bench is cited where it is named.
    works = sorted({OF_SETS[it] for it in named.values() if it in OF_SETS} - {OF_SETS["mt_bench"]})
    return (told(words) if len(words) == len(runs) else ""), works


def _counted(described: Mapping[str, Any], task: str, row: Row | None) -> str:
    if "items" not in described:
        scores = [score for score in (row.scores if row else ()) if (score["task"], score["group"]) == (task, ALL)]
        return f"n = {max((score['n'] for score in scores), default=0)} answers"
    items, answers = described["items"], described.get("answers", described["items"])
    several = f", {answers} answers" if answers != items else ""
    attacks = described.get("attacks", {})
    under = f", each request under {', '.join(attacks)}" if attacks else ""
    data = f", data SHA-256 {short_hash(described['sha256'])}" if "sha256" in described else ""
    return f"n = {items}{several}{under}{data}{_as_lm_eval_asks(described)}"


def _as_lm_eval_asks(described: Mapping[str, Any]) -> str:
    """What decides the figures of a task of lm-eval, beside its data."""
    if described["scoring"] != LM_EVALS:
        return ""
    template = "with" if described["chat_template"] else "without"
    return (
        f", version {described['version']} of the task (settings SHA-256 {short_hash(described['config_sha256'])}), "
        f"{described['num_fewshot']}-shot, {template} the chat template, lm-eval {described['lm_eval']}"
    )


def _row(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if row.name == name), None)


# --- sampling ---


def sampled(runs: Mapping[str, StoredRun]) -> Iterator[Sentence]:
    """How answers were generated, said once for all tasks that were sampled alike."""
    tasks_of: dict[str, list[str]] = {}
    for task in dict.fromkeys(task for run in runs.values() for task in run.described_tasks):
        described = {name: it for name, run in runs.items() if "items" in (it := run.described_tasks.get(task, {}))}
        # How lm-eval samples is in its task's settings.
        if described and not task.startswith(CAPABILITY):
            tasks_of.setdefault(told({name: _sampling(it) for name, it in described.items()}), []).append(task)
    for text, names in tasks_of.items():
        yield [f"Answers to {', '.join(names)}: {text}."]


def _sampling(described: Mapping[str, Any]) -> str:
    if "temperatures" not in described:
        return "stored ones; how they were sampled is not recorded"
    samples = described["samples"]
    how_many = (
        _by_category(samples, "samples")
        if isinstance(samples, dict)
        else f"{samples} sample{'' if samples == 1 else 's'} a request"
    )
    cut = f"at most {described['max_new_tokens']} new tokens"
    return f"{how_many}, {cut}, {_by_category(described['temperatures'], 'temperature')}"


def _by_category(values: Mapping[str, float], what: str) -> str:
    """`temperature 0.7 (writing, roleplay), 0.1 (stem, humanities), else 0`"""
    categories: dict[float, list[str]] = {}
    for category, value in values.items():
        if category != "otherwise":
            categories.setdefault(value, []).append(category)
    parts = [f"{value:g} ({', '.join(names)})" for value, names in categories.items()]
    otherwise = f"{values['otherwise']:g}"
    return f"{what} {', '.join([*parts, f'else {otherwise}'] if parts else [otherwise])}"


# --- judges ---


def judged(runs: Mapping[str, StoredRun]) -> Iterator[Sentence]:
    """A sentence a task and judge: what it is, which prompt it was asked with, how often it graded an answer."""
    by_program = False
    for task in dict.fromkeys(task for run in runs.values() for task in run.judges):
        if task.startswith(CAPABILITY):
            continue
        for judge in dict.fromkeys(judge for run in runs.values() for judge in run.judges.get(task, {})):
            hows = {name: run.judges[task][judge] for name, run in runs.items() if judge in run.judges.get(task, {})}
            works = sorted({work for how in hows.values() for work in _works(task, how)})
            words = told({name: _judge(judge, how) for name, how in hows.items()})
            yield [f"{task} was judged by {judge}, {words}", *([Cite(*works)] if works else []), "."]
            by_program = by_program or any("collapse" in how.described for how in hows.values())
    if by_program:
        yield [
            "Every answer to a request has exactly one outcome; whether it is degenerate is decided by program, before "
            "any judge, and no request leaves the denominator of attack success."
        ]


def _judge(name: str, how: JudgeOfRun) -> str:
    described = how.described
    kind = name.split(":")[0]
    times = f"; {how.repeats} gradings an answer" if how.repeats > 1 else ""
    if kind == "rubric":
        return f"a program that decides the checks of each turn (version {described.get('version')}){times}"
    if kind == "refusal":
        weights = short_hash(described.get("weights_sha256"))
        return f"a linear classifier of refusals (version {described.get('version')}, weights {weights}){times}"
    if kind in (HUMAN, JUDGMENTS):
        what = "the labels of people" if kind == HUMAN else "stored judgments"
        return f"{what} (file SHA-256 {short_hash(described.get('sha256'))}){times}"
    parts = []
    if "form" in described:
        parts.append(f"form {described['form']}")
    if "prompt_sha256" in described:
        parts.append(f"prompts SHA-256 {short_hash(described['prompt_sha256'])}")
    if "temperature" in described:
        parts.append(f"temperature {described['temperature']}")
    if "max_tokens" in described:
        parts.append(f"at most {described['max_tokens']} tokens")
    if "attempts" in described:
        parts.append(f"at most {described['attempts']} attempts at a readable verdict")
    return f"a model ({', '.join(parts)}){times}" if parts else f"a judge of its own{times}"


def _works(task: str, how: JudgeOfRun) -> Iterator[str]:
    form = str(how.described.get("form", ""))
    if task == "mt_bench" and form:
        yield "zheng2023"
    if "strongreject" in form.replace("-", "").replace("_", ""):
        yield "souly2024"
    if "harmbench" in form:
        yield "mazeika2024"
