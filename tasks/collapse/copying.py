"""What an answer takes from its prompt."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from tasks.collapse.repetition import ngrams
from tasks.collapse.thresholds import DEFAULTS, Thresholds
from tasks.collapse.words import spoken_words, words

RUN = 4
"""Words in a row that are no accident."""


def prompt_copy(prompt: str | None, reply: str | None, run: int = RUN) -> float:
    """Share of the words of `reply` that lie in runs of `run` or more words copied from `prompt`.

    Range [0, 1]; marks and case do not count. Words that are the prompt's own only by ones and twos are no copy, unless
    the prompt is shorter than a run and is all copied. O(len(prompt) + len(reply)).
    """
    return share_copied(spoken_words(words(prompt)), spoken_words(words(reply)), run)


def copies_prompt(prompt: str, text: str, thresholds: Thresholds = DEFAULTS) -> bool:
    """`text` is nothing but its prompt, or most of it. A few words of the prompt may well be the answer.

    So may all of it but the instruction ("Which sentences of this abstract…"): see `repeats_prompt`.
    """
    return prompt_copy(prompt, text) >= thresholds.prompt_copy and prompt_copy(text, prompt) >= thresholds.prompt_copied


def repeats_prompt(prompt: str | None, text: str | None, thresholds: Thresholds = DEFAULTS) -> bool:
    """`text` says its whole prompt over again, and hardly a word more: whatever was asked, that is no answer to it.

    What `text` leaves out tells it from an answer that quotes ("Correct the grammar: …", "Which sentences of this
    abstract…"): those have all of the prompt but the instruction, which stands at its start or its end.
    O(len(prompt) + len(text)).
    """
    return repeats(spoken_words(words(prompt)), spoken_words(words(text)), thresholds)


def repeats(asked: Sequence[str], said: Sequence[str], limits: Thresholds) -> bool:
    """`repeats_prompt` of spoken words."""
    in_text = _copied(asked, said, RUN)
    added = in_text.count(False)
    # "Hello!" is a fair answer to "Hello!".
    if len(asked) < RUN or added > min(limits.copied_more, (1 - limits.prompt_copy) * len(said)):
        return False
    in_prompt = _copied(said, asked, RUN)
    # What is added behind the copy, be it a word, may be the answer.
    return (
        bool(said)
        and in_text[-1]
        and in_prompt[0]
        and in_prompt[-1]
        and sum(in_prompt) / len(asked) >= limits.prompt_repeated
    )


def share_copied(asked: Sequence[Hashable], said: Sequence[Hashable], run: int = RUN) -> float:
    """`prompt_copy` of spoken words."""
    return sum(_copied(asked, said, run)) / len(said) if said else 0.0


def _copied(source: Sequence[Hashable], tokens: Sequence[Hashable], run: int) -> list[bool]:
    """Which of `tokens` lie in a run of `run` tokens of `source`, or in all of a `source` that is shorter."""
    copied = [False] * len(tokens)
    run = min(run, len(source))
    if run and len(tokens) >= run:
        known = set(ngrams(source, run))
        for start, gram in enumerate(ngrams(tokens, run)):
            if gram in known:
                copied[start : start + run] = [True] * run
    return copied
