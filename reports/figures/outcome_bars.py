"""What became of harmful requests, a bar a model: every answer is in exactly one of six parts.

A model that says nothing readable attacks nobody, so a low attack success shows here beside its degenerate answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.agreement import Figure as Estimate
from harness.metrics import ALL, UNJUDGED
from reports.figures.lettering import SMALL, short_names, width
from reports.figures.score_rows import NOT_MEASURED, Rows, found, one_judge
from reports.figures.style import COLUMN, INK, canvas, settled, styled
from reports.transitions import STATES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Fill:
    """How an outcome is drawn: a colour, lines across it, and the colour of the number in it."""

    colour: str
    hatch: str
    ink: str


FILLS: Mapping[str, Fill] = {
    "harmful": Fill("#B8460A", "", "white"),
    "partial": Fill("#F2B56B", "////", INK),
    "refused": Fill("#8CC6EC", "", INK),
    "other": Fill("#E6E6E6", "....", INK),
    "degenerate": Fill("#303030", "", "white"),
    UNJUDGED: Fill("#FFFFFF", "xxxx", INK),
}
ROW = 0.22
"""Height of a bar with the space around it, in inches."""


@dataclass(frozen=True)
class Outcomes:
    """How many answers of a model came to each outcome, and its attack success with an interval (shares of 1).

    Raises:
        ValueError: an outcome is missing, or there is one too many.
    """

    counts: Mapping[str, int]
    asr: Estimate = NOT_MEASURED

    def __post_init__(self) -> None:
        if set(self.counts) != set(STATES) or min(self.counts.values()) < 0:
            raise ValueError(f"{dict(self.counts)}: counts of 0 or more are wanted for each of {', '.join(STATES)}")

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def shares(self) -> Mapping[str, float]:
        """Of 1, which they add up to; all 0 without any answer."""
        return {state: self.counts[state] / self.n if self.n else 0.0 for state in STATES}


def outcomes_of(
    models: Mapping[str, Rows], task: str = "asr", judge: str | None = None, group: str = ALL
) -> dict[str, Outcomes | None]:
    """The outcomes of each model from its scores; None for one that has none of this task, judge and group.

    Raises:
        BadInput: no judge, or no single one, to go by.
    """
    by = one_judge(models, task, judge)
    return {name: _outcomes(rows, task, by, group) for name, rows in models.items()}


def _outcomes(rows: Rows, task: str, judge: str, group: str) -> Outcomes | None:
    asr, n = found(rows, task, "asr", judge, group)
    if asr.value is None:
        return None
    # Counts are whole: a share that was rounded somewhere still comes out as the answers that it is made of.
    harmful = round(asr.value * n)
    lenient, refused, degenerate, unjudged = (
        _count(rows, task, metric, judge, group) for metric in ("asr_lenient", "refusal", "degenerate", UNJUDGED)
    )
    other = n - lenient - refused - degenerate - unjudged
    counts = (harmful, lenient - harmful, refused, other, degenerate, unjudged)
    return Outcomes(dict(zip(STATES, counts, strict=True)), asr)


def _count(rows: Rows, task: str, metric: str, judge: str, group: str) -> int:
    rate, n = found(rows, task, metric, judge, group)
    if rate.value is None:
        raise ValueError(f"{task}.asr of {group} comes without {task}.{metric}, so its outcomes are not known")
    return round(rate.value * n)


@styled()
def outcome_bars(models: Mapping[str, Outcomes | None], width_in: float = COLUMN) -> Figure:
    """One bar a model, first on top, in percent; the whisker is the interval of its attack success.

    Shares are written into the parts that have room for them.
    """
    from matplotlib.patches import Patch

    figure = canvas(width_in, 0.72 + ROW * max(1, len(models)))
    axes = figure.add_subplot()
    labels = short_names(list(models), width_in * 0.33)
    room = width_in - max((width(label) for label in labels), default=0.0) - 0.55
    for place, found_of in enumerate(models.values()):
        if found_of is None:
            axes.text(1.0, place, "not measured", va="center", size=SMALL, style="italic")
        else:
            _bar(axes, place, found_of, room)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(models) - 0.45, -0.55)
    axes.set_yticks(range(len(models)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("answers, %; whisker: 95 % interval of harmful")
    handles = [
        Patch(facecolor=fill.colour, hatch=fill.hatch, edgecolor=INK, linewidth=0.4, label=state)
        for state, fill in FILLS.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=6 if width_in > 5 else 3, handlelength=1.6)
    return settled(figure)


def _bar(axes: Axes, place: int, outcomes: Outcomes, room: float) -> None:
    """`room` is the length of a whole bar in inches."""
    start = 0.0
    for state, fill in FILLS.items():
        share = 100 * outcomes.shares[state]
        axes.barh(
            place, share, left=start, height=0.72, color=fill.colour, hatch=fill.hatch, edgecolor=INK, linewidth=0.4,
            label=state,
        )  # fmt: skip
        said = f"{share:.0f}"
        if share and width(said, 6) + 0.04 < room * share / 100:
            behind = {"facecolor": fill.colour, "edgecolor": "none", "pad": 0.6} if fill.hatch else None
            axes.text(
                start + share / 2, place, said, ha="center", va="center_baseline", size=6, color=fill.ink, bbox=behind
            )
        start += share
    axes.annotate(
        f"n = {outcomes.n:,}", (1, place), xycoords=axes.get_yaxis_transform(), xytext=(3, 0),
        textcoords="offset points", va="center_baseline", size=6,
    )  # fmt: skip
    if outcomes.asr.low is not None and outcomes.asr.high is not None:
        _interval(axes, place + 0.42, 100 * outcomes.asr.low, 100 * outcomes.asr.high)


def _interval(axes: Axes, height: float, low: float, high: float) -> None:
    axes.plot([low, high], [height, height], color=INK, linewidth=0.9, marker="|", markersize=2.6, label="interval")
