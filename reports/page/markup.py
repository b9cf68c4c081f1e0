"""Tables and figures as markup of the page; every text in them escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from reports.page.visible import escaped
from reports.tables import Cell, Column, Table

NO_BREAK = "\u00a0"
Figure = tuple[str, str]
"""A caption and a drawing in SVG."""


def tables(found: Sequence[Table]) -> str:
    return "\n".join(map(_table, found))


def figures(found: Sequence[Figure]) -> str:
    """The drawings as images: in an image no script runs and nothing is fetched, whoever drew it."""
    return "\n".join(_figure(number, *figure) for number, figure in enumerate(found, start=1))


def contents(targets: Iterable[tuple[str, str]]) -> str:
    """A list of links to (anchor, text)."""
    return "\n".join(f'<li><a href="#{escaped(anchor)}">{escaped(text)}</a></li>' for anchor, text in targets)


def table_links(found: Sequence[Table]) -> str:
    return contents((f"table-{table.name}", _first_sentence(table.caption)) for table in found)


def figure_links(found: Sequence[Figure]) -> str:
    return contents((f"figure-{number}", _first_sentence(caption)) for number, (caption, _) in enumerate(found, 1))


def paragraphs(lines: Sequence[str]) -> str:
    return "\n".join(f"<p>{escaped(line)}</p>" for line in lines)


def _first_sentence(caption: str) -> str:
    return caption.split(". ")[0].rstrip(".")


def _table(table: Table) -> str:
    head = "".join(_heading(column) for column in table.columns)
    rows = "\n".join(f"<tr>{_row(row, table.columns)}</tr>" for row in table.rows)
    notes = f'<div class="notes">{paragraphs(table.notes)}</div>' if table.notes else ""
    name = escaped(table.name)
    return f"""<section class="block" id="table-{name}">
<h2 id="caption-{name}">{escaped(table.caption)}</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="caption-{name}"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
{notes}</section>"""


def _heading(column: Column) -> str:
    unit = f'<span class="unit">{escaped(column.unit)}</span>' if column.unit else ""
    return f'<th scope="col"{_align(column)}>{escaped(column.heading)}{unit}</th>'


def _row(cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    return "".join(_cell(*pair, first=not place) for place, pair in enumerate(zip(cells, columns, strict=True)))


def _cell(cell: Cell, column: Column, *, first: bool) -> str:
    mark = f"<sup>{escaped(cell.mark)}</sup>" if cell.mark else ""
    interval = f'<span class="interval">{escaped(_unbroken(cell.interval))}</span>' if cell.interval else ""
    tag, scope = ("th", ' scope="row"') if first and column.align == "left" else ("td", "")
    return f"<{tag}{scope}{_align(column)}>{escaped(cell.text)}{mark}{interval}</{tag}>"


def _unbroken(interval: str) -> str:
    """Lines may end behind an interval ("[1.0, 2.0], -9 %"), and nowhere within one or before a unit."""
    within = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", NO_BREAK), interval)
    return within.replace(" %", f"{NO_BREAK}%")


def _align(column: Column) -> str:
    return ' class="figure"' if column.align == "right" else ""


def _figure(number: int, caption: str, svg: str) -> str:
    # SVG of any source: what can not be encoded is no part of a drawing.
    drawing = base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")
    text = escaped(caption)
    return f"""<figure class="block" id="figure-{number}">
<div class="paper"><img alt="{text}" src="data:image/svg+xml;base64,{drawing}"></div>
<figcaption><b>Figure {number}.</b> {text}</figcaption></figure>"""
