"""What a person's labels mean, so that a judge's can be laid beside them: outcomes, or ratings.

    --map 2_full_refusal=refused,1_full_compliance=complied
    --map true=harmful,false=not_harmful

A judge says one of five outcomes, a file says what its authors liked. `--map` gives each label of the file an outcome,
or `not_X` for every outcome but X; `complied` is another word for `not_refused`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from judges.judgment import Grade
from judges.outcome import OUTCOMES
from tasks.errors import BadInput, suggestion
from tasks.task import KINDS

COMPLIED = "complied"
WORDS = (*OUTCOMES, COMPLIED, *(f"not_{outcome}" for outcome in OUTCOMES))
LISTED = 6
"""Labels of a file that an error names, the commonest first."""


def outcomes_of(word: str) -> frozenset[str]:
    """The outcomes that a word of WORDS stands for."""
    if word == COMPLIED:
        word = "not_refused"
    return frozenset(OUTCOMES) - {word.removeprefix("not_")} if word.startswith("not_") else frozenset({word})


@dataclass(frozen=True)
class LabelMap:
    """Words (see WORDS) by label of the file. No outcome belongs to two of the words."""

    words: Mapping[str, str]

    def human(self, label: str) -> str | None:
        """The word for a label of the file; None for one that is to be left out."""
        return self.words.get(label)

    def judged(self, grade: Grade) -> str | None:
        """The word for a judge's outcome: that of the map which it belongs to, or else the outcome itself."""
        if grade.label is None:
            return None
        return next((word for word in self.words.values() if grade.label in outcomes_of(word)), grade.label)

    def left_out(self, label: str) -> str:
        """Why an answer with this label does not count."""
        return f"label {short(label)} is not in --map"


@dataclass(frozen=True)
class Ratings:
    """Labels that are numbers, on the judge's own scale."""

    def human(self, label: str) -> float | None:
        return number_in(label)

    def judged(self, grade: Grade) -> float | None:
        return grade.score

    def left_out(self, label: str) -> str:
        return f"label {short(label)} is no number"


def read_map(text: str | None, found: Counter[str], source: object) -> LabelMap:
    """What the labels `found` in a file mean: by the text of `--map`, or by themselves if they are all words of ours.

    Raises:
        BadInput: a map that can not be read, has two words for one outcome, or names a label that does not occur while
            others are left over; or no map, and labels that need one.
    """
    if text is None:
        strangers = [label for label in found if label not in WORDS]
        if strangers:
            raise BadInput(f"{source}: say what its labels mean ({listed(found)}), {_how(found)}")
        words = {label: label for label in found}
    else:
        words = dict(pairs(text, "--map", "2_full_refusal=refused,1_full_compliance=complied"))
    for label, word in words.items():
        if word not in WORDS:
            raise BadInput(f"--map {label}={word}: {word!r} is no outcome; {suggestion(word, WORDS, 'words')}")
    # One map serves several files, of which some lack a label; with labels left over besides, it is a misspelt one.
    absent, over = [label for label in words if label not in found], found.keys() - words.keys()
    if absent and (over or len(absent) == len(words)):
        raise BadInput(f"--map names the label {short(absent[0])}, which {source} has not; its labels: {listed(found)}")
    for one, other in combinations(sorted(set(words.values())), 2):
        if both := sorted(outcomes_of(one) & outcomes_of(other)):
            raise BadInput(
                f"{'--map' if text else source}: {one} and {other} both hold for an answer that is {both[0]}: "
                f"use {one} with {_opposite(one)} only"
            )
    return LabelMap(words)


def _opposite(word: str) -> str:
    if word == COMPLIED:
        return "refused"
    return word.removeprefix("not_") if word.startswith("not_") else f"not_{word}"


def _how(found: Counter[str]) -> str:
    """An example of --map made of the file's own labels, as they are likely to be meant."""
    labels = sorted(found, key=lambda label: (-found[label], label))[:3]
    if any("refus" in label.lower() for label in labels):
        example = ",".join(f"{label}={'refused' if 'refus' in label.lower() else COMPLIED}" for label in labels)
    else:
        labels.sort(key=lambda label: label.lower() not in ("true", "1", "yes"))
        example = ",".join(f"{label}={'not_' * bool(place)}harmful" for place, label in enumerate(labels))
    ratings = next(kind.name for kind in KINDS.values() if kind.scoring == "ratings")
    hint = f"; or --task {ratings} if they are ratings" if all(number_in(label) is not None for label in found) else ""
    return (
        f"for example {f'--map {example}'[:160]!r} ({', '.join(OUTCOMES)}, {COMPLIED}, or not_ before an outcome){hint}"
    )


def pairs(text: str, flag: str, example: str) -> list[tuple[str, str]]:
    """`a=b,c=d` as pairs; a label may hold an equals sign, what it is made into may not.

    Raises:
        BadInput: not such a text, or a name given twice.
    """
    parts = [part.rpartition("=") for part in text.split(",")]
    named = [(name.strip(), value.strip()) for name, _, value in parts]
    if not all(name and value for name, value in named):
        raise BadInput(f"{flag} takes pairs such as {example}, not {text!r}")
    if twice := [name for name, times in Counter(name for name, _ in named).items() if times > 1]:
        raise BadInput(f"{flag} gives {twice[0]!r} twice")
    return named


def listed(found: Counter[str]) -> str:
    """The commonest labels of a file with their numbers."""
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f", and {len(found) - LISTED} others" if len(found) > LISTED else ""
    return ", ".join(f"{short(label)} × {times}" for label, times in ordered[:LISTED]) + more


def short(label: str) -> str:
    """A label of a file as it may stand in a message."""
    return repr(label if len(label) <= 40 else f"{label[:39]}…")


def number_in(text: str) -> float | None:
    """The finite number that a text is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
