"""The loop at the end of a text: exact, and in linear time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Loop:
    """A stretch up to the end of a token list that repeats its first `period` tokens, the last time perhaps in part."""

    start: int
    period: int
    repeats: int
    share: float
    """Part of all tokens that the loop covers."""


def loop(
    tokens: Sequence[Hashable], *, min_repeats: int = 3, min_tokens: int = 12, max_period: int = 256
) -> Loop | None:
    """The longest suffix that consists of at least `min_repeats` whole periods and has at least `min_tokens`.

    The prefix function pi (Knuth, Morris, Pratt 1977) of the reversed list gives the smallest period of the suffix of
    length L as L - pi[L]. Exact for every list; a last period that was cut short needs no care. O(len(tokens)) time and
    memory whatever the tokens.
    """
    if len(tokens) < min_tokens or tokens.count(tokens[-1]) < min_repeats:
        return None
    turned = tokens[::-1]
    borders = [0] * (len(turned) + 1)
    length = period = border = 0
    for end in range(1, len(turned)):
        token = turned[end]
        while border and turned[border] != token:
            border = borders[border]
        if turned[border] == token:
            border += 1
        borders[end + 1] = border
        size = end + 1
        smallest = size - border
        if smallest * min_repeats <= size and size >= min_tokens and smallest <= max_period:
            length, period = size, smallest
    if not length:
        return None
    return Loop(len(tokens) - length, period, length // period, length / len(tokens))
