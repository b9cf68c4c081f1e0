"""The page as one file that fetches nothing: markup, style, script and data, under a policy that allows no more.

The data are JSON in an element that is no script; the script, which is the only one that the policy lets run, shows
them as text and never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from harness.inspect_run import KINDS
from harness.records import write_atomically
from harness.stored_run import StoredRun
from reports.page.markup import Figure, figure_links, figures, paragraphs, table_links, tables
from reports.page.transcripts import transcripts
from reports.page.visible import escaped
from reports.tables import Table
from tasks.errors import BadInput


@dataclass(frozen=True)
class PageContent:
    """What the page shows: tables, figures as (caption, SVG), the answers of `runs`, and where all of it comes from.

    Texts may come from data files and models: all of them are escaped.
    """

    title: str
    runs: Sequence[StoredRun] = field(default=())
    tables: Sequence[Table] = field(default=())
    figures: Sequence[Figure] = field(default=())
    footer: Sequence[str] = field(default=())


def write_page(path: Path, content: PageContent) -> None:
    """Write the page; the same content gives the same bytes.

    Raises:
        BadInput: a run's records are damaged, or the file can not be written.
    """
    text = page(content)
    try:
        write_atomically(path, [text.encode()])
    except OSError as error:
        raise BadInput(f"can not write {path}: {error.strerror or error}; choose another --out") from None


def page(content: PageContent) -> str:
    """The text of the page."""
    style, script = _static("page.css"), _static("page.js")
    data = transcripts(content.runs) | {"kinds": KINDS}
    return Template(_static("page.html")).substitute(
        policy=escaped(policy(style, script)),
        title=escaped(content.title),
        style=style,
        script=script,
        views="".join(_links(content, bool(data["answers"]))),
        tables=tables(content.tables),
        table_links=table_links(content.tables),
        figures=figures(content.figures),
        figure_links=figure_links(content.figures),
        partial=f'\n<p class="empty">{escaped(data["partial"])}</p>' if "partial" in data else "",
        footer=paragraphs(content.footer),
        data=embedded(data),
    )


def policy(style: str, script: str) -> str:
    """A content security policy: this style, this script and pictures within the page; nothing is fetched or sent."""
    return (
        f"default-src 'none'; script-src '{_sha256(script)}'; style-src '{_sha256(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def embedded(data: Any) -> str:
    """JSON that can stand in a script element: no text in it can end the element or begin another."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _links(content: PageContent, answers: bool) -> Iterator[str]:
    """The views that have something to show."""
    for name, label, there in (
        ("results", "Results", bool(content.tables)),
        ("figures", "Figures", bool(content.figures)),
        ("answers", "Answers", answers),
    ):
        if there:
            yield f'<a href="#{name}">{label}</a>'


def _static(name: str) -> str:
    return files("reports.page").joinpath(name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
