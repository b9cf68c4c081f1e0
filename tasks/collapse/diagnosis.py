"""Is this answer degenerate, by which rule, and up to where can it be read?

>>> diagnose("word " * 50)
Diagnosis(words=50, rep_1=0.98, …, loop=Loop(start=0, period=1, repeats=50, share=1.0), …, degenerate=True,
          rule='loop', span=(0, 249), prefix_end=0)
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from tasks.collapse.loops import Loop, loop
from tasks.collapse.repetition import compression_ratio, ngrams, prompt_copy, rep_n
from tasks.collapse.thresholds import DEFAULTS, Thresholds
from tasks.collapse.words import WORD, is_empty, is_readable, plain_words, without_code_and_tables

Rule = Literal["empty", "nothing readable", "loop", "rep-4", "compression"]


@dataclass(frozen=True)
class Diagnosis:
    """The measures of one answer and what they come to.

    `rep_n` leave out code and tables; `loop` indexes words of the text. `rule` is the first rule that fired; `span` are
    the characters that show it, and a judge should read the text only up to `prefix_end`, its length where all is well.
    """

    words: int
    rep_1: float
    rep_2: float
    rep_3: float
    rep_4: float
    loop: Loop | None
    compression_ratio: float
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
        return self.rule or "readable"


def diagnose(text: str | None, thresholds: Thresholds = DEFAULTS) -> Diagnosis:
    """Measure `text` and hold it against `thresholds`. O(len(text)); any string is accepted, None is the empty one."""
    text = text or ""
    found = list(WORD.finditer(text))
    tokens = [match[0] for match in found]
    exempt = without_code_and_tables(text)
    prose = found if exempt is text else list(WORD.finditer(exempt))
    spoken = tokens if exempt is text else [match[0] for match in prose]
    rep_1, rep_2, rep_3, rep_4 = (rep_n(spoken, n) for n in (1, 2, 3, 4))
    ending = _loop_at_the_end(text, found, thresholds)
    ratio = compression_ratio(text)

    fired: dict[Rule, int] = {}
    if is_empty(text):
        fired["empty"] = 0
    elif not is_readable(text):
        fired["nothing readable"] = 0
    elif len(tokens) >= thresholds.min_words:
        if ending and (ending.share >= thresholds.loop_share or len(tokens) - ending.start >= thresholds.loop_long):
            fired["loop"] = found[ending.start].start()
        if rep_4 > thresholds.rep_4 and len(spoken) >= thresholds.min_words:
            fired["rep-4"] = prose[_onset(spoken)].start()
        if ratio > thresholds.compression and is_squeezable(text, thresholds):
            fired["compression"] = found[_onset(tokens)].start()
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
        empty=is_empty(text),
        degenerate=rule is not None,
        rule=rule,
        span=None if rule is None or rule == "empty" else (prefix_end, len(text.rstrip())),
        prefix_end=prefix_end,
    )


def copies_prompt(prompt: str, text: str, thresholds: Thresholds = DEFAULTS) -> bool:
    """`text` is nothing but its prompt, or most of it. A few words of the prompt may well be the answer."""
    return prompt_copy(prompt, text) >= thresholds.prompt_copy and prompt_copy(text, prompt) >= thresholds.prompt_copied


def _loop_at_the_end(text: str, found: list[re.Match[str]], thresholds: Thresholds) -> Loop | None:
    """The loop that ends `text`, be it exact or but for case, numbers and list markers ("1. … 2. …")."""
    tokens = [match[0] for match in found]
    alike = plain_words(tokens)
    markers = {place for marker in _LIST_MARKER.finditer(text) for place in range(*marker.span(1))}
    kept = [i for i, match in enumerate(found) if match.start() not in markers]
    plain = [alike[i] for i in kept]
    # An answer that was cut at its length limit may end within a word, which then differs from its earlier copies.
    for cut in (0, 1):
        near = _loop(plain[: len(plain) - cut], thresholds)
        if near and not _only_counts(plain[near.start : near.start + near.period]):
            return replace(near, start=kept[near.start], share=1 - kept[near.start] / len(tokens))
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


def is_squeezable(text: str, thresholds: Thresholds) -> bool:
    """Beyond the limit by what it says: padding between the cells of a table says nothing, and nothing twice."""
    said = " ".join(text.split())
    long_enough = len(said.encode("utf-8", "surrogatepass")) >= thresholds.compression_bytes
    return long_enough and compression_ratio(said) > thresholds.compression


def _onset(tokens: list[str]) -> int:
    """Where repetition sets in: the start of the suffix in which repeated 4-grams outnumber fresh ones by the most."""
    seen: set[tuple[Hashable, ...]] = set()
    gains = []
    for gram in ngrams(plain_words(tokens), 4):
        gains.append(1 if gram in seen else -1)
        seen.add(gram)
    ahead = list(accumulate(reversed(gains)))
    best = max(ahead, default=0)
    return len(gains) - 1 - ahead.index(best) if best > 0 else 0
