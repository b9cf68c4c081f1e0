"""All measures of many texts in one compiled pass (numba), equal to what the plain functions say.

The texts of a batch lie in one array of code points, and so do their prompts; kernels.py measures them. Only zlib stays
outside, and takes most of the time. What a kernel can not decide as Python does (letters whose lower case is two
letters, or depends on its neighbours) is left to the plain functions, text by text.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.collapse.alphabet import alphabet
from tasks.collapse.diagnosis import is_noise, is_squeezable, is_unreadable
from tasks.collapse.kernels import COMPRESSION, LEFT_TO_PYTHON, NOISE, NOT_FIRED, PROMPT_COPY, UNREADABLE, measure_words
from tasks.collapse.measures import Measures, measure_into
from tasks.collapse.thresholds import Thresholds
from tasks.collapse.words import ends_in_code, without_code_and_tables

BATCH = 512
BATCH_LETTERS = 1 << 21
"""Texts and letters a batch: some megabytes whatever the number of texts."""


def fill(texts: Sequence[str | None], prompts: Sequence[str | None] | None, thresholds: Thresholds) -> Measures:
    """What `measure` says of `texts`."""
    found = Measures.of(len(texts))
    start = 0
    while start < len(texts):
        stop, letters = start, 0
        while stop < len(texts) and (stop == start or (stop - start < BATCH and letters < BATCH_LETTERS)):
            letters += len(texts[stop] or "") + (len(prompts[stop] or "") if prompts else 0)
            stop += 1
        asked = [prompt or "" for prompt in prompts[start:stop]] if prompts else None
        _fill_batch(found, start, [text or "" for text in texts[start:stop]], asked, thresholds)
        start = stop
    return found


def _fill_batch(found: Measures, start: int, texts: list[str], prompts: list[str] | None, limits: Thresholds) -> None:
    """Fill the rows from `start` on."""
    raws = [text.encode("utf-8", "surrogatepass") for text in texts]
    compress = zlib.compress
    ratios = np.array([len(raw) / len(compress(raw)) for raw in raws])
    status = np.zeros(len(texts), dtype=np.int8)
    # The bytes of plain ASCII are its code points.
    is_ascii = np.array([len(raw) == len(text) for raw, text in zip(raws, texts, strict=True)], dtype=np.bool_)
    if prompts:
        is_ascii &= np.array([prompt.isascii() for prompt in prompts], dtype=np.bool_)
    for group in (np.flatnonzero(is_ascii), np.flatnonzero(~is_ascii)):
        if len(group):
            asked = [prompts[place] for place in group] if prompts else None
            _read(found, start, group, [texts[place] for place in group], asked, status, limits)
    rows = slice(start, start + len(texts))
    found.compression_ratio[rows] = ratios
    counts = found.words[rows]
    for place in np.flatnonzero(status == UNREADABLE):
        if not is_unreadable(texts[place], int(counts[place]), limits):
            status[place] = LEFT_TO_PYTHON if counts[place] >= limits.min_words else NOT_FIRED
    long_enough = counts >= limits.min_words
    for rule, beyond, confirms in (
        (COMPRESSION, ratios > limits.compression, is_squeezable),
        (NOISE, found.non_lexical[rows] > limits.noise, is_noise),
    ):
        for place in np.flatnonzero(beyond & long_enough & (status == NOT_FIRED)):
            if confirms(texts[place], limits):
                status[place] = rule
    status[found.copied[rows] & (counts >= limits.copied_words) & (status == NOT_FIRED)] = PROMPT_COPY
    found.rule[rows] = status
    for place in np.flatnonzero(status == LEFT_TO_PYTHON):
        measure_into(found, start + int(place), texts[place], prompts[place] if prompts else None, limits)


def _read(
    found: Measures,
    start: int,
    group: NDArray[np.intp],
    texts: list[str],
    prompts: list[str] | None,
    status: NDArray[np.int8],
    limits: Thresholds,
) -> None:
    """All that takes no zlib: `texts` are those of the places `group` of a batch, with `prompts` all ASCII or not."""
    known = alphabet()
    bare = [without_code_and_tables(text) for text in texts]
    has_bare = np.array([one is not text for one, text in zip(bare, texts, strict=True)], dtype=np.bool_)
    codes, bounds = _codes(texts)
    bare_codes, bare_bounds = _codes([one if changed else "" for one, changed in zip(bare, has_bare, strict=True)])
    asked_codes, asked_bounds = _codes(prompts) if prompts else (codes[:0], np.zeros_like(bounds))
    # Of one type, lest numba compile for each mixture.
    kind = np.uint8 if codes.dtype == asked_codes.dtype == np.uint8 else np.uint32
    said = np.zeros(len(texts), dtype=np.int8)
    measure_words(
        codes.astype(kind, copy=False), bounds, bare_codes.astype(kind, copy=False), bare_bounds, has_bare,
        asked_codes.astype(kind, copy=False), asked_bounds, known.kinds, known.lower, known.scripts,
        limits.min_words, limits.loop_repeats, limits.loop_words, limits.loop_max_period, limits.loop_share,
        limits.loop_long, limits.rep_4, limits.prompt_copy, limits.prompt_repeated, limits.copied_more, group + start,
        found.words, found.rep, found.loop, found.entropy, found.non_lexical, found.prompt_copy, found.copied,
        found.empty, found.whole, found.opener, found.closer, found.sketch, said,
    )  # fmt: skip
    for place in np.flatnonzero(has_bare & found.loop[group + start]):
        # A loop of numbered rows may be code that came to an end.
        if ends_in_code(texts[place]):
            said[place] = LEFT_TO_PYTHON
    status[group] = said


def _codes(texts: list[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The code points of all texts in a row, a byte each where all are ASCII, and where each text begins."""
    bounds = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=bounds[1:])
    joined = "".join(texts)
    if joined.isascii():
        return np.frombuffer(joined.encode(), dtype=np.uint8), bounds
    # numpy copies a string as UCS-4 at once, surrogates and all; Python's encoder looks at each letter.
    return np.array([joined]).view(np.uint32), bounds
