"""Every measure of many answers at once, a column a measure: the plain functions, or one compiled pass in their place.

>>> found = measure(texts)
>>> found.degenerate.mean(), found.rep[:, 3].mean(), exact_duplicates(found.whole.tolist()).mean()

Where numba is installed (`pip install bench[fast]`) and the texts are many or long, tasks/collapse/compiled.py fills
the same columns twenty times as fast; tests hold the two equal. Neither keeps a text: a row is some 240 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tasks.collapse.diagnosis import Reading, Rule, diagnose
from tasks.collapse.duplicates import BINS, Hashes, Sketches, gram_hashes, sketch, word_hash
from tasks.collapse.repetition import normalised_entropy
from tasks.collapse.thresholds import DEFAULTS, Thresholds

RULES: tuple[Rule, ...] = get_args(Rule)
OPENER, CLOSER = 5, 6
WORTH_COMPILING = 4_000
"""Texts from which loading the compiled pass (a second, once compiled) costs less than it saves…"""
WORTH_LETTERS = 1 << 22
"""…or characters, where few texts are long: a megabyte takes the plain functions seconds."""

Way = Literal["auto", "plain", "compiled"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """A row a text. `rule` indexes RULES, -1 where no rule fired; `opener` and `closer` are 0 where none is so long.

    `prompt_copy` and `copied` (the prompt over again, at any length) are 0.0 and False where no prompt was given.
    """

    words: NDArray[np.int64]
    rep: Floats
    loop: NDArray[np.bool_]
    compression_ratio: Floats
    entropy: Floats
    non_lexical: Floats
    prompt_copy: Floats
    copied: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    rule: NDArray[np.int8]
    whole: Hashes
    """Hash of all words: equal for texts of the same words."""
    opener: Hashes
    """Hash of the first five words, of the last six: "The answer is 42." is not "The answer is 7."."""
    closer: Hashes
    sketch: Sketches

    @property
    def degenerate(self) -> NDArray[np.bool_]:
        return self.rule >= 0

    @classmethod
    def of(cls, count: int) -> Measures:
        """Room for `count` texts."""
        return cls(
            words=np.zeros(count, dtype=np.int64),
            rep=np.zeros((count, 4)),
            loop=np.zeros(count, dtype=np.bool_),
            compression_ratio=np.zeros(count),
            entropy=np.zeros(count),
            non_lexical=np.zeros(count),
            prompt_copy=np.zeros(count),
            copied=np.zeros(count, dtype=np.bool_),
            empty=np.zeros(count, dtype=np.bool_),
            rule=np.full(count, -1, dtype=np.int8),
            whole=np.zeros(count, dtype=np.uint64),
            opener=np.zeros(count, dtype=np.uint64),
            closer=np.zeros(count, dtype=np.uint64),
            sketch=np.zeros((count, BINS), dtype=np.uint16),
        )

    def row(self, place: int) -> dict[str, object]:
        """One text's measures, as plain values."""
        return {column.name: getattr(self, column.name)[place].tolist() for column in fields(self)}


def measure(
    texts: Sequence[str | None],
    thresholds: Thresholds = DEFAULTS,
    way: Way = "auto",
    *,
    prompts: Sequence[str | None] | None = None,
) -> Measures:
    """Every per-answer measure of `texts`, answers to `prompts` where those are known.

    O(all characters); None is the empty text, or an unknown prompt.

    Raises:
        ValueError: not as many prompts as texts.
        ModuleNotFoundError: `way` is "compiled" and numba is not installed.
    """
    if prompts is not None and len(prompts) != len(texts):
        raise ValueError(f"{len(prompts)} prompts for {len(texts)} texts")
    if way == "compiled" or (way == "auto" and _is_much(texts) and can_compile()):
        from tasks.collapse.compiled import fill

        return fill(texts, prompts, thresholds)
    found = Measures.of(len(texts))
    for place, text in enumerate(texts):
        measure_into(found, place, text or "", prompts[place] if prompts else None, thresholds)
    return found


def _is_much(texts: Sequence[str | None]) -> bool:
    return len(texts) >= WORTH_COMPILING or sum(len(text) for text in texts if text) >= WORTH_LETTERS


@cache
def can_compile() -> bool:
    """Whether numba is installed and can work here: it wants a folder to keep what it compiled."""
    try:
        import tasks.collapse.compiled  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def measure_into(found: Measures, place: int, text: str, prompt: str | None, thresholds: Thresholds) -> None:
    """Fill one row by the plain functions: what the compiled pass must equal, and what it leaves to them."""
    reading = Reading(text)
    one = diagnose(reading, thresholds, prompt)
    tokens = reading.tokens
    found.words[place] = one.words
    found.rep[place] = one.rep_1, one.rep_2, one.rep_3, one.rep_4
    found.loop[place] = one.loop is not None
    found.compression_ratio[place] = one.compression_ratio
    found.entropy[place] = normalised_entropy(tokens)
    found.non_lexical[place] = one.non_lexical
    found.prompt_copy[place] = one.prompt_copy
    found.copied[place] = one.copied
    found.empty[place] = one.empty
    found.rule[place] = RULES.index(one.rule) if one.rule else -1
    found.whole[place] = _whole(tokens)
    if len(tokens) >= OPENER:
        found.opener[place] = _whole(tokens[:OPENER])
    if len(tokens) >= CLOSER:
        found.closer[place] = _whole(tokens[-CLOSER:])
    found.sketch[place] = sketch(reading.plain)


def _whole(tokens: Sequence[str]) -> np.uint64:
    """A hash of a list of words; 0 is that of none."""
    if not tokens:
        return np.uint64(0)
    hashes = np.array([word_hash(token) for token in tokens], dtype=np.uint64)
    return max(np.uint64(1), gram_hashes(hashes, len(hashes))[0])
