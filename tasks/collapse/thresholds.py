"""Where readable ends: the limits beyond which an answer counts as degenerate, in one place."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "1"
"""Raised whenever the same text could be found differently than before."""


@dataclass(frozen=True)
class Thresholds:
    """Limits of one answer.

    With the defaults less than 1 % of a healthy model's AlpacaEval answers are degenerate, 3-6 % of a weak one's.

    An answer of fewer than `min_words` is degenerate only where it is empty or nothing in it can be read: a short
    answer that repeats itself is often just what was asked.
    """

    min_words: int = 32
    loop_repeats: int = 3
    loop_words: int = 12
    loop_max_period: int = 256
    loop_share: float = 0.2
    loop_long: int = 64
    rep_4: float = 0.5
    compression: float = 5.0
    compression_bytes: int = 400
    prompt_copy: float = 0.9
    """Share of an answer copied from its prompt, from which it is nothing but a copy…"""
    prompt_copied: float = 0.5
    """…if at the same time it repeats so much of the prompt: a few words of it may well be the answer."""
    says_something: int = 20
    """Words that the readable part of a degenerate answer must have to be judged in its place."""


DEFAULTS = Thresholds()
