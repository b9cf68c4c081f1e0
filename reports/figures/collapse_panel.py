"""Signs of collapse side by side, a small panel a measure: degenerate answers, entropy, repetition, length.

No one of them tells collapse alone: a loop lowers entropy and lengthens answers, a silent model does the opposite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.agreement import Figure as Estimate
from reports.figures.lettering import short_names
from reports.figures.score_rows import Rows, found
from reports.figures.style import COLUMN, EDGE, FAINT, GREY, canvas, look, settled, styled
from tasks.collapse.thresholds import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TASK = "collapse"
LINE = 0.15
"""Height of a model's line, in inches."""


@dataclass(frozen=True)
class Measure:
    """A metric of collapse, what to call it, and by what its values are multiplied. `limit` is where collapse begins,
    in the metric's own unit.
    """

    metric: str
    title: str
    factor: float = 1.0
    limit: float | None = None


MEASURES = (
    Measure("degenerate", "degenerate, %", 100, VERDICTS.degenerate),
    Measure("rep_4", "repeated 4-grams, %", 100),
    Measure("word_entropy", "word entropy, 0–1"),
    Measure("entropy", "token entropy, nats"),
    Measure("words", "length, words"),
)


@dataclass(frozen=True)
class Signs:
    """The measures, and of each model one figure for each of them.

    Raises:
        ValueError: no measure, or a model without one figure (or None) for each.
    """

    measures: Sequence[Measure]
    models: Mapping[str, Sequence[Estimate]]

    def __post_init__(self) -> None:
        if not self.measures or any(len(figures) != len(self.measures) for figures in self.models.values()):
            raise ValueError(f"every model has {len(self.measures)} figures, one a measure, and there is a measure")

    @property
    def known(self) -> list[int]:
        """The places of the measures that any model has a value of."""
        return [
            place for place in range(len(self.measures))
            if any(figures[place].value is not None for figures in self.models.values())
        ]  # fmt: skip


def signs_of(models: Mapping[str, Rows], measures: Sequence[Measure] = MEASURES) -> Signs:
    """The measures of each model from its scores of the task `collapse`, over all of its answers."""
    return Signs(
        measures,
        {
            name: [found(rows, TASK, measure.metric, None)[0] for measure in measures]
            for name, rows in models.items()
        },
    )  # fmt: skip


@styled()
def collapse_panel(data: Signs, width_in: float = COLUMN) -> Figure:
    """Draw it, first model on top. Measures that no model has (entropy without log-probs) are named below, not drawn.

    Raises:
        ValueError: no model has any of the measures.
    """
    places = data.known
    if not places:
        raise ValueError("no model has a value of any measure, so there is nothing to draw")
    across = min(len(places), 5 if width_in > 5 else 2)
    down = math.ceil(len(places) / across)
    height = LINE * (len(data.models) + 0.6)
    missing = [measure.title.split(",")[0] for place, measure in enumerate(data.measures) if place not in places]
    figure = canvas(width_in, (height + 0.42) * down + 0.06 + (0.14 if missing else 0))
    names = short_names(list(data.models), width_in * (0.22 if across > 2 else 0.3))
    grid = figure.subplots(down, across, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(places):
            axes.set_axis_off()
            continue
        place = places[number]
        _measure(axes, data.measures[place], [figures[place] for figures in data.models.values()])
        axes.set_yticks(range(len(names)), labels=names if number % across == 0 else [""] * len(names))
    if missing:
        figure.supxlabel(f"not measured: {', '.join(missing)}", size=6)
    return settled(figure)


def _measure(axes: Axes, measure: Measure, figures: Sequence[Estimate]) -> None:
    for place, figure in enumerate(figures):
        how = look(place)
        if figure.value is None:
            axes.annotate(
                "–", (0.02, place), xycoords=axes.get_yaxis_transform(), va="center_baseline", size=6, color=GREY
            )
            continue
        if figure.low is not None and figure.high is not None:
            ends = [measure.factor * figure.low, measure.factor * figure.high]
            axes.plot(ends, [place, place], color=how.colour, linewidth=1.1, label="interval")
        axes.plot(
            measure.factor * figure.value, place, marker=how.marker, linestyle="", color=how.colour,
            markerfacecolor=how.face, label="value",
        )  # fmt: skip
    if measure.limit is not None:
        axes.axvline(measure.factor * measure.limit, color=EDGE, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=0.5)
    axes.set_ylim(len(figures) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_color(FAINT)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(measure.title, loc="left", size=6.5)
