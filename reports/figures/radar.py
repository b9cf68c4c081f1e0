"""Ratings by category, as MT-Bench shows them: a spoke a category, a line a model (Zheng et al. 2023, section 4.2).

Up to four models share one wheel, where each rating has its interval on the spoke. More would hide each other: they get
a wheel each, with the first model behind it in grey.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from harness.agreement import Figure as Estimate
from harness.grades import RATING_SCALE
from reports.figures.lettering import POINTS_PER_INCH, SMALL, short_names, width
from reports.figures.score_rows import Rows, categories, found, one_judge
from reports.figures.style import COLUMN, FAINT, GREY, INK, Look, canvas, look, settled, styled
from tasks.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.projections.polar import PolarAxes

TOGETHER = 4
"""Models that one wheel can show."""
TINY = 5
"""Size of what stands around small wheels, in points."""
UPRIGHT = 0.2
"""Sine of the angle up to which a spoke counts as upright: its name stands above or below it."""
LEAST = 3
"""Spokes of a wheel."""


@dataclass(frozen=True)
class Radar:
    """The ratings of models (1 to 10), one for each category in their order; `n` is the most questions of a category.

    Raises:
        ValueError: under three categories, no model, or a model without one rating (or None) for each category.
    """

    categories: Sequence[str]
    ratings: Mapping[str, Sequence[Estimate]]
    n: int

    def __post_init__(self) -> None:
        if len(self.categories) < LEAST or not self.ratings:
            raise ValueError(f"{len(self.categories)} categories, {len(self.ratings)} models: {LEAST} and 1 are needed")
        if any(len(of_model) != len(self.categories) for of_model in self.ratings.values()):
            raise ValueError(f"every model has {len(self.categories)} ratings, one a category")


def ratings_by_category(
    models: Mapping[str, Rows], task: str = "mt_bench", judge: str | None = None, metric: str = "average"
) -> Radar:
    """The ratings of each model in every category that any of them has, in the order of the data.

    Raises:
        BadInput: no judge, or no single one, to go by; fewer than three categories.
    """
    by = one_judge(models, task, judge)
    names = list(categories(models, task, by))
    if len(names) < LEAST:
        raise BadInput(f"{task} has {len(names)} categories here: a radar needs {LEAST} or more, so ask more items")
    measured = {name: [found(rows, task, metric, by, group) for group in names] for name, rows in models.items()}
    n = max(n for of_model in measured.values() for _, n in of_model)
    return Radar(names, {name: [rating for rating, _ in of_model] for name, of_model in measured.items()}, n)


@styled()
def radar(data: Radar, width_in: float = COLUMN) -> Figure:
    """Draw it. A rating that was not measured leaves a gap in its model's line."""
    return settled(_together(data, width_in) if len(data.ratings) <= TOGETHER else _apart(data, width_in))


def _together(data: Radar, width_in: float) -> Figure:
    beside = width_in > 5
    height = 3.0 if beside else 2.75 + 0.14 * len(data.ratings)
    figure = canvas(width_in, height)
    axes = _wheel(figure.add_subplot(projection="polar"), short_names(data.categories, 0.27 * min(width_in, 4)), SMALL)
    for place, ratings in enumerate(data.ratings.values()):
        _intervals(axes, ratings, look(place), (place - (len(data.ratings) - 1) / 2) * 0.05)
    lines = [_line(axes, ratings, look(place)) for place, ratings in enumerate(data.ratings.values())]
    names = short_names(list(data.ratings), 2.2 if beside else width_in - 0.7)
    legend = figure.legend(
        lines, names, loc="outside right center" if beside else "outside lower center", title=_told(data)
    )
    legend.get_title().set_fontsize(6)
    return figure


def _apart(data: Radar, width_in: float) -> Figure:
    """Wheels in rows, placed by hand: what stands around each of them decides how large all can be."""
    across = 4 if width_in > 5 else 2
    down = math.ceil(len(data.ratings) / across)
    cell = width_in / across
    spokes = short_names(data.categories, 0.3 * cell, TINY)
    radius = _radius(spokes, cell)
    line = 1.3 * SMALL / POINTS_PER_INCH
    tall = 2 * radius + 4 * line
    figure = canvas(width_in, tall * down + line)
    figure.set_layout_engine("none")
    names = short_names(list(data.ratings), cell - 0.15)
    height = tall * down + line
    first = next(iter(data.ratings.values()))
    for place, ratings in enumerate(data.ratings.values()):
        row, column = divmod(place, across)
        left, bottom = (column + 0.5) * cell - radius, height - row * tall - 2.6 * line - 2 * radius
        box = (left / width_in, bottom / height, 2 * radius / width_in, 2 * radius / height)
        axes = _wheel(figure.add_axes(box, projection="polar"), spokes, TINY)
        if place:
            _line(axes, first, Look(FAINT, "", (2.5, 1)), thick=0.8)
        _line(axes, ratings, look(place))
        axes.annotate(
            names[place], (0.5, 1), xycoords="axes fraction", xytext=(0, 12), textcoords="offset points", size=SMALL,
            ha="center", va="bottom",
        )  # fmt: skip
    told = f"{_told(data)}; dashed grey: {names[0]}"
    figure.text(0.5, 0.3 * line / height, told, size=6, ha="center", va="bottom")
    return figure


def _radius(spokes: Sequence[str], cell: float) -> float:
    """The largest wheel, in inches, whose spokes' names stay within a cell of that width."""
    found = 0.42 * cell
    for place, name in enumerate(spokes):
        across = abs(math.sin(_angle(place, len(spokes))))
        if across >= UPRIGHT:
            found = min(found, (cell / 2 - 0.08 - width(name, TINY)) / across)
    return found


def _told(data: Radar) -> str:
    return f"ratings, 1 to 10; n ≤ {data.n} a category"


def _wheel(drawn_on: Axes, names: Sequence[str], size: float) -> PolarAxes:
    # A projection decides the class of axes, which no annotation can say.
    axes = cast("PolarAxes", drawn_on)
    low, high = RATING_SCALE
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(low, high)
    axes.set_yticks([4, 7, 10], labels=["4", "7", "10"], size=5.5, color=GREY)
    axes.set_rlabel_position(_angle(0.5, len(names)) * 180 / math.pi)
    axes.set_xticks([_angle(place, len(names)) for place in range(len(names))], labels=[""] * len(names))
    axes.spines["polar"].set_linewidth(0.5)
    axes.spines["polar"].set_color("#bfbfbf")
    for place, name in enumerate(names):
        angle = _angle(place, len(names))
        across, up = math.sin(angle), math.cos(angle)
        axes.annotate(
            name, (angle, high), xytext=(4 * across, 4 * up), textcoords="offset points", size=size,
            ha="center" if abs(across) < UPRIGHT else "left" if across > 0 else "right",
            va="center" if abs(up) < 0.2 else "bottom" if up > 0 else "top", color=INK,
        )  # fmt: skip
    return axes


def _angle(place: float, spokes: int) -> float:
    return 2 * math.pi * place / spokes


def _line(axes: PolarAxes, ratings: Sequence[Estimate], how: Look, thick: float = 1.1) -> Line2D:
    angles = [_angle(place, len(ratings)) for place in range(len(ratings))]
    values = [math.nan if rating.value is None else rating.value for rating in ratings]
    (line,) = axes.plot(
        [*angles, angles[0]], [*values, values[0]], color=how.colour, linestyle=how.linestyle, marker=how.marker,
        markerfacecolor=how.face, markersize=3.2, linewidth=thick, clip_on=False,
    )  # fmt: skip
    return line


def _intervals(axes: PolarAxes, ratings: Sequence[Estimate], how: Look, aside: float) -> None:
    for place, rating in enumerate(ratings):
        if rating.low is not None and rating.high is not None:
            angle = _angle(place, len(ratings)) + aside
            axes.plot([angle, angle], [rating.low, rating.high], color=how.colour, linewidth=0.8, alpha=0.55)
