"""A section of a paper: an introduction, the tables and figures that matter, and methods; with what it cites.

    section.tex             to be included: \\input{section}
    references.bib          the works that section.tex cites, and no others
    section_example.tex     a document that includes it, as it is

All numbers come from the tables of the report; all text of runs is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.bibliography import bibtex
from reports.latex_text import broken
from reports.methods import Evidence, methods
from reports.methods_text import Cite, Sentence, cited, in_words
from reports.table_formats import NEEDS, PACKAGES, VECTORS, comments, to_latex
from reports.tables import Table
from reports.tables_of_runs import comparison_table

FIGURES = ("forest", "plane", "outcomes")
"""What a section shows of a report's figures, where there is something to draw."""
TABLES = ("paper", "capability", "own_tasks")
"""…and of its tables, before the comparisons."""
KIND = "pdf"
APOSTROPHE = re.compile(r"(?<=[a-z])\\textquotesingle\{\}(?=[a-z ])")
"""That of prose, which is curved."""
WIDTHS = {"forest": r"\linewidth", "plane": r"0.8\linewidth", "outcomes": r"\linewidth"}


@dataclass(frozen=True)
class Section:
    """What goes into it. `figures` are captions by the name of a PDF beside it; `made_from` is not printed."""

    title: str
    evidence: Evidence
    tables: Sequence[Table]
    figures: Mapping[str, str]
    made_from: Sequence[str]


def section_files(section: Section) -> dict[str, str]:
    """The text of each file, by its name."""
    paragraphs = list(methods(section.evidence))
    works = {key for paragraph in paragraphs for key in cited(paragraph.sentences)}
    return {
        "section.tex": _section(section, works),
        "references.bib": "\n".join(comments(section.made_from)) + "\n\n" + bibtex(works),
        "section_example.tex": _example(has_works=bool(works)),
    }


def _section(section: Section, works: set[str]) -> str:
    found, shown = section.evidence.found, section.evidence.shown
    tables = [table for table in section.tables if table.name in TABLES]
    if found and shown:
        caption = "Comparisons with the baseline: first what a release is judged by"
        tables.append(comparison_table("main_comparisons", caption, shown, found.correction, section.evidence.names))
    text = [
        f"% {NEEDS.removeprefix('% ')}",
        f"% cites {', '.join(sorted(works)) or 'nothing'}: \\bibliography{{references}}",
        *comments(section.made_from),
        rf"\section{{{broken(section.title)}}}",
        r"\label{sec:evaluation}",
        rf"\begin{{sloppypar}}{_introduction(section, tables)}\end{{sloppypar}}",
        *(to_latex(table, wide=True) for table in tables),
        *(_figure(name, section.figures[name]) for name in FIGURES if name in section.figures),
        r"\subsection*{Methods}",
        r"\begin{sloppypar}",
        *(
            rf"\paragraph{{{paragraph.heading}.}} " + " ".join(map(_latex, paragraph.sentences))
            for paragraph in methods(section.evidence)
        ),
        r"\end{sloppypar}",
    ]
    return "\n\n".join(text) + "\n"


def _introduction(section: Section, tables: Sequence[Table]) -> str:
    runs = list(section.evidence.runs)
    if len(runs) > 1 and section.evidence.found:
        models = f"{in_words(runs[1:])} with {runs[0]}, request by request"
        said = rf"We compare {broken(models)}."
    else:
        said = rf"We evaluate {broken(in_words(runs))}."
    shown = [rf"Table~\ref{{tab:{table.name}}}" for table in tables]
    shown += [rf"Figure~\ref{{fig:{name}}}" for name in FIGURES if name in section.figures]
    results = in_words(shown)
    verb = "show" if len(shown) > 1 else "shows"
    return f"{said} {results} {verb} the results; all intervals are 95\\,\\% intervals."


def _figure(name: str, caption: str) -> str:
    return "\n".join([
        r"\begin{figure*}[tbp]", r"\centering", rf"\includegraphics[width={WIDTHS[name]}]{{{name}.{KIND}}}",
        rf"\caption{{{broken(caption)}}}", rf"\label{{fig:{name}}}", r"\end{figure*}",
    ])  # fmt: skip


def _latex(sentence: Sentence) -> str:
    text = "".join(_parts(sentence))
    return APOSTROPHE.sub("'", text).replace(r" \%", r"\,\%")


def _parts(sentence: Sentence) -> Iterator[str]:
    for part in sentence:
        yield rf"~\cite{{{','.join(part.keys)}}}" if isinstance(part, Cite) else broken(part)


def _example(*, has_works: bool) -> str:
    bibliography = "\\bibliographystyle{plain}\n\\bibliography{references}\n" if has_works else ""
    again = "bibtex section_example, " if has_works else ""
    return rf"""% pdflatex section_example, {again}pdflatex section_example twice
\documentclass[twocolumn]{{article}}
{PACKAGES}
{VECTORS}
\usepackage[margin=2cm]{{geometry}}
\begin{{document}}
\input{{section}}
{bibliography}\end{{document}}
"""
