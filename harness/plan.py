"""What a run is to do, worked out and checked before anything is loaded or written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.capability import CapabilityTask, CapabilityUnit, capability_units, refuse_other_models
from harness.capability_grades import JUDGED_BY
from harness.config import DEFAULT_TASKS, JudgeConfig, RunConfig
from harness.engine import Assignment
from harness.judging import JudgeModels, judge_models
from harness.models.api import ApiModel
from harness.models.model import Model
from harness.models.opening import HF, OPENAI, answers_file, open_model
from harness.plugins import find_plugins
from harness.store import item_record
from judges.catalogue import GUARD, Grading, model_of, open_judges
from tasks.answer_files import answer_layout
from tasks.attacks import read_attacks
from tasks.errors import BadInput
from tasks.paths import user_path
from tasks.sources import data_path
from tasks.task import CAPABILITY, COLLAPSE, NO_KINDS, PROBE, Task, TaskKind, TaskOptions, known_kind, load_task


@dataclass(frozen=True)
class Plan:
    """A model, the tasks it is given with their judges, what lm-eval asks of it, and where the run goes.

    `identity` is everything that decides what the records say: a run directory belongs to one identity.
    """

    model: Model
    judge_models: JudgeModels
    tasks: Sequence[Task]
    assignments: Sequence[Assignment]
    identity: Mapping[str, Any]
    directory: Path
    capability: Sequence[CapabilityUnit] = ()

    @property
    def capability_tasks(self) -> list[CapabilityTask]:
        """What lm-eval asks, task by task."""
        return [task for unit in self.capability for task in unit.tasks]

    @property
    def asked(self) -> int:
        """Items of all tasks."""
        return sum(task.count for task in self._all_tasks)

    @property
    def sources(self) -> dict[str, str]:
        """Where the items of each task come from, in words."""
        return {task.name: task.source for task in self._all_tasks}

    @property
    def _all_tasks(self) -> list[Task | CapabilityTask]:
        return [*self.tasks, *self.capability_tasks]

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
        for asked in self.capability_tasks:
            for item in asked.items:
                yield item_record(asked.name, item, asked.samples)


def make_plan(config: RunConfig, say: Callable[[str], None]) -> Plan:
    """Read the data, open the judges and the model; nothing heavy is loaded yet.

    Raises:
        BadInput: anything about the configuration that can not work.
    """
    plugins = find_plugins(config.include, say)
    by_default = [kind.judge for name in config.tasks if (kind := plugins.tasks.get(name)) and kind.judge]
    _refuse_what_does_not_apply(config, by_default)
    of_lm_eval = [name for name in config.tasks if name.startswith(CAPABILITY)]
    tasks, measured = _load_tasks(config, plugins.tasks)
    models_of_judges = judge_models(config, say, plugins.judges, by_default)
    judges = open_judges(config.judge, [grading_of(task) for task in tasks], models_of_judges.setting)
    model = open_model(config, say)
    if of_lm_eval:
        refuse_other_models(model)
        say(f"{', '.join(of_lm_eval)}: lm-eval reads what it knows, and the data")
    units = capability_units(of_lm_eval, config.include, config.limit)
    capability = [task for unit in units for task in unit.tasks]
    identity = {
        "model": model.identity(),
        "tasks": {task.name: {"scoring": task.kind.scoring, **task.describe()} for task in tasks}
        | {kind.name: {"scoring": kind.scoring, "version": kind.version} for kind in measured}
        | {task.name: task.describe() for task in capability},
        "judges": {name: {judge.name: judge.describe() for judge in by} for name, by in judges.items()}
        | {task.name: {JUDGED_BY: task.describe_judge()} for task in capability},
        "judge_repeats": config.judge_repeats,
        "seed": config.seed,
    }
    assignments = [Assignment(task, judges[task.name], config.judge_repeats) for task in tasks]
    directory = user_path(config.out) if config.out else Path("runs") / _run_name(model.name, identity)
    return Plan(model, models_of_judges, tasks, assignments, identity, directory, units)


def grading_of(task: Task) -> Grading:
    """What judges must know of a task."""
    kind = task.kind
    return Grading(
        kind.name, kind.scoring, kind.judge, task.judge_prompts, task.unchecked, task.longest, task.referenced
    )


def _refuse_what_does_not_apply(config: RunConfig, judges_by_default: Sequence[str]) -> None:
    """A flag that would change nothing is refused, never ignored."""
    _refuse_what_lm_eval_ignores(config)
    if config.base_url and not config.model.startswith(OPENAI):
        raise BadInput(f"--base-url has no effect on {config.model}: it goes with --model openai:NAME")
    refuse_idle_judge_flags(config, judges_by_default)
    if answers_file(config.model):
        given = [
            key for key in ("backend", "max_new_tokens", "chat_template", "attacks", "probe") if getattr(config, key)
        ]
        given += [key for key, default in (("samples", 1), ("seed", 0)) if getattr(config, key) != default]
        if given:
            raise BadInput(f"--{given[0].replace('_', '-')} has no effect on stored answers: leave it out")
    elif config.columns:
        raise BadInput("--columns names the columns of stored answers: it goes with --model answers:FILE")


def _refuse_what_lm_eval_ignores(config: RunConfig) -> None:
    """Flags that say how our own tasks are asked and graded, where lm-eval alone asks and grades."""
    if not config.tasks or not all(name.startswith(CAPABILITY) for name in config.tasks):
        return
    defaults = {"judge_repeats": 1, "samples": 1, "seed": 0}
    for key in ("judge", "max_new_tokens", "attacks", "data", "concurrency", *defaults):
        if getattr(config, key) not in (None, (), defaults.get(key)):
            flag = key.replace("_", "-")
            raise BadInput(f"--{flag} has no effect on {config.tasks[0]}, which lm-eval asks and grades: leave it out")


def refuse_idle_judge_flags(config: JudgeConfig, by_default: Sequence[str] = ()) -> None:
    """Flags that only judge models heed, where there is none, neither in `config` nor of a task `by_default`."""
    asks = any(name.startswith(OPENAI) for name in config.judge)
    asks_by_file = any(model_of(name).startswith(OPENAI) for name in (*config.judge, *by_default))
    guards = [name.removeprefix(GUARD) for name in config.judge if name.startswith(GUARD)]
    if config.guard_prompt and not guards:
        raise BadInput("--guard-prompt goes with --judge guard:CKPT: leave it out")
    if config.judge_base_url and not asks_by_file and not any(name.startswith(OPENAI) for name in guards):
        raise BadInput("--judge-base-url goes with --judge openai:NAME: leave it out")
    local = any(name.startswith(HF) for name in config.judge)
    for key, default in (("protocol", None), ("judge_by", "text"), ("harm_form", "outcome")):
        if getattr(config, key) != default and not (asks or local):
            raise BadInput(f"--{key.replace('_', '-')} goes with --judge openai:NAME or hf:CKPT: leave it out")


def _load_tasks(config: RunConfig, plugged: Mapping[str, TaskKind]) -> tuple[list[Task], list[TaskKind]]:
    """The tasks that ask something, and those that only measure what the answers to the others are like."""
    answers = answers_file(config.model)
    names = config.tasks or (_tasks_of(answers, config.columns) if answers else DEFAULT_TASKS)
    if config.probe:
        names = tuple(dict.fromkeys((*names, PROBE)))
    kinds = [known_kind(name, plugged) for name in names if not name.startswith(CAPABILITY)]
    ungraded = [kind.name for kind in kinds if kind.scoring == "texts" and kind.asks]
    if ungraded and COLLAPSE not in names:
        flag = "--probe" if ungraded[0] == PROBE else ungraded[0]
        raise BadInput(f"{flag} asks for what collapse measures: add collapse to --tasks, or leave it out")
    if ungraded and answers:
        raise BadInput(f"the prompts of {ungraded[0]} have no stored answers: leave it out")
    if not kinds:
        return [], []
    asking = [kind for kind in kinds if kind.asks] or (kinds if answers else [])
    if not asking:
        raise BadInput(f"{', '.join(names)} reads the answers of other tasks: add one, or use --model answers:FILE")
    if config.attacks and not any(kind.attackable for kind in asking):
        raise BadInput(f"--attacks wraps harmful requests, and {', '.join(names)} asks none: add asr, or leave it out")
    attacks = read_attacks(config.attacks)
    data = _data_paths(config.data, [kind.name for kind in asking], plugged)
    for kind in asking:
        if answers and kind.name in data and kind.scoring != "ratings":
            raise BadInput(f"--data has no effect on {kind.name}: the stored answers bring its prompts; leave it out")
    tasks = []
    for kind in asking:
        options = TaskOptions(
            data.get(kind.name), answers, config.columns, config.limit, config.samples, config.max_new_tokens,
            attacks if kind.attackable else (),
        )  # fmt: skip
        tasks.append(load_task(kind, options))
    return tasks, [kind for kind in kinds if kind not in asking]


def _tasks_of(answers: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    """What a file of answers is evaluated for when nobody says it: attack artifacts hold harmful requests."""
    return ("asr", "collapse") if answer_layout(answers, columns) == "jailbreakbench" else ("collapse",)


def _data_paths(
    given: Sequence[str], asking: Sequence[str], plugged: Mapping[str, TaskKind] = NO_KINDS
) -> dict[str, Path]:
    """`--data TASK=PATH` or `TASK=NAME` of a pulled set, or either alone where only one task asks something."""
    paths = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (equals and name in asking):
            if equals and re.fullmatch(r"\w+", name) and not user_path(text).exists():
                known_kind(name, plugged)
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
