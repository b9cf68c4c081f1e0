"""Which pairs of answers are fit to train on, and the reason for each that is not; every one of them is counted.

A judge's bare majority teaches its noise, and a pair of which one answer is several times the other's length teaches
length (Singhal et al. 2023). Neither is asked of a pair whose *rejected* answer is degenerate: that it runs on to the
token limit, or says nothing, is the very fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tasks.collapse import words
from tasks.errors import BadInput

Reason = Literal[
    "equal", "both_degenerate", "degenerate_chosen", "truncated", "unjudged", "tie", "margin", "length",
    "smaller_margin",
]  # fmt: skip
ADVICE: Mapping[str, str] = {
    "equal": "raise preferences.temperature, so that samples differ",
    "both_degenerate": "the SFT-CAI model has collapsed: look at its monitor and its data",
    "degenerate_chosen": "clean the revisions (critiques.hygiene = true)",
    "truncated": "raise preferences.max_new_tokens, since no answer that was cut off is taught as the better one",
    "unjudged": "choose another preferences.judge, which reads the request and names a letter",
    "tie": "choose a stronger preferences.judge: this one prefers a place, whichever answer stands there",
    "margin": "lower preferences.min_margin, or choose a stronger preferences.judge",
    "length": "raise preferences.max_length_ratio",
}
"""What helps where a reason left out the most."""
ROUNDING = 1e-9


def unfit(chosen: str, rejected: str, p: float, min_margin: float, max_length_ratio: float) -> Reason | None:
    """Why a pair of readable answers is left out, or None. `p` is P(chosen is better), from 0.5 to 1.

    A tie is left out even where `min_margin` is 0: neither of its answers is the chosen one.
    """
    if p - 0.5 <= ROUNDING:
        return "tie"
    if p - 0.5 < min_margin - ROUNDING:
        return "margin"
    if length_ratio(chosen, rejected) > max_length_ratio + ROUNDING:
        return "length"
    return None


def length_ratio(one: str, other: str) -> float:
    """Words of the longer text for each of the shorter's, at least 1; one without words counts as one of one word."""
    counts = sorted(max(1, len(words(text))) for text in (one, other))
    return counts[1] / counts[0]


def reasons_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows were left out for each reason, the commonest first."""
    return dict(Counter(row["reason"] for row in rows if not row["kept"]).most_common())


def refuse_if_empty(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises BadInput, with the count of every reason, where no pair is left to train on."""
    rows = list(rows)
    if any(row["kept"] for row in rows):
        return
    reasons = reasons_of(rows)
    if not reasons:
        raise BadInput("no preferences: no prompt has two answers to compare; look at data/samples.jsonl")
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    advice = next((ADVICE[reason] for reason in reasons if reason in ADVICE), "")
    raise BadInput(f"all {len(rows)} preference pairs were left out ({told}): {advice}")
