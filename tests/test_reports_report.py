"""Reports: the tables say what the runs say, in every format, the same bytes each time, and obey no text in them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from stored_answers import run_of_outcomes

from reports.escaping import latex, markdown, spreadsheet, visible
from reports.table_formats import to_csv, to_latex, to_markdown, to_tsv
from reports.tables import Cell, Column, Table

Say = Callable[..., tuple[int, str, str]]
QUOTED = Path(__file__).parents[1] / "docs" / "quoted" / "constitution_or_collapse.yaml"


@pytest.fixture
def runs(say: Say, tmp_path: Path) -> tuple[Path, Path]:
    before = run_of_outcomes(say, tmp_path / "sft", ["harmful"] * 71 + ["refused"] * 29)
    after = run_of_outcomes(say, tmp_path / "dpo", ["harmful"] * 42 + ["degenerate"] * 15 + ["refused"] * 43)
    named = tmp_path / "sft-cai", tmp_path / "dpo-cai"
    before.rename(named[0])
    after.rename(named[1])
    return named


def test_the_papers_table_has_intervals_changes_and_stars_with_a_legend(
    say: Say, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = say("report", *runs, "--out", tmp_path / "report", "--quoted", QUOTED, "--json")
    assert code == 0, err
    files = [Path(file) for file in json.loads(out)["files"]]
    assert all(file.is_file() for file in files)
    rows = {row["Model"]: row for row in csv.DictReader(io.StringIO((tmp_path / "report" / "paper.csv").read_text()))}
    assert (rows["sft-cai"]["ASR (%)"], rows["sft-cai"]["ASR (%) 95 %"]) == ("71.0", "[61.5, 79.0]")
    assert (rows["dpo-cai"]["Δ ASR (points)"], rows["sft-cai"]["Δ ASR (points)"]) == ("-29.0", "baseline")
    assert rows["dpo-cai"]["Δ ASR (points) 95 %"].endswith(", -41 %")
    assert rows["dpo-cai"]["Collapse"] == "collapsed"
    assert rows["DPO-CAI"]["ASR (%)"] == "42"
    text = (tmp_path / "report" / "paper.md").read_text()
    assert "| 42.0 \\[32.8, 51.8\\] | -29.0\\*\\*\\* \\[" in text
    assert "after Holm's correction" in text
    assert "asr: judged by human, n = 100." in text
    assert "collapse: measured by program, n = 100." in text
    assert "not measured here" in text


def test_two_reports_of_the_same_runs_are_the_same_bytes(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert say("report", *runs, "--out", tmp_path / name, "--paper")[0] == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert {Path(name).suffix for name in first} >= {".pdf", ".svg", ".png", ".html", ".tex", ".bib", ".json"}


def test_one_run_alone_is_a_report_without_changes(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert say("report", runs[0], "--out", tmp_path / "r", "--format", "markdown")[0] == 0
    text = (tmp_path / "r" / "paper.md").read_text()
    assert "Δ" not in text
    assert {path.suffix for path in (tmp_path / "r").iterdir()} == {".md", ".txt", ".json"}


def test_mistakes_are_named(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text("- name: x\n  asrr: '1'\n")
    for arguments, said in [
        (("--format", "latx"), "no format 'latx': did you mean latex?"),
        (("--quoted", tmp_path / "rows.yaml"), "unknown key 'asrr': did you mean asr"),
        (("--quoted", tmp_path / "none.yaml"), "can not read"),
    ]:
        code, _, err = say("report", *runs, "--out", tmp_path / "r", *arguments)
        assert (code, said in err) == (2, True), err


# --- text that nobody of ours wrote ---

WILD = [
    r"\input{/etc/passwd}", "$x_1$ & 50% #1 ~^", "<script>alert(1)</script>", "a|b `c` [d](e)", "=cmd|' /C calc'!A0",
    "+1+1", "-2+3", "@SUM(A1)", "\u202eevil\u202c", "\ud800", "中文 😀", "line\nbreak\r\ttab", "[1] first", "* starred",
]  # fmt: skip


def wild_table() -> Table:
    return Table(
        "wild", WILD[0], [Column(WILD[1], "left"), Column("n")], [[Cell(text), Cell("1")] for text in WILD], WILD
    )


def test_nothing_in_a_cell_reaches_latex_as_a_command() -> None:
    for text in WILD:
        found = latex(text)
        assert "\\input{" not in found
        assert found.encode("ascii", "ignore").decode() == found or "é" in found
    assert latex("50 % of $x_1$") == r"50 \% of \$x\_1\$"
    assert latex("-0.29 [-0.4]") == r"$-$0.29 [$-$0.4]"


def test_a_spreadsheet_computes_no_cell_and_keeps_numbers() -> None:
    assert [spreadsheet(text)[0] for text in ("=1+1", "+1+1", "-2+3", "@A1", "=cmd|x")] == ["'"] * 5
    assert [spreadsheet(text) for text in ("-29.0", "+5", "0.3", "[1, 2]")] == ["-29.0", "+5", "0.3", "[1, 2]"]
    for written, delimiter in ((to_csv, ","), (to_tsv, "\t")):
        rows = list(csv.reader(io.StringIO(written(wild_table())), delimiter=delimiter))
        assert len(rows) == 1 + 2 * len(WILD)
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "@")) or cell == "+1+1"]


def test_markdown_shows_what_it_is_given() -> None:
    assert markdown("a|b <i> `c` [d](e)") == r"a\|b \<i\> \`c\` \[d\](e)"
    body = [line for line in to_markdown(wild_table()).splitlines() if line.startswith("|")]
    assert len(body) == 2 + len(WILD)


def test_what_steers_a_display_is_seen() -> None:
    assert visible("\u202eevil\ud800\n") == "\\u202eevil\\ud800\\u000a"
    to_latex(wild_table()).encode()


@pytest.mark.slow
def test_the_document_compiles_as_it_is(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex here (Debian: texlive-latex-base)")
    assert say("report", *runs, "--out", tmp_path / "r", "--format", "latex", "--title", WILD[0])[0] == 0
    (tmp_path / "r" / "paper.tex").write_text((tmp_path / "r" / "paper.tex").read_text() + to_latex(wild_table()))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=tmp_path / "r", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "r" / "report.pdf").stat().st_size > 10_000
