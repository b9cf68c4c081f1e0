"""How far a judge can be trusted, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.agreement import Figure, LabelAgreement, RatingAgreement
from harness.calibration import Calibration
from harness.intervals import BOOTSTRAP_FROM
from harness.prediction_powered import PredictionPowered
from harness.run_calibration import RunCalibration
from reports.terminal import NARROWEST

LISTED = 8
"""Reasons that are printed; a column of free text has as many labels as rows."""


def calibration_table(found: Calibration | RunCalibration, console: Console | None = None) -> str:
    """What a calibration came to, as text for `console`, by default the terminal that stdout is."""
    console = console or Console(width=max(NARROWEST, Console().width))
    with console.capture() as captured:
        if isinstance(found, RunCalibration):
            _print_corrected(console, found)
            title = f"{found.judge} against people, on the labelled answers"
        else:
            title = f"{found.judge} against people"
        if isinstance(found.agreement, LabelAgreement):
            _print_labels(console, title, found.agreement)
        else:
            _print_ratings(console, title, found.agreement)
        _print_reasons(console, "left out", found.left_out)
        _print_reasons(console, "unjudged", found.unjudged)
        if isinstance(found, RunCalibration) and found.unanswered:
            console.print(Text(f"items without an answer, in no figure here: {found.unanswered}"))
    return captured.get().rstrip("\n")


def _print_corrected(console: Console, found: RunCalibration) -> None:
    figures = found.figures
    share = isinstance(found.agreement, LabelAgreement)
    of_task = "" if found.metric == found.task else f" of {found.task}"
    table = _table("value", "95 % interval", "rests on")
    items = figures.labelled + figures.unlabelled
    for name, figure, n, rests_on in (
        ("judge alone", figures.judge_only, items, _items(items)),
        ("people alone", figures.human_only, figures.labelled, _items(figures.labelled)),
        ("judge corrected by people", figures.corrected, figures.labelled, "both"),
    ):
        table.add_row(*map(Text, (name, _value(figure, share), _interval(figure, share, n), rests_on)))
    _print(console, f"{found.metric}{of_task} in {found.run}", table)
    for line in _explained(figures):
        console.print(Text(line))
    console.print()


def _explained(figures: PredictionPowered) -> Iterator[str]:
    if not figures.unlabelled:
        yield "Every item has a label, so that nothing is left to the judge."
    elif figures.effective_n is not None and not figures.weight:
        yield "The judge tells nothing about these labels, so that people alone decide."
    elif figures.effective_n is not None:
        worth = f"{figures.effective_n:.0f} (weight of the judge: {figures.weight:.2f})"
        yield f"The judge makes {_items(figures.labelled)} with labels worth {worth}."
    yield "Right only if the labelled items are a random sample of the run's."


def _print_labels(console: Console, title: str, found: LabelAgreement) -> None:
    table = _table("value", "95 % interval", "answers")
    undefined = f"undefined: {found.kappa_undefined}" if found.kappa_undefined else ""
    for name, figure, share, interval in (
        ("accuracy", found.accuracy, True, _interval(found.accuracy, True, found.n)),
        ("Cohen's kappa", found.kappa, False, undefined or _interval(found.kappa, False, found.n)),
    ):
        table.add_row(*map(Text, (name, _value(figure, share), interval, str(found.n))))
    _print(console, title, table)
    if not found.n:
        return
    table = _table("precision", "recall", "F1", "human labels")
    for name, figures in found.classes.items():
        shares = (Figure(figures.precision), Figure(figures.recall), Figure(figures.f1))
        table.add_row(*map(Text, (name, *(_value(share, True) for share in shares), str(figures.support))))
    _print(console, "By class", table)
    table = _table(*found.confusion)
    for name, row in found.confusion.items():
        table.add_row(*map(Text, (name, *map(str, row.values()))))
    _print(console, "Rows: people, columns: judge", table)


def _print_ratings(console: Console, title: str, found: RatingAgreement) -> None:
    table = _table("value", "95 % interval", "answers")
    for name, figure, share in (
        ("Spearman's rho", found.spearman, False),
        ("Pearson's r", found.pearson, False),
        ("bias (judge − people)", found.bias, False),
        ("mean absolute difference", found.mean_absolute_difference, False),
        ("at most 1 point apart", found.within_1, True),
    ):
        undefined = "undefined: no spread" if figure.value is None and found.n else ""
        interval = undefined or _interval(figure, share, found.n)
        table.add_row(*map(Text, (name, _value(figure, share), interval, str(found.n))))
    _print(console, title, table)


def _print_reasons(console: Console, what: str, reasons: Mapping[str, int]) -> None:
    if not reasons:
        return
    ordered = sorted(reasons.items(), key=lambda pair: -pair[1])
    lines = [f"{reason} ({n})" for reason, n in ordered[:LISTED]]
    if len(ordered) > LISTED:
        lines.append(f"{len(ordered) - LISTED} other reasons ({sum(n for _, n in ordered[LISTED:])})")
    console.print(Text(f"{what}: {'; '.join(lines)}"))


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    return table


def _print(console: Console, title: str, table: Table) -> None:
    """A title of its own line: that of a table is folded to the table's width."""
    console.print(Text(title, style="bold"))
    console.print(table)


def _value(figure: Figure, share: bool) -> str:
    if figure.value is None:
        return "–"
    return f"{100 * figure.value:.1f} %" if share else f"{figure.value:.2f}"


def _interval(figure: Figure, share: bool, n: int) -> str:
    """Without one it says why: too few, or nothing to see a spread in."""
    if figure.low is None or figure.high is None:
        return "" if figure.value is None else "n too small" if n < BOOTSTRAP_FROM else "no spread"
    low, high = (f"{100 * end:.1f}" if share else f"{end:.2f}" for end in (figure.low, figure.high))
    return f"[{low}, {high}]"


def _items(n: int) -> str:
    return f"{n} item" if n == 1 else f"{n} items"
