"""What Python's str and re say of every code point, as tables for compiled code."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.collapse.noise import JOINERS, UNREAD_CATEGORIES, script
from tasks.collapse.words import LETTER_RUN

LETTER, SPACE, MARK, DIGIT, ALNUM, ALPHA, UNREAD, CHANGES = (1 << bit for bit in range(8))
"""What a character is: of a word, white space, ASCII punctuation, a decimal digit, a letter or digit, a letter, one
that no reader reads, one that is another without case and numbers."""
ODD = -1
"""Stands for a lower case that only Python knows."""


@dataclass(frozen=True)
class Alphabet:
    """What Python's str and re say of each code point: kind, lower case, script."""

    kinds: NDArray[np.uint8]
    lower: NDArray[np.int32]
    scripts: NDArray[np.uint8]


@cache
def alphabet() -> Alphabet:
    """Takes about a second, once a process."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    kinds = np.zeros(len(everything), dtype=np.uint8)
    patterns = {LETTER: LETTER_RUN, SPACE: re.compile(r"\s+"), DIGIT: re.compile(r"\d+"), ALNUM: re.compile(r"[^\W_]+")}
    for kind, pattern in patterns.items():
        for run in pattern.finditer(everything):
            kinds[run.start() : run.end()] |= kind
    for code in range(33, 127):
        if not chr(code).isalnum() and chr(code) != "_":
            kinds[code] |= MARK
    lower = np.arange(len(everything), dtype=np.int32)
    for code, letter in enumerate(everything):
        low = letter.lower()
        if low != letter:
            lower[code] = ODD if len(low) > 1 or letter == "Σ" else ord(low)
    kinds[(lower != np.arange(len(everything))) | (kinds & DIGIT > 0)] |= CHANGES
    kinds[[letter.isalpha() for letter in everything]] |= ALPHA
    kinds[[category in UNREAD_CATEGORIES for category in map(unicodedata.category, everything)]] |= UNREAD
    kinds[(kinds & SPACE) > 0] &= 255 - UNREAD
    kinds[list(map(ord, JOINERS))] &= 255 - UNREAD
    scripts = np.zeros(len(everything), dtype=np.uint8)
    for place in np.flatnonzero((kinds & ALPHA > 0) & (kinds & LETTER > 0)):
        scripts[place] = script(everything[place])
    return Alphabet(kinds, lower, scripts)
