"""The one number that a reply commits to, or None.

    >>> numeric_answer("There are 3 boxes of 12.\\nAnswer: $1,234.50")
    1234.5

A reply can not pass by naming many numbers. It is searched for a claim, in this order:

1. the last \\boxed{...};
2. what follows the last "answer is", "answer:" or "####", to the end of that line (of the next, if that is blank);
3. the last sentence of the last line that holds a number.

In a claim, what follows its last = or ≈ counts, else its last bold passage with a number, else all of it; and this must
hold exactly one value. "Answer: 12 or 13" is no answer. Units, currency and percent signs are passed over: 75% is 75.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_DIGITS = r"\d{1,3}(?:[,'’_\u00a0\u202f]\d{3})++(?!\d)|\d++"
_NUMBER = re.compile(
    rf"(?<![\w.^])(?P<sign>[-−](?=[\d.$€£¥]))?[$€£¥]?(?P<minus>[-−](?=[\d.]))?"
    rf"(?P<whole>{_DIGITS})?(?P<decimals>\.\d++)?(?<=\d)(?P<exponent>[eE][-+]?\d{{1,3}}(?!\w))?"
    r"(?:\s?(?:×|\*|x|\\times|\\cdot)\s?10\^\{?(?P<power>[-+−]?\d{1,3})\}?)?"
    r"(?:\s(?P<over>\d{1,9})/(?P<mixed>\d{1,9})(?![\w/])|\s?/\s?(?P<under>\d{1,9})(?![\w/]))?"
    r"(?!\d|(?:st|nd|rd|th)\b)(?:\s(?P<scale>thousand|million|billion)\b)?"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d{1,9})\}\{(\d{1,9})\}")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_BOXED = re.compile(r"\\boxed\{((?:[^{}\n]|\{[^{}\n]*+\})*+)\}")
_MARKER = re.compile(r"(?:\banswer\b[^.\n:=]{0,60}?(?:\bis\b|:|=)|^####)", re.IGNORECASE | re.MULTILINE)
_BOLD = re.compile(r"\*\*([^*\n]++)\*\*")
_ENUMERATOR = re.compile(r"\A[ \t]*+(?:\d{1,3}[.)]|[-*•])[ \t]++(?=\S)")
_SCALES = {None: 1.0, "thousand": 1e3, "million": 1e6, "billion": 1e9}

LONGEST = 40
"""Digits of the longest number that is read; a longer one is noise."""
LONGEST_LINE = 2000
"""Characters of a line that are read, from its end: an answer is short."""


def numeric_answer(text: str) -> float | None:
    """The value that `text` commits to by the rule above, or None where it names none or several."""
    values = set(_values(_claim(_without_layout(text))))
    return values.pop() if len(values) == 1 else None


def claimed_answer(text: str) -> str | None:
    """The words after the last "answer is" or "answer:", to the end of the line; None where nothing is marked so."""
    marks = list(_MARKER.finditer(text))
    if not marks:
        return None
    following = (line.strip() for line in text[marks[-1].end() :].splitlines())
    return next((line for line in following if line.strip("*_: ")), None)


def _without_layout(text: str) -> str:
    text = text.replace("{,}", ",").replace("\\,", "").replace("\\!", "").replace("\\$", "$").replace("\\%", "%")
    text = _LATEX_FRACTION.sub(r" \1/\2", text)
    return _VULGAR.sub(lambda sign: " " + unicodedata.normalize("NFKC", sign[0]).replace("\u2044", "/"), text)


def _claim(text: str) -> str:
    if boxed := _BOXED.findall(text):
        return _narrowed(str(boxed[-1]))
    if (marked := claimed_answer(text)) is not None:
        return _narrowed(marked[:LONGEST_LINE])
    for line in filter(re.compile(r"\d").search, reversed(text.splitlines())):
        for sentence in reversed(re.split(r"(?<=[.!?])\s", _ENUMERATOR.sub("", line[-LONGEST_LINE:], count=1))):
            if any(True for _ in _values(sentence)):
                return _narrowed(sentence)
    return ""


def _narrowed(claim: str) -> str:
    after = re.split(r"[=≈]", claim)[-1]
    if after != claim and any(True for _ in _values(after)):
        return after
    bold = [passage for passage in _BOLD.findall(claim) if any(True for _ in _values(passage))]
    return bold[-1] if bold else claim


def _values(text: str) -> Iterator[float]:
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"[^\d]", "", match["whole"] or "") or "0"
        if len(digits) + len(match["decimals"] or "") > LONGEST:
            continue
        value = float(f"{digits}{match['decimals'] or ''}{match['exponent'] or ''}")
        if match["power"]:
            value *= 10.0 ** int(match["power"].replace("−", "-"))
        if match["mixed"] and int(match["mixed"]):
            value += int(match["over"]) / int(match["mixed"])
        if match["under"] and int(match["under"]):
            value /= int(match["under"])
        yield (-1 if match["sign"] or match["minus"] else 1) * value * _SCALES[match["scale"]]
