"""A table as a report holds it, before it is LaTeX, Markdown, CSV or HTML: cells of plain text, and what they rest on.

Text of cells, headings and notes may come from data files and models: every writer escapes it, and none trusts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Align = Literal["left", "right"]


@dataclass(frozen=True)
class Column:
    """A heading, and where its cells stand. `unit` is shown below the heading, if there is one."""

    heading: str
    align: Align = "right"
    unit: str = ""


@dataclass(frozen=True)
class Cell:
    """What a cell shows: a figure, its interval in small below or behind it, and marks of footnotes or significance."""

    text: str
    interval: str = ""
    mark: str = ""
    number: float | None = None
    """The figure itself, for formats that hold numbers."""

    @property
    def whole(self) -> str:
        """Everything in a line."""
        return " ".join(part for part in (f"{self.text}{self.mark}", self.interval) if part)


NOTHING = Cell("–")


def interval_text(low: float | None, high: float | None, unit: int, digits: int, sign: str = "") -> str:
    """`[low, high]` in multiples of a unit; nothing where there is no interval. `sign` "+" shows that of both ends."""
    if low is None or high is None:
        return ""
    return f"[{unit * low:{sign}.{digits}f}, {unit * high:{sign}.{digits}f}]"


@dataclass(frozen=True)
class Table:
    """`name` is a file's name without its ending; `notes` are footnotes, the legend of marks among them.

    Raises:
        ValueError: a row that has not one cell a column.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.name}: every row has {len(self.columns)} cells")
