"""Sentences of a methods paragraph: plain text with citations in it, not yet LaTeX.

Text may come from runs, and is escaped by whoever writes it down. A citation is a thing of its own and never read from
text, so no name can cite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reports.provenance import SHORT


class Cite:
    """Works cited at this place, by their keys in `reports.bibliography`."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys


Sentence = Sequence[str | Cite]


def cited(sentences: Iterable[Sentence]) -> set[str]:
    """The keys of all works that some sentences cite."""
    return {key for sentence in sentences for part in sentence if isinstance(part, Cite) for key in part.keys}


def told(by_run: Mapping[str, str]) -> str:
    """What is said of all runs once, or else of whom: `n = 80 (sft); n = 78 (dpo)`."""
    runs_of: dict[str, list[str]] = {}
    for name, text in by_run.items():
        runs_of.setdefault(text, []).append(name)
    if len(runs_of) == 1:
        return next(iter(runs_of))
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in runs_of.items())


def listed(parts: Sequence[str]) -> str:
    """`a; b; and c`"""
    return "; ".join([*parts[:-1], f"and {parts[-1]}"]) if len(parts) > 1 else "".join(parts)


def in_words(parts: Sequence[str]) -> str:
    """`a, b and c`"""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def short_hash(text: object) -> str:
    return f"{str(text)[:SHORT]}"
