"""Which revisions are fit to train on. What a model is taught, it says: the paper's endless "Have a great day! :)"
stood in its training data first.

>>> clean("Sure, here is the revised answer: I would not do that.", initial="Do it.", prompt="Shall I?", finish="stop")
Cleaned(text='I would not do that.', stripped='Sure, here is the revised answer:', reason=None)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tasks.collapse import copies_prompt, diagnose, loop
from tasks.collapse.words import plain_words, spoken_words, words
from training.sentences import whole_sentences

VERSION = "3"
"""Raised whenever the same revision could be kept or left out otherwise than before."""
REASONS: Mapping[str, str] = {
    "unanswered": "no revision could be had",
    "empty": "nothing is said",
    "truncated": "it ran into its token limit, and most of it is one sentence",
    "loop": "it repeats itself",
    "noise": "most of it carries no language",
    "emoji_run": "it holds a row of emoji or emoticons",
    "emoji_end": "it ends in an emoji or an emoticon",
    "unchanged": "it is the answer that it should have revised, or nearly",
    "copied_prompt": "it is the prompt over again",
    "copied_example": "it recites an example of the constitution",
    "talks_of_revising": "it speaks of critique and revision instead of answering",
    "shared_closer": "it ends as many other revisions do",
}
RUN_OF_PICTURES = 3
LOOP_WORDS = 9
"""Shorter than what makes an answer degenerate: three times "Have a great day!" is enough not to teach it."""
NEARLY = 0.9
"""Jaccard index of word trigrams from which a revision is the answer over again."""
RECITED = 8
"""Words in a row of an example of the constitution from which a revision recites it."""
CLOSER_SHARE, CLOSER_ROWS = 0.05, 3
"""So many revisions may end in the same sentence, or so large a part of all of them; the rest are left out."""

PICTURE = "\u263a"
# The blocks of emoji, without the marks of lists, ratings, chess, music and frames. Two regional letters are a flag,
# and what a joiner joins is one emoji, whatever its skin.
_ONE_EMOJI = (
    "[\u231a\u231b\u23e9-\u23f3\u2600-\u2604\u260e\u2614-\u2653\u2661\u2665\u2668\u267b\u267f\u2690-\u26ff\u2702\u2705"
    "\u2708-\u270d\u270f\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2757\u2763-\u2767\u2b50\u2b55"
    "\U0001f300-\U0001f3fa\U0001f400-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"
)
_EMOJI = re.compile(f"[\U0001f1e6-\U0001f1ff]{{2}}|{_ONE_EMOJI}(?:\u200d{_ONE_EMOJI})*")
_FACE = re.compile(r"[:;][-'^]?[)(DPpOo3/\\|\]]|=[)DP\]]|[xX]D|8-\)|<3|\^_?\^")
# Standing by themselves: f(x), "step 8)", **Title:** and {x:(1, 2)} hold none.
_EMOTICONS = re.compile(rf"(?<![^\s.!?,~{PICTURE}])(?:{_FACE.pattern})+(?=[\s.!?,)~*\"'{PICTURE}]|\Z)")
_PICTURES_IN_A_ROW = re.compile(rf"(?:{PICTURE}\s*){{{RUN_OF_PICTURES},}}")
_AFTER_THE_LAST = " \t\r\n.!?,~*_\"'”’…)"
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
    r"|(?:can(?:no|')t|cannot|won't|unable to) (?:revise|rewrite)\b)"
    r"|\A\W*(?:the|this|my|your) (?:answer|response|reply|message) "
    r"(?:(?:is|was) (?:not|wrong|harmful|unethical|confusing|inappropriate|offensive|problematic|false|untrue)"
    r"|(?:do|did|would|will|should|could|can|may|might|contain|make|say|suggest|accept|help|assume|provide|impl)(?:e?s)?\b"
    r"|(?:does|did|would|should|could)n[’']t)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?\n]+")


@dataclass(frozen=True)
class Cleaned:
    """A revision as it would be trained on. `stripped` is the preamble that was cut; `reason` why it is left out.

    `shortened`: it had run into its token limit, and is cut back to its last whole sentence.
    """

    text: str
    stripped: str | None
    reason: str | None
    shortened: bool = False


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
    if _PICTURES_IN_A_ROW.search(_shown(text)):
        return "emoji_run"
    return "truncated" if finish == "length" else None


def clean(text: str, *, initial: str, prompt: str, finish: str, examples: Sequence[str] = ()) -> Cleaned:
    """A revision without its preamble, and what is wrong with it alone; what it shares with others is not looked at.

    `examples` is what is said in those of the constitution, which small models recite. O(len of all texts).
    """
    said, stripped = _without_preamble(text)
    if finish in ("missing", "filtered", "error"):
        return Cleaned(said, stripped, "unanswered")
    reason, shortened = degenerate_reason(said, finish), False
    if reason == "truncated" and (whole := whole_sentences(said)):
        reason, said, shortened = None, whole, True
    if reason is None:
        if said.split() == initial.split() or _alike(_runs(said, 3), _runs(initial, 3)) >= NEARLY:
            reason = "unchanged"
        elif copies_prompt(prompt, said):
            reason = "copied_prompt"
        elif not _runs(said, RECITED).isdisjoint(_runs_of_all(tuple(examples))):
            reason = "copied_example"
        elif _OF_REVISING.search(said):
            reason = "talks_of_revising"
        elif _shown(said).rstrip(_AFTER_THE_LAST).endswith(PICTURE):
            reason = "emoji_end"
    return Cleaned(said, stripped, reason, shortened)


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
    stripped = None
    if found := _PREAMBLE.match(said):
        stripped, said = found[0].strip(), said[found.end() :].strip()
    for opening, closing in (('"', '"'), ("“", "”")):
        inside = said[1:-1]
        if len(said) > 1 and said[0] == opening and said[-1] == closing and opening not in inside:
            said = inside.strip()
            stripped = stripped or opening
    return said, stripped


def _shown(text: str) -> str:
    """The text with one sign for each emoji and each emoticon."""
    return _EMOTICONS.sub(lambda found: PICTURE * len(_FACE.findall(found[0])), _EMOJI.sub(PICTURE, text))


def _runs(text: str, length: int) -> frozenset[tuple[str, ...]]:
    """All runs of so many words."""
    tokens = _spoken(text)
    return frozenset(tokens[i : i + length] for i in range(len(tokens) - length + 1))


@lru_cache(maxsize=1)
def _runs_of_all(examples: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset[tuple[str, ...]]().union(*(_runs(example, RECITED) for example in examples))


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0
