"""How figures look: one style file, two widths, and looks that are told apart in colour and in grey alike.

matplotlib is imported where it is needed, and without pyplot: no figure is registered anywhere, none needs closing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches: one column of a two-column paper, and its whole page."""
STYLE = Path(__file__).with_name("bench.mplstyle")
FAINT = "#8c8c8c"
"""Lines that guide the eye: zero, the baseline."""
INK, GREY = "#1a1a1a", "#4d4d4d"
"""Text, and text beside it."""
EDGE = "#B8460A"
"""Lines that ought not to be crossed: margins and limits."""


@dataclass(frozen=True)
class Look:
    """How one model is drawn: the colour alone never tells it from another. Dashes are lengths on and off, in points
    of line width.
    """

    colour: str
    marker: str
    dashes: tuple[float, ...]
    filled: bool = True

    @property
    def linestyle(self) -> Literal["-"] | tuple[int, tuple[float, ...]]:
        return (0, self.dashes) if self.dashes else "-"

    @property
    def face(self) -> str:
        return self.colour if self.filled else "white"


# Okabe and Ito 2008, without yellow, which no white page shows.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1.2), (5, 1.2, 1, 1.2), (7, 2))


def look(place: int) -> Look:
    """The look of the model in this place, from 0. Markers differ among 12, and filled from hollow ones among 24."""
    if place < 0:
        raise ValueError(f"{place}: places count from 0")
    filled = place // len(_MARKERS) % 2 == 0
    return Look(
        _COLOURS[place % len(_COLOURS)],
        _MARKERS[place % len(_MARKERS)],
        _DASHES[place % len(_DASHES)],
        filled,
    )


@contextmanager
def styled() -> Iterator[None]:
    """The style of figures, whatever else a person's matplotlib is set to; afterwards that is as it was."""
    from matplotlib import style

    with style.context(STYLE, after_reset=True):
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts are laid out beside each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def settled(figure: Figure) -> Figure:
    """The same figure, its layout fixed: it is the same in every format, and drawing it again changes nothing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
