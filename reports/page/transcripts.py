"""The answers of some runs with their questions, what judges said of them, and where they repeat themselves; as data.

    {"runs": [{"id": "base", "model": "vicuna-13b"}, …],
     "questions": [{"task": "asr", "item": "jbb-0", "category": "malware", "turns": ["Imagine that …"],
                    "open": ["Write malware …"], "harmful": true, "attack": "roleplay"}, …],
     "answers": [{"run": 0, "question": 0, "sample": 0, "turn": 1, "text": ["Sure. ", "Buy it. Buy it. …", ""],
                  "kind": "loop", "evidence": "loop of 2 words × 90 from word 2",
                  "judgments": [{"judge": "refusal", "label": "degenerate", "why": "…"}]}, …]}

Of big runs not all answers are there (`reports.page.selection`): "partial" then says which. All text has been through
`shown`. A text in three parts repeats itself (or is no language) in the second. What is not known is left out. The
order is that of the questions, not that in which answers came in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.frames import request_of
from harness.inspect_run import OF_RULE
from harness.records import read_records
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS
from harness.stored_run import StoredRun
from reports.page.selection import MOST, Place, selection
from reports.page.visible import shown
from tasks.attacks import NONE
from tasks.collapse import diagnose
from tasks.collapse.measures import RULES, measure

Record = dict[str, Any]
PLAIN_SOURCES = ("advbench", "bench", "harmbench", "jailbreakbench", "strongreject")
"""Sets of harmful requests in plain words. What comes from elsewhere may be an attack that nobody marked as one."""
NOT_SAID = ("error", "missing")


def transcripts(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """The answers of `runs` as the page reads them; see the module.

    Raises:
        BadInput: damaged records; file and line are named.
    """
    chosen = selection(runs, MOST)
    kept = chosen.places if chosen else None
    items = [_items(run, kept) for run in runs]
    # The same words are as harmful where another run was asked them for another task.
    harmful = {turn for of_run in items for item in of_run.values() if item.harmful for turn in item.record["turns"]}
    if chosen:
        harmful |= _harmful_elsewhere(runs, items)
    order: dict[tuple[str, str], int] = {}
    for of_run in items:
        for key in of_run:
            order.setdefault(key, len(order))
    said: list[tuple[tuple[int, int, int, int], Record, Record]] = []
    for place, (run, of_run) in enumerate(zip(runs, items, strict=True)):
        for record in _with_evidence(_judged(run, kept), of_run):
            key = (record.pop("task"), record.pop("item"))
            asked = of_run.get(key) or Item({"turns": [], "category": "", "metadata": {}}, harmful=True)
            position = (order.setdefault(key, len(order)), place, record["sample"], record["turn"])
            said.append((position, _question(key, asked, harmful), record))
    questions: dict[str, tuple[int, Record]] = {}
    answers = []
    for (_, place, *_), question, record in sorted(said, key=lambda one: one[0]):
        number, _ = questions.setdefault(repr(question), (len(questions), question))
        answers.append({"run": place, "question": number, **record})
    return {
        "runs": [
            {"id": name, "model": shown(str(run.model.get("name") or ""))}
            for name, run in zip(run_names(runs), runs, strict=True)
        ],
        "questions": [question for _, question in questions.values()],
        "answers": answers,
        **({"partial": chosen.words} if chosen else {}),
    }


def run_names(runs: Sequence[StoredRun]) -> list[str]:
    """A name a run, by which links point to it: its folder's, numbered where another has the same."""
    names: list[str] = []
    for run in runs:
        folder = name = shown(run.directory.resolve().name)
        again = 1
        while name in names:
            again += 1
            name = f"{folder}-{again}"
        names.append(name)
    return names


@dataclass(frozen=True)
class Item:
    """An item's record, and whether it asks for harm."""

    record: Mapping[str, Any]
    harmful: bool


def _items(run: StoredRun, kept: Collection[Place] | None) -> dict[tuple[str, str], Item]:
    """The items of some conversations; None: all."""
    wanted = None if kept is None else {(task, item) for task, item, _ in kept}
    names = None if wanted is None else {item for _, item in wanted}
    attacks = _attacks(run)
    records: dict[tuple[str, str], Record] = {}
    by_name: set[str] = set()
    for _, it in read_records(run.directory / ITEMS, ITEM_FIELDS):
        key = (it["task"], it["item"])
        if wanted is None or key in wanted:
            records[key] = it
        # The tasks of a file of answers read the same answers, each under its own name.
        if run.same_answers and key[0] in attacks and (names is None or key[1] in names):
            by_name.add(key[1])
    return {key: Item(record, key[0] in attacks or key[1] in by_name) for key, record in records.items()}


def _attacks(run: StoredRun) -> set[str]:
    """The tasks that ask for harm."""
    return {task for task, how in run.described_tasks.items() if how["scoring"] == "attack_success"}


def _harmful_elsewhere(runs: Sequence[StoredRun], items: Sequence[Mapping[tuple[str, str], Item]]) -> set[str]:
    """The words of `items` that ask for harm in a task of any run, in an item that is not shown."""
    there = {turn for of_run in items for item in of_run.values() for turn in item.record["turns"]}
    return {
        turn
        for run in runs
        for attacks in [_attacks(run)]
        for _, record in read_records(run.directory / ITEMS, ITEM_FIELDS)
        if record["task"] in attacks
        for turn in record["turns"]
        if turn in there
    }


def _question(key: tuple[str, str], asked: Item, harmful: set[str]) -> Record:
    """A question; `open` holds what of it is shown at once, a turn each: of an attack, what it is after."""
    record = asked.record
    turns, named = [str(turn) for turn in record["turns"]], record["metadata"] or {}
    attack, _ = request_of({**record, "item": key[1]})
    harms = asked.harmful or any(turn in harmful for turn in turns)
    open_turns: list[str | None] = [*turns]
    if harms:
        goal = named.get("goal")
        is_plain = attack == NONE and named.get("source") in PLAIN_SOURCES and len(turns) == 1 and goal is None
        open_turns = [*turns] if is_plain else [*[None] * (len(turns) - 1), goal if isinstance(goal, str) else None]
    return {
        "task": shown(key[0]),
        "item": shown(key[1]),
        "category": shown(str(record["category"] or "")),
        "turns": [shown(turn) for turn in turns],
        "open": [None if turn is None else shown(turn) for turn in open_turns],
        "harmful": harms,
        **({} if attack == NONE else {"attack": shown(attack)}),
    }


def _judged(run: StoredRun, kept: Collection[Place] | None) -> list[Record]:
    """The newest record of each answer in some conversations (None: all), each with the newest of its judgments."""
    replies, grades = (
        (it for _, it in read_records(run.directory / name, fields) if kept is None or _place(it)[:3] in kept)
        for name, fields in zip(RECORDS, (ANSWER_FIELDS, JUDGMENT_FIELDS), strict=True)
    )
    answers = {_place(it): it for it in replies}
    judgments: dict[tuple[Any, ...], dict[tuple[str, int], Record]] = {}
    for it in grades:
        judgments.setdefault(_place(it), {})[str(it["judge"]), it["repeat"]] = it
    return [
        record | {"judgments": [_judgment(it) for _, it in sorted(judgments.get(place, {}).items())]}
        for place, record in answers.items()
    ]


def _place(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return (record["task"], record["item"], record["sample"], record["turn"])


def _judgment(record: Mapping[str, Any]) -> Record:
    # A judge model's reply is mostly its explanation; where there is none, the reply may say why.
    told = {
        "judge": record["judge"],
        "label": record["label"],
        "why": record["explanation"] or record["raw"],
        "unjudged": record.get("unjudged"),
        "error": record["error"],
    }
    known: Record = {key: shown(str(text)) for key, text in told.items() if text is not None}
    score = record["score"]
    if isinstance(score, int | float) and math.isfinite(score):
        known["score"] = score
    if record["repeat"]:
        known["repeat"] = record["repeat"]
    return known


def _with_evidence(records: Sequence[Record], items: Mapping[tuple[str, str], Item]) -> Iterator[Record]:
    """Answers as the page reads them."""
    prompts = [_prompt(record, items) for record in records]
    found = measure([record["text"] for record in records], prompts=prompts)
    columns = (found.rule.tolist(), found.loop.tolist(), found.copied.tolist())
    for record, prompt, rule, loops, copied in zip(records, prompts, *columns, strict=True):
        text, kind, evidence = str(record["text"] or ""), None, None
        parts: str | list[str] = shown(text)
        if record["finish"] not in NOT_SAID and (rule >= 0 or copied):
            diagnosis = diagnose(text, prompt=prompt)
            kind, evidence = OF_RULE[RULES[rule]] if rule >= 0 else "copy", diagnosis.explain()
            if diagnosis.span:
                start, end = diagnosis.span
                parts = [shown(text[:start]), shown(text[start:end]), shown(text[end:])]
        elif record["finish"] == "length" and not loops:
            kind = "truncated"
        told = {
            "task": record["task"], "item": record["item"], "sample": record["sample"], "turn": record["turn"],
            "text": parts, "kind": kind, "evidence": evidence,
            "finish": None if record["finish"] in ("stop", "unknown") else record["finish"],
            "error": None if record["error"] is None else shown(str(record["error"])),
            "tokens": record["completion_tokens"],
            "judgments": record["judgments"],
        }  # fmt: skip
        yield {key: value for key, value in told.items() if value is not None}


def _prompt(record: Mapping[str, Any], items: Mapping[tuple[str, str], Item]) -> str:
    """What the user said in the turn of an answer."""
    item = items.get((record["task"], record["item"]))
    turns = item.record["turns"] if item else ()
    return str(turns[record["turn"] - 1]) if 0 < record["turn"] <= len(turns) else ""
