"""Text in LaTeX that finds its way into a narrow place: long names and paths are broken instead of sticking out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reports.escaping import latex, visible

HYPHENS = re.compile("(?<=-)(?=-)")
SEPARATORS = "-_/.:,;=@+&?|\\"
LONG = 16
"""Letters of a word from which it may be broken anywhere; shorter ones are for TeX to hyphenate."""
PIECE = 8
"""Letters of a long word that stay together."""
SPELLED_OUT = 7
"""Letters that stand for one which the fonts lack: U+4E2D."""


def escaped(text: str) -> str:
    """Text in LaTeX; two hyphens stay two, where TeX would set a dash."""
    return "{}".join(map(latex, HYPHENS.split(text)))


def broken(text: str) -> str:
    """Text of a paragraph: long words may go on in the next line, behind a separator if there is one.

    >>> print(broken("see /home/somebody/a_path"))
    see /home/\\allowbreak{}somebody\\allowbreak{}/a\\_path
    """
    return " ".join(
        escaped(word) if width_of(word) < LONG else r"\allowbreak{}".join(map(escaped, pieces(word)))
        for word in visible(text).split(" ")
    )


def lines(text: str, room: int) -> list[str]:
    """Text in LaTeX, in lines of about `room` letters."""
    found: list[str] = []
    width = 0
    for word in visible(text).split(" "):
        glue = " "
        for piece in pieces(word):
            more = sum(map(_width, piece))
            if found and width + len(glue) + more <= room:
                found[-1] += glue + escaped(piece)
                width += len(glue) + more
            else:
                found.append(escaped(piece))
                width = more
            glue = ""
    return found or [""]


def width_of(text: str) -> int:
    """How many letters wide a text is in LaTeX."""
    return sum(map(_width, visible(text)))


def pieces(word: str) -> Iterator[str]:
    """A word in pieces: behind separators, else wherever a piece is full. No piece begins with a separator."""
    piece, width = "", 0
    for place, letter in enumerate(word):
        piece += letter
        width += _width(letter)
        following = word[place + 1 : place + 2]
        full = width >= PIECE or (letter in SEPARATORS and width >= PIECE // 2)
        # A piece that begins with "-3" would read as a negative number.
        if full and (following not in SEPARATORS or width >= 3 * PIECE):
            yield piece
            piece, width = "", 0
    if piece:
        yield piece


def _width(letter: str) -> int:
    return SPELLED_OUT if latex(letter).startswith(r"\texttt{U+") else 1
