"""Helpfulness against harmlessness, a point a model: up and to the right is what one wants, and seldom gets at once.

A collapsed model is harmless by saying nothing. So the shares of refused and degenerate answers stand beside each
name, and a dotted line leads down to where the point would be if every answer that nobody could judge were harmful.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.agreement import Figure as Estimate
from harness.metrics import UNJUDGED
from reports.figures.lettering import SMALL, fitted, short_names, shown, width
from reports.figures.score_rows import Rows, found, one_judge
from reports.figures.style import COLUMN, FAINT, GREY, Look, canvas, look, settled, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORST = "dotted: were degenerate and unjudged answers harmful"
LINE = 0.135
"""Height of a line of the key, in inches."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands: its mean rating (1 to 10), and shares of harmful requests (of 1).

    `harmless` is 1 - asr and `harmless_least` 1 - asr_high, which counts degenerate and unjudged answers as harmful.
    """

    helpful: Estimate
    harmless: Estimate
    harmless_least: float | None
    refused: float | None
    degenerate: float | None
    unjudged: float | None


@dataclass(frozen=True)
class Plane:
    """Models and the tasks and judges that place them. `baseline` is one of the models, or None.

    Raises:
        ValueError: a baseline that is no model here.
    """

    models: Mapping[str, Standing]
    baseline: str | None
    helpfulness: str
    harmlessness: str

    def __post_init__(self) -> None:
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(f"the baseline {self.baseline!r} is none of the models")


def standings(
    models: Mapping[str, Rows],
    baseline: str | None = None,
    rated: str = "mt_bench",
    attacked: str = "asr",
    judges: tuple[str | None, str | None] = (None, None),
) -> Plane:
    """Where each model stands by its scores; `judges` are those of the `rated` and of the `attacked` task.

    Raises:
        BadInput: no judge, or no single one, to go by.
    """
    rater, harm_judge = one_judge(models, rated, judges[0]), one_judge(models, attacked, judges[1])

    def standing(rows: Rows) -> Standing:
        asr, _ = found(rows, attacked, "asr", harm_judge)
        most, refused, degenerate, unjudged = (
            found(rows, attacked, metric, harm_judge)[0].value
            for metric in ("asr_high", "refusal", "degenerate", UNJUDGED)
        )
        harmless = Estimate(_rest(asr.value), _rest(asr.high), _rest(asr.low))
        return Standing(
            found(rows, rated, "average", rater)[0], harmless, _rest(most), refused, degenerate, unjudged
        )  # fmt: skip

    placed = {name: standing(rows) for name, rows in models.items()}
    return Plane(placed, baseline, f"{rated} average, by {rater}", f"{attacked}, by {harm_judge}")


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share


@styled()
def plane(data: Plane, width_in: float = COLUMN) -> Figure:
    """Draw it, with a key below. A model of which one of the two is not known stands in the key alone."""
    height, below = min(0.75 * width_in, 3.4), LINE * (len(data.models) + 2)
    figure = canvas(width_in, height + 0.2 + below)
    drawing, key = figure.subplots(2, 1, gridspec_kw={"height_ratios": [height, below]})
    for place, (name, standing) in enumerate(data.models.items()):
        _point(drawing, standing, look(place), baseline=name == data.baseline)
    wide, tall = width_in - 0.7, height - 0.4
    drawing.set_xlabel(fitted(f"helpfulness: {shown(data.helpfulness)}", wide, 7) + "\n1 to 10 →")
    drawing.set_ylabel(fitted(f"harmlessness: {shown(data.harmlessness)}", tall, 7) + "\n100 − ASR, % →")
    drawing.margins(0.08)
    low, high = drawing.get_ylim()
    drawing.set_ylim(max(low, -3), min(high, 103))
    drawing.grid(visible=True)
    _key(key, data, width_in)
    return settled(figure)


def _point(axes: Axes, standing: Standing, how: Look, *, baseline: bool) -> None:
    across, up = standing.helpful, standing.harmless
    if across.value is None or up.value is None:
        return
    x, y = across.value, 100 * up.value
    if baseline:
        axes.axvline(x, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.5)
        axes.axhline(y, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0.5)
        axes.plot(x, y, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=FAINT, markeredgewidth=0.8)
    if standing.harmless_least is not None and standing.harmless_least < up.value:
        worst = 100 * standing.harmless_least
        axes.plot([x, x], [y, worst], color=how.colour, linewidth=0.9, linestyle=(0, (1, 1.4)), marker="")
        axes.plot(x, worst, marker="_", markersize=5, color=how.colour)
    if across.low is not None and across.high is not None:
        axes.plot([across.low, across.high], [y, y], color=how.colour, linewidth=0.9)
    if up.low is not None and up.high is not None:
        axes.plot([x, x], [100 * up.low, 100 * up.high], color=how.colour, linewidth=0.9)
    axes.plot(
        x, y, marker=how.marker, linestyle="", markersize=5, color=how.colour, markerfacecolor=how.face, label="model"
    )  # fmt: skip


def _key(axes: Axes, data: Plane, width_in: float) -> None:
    """A line a model: its marker, its name, and how its answers to harmful requests fell out."""
    columns = ("refused", "degen.", "unjudged")
    step = width("unjudged", 6) + 0.12
    across = min(width_in, 4.5)
    names = short_names(list(data.models), across - 0.45 - 3 * step)
    axes.set_xlim(0, width_in)
    axes.set_ylim(len(names) + 1.5, -0.5)
    axes.text(0.28, len(names) + 1, WORST, size=6, va="center", color=GREY)
    axes.axis("off")
    ends = [across - 0.1 - step * (2 - place) for place in range(3)]
    for end, column in zip(ends, columns, strict=True):
        axes.text(end, 0, f"{column}", size=6, ha="right", va="center", color=GREY)
    axes.text(0.28, 0, "% of the harmful requests", size=6, va="center", color=GREY)
    for place, ((name, standing), short) in enumerate(zip(data.models.items(), names, strict=True)):
        how = look(place)
        axes.plot(0.12, place + 1, marker=how.marker, color=how.colour, markerfacecolor=how.face, clip_on=False)
        weight = "bold" if name == data.baseline else "normal"
        axes.text(0.28, place + 1, short, size=SMALL, va="center", weight=weight)
        for end, said in zip(ends, _said(standing), strict=True):
            axes.text(end, place + 1, said, size=SMALL, ha="right", va="center")


def _said(standing: Standing) -> Iterator[str]:
    for share in (standing.refused, standing.degenerate, standing.unjudged):
        yield "–" if share is None else f"{100 * share:.0f}"
