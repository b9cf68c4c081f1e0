"""Words of a text for which no model tokens are known, in any script."""

from __future__ import annotations

import re

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and accents with a code point of their own continue a word, though they are no letters to `re`.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"
_LETTERS = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}]){{1,24}}"
_WORD = rf"{_LETTERS}(?:['’]{_LETTERS})?"
_SPOKEN = re.compile(rf"{_WORD}|[{_UNSPACED}]")
WORD = re.compile(rf"{_WORD}|([!-/:-@\[-`{{-~])\1{{0,7}}|\S")


def words(text: str) -> list[str]:
    """Split `text` into words and marks; only white space is lost.

    A word is a run of letters and digits, with at most an apostrophe inside; a character of a script without spaces
    (Chinese, Japanese, Thai…), an emoji and a mark of punctuation each are one, but up to 8 equal ASCII marks in a row
    ("--------") are one together. A run of more than 24 letters counts as several words, as it would be several tokens
    of a model: no text is one endless word. O(len(text)); any string is accepted, lone surrogates included.
    """
    return [found[0] for found in WORD.finditer(text)]


def spoken(text: str) -> list[str]:
    """The words of `text` in lower case, without marks and emoji."""
    return _SPOKEN.findall(text.casefold())


def is_empty(text: str) -> bool:
    """Nothing but white space."""
    return not text.strip()


def is_readable(text: str) -> bool:
    """There is a letter or a digit of any script: "42" can be read, "✓" or "?!" or a row of emoji can not."""
    return _READABLE.search(text) is not None


_READABLE = re.compile(r"[^\W_]")


def without_code_and_tables(text: str) -> str:
    """`text` with fenced code and the rows of `|` tables blanked out: they repeat themselves in good answers too.

    Blanks keep the length, so offsets still point into `text`. A fence that is never closed reaches to the end.
    O(len(text)).
    """
    if "```" in text or "~~~" in text:
        text = _FENCED.sub(_blank, text)
    return _TABLE_ROW.sub(_blank, text) if "|" in text else text


_FENCED = re.compile(r"^ {0,8}(`{3,}|~{3,})[^`\n]*(?:\n|\Z).*?(?:^ {0,8}\1|\Z)", re.MULTILINE | re.DOTALL)
_TABLE_ROW = re.compile(r"^[ \t]*\|[^\n]*\|[ \t]*$|^[^\n|]+\|[^\n|]+\|[^\n]*$", re.MULTILINE)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])
