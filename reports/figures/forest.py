"""Paired differences with their intervals, a line a candidate: what changed against the baseline, and by how much.

Rates and ratings have scales of their own, so each unit gets a panel; judges are never mixed in one block of lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.metrics import ALL
from reports.comparison import Comparison, Correction
from reports.comparison_table import CORRECTED, difference_text, p_text
from reports.figures.lettering import POINTS_PER_INCH, SMALL, fitted, short_names, shown, width
from reports.figures.style import COLUMN, EDGE, FAINT, GREY, INK, canvas, look, settled, styled
from reports.significance.means import TOO_FEW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = 0.148
"""Height of a line, in inches."""
SIGNIFICANT = 0.05
RATINGS = ("average", "turn_1", "turn_2")
FORCED = "†"


def unit_of(row: Comparison) -> str:
    """What the axis of this row counts in; rows of one unit share a panel."""
    if row.found.is_rate:
        return "percentage points"
    return "points of rating" if row.metric in RATINGS else row.metric


def better(row: Comparison) -> str:
    """Which way is the good one, where that is known: of what a release is judged by."""
    if row.words is None:
        return ""
    return "better →" if row.words == "helpfulness" else "← better"


@dataclass(frozen=True)
class Block:
    """One metric by one judge: a heading, then a line a candidate."""

    rows: Sequence[Comparison]

    @property
    def heading(self) -> str:
        first = self.rows[0]
        name = first.words or f"{first.task} {first.metric}"
        group = "" if first.group == ALL else f", {first.group}"
        return f"{name}{group}{f' ({first.judge})' if first.judge else ''}"


@dataclass(frozen=True)
class Panel:
    """Blocks in one unit; `factor` turns what rows hold into it."""

    unit: str
    blocks: Sequence[Block]

    @cached_property
    def factor(self) -> float:
        return 100.0 if self.blocks[0].rows[0].found.is_rate else 1.0

    @property
    def lines(self) -> int:
        return sum(1 + len(block.rows) for block in self.blocks)


def panels_of(rows: Sequence[Comparison]) -> list[Panel]:
    """Rows by unit, then by what they measure and who judged it; each in the order of its first row."""
    units: dict[str, dict[tuple[str, str, str, str | None], list[Comparison]]] = {}
    for row in rows:
        blocks = units.setdefault(unit_of(row), {})
        blocks.setdefault((row.task, row.group, row.metric, row.judge), []).append(row)
    return [Panel(unit, [Block(block) for block in blocks.values()]) for unit, blocks in units.items()]


@styled()
def forest(
    rows: Sequence[Comparison],
    *,
    names: Mapping[str, str] | None = None,
    margins: Mapping[str, float] | None = None,
    correction: Correction = "holm",
    width_in: float = COLUMN,
) -> Figure:
    """Draw comparisons: those of primary metrics if they are given alone, any others as well.

    `names` are what to call candidates, by their directory. `margins` say, by TASK.METRIC and in the metric's own unit
    (0.05 of a rate), up to which difference nothing is lost: negative where more is better. A marker is filled where
    the corrected p is under 0.05, and hollow where it is not, or nothing was tested.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("no comparisons, so nothing to draw")
    panels = panels_of(rows)
    wide = width_in > 5
    columns = _columns(rows, correction, wide=wide)
    right = sum(column.width for column in columns)
    candidates = list(dict.fromkeys(row.candidate for row in rows))
    called = [(names or {}).get(candidate, candidate) for candidate in candidates]
    short = dict(zip(candidates, short_names(called, (width_in - right) * (0.4 if wide else 0.45)), strict=True))
    left = max(width(name) for name in short.values()) + 0.08
    heights = [LINE * (panel.lines + 0.4) for panel in panels]
    figure = canvas(width_in, sum(heights) + 0.38 * len(panels) + 0.34)
    all_axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for place, (axes, panel) in enumerate(zip(all_axes, panels, strict=True)):
        drawing = _Drawing(axes, panel, short, margins or {}, left, width_in - right - 0.6, columns, headed=place == 0)
        drawing.draw()
    figure.supxlabel(_legend(rows, margins), size=6, color=GREY, linespacing=1.25)
    return settled(figure)


@dataclass(frozen=True)
class _Column:
    """A column beside the lines: its heading, and what each row says in it."""

    heading: str
    cells: Mapping[int, str]

    @property
    def width(self) -> float:
        return max(width(text, 6) for text in (self.heading, *self.cells.values())) + 0.1


def _columns(rows: Sequence[Comparison], correction: Correction, *, wide: bool) -> list[_Column]:
    differences = _Column("difference [95 %]", {id(row): difference_text(row.found).replace("-", "−") for row in rows})
    tests = _Column(f"p ({CORRECTED[correction]})", {id(row): _p(row) for row in rows})
    counts = _Column("n", {id(row): f"{row.found.n:,}" for row in rows})
    return [differences, tests, counts] if wide else [tests, counts]


def _p(row: Comparison) -> str:
    if row.p_adjusted is None:
        return "n < 10" if row.found.test == TOO_FEW else "–"
    return p_text(row.p_adjusted)


def _legend(rows: Sequence[Comparison], margins: Mapping[str, float] | None) -> str:
    dashed = "; dashed: margin" if margins else ""
    lines = [f"candidate − baseline, 95 % intervals; filled: p < {SIGNIFICANT}{dashed}"]
    if any(row.despite for row in rows):
        lines.append(f"{FORCED} compared by force: the runs differ in more than the model")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Drawing:
    """One panel. Names stand left-aligned to the left of the axes, `left` inches wide; columns to their right.
    `room` is what a heading has, in inches."""

    axes: Axes
    panel: Panel
    names: Mapping[str, str]
    margins: Mapping[str, float]
    left: float
    room: float
    columns: Sequence[_Column]
    headed: bool

    def draw(self) -> None:
        axes, line = self.axes, 0.0
        # The first look is the baseline's, in every figure that shows it.
        places = {name: place for place, name in enumerate(self.names, start=1)}
        for block in self.panel.blocks:
            self._say(-self.left, line, fitted(shown(block.heading), self.room, bold=True), weight="bold")
            self._end(line, better(block.rows[0]))
            self._margin(block, line)
            for row in block.rows:
                line += 1
                self._say(-self.left, line, f"{self.names[row.candidate]}{FORCED if row.despite else ''}")
                self._point(row, line, places[row.candidate])
                self._cells(line, [column.cells[id(row)] for column in self.columns])
            line += 1
        if self.headed:
            self._cells(-1, [column.heading for column in self.columns])
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0.6)
        axes.set_ylim(line - 0.4, -0.7)
        self._room()
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"difference, {shown(self.panel.unit)}")

    def _room(self) -> None:
        """Zero is always in sight, and nothing is drawn on the edge."""
        low, high = self.axes.get_xlim()
        low, high = min(low, 0.0), max(high, 0.0)
        space = 0.05 * (high - low)
        self.axes.set_xlim(low - space, high + space)

    def _point(self, row: Comparison, line: float, place: int) -> None:
        found, factor, how = row.found, self.panel.factor, look(place)
        if found.difference is None:
            return
        if found.low is not None and found.high is not None:
            self.axes.plot(
                [factor * found.low, factor * found.high],
                [line, line],
                color=how.colour,
                linewidth=1.1,
                label="interval",
            )
        sure = row.p_adjusted is not None and row.p_adjusted < SIGNIFICANT
        self.axes.plot(
            factor * found.difference, line, marker=how.marker, linestyle="", color=how.colour,
            markerfacecolor=how.colour if sure else "white", markersize=4.2, label="difference",
        )  # fmt: skip

    def _margin(self, block: Block, line: float) -> None:
        first = block.rows[0]
        margin = self.margins.get(f"{first.task}.{first.metric}")
        if margin is not None:
            at = self.panel.factor * margin
            self.axes.plot(
                [at, at], [line + 0.5, line + len(block.rows) + 0.45], color=EDGE, linewidth=0.9,
                linestyle=(0, (3, 1.5)), label="margin",
            )  # fmt: skip

    def _say(self, inches: float, line: float, text: str, weight: str = "normal") -> None:
        """Text that begins so many inches right of the axes' left edge."""
        self.axes.annotate(
            text, (0, line), xycoords=self.axes.get_yaxis_transform(), xytext=(POINTS_PER_INCH * inches, 0),
            textcoords="offset points", va="center_baseline", size=SMALL, weight=weight, color=INK,
        )  # fmt: skip

    def _end(self, line: float, text: str) -> None:
        if text:
            self.axes.annotate(
                text, (1, line), xycoords=self.axes.get_yaxis_transform(), ha="right", va="center_baseline", size=6,
                color=GREY, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip

    def _cells(self, line: float, texts: Sequence[str]) -> None:
        end = 0.0
        for column, text in zip(self.columns, texts, strict=True):
            end += column.width
            self.axes.annotate(
                text, (1, line), xycoords=self.axes.get_yaxis_transform(), xytext=(POINTS_PER_INCH * end, 0),
                textcoords="offset points", ha="right", va="center_baseline", size=6, color=INK if line >= 0 else GREY,
            )  # fmt: skip
