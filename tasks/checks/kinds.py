"""The kinds of checks: which keys each takes, and how it is decided from what was said.

`KINDS` at the end is the table of them; a decider gets the keys as read, and a reply that says something.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from tasks.checks import keys
from tasks.checks.numeric_answer import claimed_answer, numeric_answer
from tasks.checks.reply import Reply, mentions, plain

Args = Mapping[str, Any]


class Finding(NamedTuple):
    """What a check found, and why in a short phrase that reads after "the reply"."""

    passed: bool
    reason: str


@dataclass(frozen=True)
class Said:
    """A reply, the replies before it in the same conversation, and the user's messages up to it."""

    reply: Reply
    earlier: tuple[Reply, ...] = ()
    prompts: tuple[str, ...] = ()

    @classmethod
    def of(cls, reply: str, earlier: Sequence[str] = (), prompts: Sequence[str] = ()) -> Said:
        return cls(Reply(reply), tuple(map(Reply, earlier)), tuple(prompts))

    @cached_property
    def nothing(self) -> str | None:
        """Why the reply says nothing, or None if it says something."""
        if not self.reply.text.strip():
            return "is empty"
        if not self.reply.words:
            return "holds no words"
        if self.reply.is_loop:
            return "repeats one passage on end"
        if any(self.reply.copies(prompt) for prompt in self.prompts):
            return "only copies the user's message"
        return None


@dataclass(frozen=True)
class Kind:
    """How checks of one kind are read and decided. `vet` refuses what its keys allow one by one but not together."""

    decide: Callable[[Args, Said], Finding]
    required: Mapping[str, keys.Reader] = field(default_factory=dict)
    optional: Mapping[str, keys.Reader] = field(default_factory=dict)
    vet: Callable[[Args], None] = lambda _: None
    asks: Callable[[Args], bool] = lambda _: True

    @property
    def keys(self) -> dict[str, keys.Reader]:
        return {**self.required, **self.optional}


def _quoted(text: str, most: int = 40) -> str:
    text = " ".join(text[: most + 1].encode("utf-8", "replace").decode().split())
    return f"“{text if len(text) <= most else text[:most] + '…'}”"


def _is(passed: bool, good: str, bad: str) -> Finding:
    return Finding(passed, good if passed else bad)


_EDGES = " \t\r\n\"'“”‘’«»*_`#>()[]"


def _bare(text: str) -> str:
    """An answer as compared: without the quotes, emphasis and full stop around it."""
    return plain(text.strip(_EDGES).rstrip(".!" + _EDGES))


def _exact(args: Args, said: Said) -> Finding:
    return _is(
        _bare(said.reply.text) in map(_bare, args["values"]),
        "is the wanted answer",
        f"is not {_quoted(args['values'][0])}",
    )


def _answer(args: Args, said: Said) -> Finding:
    claim = claimed_answer(said.reply.text)
    if claim is None:
        lines = said.reply.lines()
        claim = lines[0] if len(lines) == 1 else None
    if claim is None:
        return Finding(False, "marks no answer")
    return _is(
        _bare(claim) in map(_bare, args["values"]),
        "gives the right answer",
        f"answers {_quoted(claim)}, not {_quoted(args['values'][0])}",
    )


def _judge_number(value: float | None, wanted: float, tolerance: float) -> Finding:
    if value is None:
        return Finding(False, f"commits to no single number (wanted {wanted:g})")
    close = math.isclose(value, wanted, rel_tol=1e-9, abs_tol=tolerance)
    return _is(close, f"answers {value:g}", f"answers {value:g}, not {wanted:g}")


def _numeric(args: Args, said: Said) -> Finding:
    return _judge_number(numeric_answer(said.reply.text), args["value"], args.get("tolerance", 0.0))


def _number_from_turn(args: Args, said: Said) -> Finding:
    earlier = _turn(args, said)
    start = numeric_answer(earlier.text) if earlier else None
    if start is None:
        return Finding(False, f"has no number of turn {args['turn']} to start from")
    wanted = start * args.get("times", 1.0) + args.get("plus", 0.0)
    return _judge_number(numeric_answer(said.reply.text), wanted, args.get("tolerance", 0.0))


def _found(phrases: Sequence[str], text: str) -> list[str]:
    return [phrase for phrase in phrases if mentions(text, phrase) >= 0]


def _contains_all(args: Args, said: Said) -> Finding:
    missing = [choice[0] for choice in args["words"] if not _found(choice, said.reply.plain)]
    return _is(not missing, "has all wanted words", f"lacks {', '.join(map(_quoted, missing[:3]))}")


def _contains_any(args: Args, said: Said) -> Finding:
    least = args.get("min", 1)
    found = _found(args["words"], said.reply.plain)
    return _is(
        len(found) >= least, f"has {len(found)} of the wanted words", f"has {len(found)} of {least} wanted words"
    )


def _forbids(args: Args, said: Said) -> Finding:
    found = _found(args["words"], said.reply.plain)
    return _is(not found, "avoids the forbidden words", f"has the forbidden {', '.join(map(_quoted, found[:3]))}")


def _in_order(args: Args, said: Said) -> Finding:
    places = [max(mentions(said.reply.plain, phrase) for phrase in choice) for choice in args["words"]]
    if -1 in places:
        return Finding(False, f"lacks {_quoted(args['words'][places.index(-1)][0])}")
    return _is(places == sorted(set(places)), "has the right order", "has another order")


def _avoids_letters(args: Args, said: Said) -> Finding:
    found = sorted(set(args["letters"].casefold()) & set(said.reply.text.casefold()))
    return _is(not found, f"avoids {args['letters']}", f"uses the letter {', '.join(found)}")


def _acrostic(args: Args, said: Said) -> Finding:
    initials = "".join(line.strip(_EDGES + "-•")[:1] for line in said.reply.lines()).casefold()
    return _is(
        initials == args["word"].casefold(),
        f"spells {_quoted(args['word'])}",
        f"has lines that spell {_quoted(initials)}",
    )


def _regex(args: Args, said: Said) -> Finding:
    matched = args["pattern"].search(said.reply.text[: keys.REGEX_READS])
    what = args.get("means", "the wanted pattern")
    return _is(matched is not None, f"has {what}", f"lacks {what}")


COUNTED: dict[str, Callable[[Reply], Sequence[str]]] = {
    "words": lambda reply: reply.words,
    "sentences": Reply.sentences,
    "lines": Reply.lines,
    "paragraphs": Reply.paragraphs,
    "bullets": Reply.bullets,
}


def _counts(what: str) -> Kind:
    def decide(args: Args, said: Said) -> Finding:
        parts = said.reply.bullets(args["marker"]) if "marker" in args else COUNTED[what](said.reply)
        # What is said twice counts once towards a minimum; words do repeat.
        distinct = len(parts) if what == "words" else len(set(map(plain, parts)))
        least, most = args.get("min", 0), args.get("max", math.inf)
        wanted = f"{least}" if least == most else f"at least {least}" if most == math.inf else f"{least or 'at most'}"
        wanted += f"{'–' if least else ' '}{most}" if least != most and most != math.inf else ""
        if distinct < least <= len(parts):
            return Finding(False, f"has only {distinct} different {what} ({wanted} wanted)")
        return _is(distinct >= least and len(parts) <= most, f"has {len(parts)} {what}",
                   f"has {len(parts)} {what} ({wanted} wanted)")  # fmt: skip

    optional: dict[str, keys.Reader] = {"min": keys.count, "max": keys.count}
    if what == "bullets":
        optional["marker"] = keys.one_of("any", "bullet", "number")
    return Kind(decide, optional=optional, vet=_vet_bounds, asks=lambda args: args.get("min", 1) > 1)


def _vet_bounds(args: Args) -> None:
    if "min" not in args and "max" not in args:
        raise ValueError("needs 'min' or 'max', or both")
    if args.get("min", 0) > args.get("max", math.inf):
        raise ValueError(f"has min {args['min']} above max {args['max']}, so it can never pass")
    if args.get("min") == 1 and "max" not in args and "marker" not in args:
        # Any reply that says something has one word, line, sentence and paragraph; a bullet it may lack.
        raise ValueError("only wants 1, which every reply has")


def _json(args: Args, said: Said) -> Finding:
    try:
        value = said.reply.json(only=args.get("only", False))
    except ValueError as error:
        return Finding(False, str(error))
    if (rows := args.get("rows")) is not None:
        if not isinstance(value, list) or len(value) != rows:
            return Finding(False, f"is not a JSON list of {rows}")
        objects = value
    else:
        objects = [value]
    for entry in objects:
        if not isinstance(entry, dict):
            return Finding(False, "is JSON of another shape")
        wanted = (*args.get("keys", ()), *args.get("values", ()))
        if missing := [key for key in wanted if key not in entry]:
            return Finding(False, f"is JSON without the key {_quoted(missing[0])}")
        for key, right in args.get("values", {}).items():
            if not _same(entry[key], right):
                return Finding(False, f"is JSON with a wrong value for {_quoted(key)}")
        if extra := set(entry) - set(wanted) if args.get("exact") else None:
            return Finding(False, f"is JSON with the unasked key {_quoted(min(extra))}")
    return Finding(True, "is the wanted JSON")


def _same(ours: Any, right: Any) -> bool:
    """Equality of JSON values; texts by what a reader sees, and true is not 1."""
    if isinstance(ours, str) and isinstance(right, str):
        return _bare(ours) == _bare(right)
    if isinstance(ours, list) and isinstance(right, list):
        return len(ours) == len(right) and all(map(_same, ours, right))
    if isinstance(ours, dict) and isinstance(right, dict):
        return ours.keys() == right.keys() and all(_same(ours[key], right[key]) for key in right)
    return isinstance(ours, bool) == isinstance(right, bool) and bool(ours == right)


def _vet_json(args: Args) -> None:
    if not args.keys() & {"keys", "values", "rows"}:
        raise ValueError("needs 'keys', 'values' or 'rows'")


def _starts_with(args: Args, said: Said) -> Finding:
    text = plain(said.reply.text[:2000].lstrip(_EDGES))
    found = any(text.startswith(start.rstrip("*")) and mentions(text, start) == 0 for start in args["text"])
    return _is(found, "begins as asked", f"begins {_quoted(text)}")


def _ends_with(args: Args, said: Said) -> Finding:
    text = plain(said.reply.text.rstrip(_EDGES)[-2000:])
    ends = (text, text.rstrip(".!?…。 "))
    found = any(end.endswith(w) and mentions(end[-len(w) - 1 :], w) >= 0 for w in args["text"] for end in ends)
    return _is(found, "ends as asked", f"ends {_quoted(text[-40:])}")


LANGUAGE_LETTERS = 40
"""Letters from which on a language can be told (fewer for scripts whose letters are words)."""


def _language(args: Args, said: Said) -> Finding:
    text = said.reply.text[:5000].encode("utf-8", "replace").decode()
    letters = sum(4 if char > "\u2fff" else 1 for char in text if char.isalpha())
    if letters < LANGUAGE_LETTERS:
        return Finding(False, "is too short to tell its language")
    code, _ = importlib.import_module("py3langid").classify(text)
    return _is(code in args["code"], f"is written in {code!r}", f"is written in {code!r}, not {args['code'][0]!r}")


def _case(args: Args, said: Said) -> Finding:
    cased = [char for char in said.reply.text if char.isupper() or char.islower()]
    wrong = sum(char.islower() if args["case"] == "upper" else char.isupper() for char in cased)
    if len(cased) < 5:
        return Finding(False, "is too short to tell its case")
    return _is(not wrong, f"is all {args['case']} case", f"has {wrong} letters that are not {args['case']} case")


def _python(_: Args, __: Said) -> Finding:
    raise ValueError("a check of the kind 'python' is decided by a judge that can run code")


def _turn(args: Args, said: Said) -> Reply | None:
    """The earlier reply that a check names, if it says something."""
    reply = said.earlier[args["turn"] - 1] if args["turn"] <= len(said.earlier) else None
    return reply if reply and not Said(reply).nothing else None


def _compared(holds: Callable[[int, int, float], bool], words: str) -> Callable[[Args, Said], Finding]:
    def decide(args: Args, said: Said) -> Finding:
        if (earlier := _turn(args, said)) is None:
            return Finding(False, f"has no reply of turn {args['turn']} to compare with")
        ours, theirs = len(said.reply.words), len(earlier.words)
        return Finding(holds(ours, theirs, args.get("factor", 1.0)), f"has {ours} words, turn {args['turn']} {theirs}"
                       f" ({words} wanted)")  # fmt: skip

    return decide


def _triples(reply: Reply) -> set[tuple[str, ...]]:
    return set(zip(reply.words, reply.words[1:], reply.words[2:], strict=False)) or {reply.words}


def _differs_from_turn(args: Args, said: Said) -> Finding:
    if (earlier := _turn(args, said)) is None:
        return Finding(False, f"has no reply of turn {args['turn']} to compare with")
    ours, theirs = _triples(said.reply), _triples(earlier)
    shared = len(ours & theirs) / len(ours)
    most = args.get("most", 0.8)
    return _is(shared <= most, f"differs from turn {args['turn']}", f"shares {shared:.0%} with turn {args['turn']}")


def _reuses_turn(args: Args, said: Said) -> Finding:
    if (earlier := _turn(args, said)) is None:
        return Finding(False, f"has no reply of turn {args['turn']} to take up")
    if said.reply.words == earlier.words:
        return Finding(False, f"only repeats turn {args['turn']}")
    shared = {word for word in set(earlier.words) & set(said.reply.words) if len(word) >= 5 or word > "\u2fff"}
    least = args.get("min", 1)
    return _is(len(shared) >= least, f"takes up {len(shared)} words of turn {args['turn']}",
               f"takes up {len(shared)} words of turn {args['turn']} ({least} wanted)")  # fmt: skip


def _count_from_turn(args: Args, said: Said) -> Finding:
    earlier = _turn(args, said)
    before = len(COUNTED[args["of"]](earlier)) if earlier else 0
    if not before:
        return Finding(False, f"has no {args['of']} of turn {args['turn']} to count from")
    ours, wanted = len(COUNTED[args["of"]](said.reply)), before + args.get("plus", 0)
    return _is(ours == wanted, f"has {ours} {args['of']}", f"has {ours} {args['of']} ({wanted} wanted)")


def _vet_any(args: Args) -> None:
    if args.get("min", 1) > len(set(args["words"])):
        raise ValueError(f"wants {args['min']} of {len(set(args['words']))} words, so it can never pass")


def _vet_order(args: Args) -> None:
    if len(args["words"]) < 2:
        raise ValueError("has a single phrase, which is always in order")


def _vet_factor(args: Args) -> None:
    if "most" in args and args["most"] >= 1:
        raise ValueError("has 'most' of 1 or more, so it can never fail")


_BEFORE: dict[str, keys.Reader] = {"turn": keys.count}

KINDS: dict[str, Kind] = {
    "exact": Kind(_exact, {"values": keys.texts}),
    "answer": Kind(_answer, {"values": keys.texts}),
    "number": Kind(_numeric, {"value": keys.number}, {"tolerance": keys.positive}),
    "contains_all": Kind(_contains_all, {"words": keys.choices}),
    "contains_any": Kind(_contains_any, {"words": keys.phrases}, {"min": keys.count}, _vet_any),
    "forbids": Kind(_forbids, {"words": keys.phrases}, asks=lambda _: False),
    "in_order": Kind(_in_order, {"words": keys.choices}, vet=_vet_order),
    "avoids_letters": Kind(_avoids_letters, {"letters": keys.text}, asks=lambda _: False),
    "acrostic": Kind(_acrostic, {"word": keys.text}),
    "regex": Kind(_regex, {"pattern": keys.pattern}, {"means": keys.text}),
    **{what: _counts(what) for what in COUNTED},
    "json": Kind(
        _json,
        {},
        {"keys": keys.texts, "values": keys.values, "rows": keys.count, "only": keys.flag, "exact": keys.flag},
        _vet_json,
    ),
    "starts_with": Kind(_starts_with, {"text": keys.phrases}),
    "ends_with": Kind(_ends_with, {"text": keys.phrases}),
    "language": Kind(_language, {"code": keys.languages}),
    "case": Kind(_case, {"case": keys.one_of("upper", "lower")}),
    "python": Kind(_python, {"name": keys.text, "tests": keys.asserts}),
    "number_from_turn": Kind(
        _number_from_turn, _BEFORE, {"times": keys.number, "plus": keys.number, "tolerance": keys.positive}
    ),
    "count_from_turn": Kind(_count_from_turn, {**_BEFORE, "of": keys.one_of(*COUNTED)}, {"plus": keys.whole}),
    "shorter_than_turn": Kind(
        _compared(lambda ours, theirs, factor: ours < factor * theirs, "fewer"),
        _BEFORE,
        {"factor": keys.positive},
        asks=lambda _: False,
    ),
    "longer_than_turn": Kind(
        _compared(lambda ours, theirs, factor: ours > factor * theirs, "more"), _BEFORE, {"factor": keys.positive}
    ),
    "differs_from_turn": Kind(_differs_from_turn, _BEFORE, {"most": keys.positive}, _vet_factor, asks=lambda _: False),
    "reuses_turn": Kind(_reuses_turn, _BEFORE, {"min": keys.count}),
}
