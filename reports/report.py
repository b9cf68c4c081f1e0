"""`bench report`: the tables of some runs as files, each of which says where its figures come from.

    report/
      paper.tex, paper.md, paper.csv, paper.tsv     one row a model
      collapse.…, asr_categories.…, comparisons.…   whatever else the runs have something for
      forest.…, outcomes.…, training_1.…            figures as PDF, SVG and PNG
      report.html                                   tables, figures and up to 10,000 answers, in one file
      report.tex                                    a document of its own that shows them all
      scores.csv, comparisons_long.csv              every figure, to compute with
      section.tex, references.bib, …                a section of a paper (--paper), see `reports.paper_section`
      provenance.txt, provenance.json               what all of it rests on

Numbers come from the runs' records alone, and the same runs give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import write_atomically
from harness.results import RunResult, result_of
from harness.stored_run import StoredRun, open_run
from reports.comparison import Choice, Comparisons, compare, one_baseline
from reports.escaping import spreadsheet, visible
from reports.figures.of_runs import Drawn, Saved, svg_figures, write_figures
from reports.methods import Evidence
from reports.page.document import PageContent, write_page
from reports.paper_section import FIGURES, KIND, Section, section_files
from reports.paper_table import QuotedRow, Row, paper_table
from reports.provenance import Provenance, day, shell_word
from reports.quoted import read_quoted
from reports.table_formats import FORMATS, latex_document
from reports.tables import Table
from reports.tables_of_runs import tables_of_runs
from reports.training_of_runs import training_table, trainings_of_runs
from tasks.errors import BadInput, suggestion
from tasks.paths import user_path

PICTURES = ("pdf", "svg", "png")
PAGE = "html"
DEFAULT_FORMATS = (*FORMATS, *PICTURES, PAGE)
TITLE = "Evaluation report"


@dataclass(frozen=True)
class Report:
    """Everything that a report shows of some runs."""

    title: str
    evidence: Evidence
    results: Sequence[RunResult]
    tables: Sequence[Table]
    provenance: Provenance
    drawn: Drawn

    @property
    def found(self) -> Comparisons | None:
        return self.evidence.found

    @property
    def runs(self) -> list[StoredRun]:
        return list(self.evidence.runs.values())


def make_report(
    runs: Sequence[Path],
    baseline: str | None,
    quoted: Sequence[QuotedRow] = (),
    title: str | None = None,
    *,
    date: str | None = None,
    made_by: str | None = None,
) -> Report:
    """Read the runs, compare them with the baseline (by default the first) and fill every table.

    `date` and `made_by`, the command of the report, are printed where the runs' provenance is.

    Raises:
        BadInput: no run directory, or two of the same name.
    """
    order = list(runs)
    if len(runs) > 1 or baseline:
        first, others = one_baseline(runs, baseline)
        order = [first, *others]
    # Opened once: what reads their records below reads them together.
    stored = [open_run(run) for run in order]
    found = compare(stored[0], stored[1:], Choice()) if len(stored) > 1 else None
    names = [run.resolve().name for run in order]
    if len(set(names)) < len(names):
        names = [str(run) for run in order]
    results = [result_of(run) for run in stored]
    rows = [Row(name, str(run), it.scores) for name, run, it in zip(names, order, results, strict=True)]
    agreement = {name: it.agreement for name, it in zip(names, results, strict=True)}
    main = paper_table(rows, found, quoted)
    # Runs of own tasks alone have nothing for it but their names.
    tables = [*([main] if len(main.columns) > 1 else ()), *tables_of_runs(rows, found, agreement)]
    called = {row.directory: row.name for row in rows}
    by_name = dict(zip(names, stored, strict=True))
    models = {name: run.model for name, run in by_name.items()}
    if trained := training_table(models):
        tables.append(trained)
    scores = {row.name: row.scores for row in rows}
    drawn = Drawn(scores, found.rows if found else (), called, trainings_of_runs(models))
    evidence = Evidence(by_name, rows, found, quoted)
    return Report(title or TITLE, evidence, results, tables, Provenance(by_name, date, made_by), drawn)


def write_report(report: Report, out: Path, formats: Sequence[str], *, paper: bool = False) -> list[Path]:
    """Write the files of some formats, and with `paper` a section of a paper; returns them.

    Raises:
        BadInput: an unknown format, or a folder that can not be written.
    """
    known = DEFAULT_FORMATS
    if unknown := [name for name in formats if name not in known]:
        raise BadInput(f"no format {unknown[0]!r}: {suggestion(unknown[0], known, 'formats')}")
    origin = report.provenance
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = _draw(report, out, formats, paper=paper)
        files = _texts(report, formats)
        if paper:
            captions = {it.path.stem: it.caption for it in pictures if it.path.suffix == f".{KIND}"}
            section = Section(report.title, report.evidence, report.tables, captions, origin.short)
            files |= section_files(section)
        for name, text in files.items():
            write_atomically(out / name, [text.encode("utf-8", "backslashreplace")])
    except OSError as error:
        raise BadInput(f"can not write to {out}: {error.strerror or error}; choose another --out") from None
    paths = [*(out / name for name in files), *(it.path for it in pictures)]
    if PAGE in formats:
        drawings = svg_figures(report.drawn)
        content = PageContent(report.title, report.runs, report.tables, drawings, origin.lines)
        write_page(out / "report.html", content)
        paths.append(out / "report.html")
    return paths


def _texts(report: Report, formats: Sequence[str]) -> dict[str, str]:
    """The files that are text, but for the page, by their names."""
    origin = report.provenance
    files: dict[str, str] = {}
    for name in (name for name in formats if name in FORMATS):
        ending, written = FORMATS[name]
        files |= {f"{table.name}.{ending}": written(table, origin.short) for table in report.tables}
    if "latex" in formats:
        files["report.tex"] = latex_document([table.name for table in report.tables], report.title, origin.lines)
    if "csv" in formats:
        files["scores.csv"] = _long(
            [{"run": str(it.directory), **score} for it in report.results for score in it.scores]
        )  # fmt: skip
        if report.found:
            files["comparisons_long.csv"] = _long(report.found.as_json()["comparisons"])
    files["provenance.txt"] = "".join(f"{visible(line)}\n" for line in origin.lines)
    files["provenance.json"] = json.dumps(origin.as_json(), indent=1, allow_nan=False) + "\n"
    return files


def _draw(report: Report, out: Path, formats: Sequence[str], *, paper: bool) -> list[Saved]:
    """Save the figures, with what they are drawn from in their metadata; for a paper, some of them as PDF anyway."""
    pictures = [name for name in formats if name in PICTURES]
    if not (pictures or paper):
        return []

    def kinds(name: str) -> list[str]:
        return [*pictures, *([KIND] if paper and name in FIGURES and KIND not in pictures else [])]

    return write_figures(report.drawn, out, kinds, visible("; ".join(report.provenance.short)))


def _long(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a figure, with every key that any of them has."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    written = csv.writer(text, lineterminator="\n")
    written.writerow(keys)
    for row in rows:
        written.writerow(
            ""
            if (value := row.get(key)) is None
            else value
            if isinstance(value, int | float)
            else spreadsheet(str(value))
            for key in keys
        )
    return text.getvalue()


def report(
    runs: Sequence[str],
    out: str,
    *,
    baseline: str | None,
    formats: Sequence[str],
    quoted: str | None,
    title: str | None,
    paper: bool = False,
    date: str | None = None,
) -> list[Path]:
    """From a command line to files."""
    printed = day(date) if date else None
    rows = read_quoted(user_path(quoted)) if quoted else ()
    flags = {"baseline": baseline, "format": ",".join(formats), "quoted": quoted, "title": title, "date": printed}
    made_by = _command(runs, flags, paper=paper)
    made = make_report([user_path(run) for run in runs], baseline, rows, title, date=printed, made_by=made_by)
    return write_report(made, user_path(out), formats or DEFAULT_FORMATS, paper=paper)


def _command(runs: Sequence[str], flags: Mapping[str, str | None], *, paper: bool) -> str:
    """The command line that makes this report again. Where it is written to is no part of it."""
    given = [f"--{name} {shell_word(value)}" for name, value in flags.items() if value]
    return " ".join(["bench report", *map(shell_word, runs), "--out DIR", *given, *(["--paper"] if paper else [])])
