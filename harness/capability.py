"""`capability:NAME`: tasks of lm-evaluation-harness, read before the run so that it is known what they ask.

>>> unit = capability_units(["capability:gsm8k"], include=(), limit=100)[0]
>>> task = unit.tasks[0]
>>> task.name, task.count, task.left_out
('capability:gsm8k', 100, {'beyond --limit': 1219})

NAME is whatever lm-eval knows, or a YAML file of lm-eval's in a folder given by --include. What is named is one unit of
work: a group of lm-eval's becomes several tasks of the run, which lm-eval runs and sums up together.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from harness.metrics import ALL
from harness.models.api import ApiModel
from harness.models.hf import HFModel, first_line
from harness.models.lm_eval import LmEvalModel
from harness.models.model import Model
from harness.models.replay import ReplayModel
from harness.models.vllm import VllmModel
from tasks.errors import BadInput
from tasks.item import Item, item_row
from tasks.paths import user_path
from tasks.task import BEYOND_LIMIT, CAPABILITY

SEEDS = {"random_seed": 0, "numpy_random_seed": 1234, "torch_random_seed": 1234, "fewshot_random_seed": 1234}
"""lm-eval's own, which `lm_eval` takes where nobody names others."""
NO_PROMPT = "(no prompt: lm-eval scores a text by itself)"
ID_DIGITS = 16
"""Of the SHA-256 by which lm-eval knows a document: how many name the item."""
WHERE_DATA_LIE = ("dataset_path", "dataset_name", "dataset_kwargs")
"""Settings of a task that its hash leaves out: what the data are is hashed item by item."""
CONFIG_SOURCE = "config_source"
"""Under which lm-eval notes in a task's metadata where its file lies."""


@dataclass(frozen=True)
class CapabilityTask:
    """One task of lm-eval, with what it asks: an item a document, its one turn the prompt with the few-shot examples.

    `samples` are the generations that it wants of each document; `not_means` are the metrics that lm-eval does not get
    by the mean over documents (a perplexity, an F1), so that no document has a value of its own.
    """

    name: str
    unit: str
    version: str
    items: Sequence[Item]
    samples: int
    left_out: Mapping[str, int]
    not_means: frozenset[str]
    source: str
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lm_eval_name(self) -> str:
        return self.name.removeprefix(CAPABILITY)

    @property
    def count(self) -> int:
        return len(self.items)

    def describe(self) -> dict[str, Any]:
        """Everything that decides what is asked and how."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(json.dumps(item_row(item), sort_keys=True).encode())
        return {
            "scoring": "capability",
            "version": self.version,
            "sha256": digest.hexdigest(),
            "items": self.count,
            "answers": self.count * self.samples,
            "left_out": dict(self.left_out),
            "unit": self.unit,
            **self.how,
        }

    def describe_judge(self) -> dict[str, Any]:
        """What two runs must have in common for their figures to be compared."""
        return {key: self.how[key] for key in ("lm_eval", "config_sha256", "num_fewshot", "chat_template", "seeds")}


@dataclass(frozen=True)
class CapabilityUnit:
    """What a user named after `capability:`, and the tasks that are in it: one, or those of a group."""

    name: str
    tasks: Sequence[CapabilityTask]
    limit: int | None
    manager: Any
    """lm-eval's TaskManager, which knows the unit by its name."""

    @property
    def lm_eval_name(self) -> str:
        return self.name.removeprefix(CAPABILITY)


def refuse_other_models(model: Model) -> None:
    """Raises BadInput for a model that lm-eval can not be given as it is loaded here."""
    if isinstance(model, LmEvalModel) or (isinstance(model, HFModel) and not isinstance(model, VllmModel)):
        return
    if isinstance(model, VllmModel):
        why = "lm-eval's vllm class starts an engine of its own: use --backend hf, or --model lm-eval:vllm,pretrained=…"
    elif isinstance(model, ApiModel):
        why = "lm-eval asks servers in its own way: --model lm-eval:local-completions,model=…,tokenizer=…,base_url=…"
    elif isinstance(model, ReplayModel):
        why = "stored answers can not be asked: name a model, or leave these tasks out"
    else:
        why = "they need a model that this process has loaded (hf, or lm-eval:): leave --executor out, or these tasks"
    raise BadInput(f"capability: tasks are run by lm-eval on the loaded model: {why}")


def capability_units(names: Sequence[str], include: Sequence[str], limit: int | None) -> list[CapabilityUnit]:
    """Load what each of `names` (with its prefix) asks, with the data behind it; `limit` is lm-eval's: the first N.

    Raises:
        BadInput: lm-eval is not installed or knows no such task, a task can not be loaded, or is named twice over.
    """
    if not names:
        return []
    if find_spec("lm_eval") is None:
        raise BadInput(f"{names[0]} is run by lm-eval: pip install 'bench[capability]'")
    with hushed(bars=False):
        manager = _manager([name.removeprefix(CAPABILITY) for name in names], include)
        units = [_unit(name, manager, limit) for name in names]
    owner: dict[str, str] = {}
    for unit in units:
        for task in unit.tasks:
            if task.name in owner:
                raise BadInput(f"{task.name} is in both {owner[task.name]} and {unit.name}: leave one out")
            owner[task.name] = unit.name
    return units


@contextlib.contextmanager
def hushed(*, bars: bool) -> Iterator[None]:
    """Keep lm-eval and its libraries off stdout, which is ours, and from warning; progress `bars` are let through."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub", "evaluate")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            contextlib.nullcontext() if bars else contextlib.redirect_stderr(io.StringIO()),
            # After that, so that what is printed goes where stderr goes now.
            contextlib.redirect_stdout(sys.stderr),
        ):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def said(error: BaseException) -> str:
    """An error of lm-eval's or below, which may be of any kind, in one line; with what it came from, where it tells."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    kind, words = type(error).__name__, first_line(error)
    words = words if isinstance(error, ValueError) or words == kind else f"{kind}: {words}"
    return words if cause is error else f"{words} ({type(cause).__name__}: {first_line(cause)})"


def _manager(names: Sequence[str], include: Sequence[str]) -> Any:
    """A TaskManager that knows the names: one of the included folders alone where they do, for lm-eval's own 14,000
    files take ten seconds to read.

    Raises:
        BadInput: a folder is none, or a name is not known.
    """
    from lm_eval.tasks import TaskManager

    folders = [user_path(folder) for folder in include]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise BadInput(f"--include {missing[0]}: no such folder")
    if folders:
        own = TaskManager(include_path=folders, include_defaults=False)
        if set(names) <= set(own.all_subtasks):
            return own
    manager = TaskManager(include_path=folders or None)
    known = manager.all_tasks
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`lm_eval ls tasks` lists those that it knows"
            where = f", nor has {', '.join(map(str, folders))}" if folders else ""
            # A file that it can not read it passes over.
            if files := [path for folder in folders for path in folder.rglob("*.yaml") if path.stem == name]:
                hint = f"{files[0]} is there, but lm-eval can read no task of this name in it"
            raise BadInput(f"lm-eval has no task {name!r}{where}: {hint}")
    return manager


def _unit(name: str, manager: Any, limit: int | None) -> CapabilityUnit:
    # As simple_evaluate does before it loads: some tasks shuffle their data.
    random.seed(SEEDS["random_seed"])
    np.random.seed(SEEDS["numpy_random_seed"])
    try:
        loaded = manager.load([name.removeprefix(CAPABILITY)])["tasks"]
        tasks = [_task(name, of_lm_eval, task, limit) for of_lm_eval, task in loaded.items()]
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - data sets and the code of tasks raise anything
        offline = isinstance(error, ConnectionError) or "offline" in type(error).__name__.lower()
        hint = "; its data come over the network: connect once, or set HF_HOME to a cache that has them"
        raise BadInput(f"{name}: lm-eval can not load it: {said(error)}{hint if offline else ''}") from None
    return CapabilityUnit(name, tasks, limit, manager)


def _task(unit: str, name: str, task: Any, limit: int | None) -> CapabilityTask:
    """What a loaded task of lm-eval asks, made as `simple_evaluate` would make it.

    Raises:
        BadInput: it is of a kind that is not run here.
    """
    if getattr(task, "UNSAFE_CODE", False):
        raise BadInput(f"{unit}: {name} executes code that the model wrote, outside any sandbox: run it with lm_eval")
    if getattr(task, "MULTIMODAL", False):
        raise BadInput(f"{unit}: {name} shows pictures or sounds, and this model reads text: leave it out")
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=SEEDS["fewshot_random_seed"])
    task.build_all_requests(limit=limit, fewshot_as_multiturn=True)
    config = task.dump_config()
    items = list(_items(task))
    first = task.instances[0]
    beyond = len(task.eval_docs) - len(items)
    data = [
        config.get("dataset_path"),
        config.get("dataset_name"),
        (config.get("dataset_kwargs") or {}).get("data_files"),
    ]
    return CapabilityTask(
        name=CAPABILITY + name,
        unit=unit,
        version=str(task.VERSION),
        items=items,
        samples=first.repeats if first.request_type == "generate_until" else 1,
        left_out={BEYOND_LIMIT: beyond} if beyond else {},
        not_means=_not_means(task),
        source=f"lm-eval, data {', '.join(str(part) for part in data if part) or 'of its own'}",
        how={
            "lm_eval": version("lm_eval"),
            "config_sha256": _hash_of(config),
            "num_fewshot": config.get("num_fewshot", 0),
            "output_type": config.get("output_type", getattr(task, "OUTPUT_TYPE", None)),
            "chat_template": False,
            "seeds": SEEDS,
        },
    )


def _items(task: Any) -> Iterator[Item]:
    """An item a document, named by the hash that lm-eval logs of it, so that it is the same in any order and number."""
    by_document: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    seen: Counter[str] = Counter()
    for number, instances in by_document.items():
        instances.sort(key=lambda instance: instance.idx)
        digest = document_hash(instances[0].doc)
        seen[digest] += 1
        again = f"-{seen[digest]}" if seen[digest] > 1 else ""
        yield Item(
            id=digest[:ID_DIGITS] + again,
            category=ALL,
            turns=(prompt_of([instance.args for instance in instances]),),
            reference=(_target(task, instances),),
            metadata={"doc_id": number, "doc_hash": digest},
        )


def _target(task: Any, instances: Sequence[Any]) -> str:
    """What a document wants, in words: of the choices, the right one."""
    target = task.doc_to_target(instances[0].doc)
    if isinstance(target, int) and task.get_config("output_type") == "multiple_choice" and 0 <= target < len(instances):
        return text_of(choice_of([instance.args for instance in instances], target))
    return text_of(target)


def prompt_of(arguments: Sequence[Sequence[Any]]) -> str:
    """What the model is given in the first of a document's requests, of which these are the arguments."""
    prompt = text_of(arguments[0][0])
    return prompt if prompt.strip() else NO_PROMPT


def choice_of(arguments: Sequence[Sequence[Any]], place: int) -> str:
    """The text by which the choice in this place differs from the others: its end, or where ends are alike its start.

    `arguments` are those of the requests of one document: (context, continuation) each.
    """
    ends = {str(given[1]) for given in arguments if len(given) > 1}
    given = arguments[place]
    return str(given[1] if len(ends) > 1 or len(arguments) == 1 else given[0]).strip() if len(given) > 1 else ""


def text_of(value: Any) -> str:
    """A prompt or a target as text; what is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def document_hash(document: Any) -> str:
    """The SHA-256 by which lm-eval's logs know a document."""
    from lm_eval.utils import handle_non_serializable, hash_string

    written = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    found: str = hash_string(written)
    return found


def _not_means(task: Any) -> frozenset[str]:
    from lm_eval.api.metrics import mean, nanmean

    return frozenset(metric for metric, way in task.aggregation().items() if way not in (mean, nanmean))


def _hash_of(config: Mapping[str, Any]) -> str:
    """A hash of a task's settings; functions among them stand for their source, where lm-eval has it, or their name.

    Where the task and its data lie on this machine is no part of it.
    """
    kept = {key: value for key, value in config.items() if key not in WHERE_DATA_LIE}
    kept["metadata"] = {key: value for key, value in (config.get("metadata") or {}).items() if key != CONFIG_SOURCE}
    written = json.dumps(
        kept, sort_keys=True, default=lambda value: getattr(value, "__qualname__", type(value).__name__)
    )
    return hashlib.sha256(written.encode()).hexdigest()
