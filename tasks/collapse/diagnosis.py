"""Is this answer degenerate, by which rule, and up to where can it be read?

>>> diagnose("word " * 50)
Diagnosis(words=50, rep_1=0.98, …, loop=Loop(start=0, period=1, repeats=50, share=1.0), …, degenerate=True,
          rule='loop', span=(0, 249), prefix_end=0)
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal

from tasks.collapse.copying import repeats, share_copied
from tasks.collapse.loops import Loop, loop
from tasks.collapse.noise import has_picture, non_lexical
from tasks.collapse.repetition import compression_ratio, letter_compression, ngrams, rep_n
from tasks.collapse.thresholds import DEFAULTS, Thresholds
from tasks.collapse.words import (
    WORD,
    is_empty,
    is_readable,
    plain_words,
    spoken_words,
    without_code,
    without_code_and_tables,
    words,
)

Rule = Literal["empty", "nothing readable", "loop", "rep-4", "compression", "noise", "prompt copy"]
COPY, READABLE = "nothing but a copy of the prompt", "readable"


@dataclass(frozen=True)
class Diagnosis:
    """The measures of one answer and what they come to.

    `rep_n` leave out code and tables; `loop` indexes words of the text. `prompt_copy` is 0.0 and `copied` False where
    no prompt is known. `rule` is the first rule that fired; `span` are the characters that show it, and a judge should
    read the text only up to `prefix_end`, its length where all is well.
    """

    words: int
    rep_1: float
    rep_2: float
    rep_3: float
    rep_4: float
    loop: Loop | None
    compression_ratio: float
    non_lexical: float
    prompt_copy: float
    copied: bool
    empty: bool
    degenerate: bool
    rule: Rule | None
    span: tuple[int, int] | None
    prefix_end: int

    def explain(self) -> str:
        """The evidence in words, for a report."""
        if self.rule == "loop" and self.loop:
            return f"loop of {self.loop.period} words × {self.loop.repeats} from word {self.loop.start + 1}"
        if self.rule == "rep-4":
            return f"{self.rep_4:.0%} of all runs of four words repeat an earlier one"
        if self.rule == "compression":
            return f"compresses to 1/{self.compression_ratio:.1f} of its size"
        if self.rule == "noise":
            return f"{self.non_lexical:.0%} of its characters carry no language"
        if self.copied:
            return COPY
        return self.rule or READABLE


@dataclass(frozen=True)
class Reading:
    """A text and its words, cut once for all measures."""

    text: str

    @cached_property
    def found(self) -> list[re.Match[str]]:
        return list(WORD.finditer(self.text))

    @cached_property
    def tokens(self) -> list[str]:
        return [match[0] for match in self.found]

    @cached_property
    def plain(self) -> list[str]:
        """The words without case and numbers."""
        return plain_words(self.tokens)


def diagnose(text: str | Reading | None, thresholds: Thresholds = DEFAULTS, prompt: str | None = None) -> Diagnosis:
    """Measure `text`, an answer to `prompt` if that is known, and hold it against `thresholds`.

    O(len(text) + len(prompt)); any string is accepted, None is the empty one.
    """
    reading = text if isinstance(text, Reading) else Reading(text or "")
    text, found, tokens = reading.text, reading.found, reading.tokens
    exempt = without_code_and_tables(text)
    prose = found if exempt is text else list(WORD.finditer(exempt))
    spoken = tokens if exempt is text else [match[0] for match in prose]
    rep_1, rep_2, rep_3, rep_4 = (rep_n(spoken, n) for n in (1, 2, 3, 4))
    ending = _loop_at_the_end(reading, thresholds)
    ratio, unread = compression_ratio(text), non_lexical(text)
    asked, said = (spoken_words(words(prompt)), spoken_words(tokens)) if prompt else ([], [])
    copied = repeats(asked, said, thresholds)

    fired: dict[Rule, int] = {}
    if is_empty(text):
        fired["empty"] = 0
    elif is_unreadable(text, len(tokens), thresholds):
        fired["nothing readable"] = 0
    elif len(tokens) >= thresholds.min_words:
        if ending and (ending.share >= thresholds.loop_share or len(tokens) - ending.start >= thresholds.loop_long):
            fired["loop"] = found[ending.start].start()
        if rep_4 > thresholds.rep_4 and len(spoken) >= thresholds.min_words:
            fired["rep-4"] = prose[_onset(_repeated(spoken))].start()
        if ratio > thresholds.compression and is_squeezable(text, thresholds):
            fired["compression"] = found[_onset(_repeated(tokens))].start()
        if unread > thresholds.noise and is_noise(text, thresholds):
            fired["noise"] = found[_onset([non_lexical(token) > thresholds.noise for token in tokens])].start()
    if copied and len(tokens) >= thresholds.copied_words:
        fired["prompt copy"] = 0
    rule = next(iter(fired), None)
    prefix_end = min(fired.values(), default=len(text))
    return Diagnosis(
        words=len(tokens),
        rep_1=rep_1,
        rep_2=rep_2,
        rep_3=rep_3,
        rep_4=rep_4,
        loop=ending,
        compression_ratio=ratio,
        non_lexical=unread,
        prompt_copy=share_copied(asked, said),
        copied=copied,
        empty=is_empty(text),
        degenerate=rule is not None,
        rule=rule,
        span=None if rule is None or rule == "empty" else (prefix_end, len(text.rstrip())),
        prefix_end=prefix_end,
    )


def _loop_at_the_end(reading: Reading, thresholds: Thresholds) -> Loop | None:
    """The loop that ends a text, be it exact or but for case, numbers and list markers ("1. … 2. …")."""
    text, found, tokens, alike = reading.text, reading.found, reading.tokens, reading.plain
    markers = {place for marker in _LIST_MARKER.finditer(text) for place in range(*marker.span(1))}
    kept = [i for i, match in enumerate(found) if match.start() not in markers]
    plain = [alike[i] for i in kept]
    # An answer that was cut at its length limit may end within a word, which then differs from its earlier copies.
    for cut in (0, 1):
        near = _loop(plain[: len(plain) - cut], thresholds)
        if near and not _only_counts(plain[near.start : near.start + near.period]):
            start = kept[near.start]
            if not _is_ended_code(text, found[start].start()):
                return replace(near, start=start, share=1 - start / len(tokens))
        if exact := _loop(tokens[: len(tokens) - cut], thresholds):
            return replace(exact, share=1 - exact.start / len(tokens))
    return None


def _loop(tokens: list[str], thresholds: Thresholds) -> Loop | None:
    return loop(
        tokens,
        min_repeats=thresholds.loop_repeats,
        min_tokens=thresholds.loop_words,
        max_period=thresholds.loop_max_period,
    )


_LIST_MARKER = re.compile(r"^[ \t]*(\d{1,4}[.)]|[-*+•–])(?=\s)", re.MULTILINE)


def _only_counts(period: list[str]) -> bool:
    """Numbers with hardly a word between them: who asked for the primes or a times table got what was asked."""
    return any("0" in token for token in period) and sum(token.isalpha() for token in period) < 3


def _is_ended_code(text: str, start: int) -> bool:
    """From `start` on there is nothing but code that came to an end: rows of data are alike but for their numbers."""
    bare = without_code(text)
    return bare is not text and not bare[start:].strip()


def is_unreadable(text: str, count: int, thresholds: Thresholds) -> bool:
    """Not a letter nor a digit in a text of `count` words, nor a picture that may be what was asked for.

    That is a few emoji, or what is drawn by marks in a closed fence of code.
    """
    if is_readable(text) or (count < thresholds.min_words and has_picture(text)):
        return False
    return bool(without_code(text).strip()) or not _DRAWN.search(text)


_DRAWN = re.compile(r"[^\s`~]")


def is_squeezable(text: str, thresholds: Thresholds) -> bool:
    """Beyond the limit by what it says outside code that came to an end, in an alphabet of one byte a letter.

    Padding between the cells of a table says nothing, and nothing twice.
    """
    said = " ".join(without_code(text).split())
    long_enough = len(said.encode("utf-8", "surrogatepass")) >= thresholds.compression_bytes
    return long_enough and letter_compression(said) > thresholds.compression


def is_noise(text: str, thresholds: Thresholds) -> bool:
    """Beyond the limit outside code that came to an end, in which boxes may be drawn."""
    bare = without_code(text)
    return non_lexical(bare) > thresholds.noise and len(words(bare)) >= thresholds.min_words


def _repeated(tokens: Sequence[str]) -> list[bool]:
    """Of each run of four words, whether it has been seen before."""
    seen: set[tuple[Hashable, ...]] = set()
    again = []
    for gram in ngrams(plain_words(tokens), 4):
        again.append(gram in seen)
        seen.add(gram)
    return again


def _onset(bad: Sequence[bool]) -> int:
    """Where it goes wrong: the start of the suffix in which bad places outnumber good ones by the most."""
    ahead = list(accumulate(1 if it else -1 for it in reversed(bad)))
    best = max(ahead, default=0)
    return len(bad) - 1 - ahead.index(best) if best > 0 else 0
