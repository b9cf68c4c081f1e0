"""Text that came from data, as a figure can show it: harmless, in one line, and no longer than there is room.

>>> short_names(["llama-3-8b-sft-cai-lr1e-5-epoch-3", "mistral"], inches=1.0)
['llama-3-8…5-epoch-3', 'mistral']
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import count

from harness.printing import printable

FAMILY = "DejaVu Sans"
SMALL = 6.5
"""Size of names and numbers, in points."""
NO_GLYPH, UNNAMED = "□", "(no name)"
ELLIPSIS = "…"
POINTS_PER_INCH = 72


def shown(text: str) -> str:
    """Text in one line, in letters that the font has. What steers or reorders text is spelled out (`\\u202e`)."""
    letters = printable(unicodedata.normalize("NFC", " ".join(text.split()))) or UNNAMED
    return "".join(letter if ord(letter) in _glyphs() else NO_GLYPH for letter in letters)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=[FAMILY]))).get_charmap())


def width(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """How wide a line of text is, in inches, at a size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=[FAMILY], size=size, weight="bold" if bold else "normal")
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / POINTS_PER_INCH


def fitted(text: str, inches: float, size: float = SMALL, *, bold: bool = False) -> str:
    """As much of a text as fits, from both of its ends: names of checkpoints differ at the end as often as not."""
    whole = width(text, size, bold=bold)
    if whole <= inches:
        return text
    kept = max(2, min(len(text) - 1, int(len(text) * inches / whole)))
    while kept > 2 and width(_ends(text, kept), size, bold=bold) > inches:
        kept -= 1
    return _ends(text, kept)


def _ends(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}{ELLIPSIS}{text[len(text) - kept // 2 :]}"


def short_names(names: Sequence[str], inches: float, size: float = SMALL) -> list[str]:
    """Each name so that it fits and is told from all others: from where they differ, or numbered as a last resort."""
    whole = [shown(name) for name in names]
    short = [fitted(name, inches, size) for name in whole]
    for alike in _repeated(short):
        places = [place for place, name in enumerate(short) if name == alike]
        start = max(0, _first_difference([whole[place] for place in places]) - 1)
        for place in places:
            short[place] = fitted(ELLIPSIS + whole[place][start:], inches, size)
    for alike in _repeated(short):
        numbers = count(1)
        short = [f"{next(numbers)}: {fitted(alike, inches - width('10: ', size), size)}" if name == alike else name
                 for name in short]  # fmt: skip
    return short


def _first_difference(names: Sequence[str]) -> int:
    letters = enumerate(zip(*names, strict=False))
    return next((place for place, here in letters if len(set(here)) > 1), min(map(len, names)))


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
