"""A table written as LaTeX (booktabs), Markdown, CSV or TSV; every text in it escaped for the format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence

from reports.escaping import latex, markdown, spreadsheet
from reports.tables import Cell, Table

HEAD = "% needs: \\usepackage[T1]{fontenc}, \\usepackage{textcomp}, \\usepackage{booktabs}\n"


def to_latex(table: Table) -> str:
    """A table float with booktabs rules; intervals stand small behind their figures, notes below."""
    aligned = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines = [
        r"\begin{table}[htbp]", r"\centering", r"\small", rf"\caption{{{latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}", rf"\begin{{tabular}}{{{aligned}}}", r"\toprule",
        _latex_row(latex(column.heading) for column in table.columns),
    ]  # fmt: skip
    if any(column.unit for column in table.columns):
        lines.append(_latex_row(rf"\footnotesize {latex(column.unit)}" for column in table.columns))
    lines += [r"\midrule", *(_latex_row(map(_latex_cell, row)) for row in table.rows), r"\bottomrule"]
    lines += [r"\end{tabular}"]
    if table.notes:
        notes = r" \\{} ".join(latex(note) for note in table.notes)
        lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes}}}"]
    return HEAD + "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    """A row; the group before it keeps a first "[" or "*" from being read as an argument of the line break above."""
    return "{}" + " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    mark = rf"\textsuperscript{{{latex(cell.mark)}}}" if cell.mark else ""
    interval = rf" {{\scriptsize {latex(cell.interval)}}}" if cell.interval else ""
    return f"{latex(cell.text)}{mark}{interval}"


def latex_document(tables: Sequence[str], title: str) -> str:
    """A document of its own that shows tables which lie beside it, by the names of their files."""
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    return rf"""\documentclass{{article}}
\usepackage[T1]{{fontenc}}
\usepackage[utf8]{{inputenc}}
\usepackage{{textcomp}}
\usepackage{{booktabs}}
\usepackage[margin=1.5cm,landscape]{{geometry}}
\title{{{latex(title)}}}
\date{{}}
\begin{{document}}
\maketitle
{inputs}
\end{{document}}
"""


def to_markdown(table: Table) -> str:
    """A pipe table below its caption."""
    headings = [
        markdown(f"{column.heading} ({column.unit})" if column.unit else column.heading) for column in table.columns
    ]
    rules = ["---" if column.align == "left" else "---:" for column in table.columns]
    rows = [headings, rules, *([markdown(cell.whole) for cell in row] for row in table.rows)]
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = "".join(f"\n{markdown(note)}  " for note in table.notes)
    return f"**{markdown(table.caption)}**\n\n{body}\n{notes}\n"


def to_csv(table: Table) -> str:
    """Comma-separated values; columns with intervals or marks are followed by those."""
    return _separated(table, ",")


def to_tsv(table: Table) -> str:
    """The same with tabs, to paste into a spreadsheet."""
    return _separated(table, "\t")


def _separated(table: Table, delimiter: str) -> str:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    columns = range(len(table.columns))
    intervals = {place for place in columns if any(row[place].interval for row in table.rows)}
    marks = {place for place in columns if any(row[place].mark for row in table.rows)}
    head: list[str] = []
    for place, column in enumerate(table.columns):
        name = f"{column.heading} ({column.unit})" if column.unit else column.heading
        head += [name, *([f"{name} 95 %"] if place in intervals else []), *(["mark"] if place in marks else [])]
    rows.writerow(map(spreadsheet, head))
    for row in table.rows:
        cells: list[str] = []
        for place, cell in enumerate(row):
            cells += [
                cell.text,
                *([cell.interval] if place in intervals else []),
                *([cell.mark] if place in marks else []),
            ]
        rows.writerow(map(spreadsheet, cells))
    for note in table.notes:
        rows.writerow([spreadsheet(note)])
    return text.getvalue()


FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "latex": ("tex", to_latex),
    "markdown": ("md", to_markdown),
    "csv": ("csv", to_csv),
    "tsv": ("tsv", to_tsv),
}
"""The ending of a file and its writer, by the name of the format."""
