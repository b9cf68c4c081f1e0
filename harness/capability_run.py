"""lm-eval at work on the loaded model: one unit of `capability:` tasks after the other, each stored as one batch.

A unit counts as done when lm-eval's own figures of it are on the disk, which are written last: one that was interrupted
is done again, and of its records only those are written that are not there yet.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.capability import SEEDS, CapabilityTask, CapabilityUnit, choice_of, hushed, prompt_of, said
from harness.capability_figures import add_figures, metric_name, plain, read_units
from harness.capability_grades import PREFIX
from harness.engine import Tally
from harness.models.hf import HFModel
from harness.models.lm_eval import LmEvalModel
from harness.models.model import Model
from harness.printing import say
from harness.records import read_records
from harness.store import JUDGMENT_FIELDS, RECORDS, RunStore
from judges.judgment import Grade, Judgment, JudgmentKey
from tasks.conversation import Answer
from tasks.errors import RunStopped

CPU_ROWS = 8
"""lm-eval's `batch_size` on a CPU; on a GPU it looks for the largest that fits."""
NO_VALUE = "lm-eval gave no value"
ROUNDING = 1e-5
"""How far a mean of single-precision values may lie beside theirs, of the largest of them."""

Sample = Mapping[str, Any]
"""What lm-eval logs of one document under one filter."""


def not_done(units: Sequence[CapabilityUnit], store: RunStore) -> list[CapabilityUnit]:
    """The units that lm-eval has not run to their end, or of which records were lost since.

    Raises:
        BadInput: lm-eval's figures are damaged.
    """
    figures = read_units(store.directory) if units else {}
    return [unit for unit in units if unit.name not in figures or not all(_is_stored(it, store) for it in unit.tasks)]


def _is_stored(task: CapabilityTask, store: RunStore) -> bool:
    judged = [key for key in store.judged if key[0] == task.name]
    wanted = task.count * max(1, len({key[4] for key in judged}))
    answered = sum(key[0] == task.name for key in store.answered)
    return len(judged) >= wanted and answered >= task.count * task.samples


def evaluate(units: Sequence[CapabilityUnit], model: Model, store: RunStore, tally: Tally, *, quiet: bool) -> float:
    """Have lm-eval run these units and store what it finds; returns the seconds it took. What fails is counted.

    Raises:
        RunStopped: told to stop, or the disk gave up; the units that were done are kept.
    """
    started = time.perf_counter()
    lm = _lm_of(model)
    for unit in units:
        if not quiet:
            say(f"{unit.name}: lm-eval asks {sum(task.count for task in unit.tasks)} documents")
        began = time.perf_counter()
        try:
            found = _found(unit, lm, quiet=quiet)
            batches = [_records(task, found) for task in unit.tasks]
        except KeyboardInterrupt:
            raise RunStopped(
                f"stopped in {unit.name}, which the same command begins anew; all that was done before is kept in "
                f"{store.directory}"
            ) from None
        except Exception as error:  # noqa: BLE001 - models and tasks of lm-eval raise anything
            tally.fail(f"{unit.name}: {said(error)}")
            continue
        for answers, judgments in batches:
            _store(store, tally, answers, judgments)
        add_figures(store, unit, {**_figures(found), "wall_s": round(time.perf_counter() - began, 2)})
    return time.perf_counter() - started


def _lm_of(model: Model) -> Any:
    """The loaded model as one of lm-eval's."""
    if isinstance(model, LmEvalModel):
        return model.as_lm_eval_has_it()
    assert isinstance(model, HFModel)
    from lm_eval.models.huggingface import HFLM

    loaded, tokenizer = model.loaded
    rows = CPU_ROWS if loaded.device.type == "cpu" else "auto"
    with hushed(bars=False):
        # It gives the tokenizer a padding token.
        return HFLM(pretrained=loaded, tokenizer=copy.deepcopy(tokenizer), batch_size=rows)


def _found(unit: CapabilityUnit, lm: Any, *, quiet: bool) -> dict[str, Any]:
    """What `simple_evaluate` gives for a unit.

    Raises:
        ValueError: it asked something else than was planned, other examples before a question included.
    """
    from lm_eval import evaluator

    with hushed(bars=not quiet and sys.stderr.isatty()), _no_git(evaluator):
        found: dict[str, Any] = evaluator.simple_evaluate(
            model=lm, tasks=[unit.lm_eval_name], limit=unit.limit, task_manager=unit.manager, **SEEDS
        )
    for task in unit.tasks:
        logged = {
            sample["doc_id"]: (sample["doc_hash"], (prompt_of(sample["arguments"]),))
            for sample in found["samples"][task.lm_eval_name]
        }
        if logged != {item.metadata["doc_id"]: (item.metadata["doc_hash"], item.turns) for item in task.items}:
            raise ValueError(f"the documents or prompts of {task.name} are not those that were read at the start")
    return found


@contextlib.contextmanager
def _no_git(evaluator: Any) -> Iterator[None]:
    """Keep lm-eval from asking git for a commit, which complains on our stderr where the folder is no repository."""
    before = getattr(evaluator, "get_git_commit_hash", None)
    evaluator.get_git_commit_hash = lambda: None
    try:
        yield
    finally:
        evaluator.get_git_commit_hash = before


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's own figures, and what it says of how it got them."""
    kept = ("results", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples")
    config = {key: plain(found["config"].get(key)) for key in ("batch_size", "batch_sizes", "limit", "bootstrap_iters")}
    return {**{key: plain(found[key]) for key in kept if key in found}, "config": config}


def _store(store: RunStore, tally: Tally, answers: Sequence[Answer], judgments: Sequence[Judgment]) -> None:
    """Write the records of a task as one batch, but for those that an earlier sitting left and that say the same."""
    new = [answer for answer in answers if store.stored_answer(answer.key) != answer]
    # Another batch may round otherwise, which can change a judgment of the same answer.
    there = _judgments_there(store, {it.key for it in judgments} & store.judged)
    graded = [it for it in judgments if there.get(it.key) != it]
    store.add_batch(new, graded)
    tally.stored_answers += len(answers) - len(new)
    tally.answers += len(new)
    tally.judgments += len(graded)


def _judgments_there(store: RunStore, keys: Collection[JudgmentKey]) -> dict[JudgmentKey, Judgment]:
    """The newest stored judgments of these keys."""
    if not keys:
        return {}
    stored = (Judgment(**record) for _, record in read_records(store.directory / RECORDS[1], JUDGMENT_FIELDS))
    return {it.key: it for it in stored if it.key in keys}


def _records(task: CapabilityTask, found: Mapping[str, Any]) -> tuple[list[Answer], list[Judgment]]:
    """The answers to a task's documents, and a judgment of each for every metric under every filter."""
    by_document: dict[int, list[Sample]] = {}
    for sample in found["samples"][task.lm_eval_name]:
        by_document.setdefault(sample["doc_id"], []).append(sample)
    everything = [sample for samples in by_document.values() for sample in samples]
    metrics = list(dict.fromkeys((metric, sample["filter"]) for sample in everything for metric in sample["metrics"]))
    figures = found["results"][task.lm_eval_name]
    means = {
        (metric, of_filter)
        for metric, of_filter in metrics
        if metric not in task.not_means
        and is_mean(
            figures[f"{metric},{of_filter}"],
            [it[metric] for it in everything if it["filter"] == of_filter and metric in it["metrics"]],
        )
    }
    answers, judgments = [], []
    for item in task.items:
        samples = {sample["filter"]: sample for sample in by_document[item.metadata["doc_id"]]}
        of_item = [
            Answer(task.name, item.id, number, 1, text, "unknown")
            for number, text in enumerate(_texts(next(iter(samples.values())), task.samples))
        ]
        answers += of_item
        told: set[str] = set()
        for metric, of_filter in metrics:
            sample = samples.get(of_filter)
            if sample is None or metric not in sample["metrics"]:
                grade = Grade(unjudged=NO_VALUE)
            else:
                grade = _grade(sample[metric], mean=(metric, of_filter) in means)
            if sample is not None and of_filter not in told:
                told.add(of_filter)
                grade = _with_raw(grade, sample)
            judgments.append(Judgment.of(grade, of_item[0], judge_name(metric, of_filter), 0))
    return answers, judgments


def judge_name(metric: str, of_filter: str) -> str:
    """`lm-eval:acc`, or `lm-eval:exact_match,strict-match` where the answers went through a filter that has a name."""
    return PREFIX + metric_name(metric, of_filter)


def _texts(sample: Sample, count: int) -> Iterator[str]:
    """What the model said to a document: what it generated, or the choice that it finds likeliest; else nothing."""
    arguments, responses = sample["arguments"], sample["resps"]
    generated = next((given for given in responses if given and isinstance(given[0], str | None)), None)
    if generated is not None:
        yield from ((text or "") for text in generated[:count])
        return
    # With mutual information each choice is scored again without its context.
    choices = len(arguments) // 2 if "acc_mutual_info" in sample["metrics"] else len(arguments)
    scored = [given[0][0] if isinstance(given[0], list | tuple) else given[0] for given in responses[:choices]]
    # One text alone was scored, and not chosen.
    yield choice_of(arguments[:choices], int(np.argmax(scored))) if choices > 1 else ""


def is_mean(figure: Any, values: Sequence[Any]) -> bool:
    """Whether lm-eval's figure is the mean of these values of documents, as far as its number tells.

    A task may name its metrics, and how they are summed up, as late as it grades. What is not finite proves nothing.
    """
    total, *numbers = [_number(value) for value in (figure, *values)]
    if not all(isinstance(number, bool | int | float) for number in (total, *numbers)):
        return False
    finite = [number for number in numbers if math.isfinite(number)]
    if not math.isfinite(total):
        # Spoiled by values that are left out here, and counted.
        return len(finite) < len(numbers)
    return bool(finite) and abs(total - sum(finite) / len(finite)) <= ROUNDING * max(map(abs, finite))


def _number(value: Any) -> Any:
    """A value of numpy's or torch's as Python has it."""
    return value.tolist() if hasattr(value, "tolist") else value


def _grade(value: Any, *, mean: bool) -> Grade:
    """A value of one document: a score where lm-eval takes the mean of them, else a label that says what it is."""
    value = _number(value)
    if not mean:
        return Grade(label=json.dumps(plain(value)))
    if not math.isfinite(value):
        return Grade(unjudged=f"lm-eval's value is {float(value)}")
    return Grade(score=float(value))


def _with_raw(grade: Grade, sample: Sample) -> Grade:
    """The grade with what the metric read: filtered texts, or log-likelihoods with whether greedy choice agrees."""
    return Grade(grade.score, grade.label, raw=json.dumps(plain(sample["filtered_resps"])), unjudged=grade.unjudged)
