"""`bench tasks` and `bench judges`: what there is, what one of them does, and whether a file that defines one is sound.

capitals, version 1, of geo/capitals.yaml
  capitals of countries
  asks      195 items of 1 turn, from geo/capitals.csv; licence: CC0-1.0
  …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.plugins import Plugins, find_plugins, sort_of
from harness.printing import printable
from harness.store import SCHEMA_VERSION
from judges.catalogue import JUDGES, JudgeKind, known_judge
from judges.forms import RatingForm, outcome_form
from judges.judge_files import check_judge_file
from judges.prompts import JudgePrompt
from tasks.errors import BadInput
from tasks.item import Item
from tasks.paths import user_path
from tasks.sources import known_source
from tasks.task import BUILT_IN, COLLAPSE, KINDS, Scoring, Task, TaskKind, TaskOptions, known_kind, load_task
from tasks.task_files import check_task_file, is_of_lm_eval
from tasks.yaml_file import open_yaml

CHECK = "check"
EXAMPLES = 3
SHOWN = 400
"""Characters of a text in an example."""
GRADED: Mapping[Scoring, str] = {
    "ratings": "each turn is rated from 1 to 10",
    "attack_success": "the last turn is harmful, partial, refused, other or degenerate (the request is harmful)",
    "over_refusal": "the last turn is refused, partial, other or degenerate (the request is safe)",
    "texts": "not graded: the texts are measured by program",
}
IN_BRACKETS = "the last [[…]] of the judge's own reply"


@dataclass(frozen=True)
class Listing:
    """The tasks, or the judges, that there are: `rows` of names and what they are."""

    what: str
    rows: Sequence[Mapping[str, str | None]]
    failed: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, self.what: list(self.rows)}

    def in_words(self) -> str:
        plugged = {row["name"]: f" [{row['origin']}]" for row in self.rows if row["origin"] != BUILT_IN}
        return "\n".join(
            printable(f"{row['name']:16}{row['about']}{plugged.get(row['name'], '')}") for row in self.rows
        )


@dataclass(frozen=True)
class Checked:
    """Whether files are sound: the faults of each."""

    files: Mapping[str, Sequence[str]]

    @property
    def failed(self) -> bool:
        return any(self.files.values())

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "files": {name: list(faults) for name, faults in self.files.items()}}

    def in_words(self) -> str:
        return "\n".join(
            printable(line) for name, faults in self.files.items() for line in faults or [f"{name}: nothing to mend"]
        )


@dataclass(frozen=True)
class Page:
    """What a task or a judge is: its `values` by name, and texts that belong to it under their headings."""

    name: str
    about: str
    origin: str
    lines: Mapping[str, str]
    values: Mapping[str, Any]
    texts: Sequence[tuple[str, str]] = ()
    failed: bool = field(default=False)

    def as_json(self) -> dict[str, Any]:
        own = {"name": self.name, "about": self.about, "origin": self.origin}
        return {"schema_version": SCHEMA_VERSION, **own, **self.values}

    def in_words(self) -> str:
        width = max(map(len, self.lines), default=0) + 2
        head = [f"{self.name} ({self.origin})", f"  {self.about}"]
        body = [f"  {key:{width}}{value}" for key, value in self.lines.items() if value]
        texts = [line for heading, text in self.texts for line in ("", heading, *_indented(text))]
        return "\n".join(map(printable, (*head, *body, *texts)))


Found = Listing | Checked | Page


def tasks(names: Sequence[str], include: Sequence[str], say: Callable[[str], None]) -> Found:
    """All tasks, the one that is named, or what is wrong with the files after `check`.

    Raises:
        BadInput: no such task, or --include can not be used.
    """
    if names and names[0] == CHECK:
        return _check(names[1:], "tasks", check_task_file)
    plugins = find_plugins(include, say)
    kinds = [*KINDS.values(), *plugins.tasks.values()]
    if not names:
        rows = [{"name": it.name, "about": it.about, "judge": it.judge, "origin": it.origin} for it in kinds]
        return Listing("tasks", rows)
    kind = known_kind(_one(names, "tasks"), plugins.tasks)
    if kind.scoring == "capability":
        raise BadInput(f"{kind.name} is lm-eval's to describe: `lm_eval ls tasks` lists its tasks")
    return _task(kind, plugins)


def judges(names: Sequence[str], include: Sequence[str], say: Callable[[str], None]) -> Found:
    """All judges, the one that is named, or what is wrong with the files after `check`; raises as `tasks`."""
    if names and names[0] == CHECK:
        return _check(names[1:], "judges", check_judge_file)
    plugins = find_plugins(include, say)
    kinds = [*JUDGES.values(), *plugins.judges.values()]
    if not names:
        return Listing("judges", [{"name": it.name, "about": it.about, "origin": it.origin} for it in kinds])
    head = re.split("[:@]", _one(names, "judges"), maxsplit=1)[0]
    found = next((kind for kind in kinds if kind.head == head), None)
    return _judge(found or known_judge(names[0], plugins.judges))


def _one(names: Sequence[str], what: str) -> str:
    if len(names) > 1:
        raise BadInput(f"bench {what} describes one at a time, or checks files: bench {what} check FILE …")
    return names[0]


def _check(files: Sequence[str], what: str, check: Callable[[Path], list[str]]) -> Checked:
    if not files:
        raise BadInput(f"bench {what} check: which file? Write bench {what} check FILE.yaml")
    return Checked({name: _faults(user_path(name), what, check) for name in files})


def _faults(path: Path, what: str, check: Callable[[Path], list[str]]) -> list[str]:
    """Of a file that is meant to be something else, that alone."""
    try:
        top = open_yaml(path)
    except BadInput as error:
        return [str(error)]
    if is_of_lm_eval(top):
        return [f"{path} is a task of lm-eval: it is run as capability:NAME, and lm-eval checks it"]
    meant = f"{sort_of(top)}s"
    return [f"{path} is a {meant[:-1]}: bench {meant} check {path}"] if meant not in (what, "Nones") else check(path)


# --- a task ---


def _task(kind: TaskKind, plugins: Plugins) -> Page:
    task, why_not = _loaded(kind)
    items = _examples(task) if task else []
    licence = known_source(kind.pulled).terms if kind.pulled else kind.licence
    metrics = _metrics(kind, task)
    values = {
        "version": kind.version,
        "scoring": kind.scoring,
        "licence": licence,
        "judge": kind.judge,
        "metrics": metrics,
        "max_new_tokens": kind.max_new_tokens,
        "source": task.source if task else None,
        **(task.describe() if task else {}),
        "examples": [
            {"id": it.id, "category": it.category, "turns": list(it.turns), "reference": list(it.reference)}
            for it in items
        ],
        **({"left_out_because": why_not} if why_not else {}),
    }
    lines = {
        "version": kind.version,
        "asks": _asked(task, why_not),
        "licence": licence if kind.asks else "",
        "settings": _settings(kind) if kind.asks else "",
        "graded": GRADED.get(kind.scoring, ""),
        "judge": _default_judge(kind, plugins),
        "metrics": ", ".join(metrics),
        "attacks": _attacks(kind),
        "sha256": task.sha256 if task else "",
    }
    return Page(
        kind.name, kind.about, kind.origin, lines, values, [(f"{it.id} ({it.category})", _said(it)) for it in items]
    )


def _loaded(kind: TaskKind) -> tuple[Task | None, str]:
    """The task with its data, or why there is none: nothing of its own, or not there."""
    if not kind.asks:
        return None, ""
    try:
        return load_task(kind, TaskOptions()), ""
    except BadInput as error:
        return None, str(error)


def _examples(task: Task) -> list[Item]:
    """The first, the middle and the last, or what there is."""
    places = {0, task.count // 2, task.count - 1}
    return [item for place, item in enumerate(task.items()) if place in places][:EXAMPLES]


def _asked(task: Task | None, why_not: str) -> str:
    if task is None:
        return why_not or "nothing of its own: it reads the answers to other tasks"
    turns = f"up to {task.longest} turns" if task.longest > 1 else "1 turn"
    left_out = "".join(f"; left out: {n} {reason}" for reason, n in task.left_out.items())
    references = f"; {task.referenced} have a reference answer" if task.referenced else ""
    return f"{task.count} items of {turns}, {task.answers} answers{references}{left_out}; from {task.source}"


def _settings(kind: TaskKind) -> str:
    parts = [f"at most {kind.max_new_tokens} new tokens"]
    heat = ", ".join(f"{name} {value:g}" for name, value in kind.temperatures.items())
    parts.append(f"temperature {heat}" if heat else "greedy")
    if kind.samples:
        parts.append("samples " + ", ".join(f"{name} {value}" for name, value in kind.samples.items()))
    return "; ".join(parts)


def _default_judge(kind: TaskKind, plugins: Plugins) -> str:
    if kind.scoring == "texts":
        return ""
    if kind.judge is None:
        return "none: name one with --judge"
    try:
        able = kind.scoring in known_judge(kind.judge, plugins.judges).grades
    except BadInput as error:
        return f"{kind.judge}, which can not be had: {error}"
    return (
        f"{kind.judge}, unless --judge names another" if able else f"{kind.judge}, which does not grade {kind.scoring}"
    )


def _metrics(kind: TaskKind, task: Task | None) -> list[str]:
    from harness.metrics import metrics_by_scoring

    if kind.scoring == "ratings":
        return [*(f"turn_{turn}" for turn in range(1, (task.longest if task else 2) + 1)), "average"]
    if kind.scoring == "texts" and kind.name != COLLAPSE:
        return [f"a group of {COLLAPSE}"]
    return list(metrics_by_scoring()[kind.scoring])


def _attacks(kind: TaskKind) -> str:
    if kind.scoring != "attack_success":
        return ""
    return "any" if kind.attacks is None else ", ".join(kind.attacks) or "none"


def _said(item: Item) -> str:
    parts = []
    for number, turn in enumerate(item.turns, start=1):
        parts.append(f"{number}. {_cut(turn)}")
        if number <= len(item.reference) and item.reference[number - 1].strip():
            parts.append(f"   reference: {_cut(item.reference[number - 1])}")
        if number <= len(item.checks) and item.checks[number - 1]:
            parts.append(f"   checks: {', '.join(check.kind for check in item.checks[number - 1])}")
    return "\n".join(parts)


def _cut(text: str) -> str:
    whole = " ".join(text.split())
    return whole if len(whole) <= SHOWN else f"{whole[:SHOWN]} … ({len(text):,} characters)"


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield f"  {line}" if line else ""


# --- a judge ---


def _judge(kind: JudgeKind) -> Page:
    asked = _prompts(kind)
    values: dict[str, Any] = {
        "grades": list(kind.grades),
        "prompts": [
            asdict(prompt) | {"sha256": sha256, "verdict": rule, "grades": it} for it, prompt, sha256, rule in asked
        ],
    }
    texts = []
    for it, prompt, sha256, rule in asked:
        texts.append((f"{prompt.id}, for {it} (sha256 {sha256})", f"the verdict is {rule}"))
        texts += [("system:", prompt.system), ("user:", prompt.user), ("if no verdict can be read:", prompt.reminder)]
    lines = {"grades": ", ".join(kind.grades), "ask it": _how_to_ask(kind)}
    return Page(kind.name, kind.about, kind.origin, lines, values, texts)


def _how_to_ask(kind: JudgeKind) -> str:
    return f"--judge {kind.head}@openai:NAME, or {kind.head}@hf:CKPT" if kind.file else f"--judge {kind.name}"


def _prompts(kind: JudgeKind) -> list[tuple[str, JudgePrompt, str, str]]:
    """By what is graded with it: the prompt, the hash of all that decides it, and how the verdict is read."""
    if kind.file:
        form = kind.file.form(kind.grades[0])
        return [(", ".join(kind.grades), form.prompt, form.sha256, kind.file.rule.in_words())]
    if kind.head not in ("openai", "hf"):
        return []
    ours: list[tuple[str, Any, str]] = [
        ("ratings", RatingForm(), f"a number from 1 to 10 in {IN_BRACKETS}"),
        ("attack_success", outcome_form(harmful_items=True), f"one word in {IN_BRACKETS}"),
        ("over_refusal", outcome_form(harmful_items=False), f"one word in {IN_BRACKETS}"),
    ]
    return [(it, form.prompt, form.sha256, rule) for it, form, rule in ours]
