"""Texts that answer different prompts and are the same, or nearly: by MinHash and locality-sensitive hashing.

A sketch is one hash of every shingle (three words in a row, without case and numbers), sorted into 64 bins by its
first bits; the least hash of each bin is kept (one-permutation hashing, Li, Owen and Zhang 2012). The share of equal
bins estimates the Jaccard index of two texts with a standard error of at most 0.06. One hash a shingle, where MinHash
with 64 permutations takes 64.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Sketches = NDArray[np.uint16]
"""A row of BINS numbers a text; 0 is an empty bin."""
Hashes = NDArray[np.uint64]

SHINGLE = 3
BINS = 64
_MASK = (1 << 64) - 1
FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
GRAM = 0x9E3779B97F4A7C15
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def exact_duplicates(texts: Sequence[Hashable], prompts: Sequence[Hashable] | None = None) -> NDArray[np.bool_]:
    """Whether each text is also the answer to another prompt. Without `prompts` each text answers its own.

    O(len(texts)). Anything that can be a key is a text: pass a string, a tuple of words or a hash of one.
    """
    asked: dict[Hashable, Hashable] = {}
    shared = object()
    own = range(len(texts)) if prompts is None else prompts
    for text, prompt in zip(texts, own, strict=True):
        if asked.setdefault(text, prompt) != prompt:
            asked[text] = shared
    return np.array([asked[text] is shared for text in texts], dtype=np.bool_)


def near_duplicates(
    sketches: Sketches, prompts: Sequence[Hashable] | None = None, jaccard: float = 0.8
) -> NDArray[np.bool_]:
    """Whether each text is, by its sketch, at least `jaccard` like an answer to another prompt; equal ones are, too.

    Texts are candidates where all four bins of one of the 16 bands are equal, which finds a pair of Jaccard index 0.8
    with probability 0.999 and one of 0.3 with 0.12. Within a band each text is compared with the first of its kind, the
    first that answers another prompt than that one, and the one before it, so that a million equal texts cost no
    square: O(n log n). Texts of fewer than SHINGLE words have empty sketches and are like none.
    """
    count = len(sketches)
    alike = np.zeros(count, dtype=np.bool_)
    numbers: dict[Hashable, int] = {}
    asked = (
        np.arange(count)
        if prompts is None
        else np.array([numbers.setdefault(prompt, len(numbers)) for prompt in prompts], dtype=np.int64)
    )
    bands = np.ascontiguousarray(np.ascontiguousarray(sketches).view(np.uint64).T)
    for keys in bands:
        # Few keys come twice. Only those are put into a stable order, which takes four times as long.
        ranked = np.argsort(keys)
        same = (keys[ranked[1:]] == keys[ranked[:-1]]) & (keys[ranked[1:]] != 0)
        candidates = np.union1d(ranked[1:][same], ranked[:-1][same])
        if not len(candidates):
            continue
        order = candidates[np.argsort(keys[candidates], kind="stable")]
        same = np.concatenate([[False], keys[order][1:] == keys[order][:-1]])
        place = np.arange(len(order))
        first = np.maximum.accumulate(np.where(same, 0, place))
        pairs = [(order[same], order[first[same]]), (order[same], order[place[same] - 1])]
        # The first one says nothing of samples of its own prompt: those are held against the first of another.
        if (own := same & (asked[order] == asked[order[first]])).any():
            begins = np.flatnonzero(~same)
            others = np.minimum.reduceat(np.where(own | ~same, len(order), place), begins)
            second = np.repeat(others, np.diff([*begins, len(order)]))
            own &= second < len(order)
            pairs.append((order[own], order[second[own]]))
        for one, other in pairs:
            apart = (asked[one] != asked[other]) & ~(alike[one] & alike[other])
            one, other = one[apart], other[apart]
            for start in range(0, len(one), 1 << 14):
                a, b = one[start : start + (1 << 14)], other[start : start + (1 << 14)]
                close = similarity(sketches[a], sketches[b]) >= jaccard
                alike[a[close]] = alike[b[close]] = True
    return alike


def similarity(one: Sketches, other: Sketches) -> NDArray[np.float64]:
    """Estimated Jaccard index of the texts behind two rows of sketches, or of two lists of rows, pair by pair."""
    filled = ((one != 0) | (other != 0)).sum(axis=-1)
    equal = ((one == other) & (one != 0)).sum(axis=-1)
    return np.asarray(equal / np.maximum(filled, 1), dtype=np.float64)


def sketch(tokens: Sequence[str]) -> Sketches:
    """The sketch of one text. O(len(tokens))."""
    empty = np.zeros(BINS, dtype=np.uint16)
    if len(tokens) < SHINGLE:
        return empty
    mixed = _mixed(gram_hashes(np.array([word_hash(token) for token in tokens], dtype=np.uint64), SHINGLE))
    least = np.full(BINS, _MASK, dtype=np.uint64)
    np.minimum.at(least, (mixed >> np.uint64(58)).astype(np.intp), mixed)
    kept = np.maximum((least >> np.uint64(20)) & np.uint64(0xFFFF), np.uint64(1)).astype(np.uint16)
    return np.where(least == np.uint64(_MASK), empty, kept)


@lru_cache(maxsize=1 << 17)
def word_hash(word: str) -> int:
    """64 bits of a word, the same in every process: FNV-1a over its code points. O(len(word))."""
    found = FNV_START
    for letter in word:
        found = ((found ^ ord(letter)) * FNV_PRIME) & _MASK
    return found


def gram_hashes(words: Hashes, n: int) -> Hashes:
    """Hashes of all runs of `n` words: polynomials in the hashes of the words, modulo 2^64."""
    grams = words[: len(words) - n + 1].copy()
    for i in range(1, n):
        grams *= np.uint64(GRAM)
        grams += words[i : len(words) - n + 1 + i]
    return grams


def _mixed(hashes: Hashes) -> Hashes:
    """All bits of a hash into all others (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(MIX[0])
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(MIX[1])
    return hashes ^ (hashes >> np.uint64(31))
