"""What a run is to do, worked out and checked before anything is loaded or written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import DEFAULT_TASKS, JudgeConfig, RunConfig
from harness.engine import Assignment
from harness.judging import JudgeModels, judge_models
from harness.models.api import ApiModel
from harness.models.model import Model
from harness.models.opening import HF, OPENAI, answers_file, open_model
from harness.store import item_record
from judges.catalogue import GUARD, Grading, open_judges
from tasks.answer_files import answer_layout
from tasks.attacks import read_attacks
from tasks.errors import BadInput
from tasks.paths import user_path
from tasks.sources import data_path
from tasks.task import PROBE, Task, TaskKind, TaskOptions, known_kind, load_task


@dataclass(frozen=True)
class Plan:
    """A model, the tasks it is given with their judges, and where the run goes.

    `identity` is everything that decides what the records say: a run directory belongs to one identity.
    """

    model: Model
    judge_models: JudgeModels
    tasks: Sequence[Task]
    assignments: Sequence[Assignment]
    identity: Mapping[str, Any]
    directory: Path

    @property
    def window(self) -> int:
        """Conversations in flight: enough that the model and its judges always find the next request waiting."""
        return 2 * (self.model.parallel + self.judge_models.parallel)

    @property
    def is_local(self) -> bool:
        """Whether nothing is asked of a server."""
        return not any(isinstance(model, ApiModel) for model in (self.model, *self.judge_models.opened.values()))

    def usage(self) -> dict[str, Any]:
        """What models were asked and what it cost, in this process."""
        return {"model": self.model.usage(), "judges": self.judge_models.usage()}

    def close(self) -> None:
        self.model.close()
        self.judge_models.close()

    def item_records(self) -> Iterator[dict[str, Any]]:
        """The lines of items.jsonl."""
        for task in self.tasks:
            for item in task.items():
                yield item_record(task.name, item, task.samples(item))


def make_plan(config: RunConfig, say: Callable[[str], None]) -> Plan:
    """Read the data, open the judges and the model; nothing heavy is loaded yet.

    Raises:
        BadInput: anything about the configuration that can not work.
    """
    _refuse_what_does_not_apply(config)
    tasks, measured = _load_tasks(config)
    models_of_judges = judge_models(config, say)
    judges = open_judges(config.judge, [grading_of(task) for task in tasks], models_of_judges.setting)
    model = open_model(config, say)
    identity = {
        "model": model.identity(),
        "tasks": {task.name: {"scoring": task.kind.scoring, **task.describe()} for task in tasks}
        | {kind.name: {"scoring": kind.scoring, "version": kind.version} for kind in measured},
        "judges": {name: {judge.name: judge.describe() for judge in by} for name, by in judges.items()},
        "judge_repeats": config.judge_repeats,
        "seed": config.seed,
    }
    assignments = [Assignment(task, judges[task.name], config.judge_repeats) for task in tasks]
    directory = user_path(config.out) if config.out else Path("runs") / _run_name(model.name, identity)
    return Plan(model, models_of_judges, tasks, assignments, identity, directory)


def grading_of(task: Task) -> Grading:
    """What judges must know of a task."""
    kind = task.kind
    return Grading(kind.name, kind.scoring, kind.judge, task.judge_prompts, task.unchecked, task.longest)


def _refuse_what_does_not_apply(config: RunConfig) -> None:
    """A flag that would change nothing is refused, never ignored."""
    if config.include:
        raise BadInput("--include is not in this version: leave it out")
    if config.base_url and not config.model.startswith(OPENAI):
        raise BadInput(f"--base-url has no effect on {config.model}: it goes with --model openai:NAME")
    refuse_idle_judge_flags(config)
    if answers_file(config.model):
        given = [
            key for key in ("backend", "max_new_tokens", "chat_template", "attacks", "probe") if getattr(config, key)
        ]
        given += [key for key, default in (("samples", 1), ("seed", 0)) if getattr(config, key) != default]
        if given:
            raise BadInput(f"--{given[0].replace('_', '-')} has no effect on stored answers: leave it out")
    elif config.columns:
        raise BadInput("--columns names the columns of stored answers: it goes with --model answers:FILE")


def refuse_idle_judge_flags(config: JudgeConfig) -> None:
    """Flags that only judge models heed, where there is none."""
    asks = any(name.startswith(OPENAI) for name in config.judge)
    guards = [name.removeprefix(GUARD) for name in config.judge if name.startswith(GUARD)]
    if config.guard_prompt and not guards:
        raise BadInput("--guard-prompt goes with --judge guard:CKPT: leave it out")
    if config.judge_base_url and not asks and not any(name.startswith(OPENAI) for name in guards):
        raise BadInput("--judge-base-url goes with --judge openai:NAME: leave it out")
    local = any(name.startswith(HF) for name in config.judge)
    for key, default in (("protocol", None), ("judge_by", "text"), ("harm_form", "outcome")):
        if getattr(config, key) != default and not (asks or local):
            raise BadInput(f"--{key.replace('_', '-')} goes with --judge openai:NAME or hf:CKPT: leave it out")


def _load_tasks(config: RunConfig) -> tuple[list[Task], list[TaskKind]]:
    """The tasks that ask something, and those that only measure what the answers to the others are like."""
    answers = answers_file(config.model)
    names = config.tasks or (_tasks_of(answers, config.columns) if answers else DEFAULT_TASKS)
    if config.probe:
        names = tuple(dict.fromkeys((*names, PROBE)))
    if PROBE in names and "collapse" not in names:
        raise BadInput("--probe asks for what collapse measures: add collapse to --tasks, or leave it out")
    if PROBE in names and answers:
        raise BadInput("the prompts of probe have no stored answers: leave it out")
    kinds = [known_kind(name) for name in names]
    asking = [kind for kind in kinds if kind.asks] or (kinds if answers else [])
    if not asking:
        raise BadInput(f"{', '.join(names)} reads the answers of other tasks: add one, or use --model answers:FILE")
    if config.attacks and not any(kind.attackable for kind in asking):
        raise BadInput(f"--attacks wraps harmful requests, and {', '.join(names)} asks none: add asr, or leave it out")
    attacks = read_attacks(config.attacks)
    data = _data_paths(config.data, [kind.name for kind in asking])
    for kind in asking:
        if answers and kind.name in data and kind.scoring != "ratings":
            raise BadInput(f"--data has no effect on {kind.name}: the stored answers bring its prompts; leave it out")
    tasks = []
    for kind in asking:
        options = TaskOptions(
            data.get(kind.name), answers, config.columns, config.limit, config.samples, config.max_new_tokens,
            attacks if kind.attackable else (),
        )  # fmt: skip
        tasks.append(load_task(kind.name, options))
    return tasks, [kind for kind in kinds if kind not in asking]


def _tasks_of(answers: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    """What a file of answers is evaluated for when nobody says it: attack artifacts hold harmful requests."""
    return ("asr", "collapse") if answer_layout(answers, columns) == "jailbreakbench" else ("collapse",)


def _data_paths(given: Sequence[str], asking: Sequence[str]) -> dict[str, Path]:
    """`--data TASK=PATH` or `TASK=NAME` of a pulled set, or either alone where only one task asks something."""
    paths = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (equals and name in asking):
            if equals and re.fullmatch(r"\w+", name) and not user_path(text).exists():
                known_kind(name)
                raise BadInput(f"--data {text}: {name} is not among the tasks of this run ({', '.join(asking)})")
            if len(asking) > 1:
                raise BadInput(f"--data {text}: which task is it for? Write --data {asking[0]}={text}")
            name, path = asking[0], text
        if name in paths:
            raise BadInput(f"--data is given twice for {name}")
        paths[name] = data_path(path, name)
    return paths


def _run_name(model: str, identity: Mapping[str, Any]) -> str:
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model).strip('-.') or 'model'}-{short_digest(identity)}"


def short_digest(identity: Mapping[str, Any]) -> str:
    """Eight hex digits of an identity, for the name of what it decides."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
