"""Checks: what a program can decide about a reply, and the deciding of it.

A check is one row of an item file, for example:

    {"kind": "sentences", "min": 3, "max": 3, "weight": 2}
    {"kind": "contains_any", "words": ["sugar*", "glucose"]}
    {"kind": "keeps", "turn": 1, "check": {"kind": "forbids", "words": ["very"]}}

A reply that says nothing passes no check, whatever the kind: it is empty, holds no word in any script, is one passage
repeated on end, or only copies the user's own message. What a check may look at is in `Said`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.checks import keys, kinds
from tasks.checks.kinds import Args, Finding, Kind, Said

__all__ = ["KINDS", "Check", "Finding", "Said", "decide", "parse_check"]


@dataclass(frozen=True)
class Check:
    """One check of one turn. `args` are those of its kind, as read from `row`; `weight` is its share in the rating."""

    kind: str
    args: Args
    weight: float
    row: Mapping[str, Any]

    @property
    def asks(self) -> bool:
        """Whether it asks for something. Those that only ask for less, or for none of a kind, reward saying little."""
        return KINDS[self.kind].asks(self.args)


def decide(check: Check, said: Said) -> Finding:
    """Decide one check. Pure, linear in the texts, and defined for any reply.

    Raises:
        ValueError: the check is of the kind "python", which only a judge with a sandbox can decide.
    """
    if said.nothing:
        return Finding(False, said.nothing)
    return KINDS[check.kind].decide(check.args, said)


def parse_check(row: Mapping[str, Any]) -> Check:
    """Build a check from its JSON form.

    Raises:
        ValueError: an unknown kind; missing, unknown or ill-typed keys; a check that can not pass or can not fail.
    """
    name = row.get("kind") if isinstance(row, Mapping) else None
    if not isinstance(name, str):
        raise ValueError(f"has a check without a 'kind': {row!r}")  # noqa: TRY004 - a row's faults are ValueErrors
    if name not in KINDS:
        raise ValueError(f"has a check of the unknown kind {name!r}{_near(name, KINDS)}")
    try:
        args = _read_args(KINDS[name], {key: row[key] for key in row if key not in ("kind", "weight")})
        return Check(name, args, keys.positive("weight", row.get("weight", 1.0)), row)
    except ValueError as error:
        raise ValueError(f"has a check of the kind {name!r} that {error}") from None


def _read_args(kind: Kind, given: Mapping[str, Any]) -> Args:
    args = {}
    for key, value in given.items():
        if key not in kind.keys:
            raise ValueError(f"has the unknown key {key!r}{_near(key, kind.keys)}")
        args[key] = kind.keys[key](key, value)
    if missing := [key for key in kind.required if key not in given]:
        raise ValueError(f"needs {missing[0]!r}")
    kind.vet(args)
    return args


def _near(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; known are {', '.join(sorted(known))}"


def _nested(key: str, value: Any) -> Check:
    check = parse_check(value)
    if check.kind in ("keeps", "python"):
        raise ValueError(f"has a check of the kind {check.kind!r} in {key!r}, where it can not stand")
    return check


def _keeps(args: Args, said: Said) -> Finding:
    passed, reason = decide(args["check"], said)
    return Finding(passed, f"{reason} (turn {args['turn']} asked for it)")


KINDS = {
    **kinds.KINDS,
    "keeps": Kind(_keeps, {"turn": keys.count, "check": _nested}, asks=lambda args: bool(args["check"].asks)),
}
