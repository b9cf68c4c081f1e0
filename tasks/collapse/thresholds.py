"""Where readable ends: the limits beyond which an answer counts as degenerate, in one place."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "2"
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
    noise: float = 0.5
    """Share of the characters that carry no language."""
    prompt_copy: float = 0.9
    """Share of an answer copied from its prompt, from which it is nothing but a copy…"""
    prompt_copied: float = 0.5
    """…if at the same time it repeats so much of the prompt: a few words of it may well be the answer."""
    prompt_repeated: float = 0.95
    """It is the prompt over again if it repeats so much of it, its first and last words among that…"""
    copied_more: int = 3
    """…and puts at most so many words of its own before or between them ("Question:"), none behind."""
    copied_words: int = 32
    """Words from which such a copy is degenerate in the figures of collapse; judges of outcomes go by no length."""
    says_something: int = 20
    """Words that the readable part of a degenerate answer must have to be judged in its place."""


DEFAULTS = Thresholds()


@dataclass(frozen=True)
class VerdictThresholds:
    """Limits of a model. Shares are of answers; `tasks/collapse/verdict.py` says how their intervals are held to them.

    From 40 models on AlpacaEval: 0-0.5 % of a strong model's answers are degenerate, 3-7 % of a weak one's. Openers of
    healthy models reach 3 %, closers 1 %; corpus compression lies at 2.4-2.6, bigram entropy at 12.5-13.2 bits.
    """

    least_answers: int = 10
    """Below, nothing is judged."""
    degenerate: float = 0.05
    degenerate_warning: float = 0.02
    degenerate_healthy: float = 0.01
    shared: float = 0.2
    """Answers (nearly) equal to another prompt's, or with the commonest ending."""
    shared_words: int = 12
    """Shorter answers are rightly alike ("No.", or a refusal in ten words) and are no boilerplate by themselves…"""
    constant: float = 0.5
    """…unless more than this share of all prompts get one and the same."""
    near: float = 0.8
    """Jaccard index of word trigrams from which two answers are nearly equal."""
    edge_warning: float = 0.1
    compression_most: float = 2.87
    """Corpus compression and bigram entropy at the reference budget: 0.25 above the healthy band, 0.7 bit below it."""
    entropy_least: float = 11.8
    diversity: float = 0.5
    diversity_surely: float = 0.75
    quality: float = 2.0
    quality_warning: float = 0.5
    truncated: float = 0.1


VERDICTS = VerdictThresholds()
