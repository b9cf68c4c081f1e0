"""What a run is to do, worked out and checked before anything is loaded or written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import DEFAULT_TASKS, RunConfig
from harness.engine import Assignment
from harness.models.model import Model
from harness.models.opening import answers_file, open_model
from judges.catalogue import JUDGES, open_judges
from tasks.answer_files import answer_layout
from tasks.errors import BadInput
from tasks.item import item_row
from tasks.paths import user_path
from tasks.task import Task, TaskKind, TaskOptions, known_kind, load_task


@dataclass(frozen=True)
class Plan:
    """A model, the tasks it is given with their judges, and where the run goes.

    `identity` is everything that decides what the records say: a run directory belongs to one identity.
    """

    model: Model
    assignments: Sequence[Assignment]
    identity: Mapping[str, Any]
    directory: Path

    def item_records(self) -> Iterator[dict[str, Any]]:
        """The lines of items.jsonl."""
        for assignment in self.assignments:
            for item in assignment.task.items():
                row = item_row(item)
                yield {
                    "task": assignment.task.name,
                    "item": row.pop("id"),
                    "samples": assignment.task.samples(item),
                    **row,
                }


def make_plan(config: RunConfig, say: Callable[[str], None]) -> Plan:
    """Read the data, open the judges and the model; nothing heavy is loaded yet.

    Raises:
        BadInput: anything about the configuration that can not work.
    """
    _refuse_what_does_not_apply(config)
    tasks, measured = _load_tasks(config)
    judges = open_judges(config.judge, [task.kind for task in tasks])
    for task in tasks:
        in_need = [judge.name for judge in judges[task.name] if JUDGES[judge.name].needs_checks]
        if task.unchecked and in_need:
            raise BadInput(
                f"{task.source}: {task.unchecked} turns have no checks, by which the {in_need[0]} judge grades: "
                "add 'checks'"
            )
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
    return Plan(model, assignments, identity, directory)


def _refuse_what_does_not_apply(config: RunConfig) -> None:
    """A flag that would change nothing is refused, never ignored."""
    for key in ("base_url", "judge_base_url", "protocol", "include"):
        if getattr(config, key):
            raise BadInput(f"--{key.replace('_', '-')} is not in this version: leave it out")
    if config.executor != "local":
        raise BadInput(f"no executor {config.executor!r} in this version: leave --executor out")
    if answers_file(config.model):
        given = [key for key in ("backend", "max_new_tokens", "chat_template") if getattr(config, key)]
        given += [key for key, default in (("samples", 1), ("seed", 0)) if getattr(config, key) != default]
        if given:
            raise BadInput(f"--{given[0].replace('_', '-')} has no effect on stored answers: leave it out")
    elif config.columns:
        raise BadInput("--columns names the columns of stored answers: it goes with --model answers:FILE")


def _load_tasks(config: RunConfig) -> tuple[list[Task], list[TaskKind]]:
    """The tasks that ask something, and those that only measure what the answers to the others are like."""
    answers = answers_file(config.model)
    names = config.tasks or (_tasks_of(answers, config.columns) if answers else DEFAULT_TASKS)
    kinds = [known_kind(name) for name in names]
    asking = [kind for kind in kinds if kind.data] or (kinds if answers else [])
    if not asking:
        raise BadInput(f"{', '.join(names)} reads the answers of other tasks: add one, or use --model answers:FILE")
    data = _data_paths(config.data, [kind.name for kind in asking])
    for kind in asking:
        if answers and kind.name in data and kind.scoring != "ratings":
            raise BadInput(f"--data has no effect on {kind.name}: the stored answers bring its prompts; leave it out")
    tasks = []
    for kind in asking:
        options = TaskOptions(
            data.get(kind.name), answers, config.columns, config.limit, config.samples, config.max_new_tokens
        )
        tasks.append(load_task(kind.name, options))
    return tasks, [kind for kind in kinds if kind not in asking]


def _tasks_of(answers: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    """What a file of answers is evaluated for when nobody says it: attack artifacts hold harmful requests."""
    return ("asr", "collapse") if answer_layout(answers, columns) == "jailbreakbench" else ("collapse",)


def _data_paths(given: Sequence[str], asking: Sequence[str]) -> dict[str, Path]:
    """`--data TASK=PATH`, or a path alone where only one task asks something."""
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
        paths[name] = user_path(path)
    return paths


def _run_name(model: str, identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model).strip('-.') or 'model'}-{digest[:8]}"
