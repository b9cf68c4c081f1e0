"""A table written as LaTeX (booktabs), Markdown, CSV or TSV; every text in it escaped for the format.

LaTeX and Markdown end with what the table was made from (`made_from`, a line each). A file of separated values holds
values alone, so that whatever reads it finds nothing else: what they are made from lies beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from reports.escaping import latex, markdown, spreadsheet, visible
from reports.latex_text import broken, lines, width_of
from reports.tables import Cell, Column, Table

Lines = Sequence[str]
NEEDS = "% needs: \\usepackage[T1]{fontenc}, \\usepackage{textcomp}, \\usepackage{booktabs}, \\usepackage{graphicx}"
PACKAGES = r"""\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}"""
VECTORS = r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}"
"""Fonts that are outlines and no bitmaps, where they are installed."""
LINES_OF_A_PAGE = 24
"""Rows of more lines than that are several floats: one alone would run off the page."""
NARROW, WIDE = 12, 26
"""Letters of a heading above figures, and of a text in a cell, before they go on in a second line."""
ONE_LINE = 96
"""Letters of a row; where one is wider, intervals stand below their figures instead of behind them."""


def to_latex(table: Table, made_from: Lines = (), *, wide: bool = False) -> str:
    """Table floats with booktabs rules, notes below; several of them where one page does not hold all rows.

    Whatever is wider than its place is shrunk to it. `wide` floats span both columns of a two-column page.
    """
    stacked = _widest_row(table) > ONE_LINE
    parts = list(_pages(table.rows, stacked=stacked)) or [()]
    floats = [
        _float(table, rows, (number, len(parts)), stacked=stacked, star="*" if wide else "")
        for number, rows in enumerate(parts, start=1)
    ]
    return "\n".join([NEEDS, *comments(made_from), *floats]) + "\n"


def _pages(rows: Sequence[Sequence[Cell]], *, stacked: bool) -> Iterator[Sequence[Sequence[Cell]]]:
    """The rows, as many at a time as a page holds."""
    page: list[Sequence[Cell]] = []
    height = 0
    for row in rows:
        more = max(len(lines(cell.text, WIDE)) + bool(stacked and cell.interval) for cell in row)
        if page and height + more > LINES_OF_A_PAGE:
            yield page
            page, height = [], 0
        page.append(row)
        height += more
    if page:
        yield page


def comments(text: Lines) -> list[str]:
    """Lines of a LaTeX file that are not printed: a comment ends with its line, and none of these holds two."""
    return [f"% {visible(line)}" for line in text]


def _widest_row(table: Table) -> float:
    """In letters; an interval is set smaller than its figure."""
    width = 0.0
    for place, column in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        texts = [min(WIDE, width_of(it.text)) + 0.75 * width_of(it.interval) for it in cells]
        width += 2 + max([width_of(column.unit), *texts])
    return width


def _float(table: Table, rows: Iterable[Sequence[Cell]], part: tuple[int, int], *, stacked: bool, star: str) -> str:
    number, parts = part
    aligned = "".join("l" if column.align == "left" else "r" for column in table.columns)
    caption = broken(table.caption) + (f" (part {number} of {parts})" if parts > 1 else "")
    label = f"tab:{table.name}" + (f"-{number}" if number > 1 else "")
    head = [_latex_row(_lined(lines(column.heading, NARROW), column) for column in table.columns)]
    if any(column.unit for column in table.columns):
        head.append(_latex_row(rf"\footnotesize {latex(column.unit)}" for column in table.columns))
    body = [_latex_row(_cell(*pair, stacked=stacked) for pair in zip(row, table.columns, strict=True)) for row in rows]
    gap = "\n\\addlinespace[2pt]\n" if stacked else "\n"
    last = number == parts
    return "\n".join([
        rf"\begin{{table{star}}}[htbp]", r"\centering", r"\small", r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}", rf"\label{{{label}}}",
        rf"\sbox2{{\begin{{tabular}}{{{aligned}}}", r"\toprule", *head, r"\midrule", gap.join(body),
        r"\bottomrule", r"\end{tabular}}",
        # Shrunk only where it would stick out.
        r"\ifdim\wd2>\linewidth\resizebox{\linewidth}{!}{\usebox2}\else\usebox2\fi",
        *(_notes(table.notes) if last else ()),
        rf"\end{{table{star}}}",
    ])  # fmt: skip


def _notes(notes: Lines) -> Iterator[str]:
    if notes:
        yield r"\par\smallskip"
        # A box over the whole width is text, and breaks as text does.
        text = r" \\{} ".join(map(broken, notes))
        yield rf"\parbox{{\linewidth}}{{\footnotesize\raggedright {text}}}"


def _latex_row(cells: Iterable[str]) -> str:
    """A row; the group before it keeps a first "[" or "*" from being read as an argument of the line break above."""
    return "{}" + " & ".join(cells) + r" \\"


def _cell(cell: Cell, column: Column, *, stacked: bool) -> str:
    text = lines(cell.text, WIDE)
    text[-1] += rf"\textsuperscript{{{latex(cell.mark)}}}" if cell.mark else ""
    interval = [_small(cell.interval)] if cell.interval else []
    return _lined([*text, *interval], column) if stacked else " ".join([_lined(text, column), *interval])


def _small(text: str) -> str:
    return rf"{{\scriptsize {latex(text)}}}"


def _lined(found: Lines, column: Column) -> str:
    """Lines above one another, as a cell; a group before each keeps a "[" from being an argument of the break."""
    if len(found) == 1:
        return found[0]
    side = "l" if column.align == "left" else "r"
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{{}}" + r" \\{}".join(found) + r"\end{tabular}"


def latex_document(tables: Sequence[str], title: str, made_from: Lines = ()) -> str:
    """A document of its own that shows tables which lie beside it, by the names of their files."""
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    footer = "\n".join(rf"\par {broken(line)}" for line in made_from)
    return rf"""\documentclass{{article}}
{PACKAGES}
{VECTORS}
\usepackage[margin=1.5cm,landscape]{{geometry}}
\title{{{broken(title)}}}
\author{{}}
\date{{}}
\begin{{document}}
\maketitle
{inputs}
\clearpage
\section*{{Provenance}}
\footnotesize\raggedright\setlength{{\parskip}}{{2pt}}\setlength{{\parindent}}{{0pt}}
{footer}
\end{{document}}
"""


def to_markdown(table: Table, made_from: Lines = ()) -> str:
    """A pipe table below its caption, and in small what it is made from."""
    headings = [
        markdown(f"{column.heading} ({column.unit})" if column.unit else column.heading) for column in table.columns
    ]
    rules = ["---" if column.align == "left" else "---:" for column in table.columns]
    rows = [headings, rules, *([markdown(cell.whole) for cell in row] for row in table.rows)]
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = "".join(f"\n{markdown(note)}  " for note in table.notes)
    source = f"\n<sub>From {markdown('; '.join(made_from))}</sub>\n" if made_from else ""
    return f"**{markdown(table.caption)}**\n\n{body}\n{notes}\n{source}"


def to_csv(table: Table, made_from: Lines = ()) -> str:  # noqa: ARG001 - values alone
    """Comma-separated values; columns with intervals or marks are followed by those."""
    return _separated(table, ",")


def to_tsv(table: Table, made_from: Lines = ()) -> str:  # noqa: ARG001 - values alone
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


FORMATS: Mapping[str, tuple[str, Callable[[Table, Lines], str]]] = {
    "latex": ("tex", to_latex),
    "markdown": ("md", to_markdown),
    "csv": ("csv", to_csv),
    "tsv": ("tsv", to_tsv),
}
"""The ending of a file and its writer, by the name of the format."""
