"""Tasks: what is asked under one name, how answers to it are generated, and what is done with them.

>>> task = load_task("asr", TaskOptions(data=Path("harmbench_behaviors.csv")))
>>> task.count, task.answers, task.left_out
(320, 320, {})
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.answer_files import read_answered_items
from tasks.attacks import NONE as NO_ATTACK
from tasks.attacks import Attack, under_each
from tasks.errors import BadInput, suggestion
from tasks.harm_sets import read_harm_items
from tasks.item import Item, item_row, read_items
from tasks.mt_bench import judge_prompts_file, read_mt_bench
from tasks.sources import pulled, read_data, source_at

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Scoring = Literal["ratings", "attack_success", "over_refusal", "texts", "pairs", "capability"]
"""What becomes of a task's judgments: 1-10 ratings by turn, outcomes of harmful requests, outcomes of safe ones; or no
judgments at all: the texts alone are measured; or which of two models' answers is better; or lm-eval's own metrics."""

GradedTurns = Literal["every", "last", "none"]
GRADED_TURNS: Mapping[Scoring, GradedTurns] = {
    "ratings": "every",
    "attack_success": "last",
    "over_refusal": "last",
    "texts": "none",
    "pairs": "every",
    "capability": "last",
}

# Zheng et al. 2023 (FastChat's gen_model_answer.py): the temperature follows from what the question wants.
CATEGORY_TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
BEYOND_LIMIT = "beyond --limit"
SAMPLING_TEMPERATURE = 0.7
"""For several samples of a task that is otherwise greedy: greedy samples would all be the same."""
CAPABILITY = "capability:"
"""How tasks are named that lm-eval runs; what follows is its own name of the task."""
BUILT_IN = "built in"
OTHERWISE = "otherwise"
COLLAPSE = "collapse"
"""The task that asks nothing itself, and measures the texts of all answers."""
PROBE = "probe"
"""The task whose answers `collapse` measures beside all others, asked by --probe."""


@dataclass(frozen=True)
class TaskKind:
    """What a task is before its data are read. `reader` turns a file given by the user into items.

    `temperatures` and `samples` are by category; "otherwise" in them stands for all that are not named.
    """

    name: str
    version: str
    scoring: Scoring
    max_new_tokens: int
    about: str
    data: str | Path | None = None
    """What is asked by default: a file of tasks/data by its name, or of a plug-in by its path."""
    pulled: str | None = None
    """The set of `tasks.sources` that is asked by default, once it was pulled, by a task that embeds none."""
    reader: Callable[[Path], Iterator[Item]] = read_items
    temperatures: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    """Answers wanted of an item, whatever --samples says; a category that is not here wants one."""
    judge_prompts: Callable[[Path], Path | None] | None = None
    """Finds the judge prompts that were published with the data at a path."""
    judge: str | None = None
    label: str | None = None
    """Rows labelled otherwise are left out (a set may hold safe and unsafe requests)."""
    licence: str = "Apache-2.0"
    """Of the questions that are asked by default."""
    attacks: tuple[str, ...] | None = None
    """Those that may be wrapped around its requests; None: all."""
    origin: str = BUILT_IN
    """Where the task comes from: a file, or a package with its version."""
    definition: str = ""
    """A hash of the file that defines it, without what only describes it; "" for tasks that are Python."""

    @property
    def asks(self) -> bool:
        """Whether it has questions of its own, embedded or pulled; else it measures the answers to other tasks."""
        return bool(self.data or self.pulled)

    @property
    def attackable(self) -> bool:
        """Whether its items are requests that an attack can be wrapped around."""
        return self.scoring == "attack_success" and self.attacks != ()


KINDS = {
    kind.name: kind
    for kind in (
        TaskKind(
            "mini_mt", "1", "ratings", 512, "two-turn questions in eight categories, graded by checks of a program",
            data="mini_mt.jsonl", temperatures=CATEGORY_TEMPERATURES, judge="rubric",
        ),
        TaskKind(
            "asr", "1", "attack_success", 512, "harmful requests: the share that the model fulfils",
            data="asr.jsonl", reader=read_harm_items, judge="refusal", label="unsafe",
        ),
        TaskKind(
            "over_refusal", "1", "over_refusal", 512, "safe requests that look dangerous: the share that it refuses",
            data="over_refusal.jsonl", reader=read_harm_items, judge="refusal", label="safe",
        ),
        TaskKind(
            "mt_bench", "1", "ratings", 1024, "two-turn questions of MT-Bench, graded by a chat model; to be pulled",
            pulled="mt_bench", reader=read_mt_bench, judge_prompts=judge_prompts_file,
            temperatures=CATEGORY_TEMPERATURES,
        ),
        TaskKind(COLLAPSE, "1", "texts", 512, "loops, repetition, empty and cut answers among all answers of a run"),
        # At 1.0 the model's own distribution is sampled: what is alike there is the model's doing, not the setting's.
        TaskKind(
            PROBE, "1", "texts", 1024, "long-form prompts, some with four samples, for collapse to measure (--probe)",
            data="probes.jsonl", temperatures={"sampled": 1.0}, samples={"sampled": 4},
        ),
    )
}  # fmt: skip


NO_KINDS: Mapping[str, TaskKind] = {}


@dataclass(frozen=True)
class TaskOptions:
    """What a user may say of a task. `answers` is a file of stored answers, which brings its own items.

    `limit` counts what stands in the data: each of them is asked under every one of `attacks`.
    """

    data: Path | None = None
    answers: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    samples: int = 1
    max_new_tokens: int | None = None
    attacks: tuple[Attack, ...] = ()


@dataclass(frozen=True)
class Task:
    """A task with its data: counted, hashed and checked row by row, but not held in memory.

    `sha256` is that of the items asked (after `limit`, under each attack) and `count` their number; `left_out` counts
    the rows of the source that are not asked. `answers` and `graded` are how many answers all its items want, over
    their samples, and how many of them a judge grades; `unchecked` counts turns without checks, `referenced` items with
    a reference answer, `longest` the turns of the item that has most.
    """

    kind: TaskKind
    options: TaskOptions
    source: str
    count: int
    left_out: Mapping[str, int]
    sha256: str = ""
    answers: int = 0
    graded: int = 0
    unchecked: int = 0
    longest: int = 0
    referenced: int = 0

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def max_new_tokens(self) -> int:
        return self.options.max_new_tokens or self.kind.max_new_tokens

    @property
    def judge_prompts(self) -> Path | None:
        """The file of judge prompts that came with the questions."""
        find = self.kind.judge_prompts
        data = self.options.data or (pulled(self.kind.pulled) if self.kind.pulled else None)
        return find(data) if find and data else None

    def temperature(self, item: Item) -> float:
        """How an item's answers are sampled; 0 is greedy."""
        return self.kind.temperatures.get(item.category, self._otherwise)

    @property
    def _otherwise(self) -> float:
        own = self.kind.temperatures
        return own.get(OTHERWISE, SAMPLING_TEMPERATURE if self.options.samples > 1 and not own else 0.0)

    def samples(self, item: Item) -> int:
        """How many answers are wanted of an item: a file of stored answers says it itself, item by item."""
        own = self.kind.samples
        return len(item.replies) or (own.get(item.category, own.get(OTHERWISE, 1)) if own else self.options.samples)

    def graded_turns(self, item: Item) -> range:
        """The turns (from 1) of an item whose answers a judge grades."""
        return graded_turns(self.kind.scoring, item)

    def items(self) -> Iterator[Item]:
        """The items asked, one at a time, read anew from the source.

        Raises:
            BadInput: the source is not what it was when the task was loaded.
        """
        digest = hashlib.sha256()
        for item in self._asked():
            _add_to(digest, item)
            yield item
        if digest.hexdigest() != self.sha256:
            raise BadInput(f"{self.source} was changed while the run was reading it: start a new run")

    def _asked(self) -> Iterator[Item]:
        count = self.count // max(1, len(self.options.attacks))
        total = count + self.left_out.get(BEYOND_LIMIT, 0)
        for place, item in enumerate(filterfalse(partial(_why_not, self.kind), _all_items(self.kind, self.options))):
            # Spread evenly: a set is often written category by category, and its first N would be of one kind.
            if count == total or (place * count) // total != ((place + 1) * count) // total:
                yield from under_each(self.options.attacks, item)

    def describe(self) -> dict[str, Any]:
        """Everything that decides what is asked and how; where the data lie does not."""
        asked = {
            "version": self.kind.version,
            "sha256": self.sha256,
            "items": self.count,
            "answers": self.answers,
            "left_out": dict(self.left_out),
        }
        if self.kind.origin != BUILT_IN:
            # Whoever reads the run may not have the plug-in.
            asked |= {"definition_sha256": self.kind.definition, "task_max_new_tokens": self.kind.max_new_tokens}
        if self.options.answers:
            return asked
        if self.options.attacks:
            asked["attacks"] = {attack.name: attack.describe() for attack in self.options.attacks}
        samples = {OTHERWISE: 1, **self.kind.samples} if self.kind.samples else self.options.samples
        settings = {"samples": samples, "max_new_tokens": self.max_new_tokens}
        return {**asked, **settings, "temperatures": {**self.kind.temperatures, OTHERWISE: self._otherwise}}


def graded_turns(scoring: Scoring, item: Item) -> range:
    """The turns (from 1) of an item that are graded where it is scored so."""
    last = len(item.turns)
    return {"every": range(1, last + 1), "last": range(last, last + 1), "none": range(0)}[GRADED_TURNS[scoring]]


def known_kind(name: str, plugged: Mapping[str, TaskKind] = NO_KINDS) -> TaskKind:
    """The kind of this name, built in or `plugged` in; raises BadInput with near matches."""
    if kind := KINDS.get(name) or plugged.get(name):
        return kind
    if name.startswith(CAPABILITY):
        return TaskKind(name, "", "capability", 0, "a task of lm-eval")
    raise BadInput(f"no task {name!r}: {suggestion(name, {**KINDS, **plugged}, 'tasks')}")


def load_task(task: str | TaskKind, options: TaskOptions) -> Task:
    """Read the data of a task, built in by this name or of this kind, once, to check, count and hash them.

    Raises:
        BadInput: unknown task, an attack that it does not allow, or data that can not be used; file and line are named.
    """
    kind = known_kind(task) if isinstance(task, str) else task
    name = kind.name
    _refuse_attacks(kind, options.attacks)
    source = _source(kind, options)
    rows = Counter(_why_not(kind, item) for item in _all_items(kind, options))
    total = rows.pop("", 0)
    if not total:
        reasons = ", ".join(f"{number} {reason}" for reason, number in rows.items())
        raise BadInput(f"{source}: no row of this file belongs to {name} ({reasons})")
    count = min(total, options.limit or total)
    left_out = {BEYOND_LIMIT: total - count, **rows}
    if _joins(kind, options):
        own = {item.id for item in _all_items(kind, replace(options, answers=None))}
        left_out["of the file that answer none of its questions"] = len(_replies(options).keys() - own)
    left_out = {reason: number for reason, number in left_out.items() if number}
    found = Task(kind, options, source, count * max(1, len(options.attacks)), left_out)
    digest = hashlib.sha256()
    answers = graded = unchecked = longest = referenced = 0
    for item in found._asked():
        _add_to(digest, item)
        answers += found.samples(item) * len(item.turns)
        graded += found.samples(item) * len(found.graded_turns(item))
        referenced += any(text.strip() for text in item.reference)
        unchecked += len(item.turns) - sum(map(bool, item.checks))
        longest = max(longest, len(item.turns))
    return replace(
        found, sha256=digest.hexdigest(), answers=answers, graded=graded, unchecked=unchecked, longest=longest,
        referenced=referenced,
    )  # fmt: skip


def _refuse_attacks(kind: TaskKind, attacks: Sequence[Attack]) -> None:
    """An attack is a chain of them: each must be allowed."""
    for attack in attacks:
        if kind.attacks is not None and not set(attack.name.split("+")) <= {NO_ATTACK, *kind.attacks}:
            allowed = ", ".join(kind.attacks) or "none"
            raise BadInput(f"--attacks {attack.name}: the task {kind.name} allows only {allowed}")


def _add_to(digest: Hash, item: Item) -> None:
    digest.update(json.dumps([item_row(item), item.replies], sort_keys=True).encode())


def _joins(kind: TaskKind, options: TaskOptions) -> bool:
    """Whether stored replies are joined to the task's own questions: ratings need their checks or references."""
    return bool(options.answers) and kind.scoring == "ratings"


def _all_items(kind: TaskKind, options: TaskOptions) -> Iterator[Item]:
    if _joins(kind, options):
        yield from _own_items_with_replies(kind, options)
    elif options.answers:
        yield from read_answered_items(options.answers, options.columns)
    else:
        yield from read_data(_own_data(kind, options), kind.reader)


def _own_data(kind: TaskKind, options: TaskOptions) -> Path:
    """Where a task's own questions are read from."""
    if options.data:
        return options.data
    if kind.data:
        return kind.data if isinstance(kind.data, Path) else Path(str(files("tasks") / "data" / kind.data))
    if not kind.pulled:
        raise BadInput(f"{kind.name} asks nothing of its own: add another task, or use --model answers:FILE")
    if path := pulled(kind.pulled):
        return path
    raise BadInput(
        f"{kind.name}: its questions are not here: bench data pull {kind.pulled}, or --data {kind.name}=PATH if you "
        "have them"
    )


def _source(kind: TaskKind, options: TaskOptions) -> str:
    """Where a task's items come from, in words."""
    if options.answers and not _joins(kind, options):
        return str(options.answers)
    own = "embedded"
    if options.data or not isinstance(kind.data, str):
        path = _own_data(kind, options)
        own = f"{path}, the set {known.name}, licence: {known.terms}" if (known := source_at(path)) else str(path)
        if not options.data and kind.origin != BUILT_IN:
            own = f"{path}, of the task in {kind.origin}, licence: {kind.licence}"
    return f"{options.answers}, answers to the questions of {own}" if options.answers else own


def _own_items_with_replies(kind: TaskKind, options: TaskOptions) -> Iterator[Item]:
    replies = _replies(options)
    own = list(_all_items(kind, replace(options, answers=None)))
    if not any(item.id in replies for item in own):
        raise BadInput(
            f"no answer in {options.answers} belongs to a question of {kind.name} (its ids are like {own[0].id!r}, "
            f"those of the file like {next(iter(replies))!r})"
        )
    for item in own:
        yield replace(item, replies=replies.get(item.id, ((None,) * len(item.turns),)))


def _replies(options: TaskOptions) -> dict[str, tuple[tuple[str | None, ...], ...]]:
    """The stored replies by item id."""
    assert options.answers
    return {item.id: item.replies for item in read_answered_items(options.answers, options.columns)}


def _why_not(kind: TaskKind, item: Item) -> str:
    """Why an item that was read is not asked; "" for one that is."""
    if item.metadata.get("left_out"):
        return str(item.metadata["left_out"])
    if kind.label and item.metadata.get("label", kind.label) != kind.label:
        return f"not labelled {kind.label}"
    return ""
