"""The figures that some runs have the figures for, drawn and saved: what a report puts beside its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.metrics import ALL, RATED_TASKS
from reports.comparison import Comparison
from reports.figures.collapse_panel import collapse_panel, signs_of
from reports.figures.forest import forest
from reports.figures.outcome_bars import outcome_bars, outcomes_of
from reports.figures.plane import plane, standings
from reports.figures.radar import LEAST, radar, ratings_by_category
from reports.figures.saving import save
from reports.figures.score_rows import Rows
from reports.figures.style import PAGE
from reports.figures.training_curves import Training, training_curves
from reports.paper_table import Row, judge_of_all
from tasks.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """What figures are drawn from: the scores of each model, the baseline first, and the comparisons with it.

    `names` says what a run directory is called here. `trainings` are what the models' monitors saw, by training.
    """

    models: Mapping[str, Rows]
    comparisons: Sequence[Comparison]
    names: Mapping[str, str]
    trainings: Mapping[str, Training] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A file of a figure."""

    path: Path
    caption: str


def figures_of(drawn: Drawn) -> Iterator[tuple[str, str, Figure]]:
    """Each figure with its name and caption; only those for which all runs have the figures, by a judge in common."""
    for name, figure in _of_scores(drawn):
        yield name, CAPTIONS[name], figure
    for number, (training, seen) in enumerate(drawn.trainings.items(), start=1):
        yield f"training_{number}", f"What the collapse monitor saw: {training}", training_curves(seen, width_in=PAGE)


def _of_scores(drawn: Drawn) -> Iterator[tuple[str, Figure]]:
    models = drawn.models
    rows = [Row(name, name, scores) for name, scores in models.items()]
    judges = {task: judge_of_all(rows, task) for task in (*RATED_TASKS, "asr")}
    shared = {
        task for task in (*RATED_TASKS, "asr", "collapse")
        if all(any(score["task"] == task for score in scores) for scores in models.values())
    }  # fmt: skip
    rated = next((task for task in RATED_TASKS if task in shared and judges[task]), None)
    primary = [row for row in drawn.comparisons if row.words and row.found.low is not None]
    if primary:
        yield "forest", forest(primary, names=drawn.names, width_in=PAGE)
    if rated and "asr" in shared and judges["asr"]:
        baseline = next(iter(models)) if len(models) > 1 else None
        placed = standings(models, baseline, rated, "asr", (judges[rated], judges["asr"]))
        yield "plane", plane(placed, width_in=PAGE)
    if "asr" in shared and judges["asr"]:
        yield "outcomes", outcome_bars(outcomes_of(models, "asr", judges["asr"]), width_in=PAGE)
    if rated and len(_categories(models, rated)) >= LEAST:
        yield "radar", radar(ratings_by_category(models, rated, judges[rated]), width_in=PAGE)
    if "collapse" in shared:
        yield "collapse_panel", collapse_panel(signs_of(models), width_in=PAGE)


CAPTIONS = {
    "forest": "Differences to the baseline, with 95 % intervals",
    "plane": "Helpfulness and harmlessness",
    "outcomes": "What became of harmful requests",
    "radar": "Mean rating by category",
    "collapse_panel": "Signs of collapse",
}


def svg_figures(drawn: Drawn) -> list[tuple[str, str]]:
    """Every figure as SVG, with its caption.

    Raises:
        BadInput: matplotlib is not installed.
    """
    with TemporaryDirectory() as folder:
        saved = write_figures(drawn, Path(folder), lambda _: ("svg",))
        return [(it.caption, it.path.read_text(encoding="utf-8")) for it in saved]


def _categories(models: Mapping[str, Rows], task: str) -> set[str]:
    return {
        score["group"] for scores in models.values() for score in scores
        if score["task"] == task and score["group"] != ALL
    }  # fmt: skip


def write_figures(drawn: Drawn, out: Path, formats: Callable[[str], Sequence[str]], made_from: str = "") -> list[Saved]:
    """Draw and save everything that there is, each figure in the `formats` of its name; `made_from` is for metadata.

    Raises:
        BadInput: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise BadInput("figures are drawn by matplotlib: pip install 'bench[report]', or name other formats (--format)")
    return [
        Saved(path, caption)
        for name, caption, figure in figures_of(drawn)
        for path in save(figure, out / name, formats(name), caption, made_from)
    ]
