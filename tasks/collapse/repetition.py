"""How much of a text is said more than once."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from tasks.collapse.words import spoken


def ngrams(tokens: Sequence[Hashable], n: int) -> Iterator[tuple[Hashable, ...]]:
    """All runs of `n` tokens, from left to right."""
    return zip(*(tokens[i:] for i in range(n)), strict=False)


def rep_n(tokens: Sequence[Hashable], n: int) -> float:
    """Share of n-grams that repeat an earlier one: 1 - |distinct n-grams| / |n-grams| (seq-rep-n, Welleck et al. 2020).

    Range [0, 1); 0.0 for texts shorter than n (nothing can repeat). O(n · len(tokens)). Grows with length: compare only
    at equal token budgets.
    """
    count = len(tokens) - n + 1
    return 1 - len(set(ngrams(tokens, n))) / count if count > 0 else 0.0


def normalised_entropy(tokens: Sequence[Hashable]) -> float:
    """Shannon entropy of the token frequencies over its maximum: -sum p log2 p / log2 N for N tokens.

    Range [0, 1]: 1.0 where no token comes twice, 0.0 where all are one, and for fewer than two tokens. About 0.8-0.9
    for 256 words of prose. O(len(tokens)). Falls with length: compare only at equal token budgets.
    """
    count = len(tokens)
    if count < 2:
        return 0.0
    # N log2 N - sum c log2 c over N: sums of few rounded terms, and exactly 0 and 1 at the ends.
    most = count * math.log2(count)
    return (most - sum(times * math.log2(times) for times in Counter(tokens).values())) / most


def compression_ratio(text: str | None) -> float:
    """UTF-8 bytes of `text` over its bytes after zlib (Shaib et al. 2024).

    Range [0, about 1000]; 0.0 for "", below 1 for a few words, 1.5-2.5 for prose, above 5 for text that mostly repeats
    itself. O(len(text)). Sees repeats at most 32 KiB apart, and grows with length: compare only at equal lengths.
    """
    raw = (text or "").encode("utf-8", "surrogatepass")
    return len(raw) / len(zlib.compress(raw))


def prompt_copy(prompt: str | None, reply: str | None, run: int = 4) -> float:
    """Share of the words of `reply` that lie in runs of `run` or more words copied from `prompt`.

    Range [0, 1]; marks and case do not count. Words that are the prompt's own only by ones and twos are no copy, unless
    the prompt is shorter than a run and is all copied. O(len(prompt) + len(reply)).
    """
    asked, said = spoken(prompt), spoken(reply)
    run = min(run, len(asked))
    if not run or len(said) < run:
        return 0.0
    known = set(ngrams(asked, run))
    covered = reached = 0
    for start, gram in enumerate(ngrams(said, run)):
        if gram in known:
            covered += start + run - max(start, reached)
            reached = start + run
    return covered / len(said)
