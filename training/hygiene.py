"""Which revisions are fit to train on. What a model is taught, it says: the paper's endless "Have a great day! :)"
stood in its training data first.

>>> clean("Sure, here is the revised answer: I would not do that.", initial="Do it.", prompt="Shall I?", finish="stop")
Cleaned(text='I would not do that.', stripped='Sure, here is the revised answer:', reason=None)
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.collapse import copies_prompt, diagnose, loop
from tasks.collapse.words import plain_words, spoken_words, words

VERSION = "1"
"""Raised whenever the same revision could be kept or left out otherwise than before."""
REASONS: Mapping[str, str] = {
    "unanswered": "no revision could be had",
    "empty": "nothing is said",
    "truncated": "it ran into its token limit",
    "loop": "it repeats itself",
    "noise": "most of it carries no language",
    "emoji_run": "it holds a row of emoji or emoticons",
    "emoji_end": "it ends in an emoji or an emoticon",
    "unchanged": "it is the answer that it should have revised, or nearly",
    "copied_prompt": "it is the prompt over again",
    "copied_example": "it is an example of the constitution over again",
    "talks_of_revising": "it speaks of critique and revision instead of answering",
    "shared_closer": "it ends as many other revisions do",
}
RUN_OF_PICTURES = 3
LOOP_WORDS = 9
"""Shorter than what makes an answer degenerate: three times "Have a great day!" is enough not to teach it."""
NEARLY = 0.9
"""Jaccard index of word trigrams from which a revision is the answer over again."""
EXAMPLE = 0.6
CLOSER_SHARE, CLOSER_ROWS = 0.05, 3
"""So many revisions may end in the same sentence, or so large a part of all of them; the rest are left out."""

_EMOTICON = re.compile(r"(?<!\w)(?:[:;=8xX][-'^]?[)(DPpOo3/\\|*\]]|<3|\^_?\^)(?![\w/])")
_PREAMBLE = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|yes|great)\b[^\n:]{0,40}?[,.!]?\s+)?"
    r"(?:(?:here(?:'s|’s| is| are)|this is|below is|the following is)\b(?:"
    r"[^\n:]{0,60}?\b(?:(?:revis|rewrit|rewrot|rephras)\w*|(?:updated|improved|edited|corrected|new|better|safer?|harmless)"
    r" (?:\w+ )?(?:version|answer|response|reply|text|message))\b[^\n:]{0,60}"
    r"| (?:the|my|an?) (?:answer|response|reply|version))"
    r"|(?:my |the |a )?(?:revised|rewritten|improved|updated|edited|final)(?: and \w+)? "
    r"(?:answer|response|version|reply|text)\b[^\n:]{0,40}|revision|rewrite)\s*:[*_]*\s*",
    re.IGNORECASE,
)
_OF_REVISING = re.compile(
    r"\b(?:critique ?request|revision ?request|critique:|revision:"
    r"|(?:my|the|this|your) (?:last|previous|original) (?:answer|response)\b"
    r"|the (?:revised|rewritten) (?:answer|response|version)\b|(?:no|nothing) (?:changes?|revisions?|to revise)\b"
    r"|(?:can(?:no|')t|cannot|won't|unable to) (?:revise|rewrite)\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?\n]+")


@dataclass(frozen=True)
class Cleaned:
    """A revision as it would be trained on. `stripped` is the preamble that was cut; `reason` why it is left out."""

    text: str
    stripped: str | None
    reason: str | None


def degenerate_reason(text: str, finish: str) -> str | None:
    """Why nobody should be taught this text, whatever it answers: a key of REASONS, or None.

    `finish` "length" is a text that was cut; pass "stop" where that does not matter. O(len(text)).
    """
    found = diagnose(text)
    if found.empty:
        return "empty"
    if found.degenerate:
        return "noise" if found.rule in ("noise", "nothing readable") else "loop"
    tokens = plain_words(words(text))
    if loop(tokens, min_repeats=3, min_tokens=LOOP_WORDS):
        return "loop"
    if _longest_run_of_pictures(text) >= RUN_OF_PICTURES:
        return "emoji_run"
    return "truncated" if finish == "length" else None


def clean(text: str, *, initial: str, prompt: str, finish: str, examples: Sequence[str] = ()) -> Cleaned:
    """A revision without its preamble, and what is wrong with it alone; what it shares with others is not looked at.

    `examples` are revisions of the constitution, which small models recite. O(len of all texts).
    """
    said, stripped = _without_preamble(text)
    if finish in ("missing", "filtered", "error"):
        return Cleaned(said, stripped, "unanswered")
    reason = degenerate_reason(said, finish)
    if reason is None:
        grams = _trigrams(said)
        if said.split() == initial.split() or _alike(grams, _trigrams(initial)) >= NEARLY:
            reason = "unchanged"
        elif copies_prompt(prompt, said):
            reason = "copied_prompt"
        elif any(_alike(grams, _trigrams(example)) >= EXAMPLE for example in examples):
            reason = "copied_example"
        elif _OF_REVISING.search(said):
            reason = "talks_of_revising"
        elif _ends_in_picture(said):
            reason = "emoji_end"
    return Cleaned(said, stripped, reason)


def shared_closers(texts: Sequence[str]) -> list[bool]:
    """Which texts end as too many others do: in the same sentence, case, numbers and marks aside.

    The first texts with an ending are fit, up to CLOSER_ROWS of them or CLOSER_SHARE of all; the others are not. One
    refusal in fixed words may be taught, and not that every answer ends in them. A text of one sentence has no closer.
    """
    closers = [_closer(text) for text in texts]
    allowed = max(CLOSER_ROWS, round(CLOSER_SHARE * len(texts)))
    seen: Counter[tuple[str, ...]] = Counter()
    beyond = []
    for closer in closers:
        if closer:
            seen[closer] += 1
        beyond.append(bool(closer) and seen[closer] > allowed)
    return beyond


def _closer(text: str) -> tuple[str, ...]:
    sentences = [spoken for part in _SENTENCE.split(text) if (spoken := _spoken(part))]
    return sentences[-1] if len(sentences) > 1 else ()


def _spoken(text: str) -> tuple[str, ...]:
    return tuple(spoken_words(plain_words(words(text))))


def _without_preamble(text: str) -> tuple[str, str | None]:
    """The text behind "Sure, here is the revised answer:", and out of the quotation marks round all of it."""
    said = text.strip()
    found = _PREAMBLE.match(said)
    stripped = found[0].strip() if found and found.end() < len(said) else None
    if stripped and found:
        said = said[found.end() :].strip()
    for opening, closing in (('"', '"'), ("“", "”")):
        inside = said[1:-1]
        if len(said) > 1 and said[0] == opening and said[-1] == closing and opening not in inside:
            said = inside.strip()
            stripped = stripped or opening
    return said, stripped


def _is_picture(letter: str) -> bool:
    return unicodedata.category(letter) == "So" and letter not in "©®°™"


def _longest_run_of_pictures(text: str) -> int:
    """Emoji and emoticons in a row, whatever white space and joiners stand between them."""
    longest = run = 0
    for letter in _EMOTICON.sub("\u263a", text):
        if _is_picture(letter):
            run += 1
            longest = max(longest, run)
        elif not (letter.isspace() or unicodedata.category(letter) in ("Cf", "Mn", "Sk")):
            run = 0
    return longest


def _ends_in_picture(text: str) -> bool:
    shown = _EMOTICON.sub("\u263a", text).rstrip()
    while shown and unicodedata.category(shown[-1]) in ("Cf", "Mn", "Sk", "Po"):
        shown = shown[:-1]
    return bool(shown) and _is_picture(shown[-1])


def _trigrams(text: str) -> frozenset[tuple[str, ...]]:
    tokens = _spoken(text)
    return frozenset(tokens[i : i + 3] for i in range(len(tokens) - 2))


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0
