"""Words of a text for which no model tokens are known, in any script."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and accents with a code point of their own continue a word, though they are no letters to `re`.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"
_LETTER = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])"
_LETTERS = rf"{_LETTER}{{1,24}}"
_WORD = rf"{_LETTERS}(?:['’]{_LETTERS})?"
WORD = re.compile(rf"{_WORD}|([!-/:-@\[-`{{-~])\1{{0,7}}|\S")
LETTER_RUN = re.compile(rf"{_LETTER}+")


def words(text: str | None) -> list[str]:
    """Split `text` into words and marks; only white space is lost.

    A word is a run of letters and digits, with at most an apostrophe inside; a character of a script without spaces
    (Chinese, Japanese, Thai…), an emoji and a mark of punctuation each are one, but up to 8 equal ASCII marks in a row
    ("--------") are one together. A run of more than 24 letters counts as several words, as it would be several tokens
    of a model: no text is one endless word. O(len(text)); any string is accepted, lone surrogates included, and None
    is the empty text.
    """
    return [found[0] for found in WORD.finditer(text or "")]


def head(text: str | None, count: int) -> str | None:
    """`text` up to the end of its word number `count`: an equal budget. None where it has fewer words. O(result)."""
    found = next(islice(WORD.finditer(text or ""), count - 1, None), None)
    return (text or "")[: found.end()].strip() if found else None


def plain_words(tokens: Sequence[str]) -> list[str]:
    """`tokens` in lower case and with 0 for every number, so that "Step 1" and "step 2" are alike."""
    # No word holds white space, so one pass over the joined text does what a pass over each word would.
    return _DIGITS.sub("0", "\n".join(tokens).lower()).split("\n") if tokens else []


_DIGITS = re.compile(r"\d+")


def spoken_words(tokens: Sequence[str]) -> list[str]:
    """`tokens` in lower case, without marks and emoji: those that hold a letter or a digit."""
    return [word for word in "\n".join(tokens).lower().split("\n") if _READABLE.search(word)] if tokens else []


def is_empty(text: str | None) -> bool:
    """Nothing but white space."""
    return not (text or "").strip()


def is_readable(text: str) -> bool:
    """There is a letter or a digit of any script: "42" can be read, "✓" or "?!" or a row of emoji can not."""
    return _READABLE.search(text) is not None


_READABLE = re.compile(r"[^\W_]")


def without_code(text: str) -> str:
    """`text` with closed fences of code blanked out, and all of it where it is one JSON document.

    Code that came to an end; a fence that is never closed may be one that runs away. Blanks keep the length, so
    offsets still point into `text`, which itself is returned where it holds no such code. O(len(text)).
    """
    if _is_json(text):
        return " " * len(text)
    return _without_fences(text, open_too=False) if _has_fence(text) else text


def ends_in_code(text: str) -> bool:
    """The end of `text` is code that came to an end. O(len(text))."""
    return not without_code(text)[len(text.rstrip()) - 1 :].strip() and not is_empty(text)


def without_code_and_tables(text: str) -> str:
    """`text` with code and the rows of `|` tables blanked out: they repeat themselves in good answers too.

    As `without_code`, but a fence that is never closed reaches to the end. O(len(text)).
    """
    if _is_json(text):
        return " " * len(text)
    if _has_fence(text):
        text = _without_fences(text, open_too=True)
    if "|" not in text or text.count("|") < 2:
        return text
    lines = text.split("\n")
    rows = [place for place, line in enumerate(lines) if "|" in line and _TABLE_ROW.match(line)]
    for place in rows:
        lines[place] = " " * len(lines[place])
    return "\n".join(lines) if rows else text


_FENCE = re.compile(r" {0,8}(`{3,}|~{3,})[^`\n]*(?:\n|\Z)")
_TABLE_ROW = re.compile(r"[ \t]*\|[^\n]*\|[ \t]*\Z|[^\n|]+\|[^\n|]+\|")


def _has_fence(text: str) -> bool:
    """One character is found ten times as fast as three, and most texts hold none."""
    return ("`" in text and "```" in text) or ("~" in text and "~~~" in text)


def _is_json(text: str) -> bool:
    """One JSON object or list from the first to the last character, as programs ask for."""
    bare = text.strip()
    if bare[:1] not in ("{", "[") or bare[-1] not in "}]":
        return False
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _without_fences(text: str, open_too: bool) -> str:
    """Fenced code blanked out, from line to line by `str.find`: one pattern for it all takes ten times as long."""
    pieces: list[str] = []
    done = place = 0
    following = {fence: text.find(fence) for fence in ("```", "~~~")}
    while True:
        for fence, at in following.items():
            if 0 <= at < place:
                following[fence] = text.find(fence, place)
        place = min((at for at in following.values() if at >= 0), default=-1)
        if place < 0:
            return "".join([*pieces, text[done:]]) if pieces else text
        newline = text.rfind("\n", done, place)
        # Behind a closed fence the rest of its line can open none.
        opening = _FENCE.match(text, newline + 1) if newline >= 0 or done == 0 else None
        if opening is None:
            newline = text.find("\n", place)
            place = newline if newline >= 0 else len(text)
            continue
        end = _end_of_fence(text, opening[1], opening.end())
        if end < 0:
            if not open_too:
                return "".join([*pieces, text[done:]]) if pieces else text
            end = len(text)
        pieces += text[done : opening.start()], " " * (end - opening.start())
        done = place = end


def _end_of_fence(text: str, fence: str, start: int) -> int:
    """Behind the first `fence` that begins a line from `start` on, -1 where none does."""
    place = text.find(fence, start)
    while place >= 0:
        line = max(start, text.rfind("\n", start, place) + 1)
        if place - line <= 8 and not text[line:place].strip(" "):
            return place + len(fence)
        newline = text.find("\n", place)
        place = text.find(fence, newline) if newline >= 0 else -1
    return -1
