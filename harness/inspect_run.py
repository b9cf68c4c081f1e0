"""`bench inspect RUN`: the worst answers of each kind, with the evidence, and what answers to different prompts share.

The records are streamed: of an answer only its place in the file and a few hashes are kept until it is known which ones
are shown. What is worst: the most words within the loop, the largest share of repeated 4-grams, the longest answer.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.frames import Prompts, prompt_of, request_of
from harness.models.replay import ANSWERS_BACKEND
from harness.records import read_record, read_records
from harness.store import ANSWER_FIELDS, ITEM_FIELDS, ITEMS, JUDGMENT_FIELDS, RECORDS, run_manifest
from judges.judgment import Judgment
from tasks.collapse import Diagnosis, diagnose
from tasks.collapse.diagnosis import COPY, READABLE
from tasks.collapse.measures import CLOSER, OPENER, RULES, WORTH_COMPILING, measure
from tasks.collapse.thresholds import VERDICTS
from tasks.collapse.words import WORD, head
from tasks.conversation import AnswerKey
from tasks.errors import BadInput, suggestion
from tasks.task import CAPABILITY

BOILERPLATE, REFUSED, UNJUDGED = "boilerplate", "refused", "unjudged"
KINDS: Mapping[str, str] = {
    "loop": "repeat themselves to their end",
    "rep": "repeat themselves, with changes",
    "empty": "say nothing",
    "unreadable": "hold no letter and no digit, or hardly any",
    "copy": "are their prompt over again",
    "truncated": "ran into the token limit and were not looping",
    BOILERPLATE: "are begun, ended or worded as answers to other prompts",
    REFUSED: "were found to be refusals",
    UNJUDGED: "were given no verdict by a judge",
}
OF_RULE = {
    "loop": "loop", "rep-4": "rep", "compression": "rep", "empty": "empty", "nothing readable": "unreadable",
    "noise": "unreadable", "prompt copy": "copy",
}  # fmt: skip
BATCH_CHARACTERS = 1 << 24
"""Texts are measured together up to so many characters, whatever their number."""
FEWEST_PROMPTS = 3
"""Prompts that must share an opening, an ending or a whole answer before it is listed."""


@dataclass(frozen=True)
class Found:
    """One answer and why it is shown. `text` is None where it is withheld; `span` are its characters that show why.

    `onset` is the part of the text that comes before the span.
    """

    kind: str
    task: str
    item: str
    sample: int
    turn: int
    evidence: str
    characters: int
    span: tuple[int, int] | None
    onset: float | None
    prompt: str
    text: str | None
    verdicts: Mapping[str, str]


@dataclass(frozen=True)
class Shared:
    """A text that answers to `prompts` different prompts, out of `of`, have in common: an opener, a closer, or all."""

    what: str
    prompts: int
    of: int
    text: str | None
    task: str
    item: str


@dataclass(frozen=True)
class Inspection:
    """What was found: for each kind how many answers are of it (`counts`), the worst of them, and what prompts share.

    `asked` are the kinds that were looked for. `withheld` counts the answers whose texts are not shown because they
    answer harmful requests.
    """

    directory: Path
    asked: Sequence[str]
    answers: int
    counts: Mapping[str, int]
    found: Sequence[Found]
    shared: Sequence[Shared]
    withheld: int

    def as_json(self) -> dict[str, Any]:
        return {
            "run": str(self.directory),
            "answers": self.answers,
            "counts": dict(self.counts),
            "found": [vars(one) for one in self.found],
            "shared": [vars(one) for one in self.shared],
            "withheld": self.withheld,
        }


@dataclass
class Worst:
    """Where the `top` worst answers lie: a short sorted list of (-severity, key, place in the file)."""

    top: int
    kept: list[tuple[float, AnswerKey, int]] = field(default_factory=list)

    def has_room_for(self, severity: float) -> bool:
        return len(self.kept) < self.top or -severity <= self.kept[-1][0]

    def add(self, severity: float, key: AnswerKey, offset: int) -> None:
        insort(self.kept, (-severity, key, offset))
        del self.kept[self.top :]


@dataclass
class Common:
    """Which hash how many prompts have in common, and the answer of the least key that has it."""

    first: dict[int, tuple[AnswerKey, int]] = field(default_factory=dict)
    prompts: Counter[int] = field(default_factory=Counter)
    of: int = 0
    _seen: set[int] = field(default_factory=set)
    _asked: set[int] = field(default_factory=set)

    def add(self, value: int, prompt: int, key: AnswerKey, offset: int) -> None:
        """Count a hash once for each prompt (by its hash); 0 stands for a text that is too short."""
        if not value:
            return
        if prompt not in self._asked:
            self._asked.add(prompt)
            self.of += 1
        if (pair := hash((value, prompt))) not in self._seen:
            self._seen.add(pair)
            self.prompts[value] += 1
        # Not the first to be finished, which another run of the same would not repeat.
        self.first[value] = min(self.first.get(value, (key, offset)), (key, offset))

    def commonest(self, top: int) -> Iterator[tuple[int, AnswerKey, int]]:
        """(prompts, key of the first answer, its place) of the values that most prompts share."""
        shared = [(-count, self.first[value]) for value, count in self.prompts.items() if count >= FEWEST_PROMPTS]
        for count, (key, offset) in sorted(shared)[:top]:
            yield -count, key, offset


def inspect_run(
    directory: Path,
    kinds: Sequence[str] = (),
    top: int = 3,
    task: str | None = None,
    *,
    show_harmful: bool = False,
) -> Inspection:
    """Find the `top` worst answers of each kind (all kinds by default), of one task or of all.

    All are those that collapse measures: answers to lm-eval's tasks, most of which are choices, only if it is named.
    Texts of answers to harmful requests are withheld unless `show_harmful`; the few words in which answers to several
    prompts begin or end are not.

    Raises:
        BadInput: no run directory or a damaged one, an unknown kind or task.
    """
    manifest = run_manifest(directory)
    for kind in kinds:
        if kind not in KINDS:
            raise BadInput(f"--kind {kind}: {suggestion(kind, KINDS, 'kinds')}")
    if top < 1:
        raise BadInput(f"--top takes a whole number from 1, not {top}")
    items = _Items(directory, manifest)
    if task is not None and task not in items.tasks:
        raise BadInput(f"--task {task}: {suggestion(task, items.tasks, 'tasks of this run')}")
    verdicts = _verdicts(directory / RECORDS[1])
    search = _Search(items, verdicts, tuple(kinds) or tuple(KINDS), top)
    answers = sum(search.look_at(batch) for batch in _batches(directory / RECORDS[0], items, task))
    return search.result(directory, answers, show_harmful)


class _Items:
    """The items of a run by task and id: what each asks for, in which words, and whether that is harmful."""

    def __init__(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        self._requests: dict[tuple[str, str], str] = {}
        self._prompts: Prompts = {}
        scoring = {name: how["scoring"] for name, how in manifest["identity"]["tasks"].items()}
        harmful: set[str] = set()
        for _, record in read_records(directory / ITEMS, ITEM_FIELDS):
            task = sys.intern(record["task"])
            self._requests[task, record["item"]] = request_of(record)[1]
            self._prompts[task, record["item"]] = record["turns"]
            if scoring.get(task) == "attack_success":
                harmful.add(record["item"])
        self.tasks = list(dict.fromkeys(task for task, _ in self._requests))
        # The tasks of a file of answers read the same answers, each under its own name.
        self.one_source = manifest["identity"]["model"]["backend"] == ANSWERS_BACKEND and len(self.tasks) > 1
        self._harmful_tasks = {task for task in self.tasks if scoring.get(task) == "attack_success"}
        self._harmful_items = harmful if self.one_source else set()

    def request(self, key: AnswerKey) -> str:
        return self._requests.get(key[:2], key[1])

    def is_harmful(self, key: AnswerKey) -> bool:
        return key[0] in self._harmful_tasks or key[1] in self._harmful_items

    def prompt(self, key: AnswerKey) -> str:
        """What the user said in the turn that the answer belongs to."""
        task, item, _, turn = key
        return prompt_of(self._prompts, task, item, turn)


def _verdicts(path: Path) -> dict[AnswerKey, dict[tuple[str, int], str]]:
    """What each judge said of each answer, in a word or a few, by judge and repeat. The newest record counts."""
    found: dict[AnswerKey, dict[tuple[str, int], str]] = {}
    for _, record in read_records(path, JUDGMENT_FIELDS):
        task, item, sample, turn, judge, repeat = Judgment(**record).key
        if record["label"] is not None:
            word = str(record["label"])
        elif record["score"] is not None:
            word = f"{record['score']:g}"
        else:
            word = f"{UNJUDGED}: {record['unjudged'] or record['error']}"
        key = (sys.intern(task), item, sample, turn)
        found.setdefault(key, {})[sys.intern(judge), repeat] = sys.intern(word)
    return found


@dataclass(frozen=True)
class _Said:
    """An answer on its way through: its key, its place in the file, and its text."""

    key: AnswerKey
    offset: int
    text: str
    finish: str


def _batches(path: Path, items: _Items, task: str | None) -> Iterator[list[_Said]]:
    """The answers that say something, or could have, some thousands at a time."""

    def said() -> Iterator[_Said]:
        seen: set[tuple[str, int, int]] = set()
        for offset, record in read_records(path, ANSWER_FIELDS):
            if record["finish"] in ("error", "missing") or task not in (None, record["task"]):
                continue
            if task is None and record["task"].startswith(CAPABILITY):
                continue
            key = (sys.intern(record["task"]), record["item"], record["sample"], record["turn"])
            if items.one_source and task is None:
                if key[1:] in seen:
                    continue
                seen.add(key[1:])
            yield _Said(key, offset, record["text"] or "", record["finish"])

    batch: list[_Said] = []
    held = 0
    for answer in said():
        batch.append(answer)
        held += len(answer.text)
        if len(batch) == WORTH_COMPILING or held > BATCH_CHARACTERS:
            yield batch
            batch, held = [], 0
    yield batch


class _Search:
    """The worst of each kind so far."""

    def __init__(
        self, items: _Items, verdicts: Mapping[AnswerKey, Mapping[tuple[str, int], str]], kinds: Sequence[str], top: int
    ) -> None:
        self._items, self._verdicts, self._top = items, verdicts, top
        self._kinds = kinds
        self._worst = {kind: Worst(top) for kind in KINDS if kind in kinds and kind != BOILERPLATE}
        self._common = {what: Common() for what in ("whole answer", "opener", "closer") if BOILERPLATE in kinds}
        self.counts = dict.fromkeys(self._worst, 0)

    def look_at(self, answers: Sequence[_Said]) -> int:
        """Measure a batch of answers and keep what is among the worst; returns their number."""
        prompts = [self._items.prompt(said.key) for said in answers]
        measured = measure([said.text for said in answers], prompts=prompts)
        columns = (
            measured.rule, measured.words, measured.rep[:, 3], measured.loop, measured.empty, measured.copied,
        )  # fmt: skip
        hashes = (measured.whole, measured.opener, measured.closer)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        shared = zip(*(column.tolist() for column in hashes), strict=True)
        for said, (rule, length, rep_4, loops, is_empty, copied), edges in zip(answers, rows, shared, strict=True):
            verdicts = self._verdicts.get(said.key, {}).values()
            refused = REFUSED in verdicts
            kind = OF_RULE[RULES[rule]] if rule >= 0 else None
            if kind and kind != "copy":
                self._keep(kind, float(length) if kind in ("loop", "unreadable") else rep_4, said)
            if copied:
                self._keep("copy", float(length), said)
            if said.finish == "length" and not loops:
                self._keep("truncated", float(length), said)
            if refused:
                # To refuse what is safe is worse than to refuse what is not.
                self._keep(REFUSED, 0.0 if self._items.is_harmful(said.key) else 1.0, said)
            if any(word.startswith(UNJUDGED) for word in verdicts):
                self._keep(UNJUDGED, 0.0, said)
            # As in the scores of collapse: refusals may be alike, and so may short answers.
            if not refused and not is_empty:
                prompt = hash((said.key[0], self._items.request(said.key)))
                for common, value in zip(self._common.values(), edges, strict=False):
                    if length >= VERDICTS.shared_words or common is self._common["whole answer"]:
                        common.add(value, prompt, said.key, said.offset)
        return len(answers)

    def _keep(self, kind: str, severity: float, said: _Said) -> None:
        if not (worst := self._worst.get(kind)):
            return
        self.counts[kind] += 1
        # No loop has more words than its answer: most need no closer look.
        if kind == "loop" and worst.has_room_for(severity):
            loop = diagnose(said.text).loop
            severity -= loop.start if loop else 0
        if worst.has_room_for(severity):
            worst.add(severity, said.key, said.offset)

    def result(self, directory: Path, answers: int, show_harmful: bool) -> Inspection:
        """Read again what was kept, and say what is wrong with it."""
        path = directory / RECORDS[0]
        found = [
            self._found(kind, key, read_record(path, offset), show_harmful)
            for kind, worst in self._worst.items()
            for _, key, offset in worst.kept
        ]
        shared = []
        for what, common in self._common.items():
            for prompts, key, offset in common.commonest(self._top):
                text = _part(what, read_record(path, offset)["text"])
                hidden = what == "whole answer" and self._items.is_harmful(key) and not show_harmful
                shared.append(Shared(what, prompts, common.of, None if hidden else text, *key[:2]))
        withheld = len({(one.task, one.item, one.sample, one.turn) for one in found if one.text is None})
        return Inspection(directory, self._kinds, answers, self.counts, found, shared, withheld)

    def _found(self, kind: str, key: AnswerKey, record: Mapping[str, Any], show_harmful: bool) -> Found:
        text = record["text"] or ""
        diagnosis = diagnose(text, prompt=self._items.prompt(key))
        # A short copy shows no less than a long one, though it does not count as degenerate.
        span = (0, len(text.rstrip())) if kind == "copy" else diagnosis.span if kind in OF_RULE.values() else None
        verdicts: dict[str, str] = {}
        for (judge, _), word in sorted(self._verdicts.get(key, {}).items()):
            verdicts[judge] = f"{verdicts[judge]}, {word}" if judge in verdicts else word
        hidden = self._items.is_harmful(key) and not show_harmful and bool(text.strip())
        return Found(
            kind, *key,
            evidence=_evidence(kind, diagnosis, record),
            characters=len(text),
            span=span,
            onset=span[0] / len(text) if span and text else None,
            prompt=self._items.prompt(key),
            text=None if hidden else text,
            verdicts=verdicts,
        )  # fmt: skip


def _evidence(kind: str, diagnosis: Diagnosis, record: Mapping[str, Any]) -> str:
    if kind == "copy":
        return f"{diagnosis.words} words, {COPY}"
    if kind in OF_RULE.values():
        return diagnosis.explain()
    readable = "" if diagnosis.explain() == READABLE else f"; {diagnosis.explain()}"
    if kind == "truncated":
        tokens = record["completion_tokens"]
        return f"cut at {tokens} tokens{readable}" if tokens else f"cut at the token limit{readable}"
    return f"{diagnosis.words} words{readable}"


def _part(what: str, text: str) -> str:
    """The opener or closer of a text as it was written."""
    if what == "opener":
        return head(text, OPENER) or text
    if what == "closer":
        return text[[found.start() for found in WORD.finditer(text)][-CLOSER:][0] :].strip()
    return text
