"""How much of a text is said more than once."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence


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


def letter_compression(text: str) -> float:
    """compression_ratio with a byte for each different character of `text`, where there are at most 256 of them.

    UTF-8 spends two or three bytes on a letter of Hindi, Russian or Hebrew, most of which zlib wins back whatever the
    text says: this is how alphabets are held to one limit. O(len(text)).
    """
    letters = set(text)
    if text.isascii() or len(letters) > 256:
        return compression_ratio(text)
    raw = text.translate(dict(zip(map(ord, sorted(letters)), range(256), strict=False))).encode("latin-1")
    return len(raw) / len(zlib.compress(raw))
