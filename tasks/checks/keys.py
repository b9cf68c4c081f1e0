"""Reads the keys of a check's row: each reader gives a value in the form that deciding needs, or says what is wrong.

Messages are read after "has a check of the kind … that", by the person who wrote the row.
"""

from __future__ import annotations

import ast
import importlib
import math
import re
from collections.abc import Callable
from typing import Any

from tasks.checks.reply import Reply, plain

Reader = Callable[[str, Any], Any]


def number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"has {value!r} for {key!r}, which must be a number")
    return float(value)


def positive(key: str, value: Any) -> float:
    if not 0 < (read := number(key, value)) <= 1e6:
        raise ValueError(f"has {value!r} for {key!r}, which must be above 0, and a million at most")
    return read


def count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"has {value!r} for {key!r}, which must be a whole number from 1")
    return value


def whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"has {value!r} for {key!r}, which must be a whole number")  # noqa: TRY004
    return value


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"has {value!r} for {key!r}, which must be true or false")  # noqa: TRY004
    return value


def text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"has {value!r} for {key!r}, which must be text that is not empty")
    return value


def texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"has {value!r} for {key!r}, which must be a list with at least one text")
    return tuple(text(key, entry) for entry in value)


def phrases(key: str, value: Any) -> tuple[str, ...]:
    """Phrases in their compared form; a trailing * (any ending) survives it."""
    phrases = tuple(plain(text) + "*" * text.endswith("*") for text in texts(key, value))
    if any(not Reply(phrase).words and not phrase.strip(" *") for phrase in phrases):
        raise ValueError(f"has a phrase in {key!r} of which nothing is left to look for")
    return phrases


def choices(key: str, value: Any) -> tuple[tuple[str, ...], ...]:
    """Phrases, of which each may be a list of alternatives."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"has {value!r} for {key!r}, which must be a list with at least one text")
    return tuple(phrases(key, entry if isinstance(entry, list) else [entry]) for entry in value)


def one_of(*allowed: str) -> Reader:
    def read(key: str, value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"has {value!r} for {key!r}, which must be one of {', '.join(allowed)}")
        return str(value)

    return read


LANGUAGES = frozenset(
    """
    ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv fy
    ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la lb
    lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk
    sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
    """.split()  # noqa: SIM905 - words are read as words
)
"""The languages that py3langid tells apart."""


def languages(key: str, value: Any) -> tuple[str, ...]:
    codes = texts(key, value if isinstance(value, list) else [value])
    if unknown := set(codes) - LANGUAGES:
        raise ValueError(f"has the unknown language {min(unknown)!r}; languages are codes such as 'fr'")
    return codes


REGEX_STEPS = 2000
REGEX_READS = 50_000
"""Characters of a reply that a pattern sees."""


def pattern(key: str, value: Any) -> re.Pattern[str]:
    """A pattern whose every repeat is bounded: from each start it takes at most REGEX_STEPS ways, so it is linear."""
    try:
        pattern = re.compile(text(key, value), re.IGNORECASE | re.MULTILINE)
        parsed = importlib.import_module("re._parser").parse(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"has a bad pattern {value!r}: {error}") from None
    if (ways := _ways(parsed)) > REGEX_STEPS:
        bound = (
            "has no bound (write {0,80} instead of * and {1,80} instead of +)" if ways == math.inf else "is too wide"
        )
        raise ValueError(f"has the pattern {value!r}, whose repetition {bound}")
    if pattern.search(""):
        raise ValueError(f"has the pattern {value!r}, which matches nothing at all and so can never fail")
    return pattern


def _ways(parsed: Any) -> float:
    """In how many ways a parsed pattern can be tried from one start, from above."""
    ways = 1.0
    for operation, argument in parsed:
        match str(operation):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = argument
                once = _ways(inner)
                if most >= 2**31:
                    return math.inf
                ways *= min(once**most, math.inf) * (most - least + 1) if most < 10**3 or once == 1 else math.inf
            case "SUBPATTERN":
                ways *= _ways(argument[-1])
            case "BRANCH":
                ways *= sum(map(_ways, argument[1]))
            case "ATOMIC_GROUP":
                ways *= _ways(argument)
            case "ASSERT" | "ASSERT_NOT":
                ways *= _ways(argument[1])
            case "GROUPREF" | "GROUPREF_EXISTS":
                raise ValueError("has a pattern with a back-reference, which this kind does not support")
    return ways


def values(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"has {value!r} for {key!r}, which must be a JSON object with at least one key")
    return value


def asserts(key: str, value: Any) -> tuple[str, ...]:
    tests = texts(key, value)
    for test in tests:
        try:
            body = ast.parse(test).body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"has the test {test!r}, which is not Python ({error})") from None
        asserts = [statement for statement in body if isinstance(statement, ast.Assert)]
        if not asserts or any(isinstance(statement.test, ast.Constant) for statement in asserts):
            raise ValueError(f"has the test {test!r}, which asserts nothing")
    return tests
