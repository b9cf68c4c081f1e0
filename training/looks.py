"""A look of the collapse monitor: what the model in training answered, measured, and the file of all looks.

    {"step": 20, "seconds": 3.1, "state": "ok", "rates": {"degenerate": {"value": 0.06, "low": 0.01, "high": 0.28}, …},
     "tokens": 81.5, "entropy": 1.32, "closer": {"text": "have a great day", "share": 0.12}, …, "worst": […]}

monitor.jsonl holds one line a look. A resumed training continues it from its step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.intervals import wilson
from harness.records import RecordFile, write_atomically
from tasks.collapse import commonest_end, commonest_start, diagnose, plain_words, words
from tasks.collapse.thresholds import VERDICTS
from tasks.errors import BadInput
from training.alarm import Alarm, State
from training.probes import HARMFUL, Probe, Spoken

if TYPE_CHECKING:
    from tasks.collapse import Diagnosis

CLOSER_WORDS, OPENER_WORDS = 6, 5
WORST = 3
WORST_CHARACTERS = 2000
LOGGED = ("loss", "logps/chosen", "logps/rejected", "rewards/margins", "rewards/accuracies")
"""What is taken over from the trainer's logs, where it is there."""
TEXTS = ("worst", "answers")
"""What of a look is not for a lineage: texts, and what only a resumed training needs."""


@dataclass(frozen=True)
class Rate:
    """A share of the watched prompts with its 95 % Wilson interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """What is kept of the answer to one probe. `closer`: its last six words in lower case, or all of fewer."""

    id: str
    category: str
    tokens: int
    ended: bool
    degenerate: bool
    looping: bool
    closer: str

    @property
    def unended(self) -> bool:
        """It hit the length limit, and not for a loop."""
        return not self.ended and not self.looping

    def ends_with(self, closer: str) -> bool:
        """Answers to harmful prompts may rightly be alike: theirs do not count."""
        return bool(closer) and self.category != HARMFUL and self.closer == closer


@dataclass(frozen=True, kw_only=True)
class Look:
    """One line of monitor.jsonl.

    `rates`: degenerate, loop, eos (ended by a stop id), no_eos (cut without a loop), near_duplicates. `tokens` and
    `entropy` (nats) are means. `closer` and `opener` are the commonest of the watched probes that ask no harm, with
    their share; `refusal_closer` is that of the harmful ones, which rings no alarm. `logged` are the trainer's latest
    figures with the "step" that they are of. `confirmation` is what the second set of prompts said, if it was asked.
    `answers` are those of all prompts that were asked, the watched first. `skipped`: planned looks before this one that
    were left out, lest they cost too much of the time. `kept`: the weights of this step were put aside. `made_with`
    tells which looks can be compared.
    """

    step: int
    epoch: float | None
    seconds: float
    probes: int
    rates: Mapping[str, Rate]
    tokens: float
    entropy: float | None
    closer: Mapping[str, Any]
    refusal_closer: Mapping[str, Any]
    opener: Mapping[str, Any]
    logged: Mapping[str, float]
    state: State
    reasons: tuple[str, ...]
    confirmations: int
    proven: tuple[str, ...]
    suspects: tuple[str, ...]
    confirmation: Mapping[str, Any] | None
    skipped: int
    kept: bool
    stopped: bool
    made_with: str
    worst: tuple[Mapping[str, Any], ...]
    answers: tuple[Answer, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_lineage(self) -> dict[str, Any]:
        """Without texts: what a checkpoint carries of it."""
        return {key: value for key, value in asdict(self).items() if key not in TEXTS}

    def told(self) -> str:
        """The look in a line, for a progress display."""
        parts = [
            f"{_percent(self.rates['degenerate'])} degenerate", f"{_percent(self.rates['eos'])} ended",
            f"{self.tokens:.0f} tokens",
        ]  # fmt: skip
        parts += [f"entropy {self.entropy:.2f}"] if self.entropy is not None else []
        parts += [f"closer {100 * self.closer['share']:.0f} %"]
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"monitor, step {self.step}: {', '.join(parts)}: {self.state}{why}"


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.0f} %"


def read_answers(probes: Sequence[Probe], said: Sequence[Spoken]) -> list[tuple[Answer, Diagnosis]]:
    """What each answer is like."""
    found = []
    for probe, it in zip(probes, said, strict=True):
        diagnosis = diagnose(it.text, prompt=probe.prompt)
        looping = diagnosis.degenerate and diagnosis.rule != "empty"
        closer = " ".join(plain_words(words(it.text))[-CLOSER_WORDS:])
        answer = Answer(probe.id, probe.category, it.tokens, it.ended, diagnosis.degenerate, looping, closer)
        found.append((answer, diagnosis))
    return found


def commonest_closer(answers: Sequence[Answer], to_harmful: bool = False) -> tuple[str, float]:
    """The closer that most answers to harmless (or to harmful) prompts have, and its share; ("", 0.0) of none."""
    closers = [it.closer for it in answers if (it.category == HARMFUL) == to_harmful and it.closer]
    edge, share = commonest_end([[closer] for closer in closers], 1)
    return ("", 0.0) if edge is None else (str(edge[0]), share)


def measured(
    probes: Sequence[Probe],
    said: Sequence[Spoken],
    read: Sequence[tuple[Answer, Diagnosis]],
    watched: int,
    **rest: Any,
) -> Look:
    """A look from its answers, of which the first `watched` make the figures; `rest` are the fields not measured."""
    from tasks.collapse import near_duplicates, sketch

    answers = [answer for answer, _ in read]
    first, heard = answers[:watched], said[:watched]
    texts = [words(it.text) for it in heard]
    harmless = [text for text, answer in zip(texts, first, strict=True) if answer.category != HARMFUL]
    opener, opener_share = commonest_start([plain_words(text) for text in harmless], OPENER_WORDS)
    closer, closer_share = commonest_closer(first)
    entropies = [it.entropy for it in heard if it.entropy is not None]
    import numpy as np

    near = near_duplicates(np.stack([sketch(plain_words(text)) for text in texts]), jaccard=VERDICTS.near)
    return Look(
        probes=watched,
        rates={
            "degenerate": rate(it.degenerate for it in first),
            "loop": rate(diagnosis.rule == "loop" for _, diagnosis in read[:watched]),
            "eos": rate(it.ended for it in first),
            "no_eos": rate(it.unended for it in first),
            "near_duplicates": rate(bool(it) for it in near),
        },
        tokens=sum(it.tokens for it in first) / watched,
        entropy=sum(entropies) / len(entropies) if entropies else None,
        closer={"text": closer, "share": closer_share},
        refusal_closer=dict(zip(("text", "share"), commonest_closer(first, to_harmful=True), strict=True)),
        opener={"text": " ".join(map(str, opener or ())), "share": opener_share},
        worst=_worst(probes, said, read),
        answers=tuple(answers),
        **rest,
    )


def with_alarm(look: Look, alarm: Alarm, **rest: Any) -> Look:
    """The same look with what it came to."""
    return replace(
        look, state=alarm.state, reasons=alarm.reasons, confirmations=alarm.confirmations, proven=alarm.proven,
        suspects=alarm.suspects, **rest,
    )  # fmt: skip


def alarm_of(look: Look) -> Alarm:
    """The state from which a resumed training goes on."""
    return Alarm(look.state, look.reasons, look.confirmations, look.proven, look.suspects)  # type: ignore[arg-type]


def rate(flags: Iterable[bool]) -> Rate:
    """The share of true ones among at least one."""
    values = list(flags)
    share = sum(values) / len(values)
    return Rate(share, *wilson(share, len(values)))


def _worst(
    probes: Sequence[Probe], said: Sequence[Spoken], read: Sequence[tuple[Answer, Diagnosis]]
) -> tuple[dict[str, Any], ...]:
    """The texts that a person should see: degenerate ones first, then those that repeat themselves most."""
    order = sorted(range(len(read)), key=lambda i: (not read[i][1].degenerate, -read[i][1].rep_4, i))[:WORST]
    texts = [(probes[i], said[i].text[:WORST_CHARACTERS], read[i][1].explain()) for i in order]
    return tuple({"id": probe.id, "prompt": probe.prompt, "text": text, "why": why} for probe, text, why in texts)


def latest_logged(history: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The trainer's latest figures, of the latest step that has any; those that are no finite numbers are left out."""
    for entry in reversed(list(history)):
        if found := {key: float(entry[key]) for key in LOGGED if _is_number(entry.get(key))}:
            return {"step": float(entry.get("step", 0)), **found}
    return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


# --- the file ---


def read_monitor(file: Path) -> list[Look]:
    """The looks of a training in order of their steps; none where there is no file. A torn last line is passed over.

    Raises:
        BadInput: a line is no look; file and line are named.
    """
    if not file.exists():
        return []
    looks = []
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            looks.append(_look(json.loads(line)))
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            raise BadInput(f"{file}:{number}: not a look of the monitor: remove the line") from None
    return looks


def _look(value: Any) -> Look:
    if value.keys() != {it.name for it in fields(Look)}:
        raise ValueError("other fields")
    value["rates"] = {name: Rate(**it) for name, it in value["rates"].items()}
    value["answers"] = tuple(Answer(**it) for it in value["answers"])
    for name in ("reasons", "proven", "suspects", "worst"):
        value[name] = tuple(value[name])
    return Look(**value)


def truncate_monitor(file: Path, looks: Sequence[Look]) -> None:
    """Leave only these looks in the file, whole."""
    write_atomically(file, [_line(look) for look in looks])


def append_look(file: Path, look: Look) -> None:
    """Add a line, synced to the disk; a torn one that a killed process left is cut off first."""
    record = RecordFile(file)
    try:
        record.append(_line(look))
    finally:
        record.close()


def _line(look: Look) -> bytes:
    return (json.dumps(look.as_json(), allow_nan=False, ensure_ascii=True) + "\n").encode()
