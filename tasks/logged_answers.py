"""Answers found in a log of another harness, on their way into a file that `answers:FILE` reads.

Rows of the file, where every question has one turn and one answer, and where any has more:

    {"id": "malware-01", "category": "malware", "prompt": "Write…", "response": "I can't…", "label": "unsafe"}
    {"id": "7", "category": "rivers", "turns": ["Name a river.", "Another?"], "replies": [["The Po.", "The Elbe."]]}

A log is untrusted: it is read up to fixed sizes and nothing of it is executed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import BadInput

LARGEST_SAMPLE = 64 * 2**20
"""Bytes of one sample. Those of agents with all their events may have some ten million."""
LARGEST_LOG = 16 * 2**30
"""Bytes of a whole log, unpacked."""
LARGEST_TEXT = 2**30
"""Characters of all prompts and answers, which are in memory until they are written."""
FROM_LOG = ("prompt", "label", "id", "category")
"""What `--columns` can name in a log: keys of a sample's document or metadata."""


class NotUsed(Exception):
    """A sample holds no answer to import; the words say why and are counted."""


@dataclass(frozen=True)
class LoggedSample:
    """One conversation of a log: the user's messages and what the model said to each, None where it said nothing."""

    id: str
    turns: tuple[str, ...]
    replies: tuple[str | None, ...]
    category: str | None = None
    label: str | None = None


@dataclass
class LoggedAnswers:
    """What a log held. `left_out` counts samples that are no answer to import, by reason; `changed` those that are in
    the rows without something that the log had, by what is missing.

    `source` says in words whose answers to what these are, as the log names them: untrusted text.
    """

    path: Path
    kind: str
    source: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    _items: dict[tuple[str, tuple[str, ...]], list[LoggedSample]] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _letters: int = 0

    def add(self, sample: LoggedSample) -> None:
        """Keep a sample; another one with the same id and turns is a further answer to the same question.

        Raises:
            BadInput: there is more text than can be held.
        """
        self._letters += sum(map(len, (*sample.turns, *filter(None, sample.replies))))
        if self._letters > LARGEST_TEXT:
            raise BadInput(f"{self.path} holds more than {LARGEST_TEXT:,} characters of text: import it in parts")
        self._items.setdefault((sample.id, sample.turns), []).append(sample)

    @property
    def items(self) -> int:
        """Questions."""
        return len(self._items)

    @property
    def samples(self) -> int:
        """Answered conversations."""
        return sum(map(len, self._items.values()))

    @property
    def replies(self) -> int:
        """Turns of all samples, which want a reply each."""
        return sum(len(turns) * len(of_item) for (_, turns), of_item in self._items.items())

    @property
    def unanswered(self) -> int:
        """Turns without a reply, which are written as null."""
        return sum(sample.replies.count(None) for of_item in self._items.values() for sample in of_item)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of an answers file, all of one layout."""
        plain = all(len(turns) == len(of_item) == 1 for (_, turns), of_item in self._items.items())
        taken: set[str] = {name for name, _ in self._items}
        used: set[str] = set()
        for (name, turns), of_item in self._items.items():
            if name in used:
                number = 2
                while f"{name}-{number}" in taken:
                    number += 1
                name = f"{name}-{number}"
                taken.add(name)
            used.add(name)
            first = of_item[0]
            row: dict[str, Any] = {"id": name}
            row |= {"category": first.category} if first.category is not None else {}
            if plain:
                row |= {"prompt": turns[0], "response": first.replies[0]}
            else:
                row |= {"turns": list(turns), "replies": [list(sample.replies) for sample in of_item]}
            yield row | ({"label": first.label} if first.label is not None else {})

    def notes(self) -> list[str]:
        """What a reader of the rows must know, a sentence each."""
        notes = [f"left out: {_counted(number, 'sample')}, {reason}" for reason, number in self.left_out.items()]
        notes += [f"{_counted(number, 'sample')}: {what}" for what, number in self.changed.items()]
        if self.unanswered:
            notes.append(f"no reply in the log: {_counted(self.unanswered, 'turn')}, written as null")
        if shared := self.items - len({name for name, _ in self._items}):
            notes.append(f"named ID-2, ID-3, …: {_counted(shared, 'question')}, whose id another one has, too")
        return notes + self.remarks


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def parsed(text: str | bytes, place: str) -> Any:
    """One JSON value; `place` names it in errors.

    Raises:
        BadInput: not JSON.
    """
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        raise BadInput(f"{place}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{place}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "a number with too many digits"
        raise BadInput(f"{place}: not valid JSON ({reason})") from None


def named(of_sample: Mapping[str, Any], columns: Mapping[str, str], role: str) -> str | None:
    """The id, category or label of a sample, as text; by the key that `columns` gives to the role, else by its name.

    Raises:
        NotUsed: the key was chosen, and there is nothing of that kind under it.
    """
    value = of_sample.get(columns.get(role, role))
    if isinstance(value, bool | float) and role != "id":
        value = json.dumps(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if role in columns:
        raise NotUsed(f"there is no {role} under {columns[role]!r}")
    return None


def prompt_under(of_sample: Mapping[str, Any], key: str) -> str:
    """The prompt that stands under a key of a sample's document or metadata.

    Raises:
        NotUsed: there is no text.
    """
    if not isinstance(prompt := of_sample.get(key), str):
        raise NotUsed(f"there is no prompt under {key!r}")
    return prompt


def check_columns(columns: Mapping[str, str]) -> None:
    """Raises BadInput where `--columns` names what can not be chosen in a log."""
    if unknown := sorted(set(columns) - set(FROM_LOG)):
        raise BadInput(f"--columns names {', '.join(FROM_LOG)} of a log; there is no {unknown[0]!r}")
