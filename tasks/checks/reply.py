"""What a program can read off a reply: its words, sentences, lists, JSON, code; and whether it says anything at all.

    >>> Reply("First point.\\n- one\\n- two").bullets()
    ['one', 'two']

Everything here takes time linear in the text and has a result for any string: a megabyte, a lone surrogate, no spaces.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tasks.collapse.loops import loop

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts written without spaces: each of their characters counts as a word, and has no word boundary."""

# `\w` knows no combining marks; without them a word of Hindi, Hebrew or Arabic would fall apart.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e"
)
_LETTER = rf"(?:[^\W_{_UNSPACED}]|[{_MARKS}])"
_WORD = re.compile(rf"[{_UNSPACED}]|{_LETTER}++(?:['’-]{_LETTER}++)*+")
_BOUNDED = re.compile(_LETTER)

_SENTENCE_END = re.compile(r"[.!?…؟।]++[\"”’')\]*_]*+(?=\s|\Z)|[。！？]++[」』”]*+")
_ABBREVIATION = re.compile(r"(?:\b(?:mrs?|ms|dr|prof|st|vs|e\.g|i\.e|approx|no|fig)|(?<![\w.])[A-Z])\Z", re.IGNORECASE)
_LIST_ITEM = re.compile(r"([ \t]*+)(?:([-*+•–])|(\d{1,3})[.)])[ \t]++(\S.*+)")
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*+([\w+#.-]*)[^\n]*$", re.MULTILINE)

LOOP_REPEATS = 4
LOOP_WORDS = 12
"""A reply is a loop if one passage, said at least LOOP_REPEATS times on end, is its last half or more: with fewer than
LOOP_WORDS words it may be a refrain."""

COPY_WORDS = 8
COPY_REST = 2


@dataclass(frozen=True)
class Reply:
    """One reply of a conversation, with the readings that several checks share."""

    text: str

    @cached_property
    def plain(self) -> str:
        """The text as compared: see `plain`."""
        return plain(self.text)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words in lower case; inner apostrophes and hyphens belong to a word."""
        return tuple(word.casefold() for word in _WORD.findall(self.text))

    @cached_property
    def is_loop(self) -> bool:
        """Whether half of it or more is one passage repeated on end (see LOOP_REPEATS)."""
        found = loop(self.words, min_repeats=LOOP_REPEATS, min_tokens=LOOP_WORDS, max_period=max(1, len(self.words)))
        return found is not None and 2 * found.start <= len(self.words)

    def copies(self, other: str) -> bool:
        """Whether it is `other`, once or more, with at most COPY_REST further words; or breaks off in its first copy.

        Texts under COPY_WORDS words are copied only by being said again as they are.
        """
        theirs = Reply(other).words
        if len(theirs) < COPY_WORDS:
            return self.words == theirs
        if len(self.words) >= COPY_WORDS and " ".join(theirs).startswith(" ".join(self.words)):
            return True
        # Doubled spaces let neighbouring copies both match.
        said = f" {'  '.join(self.words)} "
        rest = said.replace(f" {'  '.join(theirs)} ", "")
        return len(rest) < len(said) and len(rest.split()) <= COPY_REST

    def lines(self) -> list[str]:
        """Its lines that are not blank; the lines of a code fence are lines, its marks are not."""
        return [line.strip() for line in self.text.splitlines() if line.strip() and not _FENCE.match(line)]

    def paragraphs(self) -> list[str]:
        """Its blocks of text between blank lines."""
        blocks = re.split(r"\n[ \t\r]*+\n", self.text.strip())
        return [block.strip() for block in blocks if block.strip()]

    def bullets(self, marker: str = "any") -> list[str]:
        """Its list items of the outermost level: "bullet" (-, *, •), "number" (1. or 1)), or "any"."""
        found = [match for line in self.text.splitlines() if (match := _LIST_ITEM.fullmatch(line.rstrip()))]
        outermost = min((len(match[1].expandtabs()) for match in found), default=0)
        wanted = {"bullet": (2,), "number": (3,), "any": (2, 3)}[marker]
        return [
            match[4] for match in found if len(match[1].expandtabs()) < outermost + 2 and any(match[g] for g in wanted)
        ]

    def sentences(self) -> list[str]:
        """Its sentences. Blank lines, list items and headings end one too; "Dr.", "e.g." and initials do not."""
        return [sentence for block in self._blocks() for sentence in _split_sentences(block)]

    def _blocks(self) -> Iterator[str]:
        block: list[str] = []
        for line in map(str.strip, self.text.splitlines()):
            if not line or line.startswith("#") or _LIST_ITEM.fullmatch(line):
                yield " ".join(block)
                block = []
            item = _LIST_ITEM.fullmatch(line)
            block.append(item[4] if item else line)
            if line.startswith("#"):
                yield " ".join(block)
                block = []
        yield " ".join(block)

    def fenced(self) -> list[tuple[str, str]]:
        """(language, text) of each fenced block, in order; a fence that is never closed runs to the end."""
        blocks = []
        opening: re.Match[str] | None = None
        for mark in _FENCE.finditer(self.text):
            if opening is None:
                opening = mark
            elif mark[1].startswith(opening[1]) and not mark[2]:
                blocks.append((opening[2].lower(), self.text[opening.end() + 1 : mark.start()]))
                opening = None
        if opening is not None:
            blocks.append((opening[2].lower(), self.text[opening.end() + 1 :]))
        return blocks

    def python(self, name: str) -> str:
        """The Python in it: its last fenced block that defines `name`, else its last block, else all of it.

        The last block alone would often be the example of use that follows the function.
        """
        blocks = [text for language, text in self.fenced() if language in ("", "python", "py", "python3")]
        defines = re.compile(rf"^(?:async[ ]def|def|class)[ ]+{re.escape(name)}\b|^{re.escape(name)}\s*=", re.MULTILINE)
        return next((text for text in reversed(blocks) if defines.search(text)), blocks[-1] if blocks else self.text)

    def json(self, *, only: bool) -> Any:
        """The JSON value that it is, or that its one fenced block is; with `only`, prose around the block is an error.

        Raises:
            ValueError: says what is wrong, in words for a report.
        """
        blocks = self.fenced()
        if len(blocks) > 1:
            raise ValueError("has several code blocks")
        source = blocks[0][1] if blocks else self.text
        if blocks and only and Reply(self.text.replace(source, "")).lines():
            raise ValueError("has text around its JSON")
        try:
            return json.loads(source, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None


def plain(text: str) -> str:
    """Text as checks compare it: NFKC, case folded, straight quotes, single spaces, no Markdown emphasis."""
    # Normalised piece by piece: a long run of combining marks takes time quadratic in its length.
    if not text.isascii():
        text = re.sub(r"\S{1,500}", lambda piece: unicodedata.normalize("NFKC", piece[0]), text)
    text = text.casefold().translate(_STRAIGHT)
    return " ".join(text.split())


_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "*": None, "`": None, "\u200b": None})


def mentions(text: str, phrase: str) -> int:
    """Where `phrase` stands in `text` as whole words, or -1; both are `plain`. A trailing * stands for any ending.

    >>> mentions("the cat sat", "at"), mentions("the cat sat", "ca*"), mentions("我喜欢猫", "猫")
    (-1, 4, 3)
    """
    stem = phrase.removesuffix("*")
    at = text.find(stem)
    while at >= 0:
        end = at + len(stem)
        whole_start = not (at and _BOUNDED.match(stem[0]) and _BOUNDED.match(text[at - 1]))
        whole_end = stem != phrase or not (
            end < len(text) and _BOUNDED.match(stem[-1]) and _BOUNDED.match(text[end])
        )  # fmt: skip
        if whole_start and whole_end:
            return at
        at = text.find(stem, at + 1)
    return -1


def _split_sentences(block: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(block):
        if (
            end[0] == "."
            and _ABBREVIATION.search(block[max(start, end.start() - 8) : end.start()])
            and block[end.end() :]
        ):
            continue
        sentence = block[start : end.end()].strip()
        if _WORD.search(sentence):
            yield sentence
        start = end.end()
    if _WORD.search(rest := block[start:].strip()):
        yield rest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
