"""How much of a text no reader can read: emoji, control characters, debris of scripts."""

from __future__ import annotations

import unicodedata
from functools import cache

from tasks.collapse.words import LETTER_RUN

UNREAD_CATEGORIES = frozenset({"So", "Cc", "Cf", "Cs", "Co", "Cn"})
"""Symbols that are pictures (emoji, dingbats, box drawing), controls, formats, surrogates, private and unassigned."""
JOINERS = frozenset("\u200c\u200d\u200e\u200f\u00ad\ufeff©®°™")
"""Formats that orthographies of whole languages need, and signs found in plain prose."""


@cache
def is_unread(letter: str) -> bool:
    """One character that carries no language: an emoji, a control character, a lone surrogate, U+FFFD…"""
    return unicodedata.category(letter) in UNREAD_CATEGORIES and letter not in JOINERS and not letter.isspace()


SCRIPTS = ("LATIN", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "GEORGIAN")
"""Scripts that no word mixes. Not Greek (kΩ, μm), and not Hangul, whose particles follow Latin names."""


@cache
def script(letter: str) -> int:
    """The number of the script of a letter, counted from 1 in SCRIPTS; 0 for everything else."""
    name = unicodedata.name(letter, "").split(" ", 1)[0] if letter.isalpha() else ""
    return SCRIPTS.index(name) + 1 if name in SCRIPTS else 0


def non_lexical(text: str | None) -> float:
    """Share of the characters other than white space that carry no language, or that sit in a word of mixed scripts.

    Range [0, 1]; 0.0 for "", 1.0 for a row of emoji. Emoji, dingbats and box drawing, control characters, lone
    surrogates, private and unassigned code points count, and all letters of a word whose letters come from two scripts
    ("hеllо" with Cyrillic vowels): models that fall apart write those, people hardly do. O(len(text)).
    """
    text = text or ""
    seen = sum(not letter.isspace() for letter in text)
    if not seen:
        return 0.0
    unread = sum(map(is_unread, text))
    if not text.isascii():
        for run in LETTER_RUN.findall(text):
            if not run.isascii() and len({script(letter) for letter in run} - {0}) > 1:
                unread += sum(map(str.isalpha, run))
    return unread / seen


def has_picture(text: str) -> bool:
    """An emoji or another symbol that says something without words ("👍", "✓"). O(len(text))."""
    return any(unicodedata.category(letter) == "So" and letter != "\ufffd" for letter in text)
