"""How training went, and what the collapse monitor saw of it: panels over the same steps.

>>> training_curves(Training({"loss": {"train": [(10, 0.69), (20, 0.41)]},
...                           "degenerate, %": {"probe": [(10, 0.0), (20, None)]}}, kept=10, stopped=20))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.figures.lettering import fitted, short_names, shown
from reports.figures.style import COLUMN, EDGE, INK, canvas, look, settled, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Series = Sequence[tuple[float, float | None]]
"""Steps and values; None leaves a gap."""
FEW = 40
"""Points up to which each of them is marked."""


@dataclass(frozen=True)
class Training:
    """Panels by title, each with its series by name. A name looks the same in every panel.

    `limits` are lines across panels, by title: where the monitor begins to warn, or stops. `kept` is the step of the
    last healthy checkpoint, `stopped` that at which the monitor ended training.

    Raises:
        ValueError: no panel, or a limit of none of them.
    """

    panels: Mapping[str, Mapping[str, Series]]
    limits: Mapping[str, float] = field(default_factory=dict)
    kept: float | None = None
    stopped: float | None = None

    def __post_init__(self) -> None:
        if not self.panels:
            raise ValueError("no panel, so nothing to draw")
        if unknown := set(self.limits) - set(self.panels):
            raise ValueError(f"{min(unknown)!r} has a limit and is no panel")


@styled()
def training_curves(data: Training, width_in: float = COLUMN) -> Figure:
    """Draw it: panels below each other in a column, in twos on a page."""
    wide = width_in > 5
    across = 2 if wide and len(data.panels) > 1 else 1
    down = math.ceil(len(data.panels) / across)
    series = list(dict.fromkeys(name for panel in data.panels.values() for name in panel))
    keys = len(series) + (data.kept is not None) + (data.stopped is not None)
    beside = 4 if wide else 2
    figure = canvas(width_in, 1.05 * down + 0.3 + 0.14 * math.ceil(keys / beside))
    grid = figure.subplots(down, across, squeeze=False, sharex=True)
    lines: dict[str, Line2D] = {}
    marks: Sequence[Line2D] = ()
    for number, axes in enumerate(grid.flat):
        if number >= len(data.panels):
            axes.set_axis_off()
    for number, (axes, (title, panel)) in enumerate(zip(grid.flat, data.panels.items(), strict=False)):
        for name, points in panel.items():
            lines.setdefault(name, _curve(axes, points, series.index(name)))
        marks = _marks(axes, data, title)
        axes.set_title(fitted(shown(title), width_in / across - 0.6, 7), loc="left")
        axes.grid(visible=True, axis="y")
        axes.locator_params(axis="y", nbins=4)
        below = number + across >= len(data.panels)
        axes.tick_params(labelbottom=below)
        if below:
            axes.set_xlabel("step")
    if keys:
        names = short_names(series, width_in / beside - 0.5) + [str(mark.get_label()) for mark in marks]
        handles = [*(lines[name] for name in series), *marks]
        figure.legend(handles, names, loc="outside lower center", ncols=beside)
    return settled(figure)


def _curve(axes: Axes, points: Series, place: int) -> Line2D:
    how = look(place)
    steps = [step for step, _ in points]
    values = [math.nan if value is None else value for _, value in points]
    (line,) = axes.plot(
        steps, values, color=how.colour, linestyle=how.linestyle, marker=how.marker, markersize=2.8,
        markerfacecolor=how.face, markeredgewidth=0.7, markevery=max(1, math.ceil(len(points) / FEW)),
    )  # fmt: skip
    return line


def _marks(axes: Axes, data: Training, title: str) -> list[Line2D]:
    """The steps at which the monitor did something, and what to call them."""
    if title in data.limits:
        axes.axhline(data.limits[title], color=EDGE, linewidth=0.8, linestyle=(0, (3, 1.5)))
    marks = (
        (data.kept, "last healthy", (0, (8, 1.5))),
        (data.stopped, "stopped", (0, (1, 1.2))),
    )
    return [
        axes.axvline(step, color=INK, linewidth=0.7, linestyle=style, zorder=0.6, label=f"{word} ({step:g})")
        for step, word, style in marks
        if step is not None
    ]
