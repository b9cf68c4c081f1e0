"""The section of a paper: it says what was computed, cites what it says, compiles, and obeys no text in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_answers import run_of_outcomes

from harness.stored_run import open_run
from reports.bibliography import OF_SETS, WORKS, bibtex
from reports.comparison import Comparison, Comparisons, compare
from reports.latex_text import PIECE, broken, lines, pieces
from reports.lineage import LONGEST, LONGEST_VALUE, lineage_lines, stages_of
from reports.pairing import Difference
from reports.paper_table import Row
from reports.tables import Table
from reports.tables_of_runs import tables_of_runs
from tasks.sources import SOURCES

Say = Callable[..., tuple[int, str, str]]
QUOTED = Path(__file__).parents[1] / "docs" / "quoted" / "constitution_or_collapse.yaml"
LONG = "llama-3-8b-sft-cai-lr1e-5-epoch-3-with_a_very_long_name_of_60"
HOSTILE = (r"\input{etc} $x_1$ & 50% #1 ~^", "=cmd|' C calc'!A0", "\u202eevil\u202c name", LONG)
LINEAGE = {
    "base": {"name": "smollm2", "sha256": "a" * 64},
    "recipe": "folder/" * 40,
    "monitor": {"dpo": [{"step": 0, "entropy": 1.5}]},
    "stages": [
        {
            "stage": "critiques",
            "seed": 3,
            "inputs": {"prompts": "b" * 64},
            "counts": {"kept": 9, "dropped": {"loop": 2}},
        },
        {"stage": "dpo", "inputs": {f"setting_{n}": n for n in range(40)}},
    ],
}


@pytest.fixture
def runs(say: Say, tmp_path: Path) -> tuple[Path, Path]:
    outcomes = ["harmful"] * 71 + ["refused"] * 29, ["harmful"] * 42 + ["degenerate"] * 15 + ["refused"] * 43
    made = [run_of_outcomes(say, tmp_path / name, of) for name, of in zip("ab", outcomes, strict=True)]
    return made[0].rename(tmp_path / "sft-cai"), made[1].rename(tmp_path / "dpo-cai")


def section_of(say: Say, runs: Sequence[Path], out: Path, *flags: object) -> str:
    code, _, err = say("report", *runs, "--out", out, "--paper", "--format", "latex", *flags)
    assert code == 0, err
    return (out / "section.tex").read_text()


def cites(text: str) -> set[str]:
    return {key for found in re.findall(r"\\cite\{([^}]*)\}", text) for key in found.split(",")}


def entries(out: Path) -> set[str]:
    return set(re.findall(r"^@\w+\{(\w+),", (out / "references.bib").read_text(), re.M))


# --- what it says ---


def test_the_section_says_what_was_computed_and_cites_that_alone(
    say: Say, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    text = section_of(say, runs, tmp_path / "r", "--quoted", QUOTED)
    works = {"wilson1927", "tango1998", "fagerland2013", "holm1979", "miller2024", "welleck2020", "zhang2025"}
    assert cites(text) == entries(tmp_path / "r") == works
    for said in (
        "asr: harmful requests; n = 100,",
        "within the primary family of 2 tests (attack success, degenerate answers)",
        r"more than 50\,\% of its runs of four words repeat",
        "dpo-cai, n = 100",
        "sft-cai is the baseline.",
        r"\includegraphics[width=\linewidth]{forest.pdf}",
    ):
        assert said in text
    assert (tmp_path / "r" / "forest.pdf").is_file()


def test_a_report_of_ratings_alone_cites_no_test_of_proportions(say: Say, tmp_path: Path) -> None:
    replies = Path(__file__).parent / "data" / "mini_mt_replies.jsonl"
    rows = [json.loads(line) for line in replies.read_text().splitlines()]
    made = []
    for name in ("one", "two"):
        file = tmp_path / f"{name}.jsonl"
        # The second model says nothing in the second turn of every other question.
        turns = [row["replies"][: 2 - place % 2 * (name == "two")] for place, row in enumerate(rows)]
        answers = [
            {"question_id": row["id"], "model_id": name, "choices": [{"index": 0, "turns": [*said, ""][:2]}]}
            for row, said in zip(rows, turns, strict=True)
        ]
        file.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        made.append(tmp_path / name)
        code, _, err = say("run", "--model", f"answers:{file}", "--tasks", "mini_mt", "--out", made[-1], "--quiet")
        assert code == 0, err
    found = cites(section_of(say, made, tmp_path / "r"))
    assert found == entries(tmp_path / "r")
    assert {"efron1987", "holm1979", "zheng2023"} <= found
    assert not found & {"wilson1927", "tango1998", "fagerland2013", "agresti2005", "welleck2020"}


def test_one_run_alone_is_compared_with_nothing(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    text = section_of(say, runs[:1], tmp_path / "r")
    assert cites(text) == entries(tmp_path / "r") == {"wilson1927", "welleck2020"}
    assert "We evaluate sft-cai." in text
    assert "No request and no answer was left out, and every answer was judged." in text
    assert "baseline" not in text


def test_what_was_not_judged_and_not_compared_is_said(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = run_of_outcomes(say, tmp_path / "c", ["unjudged"] * 3 + ["refused"] * 20, prompt="Another request, {n}")
    text = section_of(say, [runs[0], other], tmp_path / "r")
    assert "human left 3 of 23 answers of run unjudged (asr)" in text
    assert "Not compared: asr: 23 of 23 items of the same name ask something else" in text
    assert not cites(text) & {"holm1979", "fagerland2013"}


# --- capability ---


def capability_scores(accuracy: float, perplexity: float) -> list[dict[str, Any]]:
    def score(task: str, metric: str, value: float, group: str = "all") -> dict[str, Any]:
        low, high = value * 0.9, value * 1.1
        return {
            "task": task, "group": group, "metric": metric, "value": value, "low": low, "high": high, "n": 200,
            "excluded": {}, "judge": None,
        }  # fmt: skip

    gsm8k, wikitext = "capability:gsm8k", "capability:wikitext"
    return [
        score(gsm8k, "exact_match", accuracy), score(gsm8k, "exact_match", 0.9, group="algebra"),
        score(wikitext, "perplexity", perplexity),
    ]  # fmt: skip


def test_lm_eval_tasks_have_a_table_with_differences(say: Say, runs: tuple[Path, Path]) -> None:
    rows = [Row("sft", "sft", capability_scores(0.4, 12.5)), Row("dpo", "dpo", capability_scores(0.3, 14.0))]
    difference = Difference(0.4, 0.3, -0.1, True, -0.16, -0.04, 0.002, "McNemar mid-p", n=200)
    compared = Comparison(
        "capability:gsm8k", "all", "exact_match", None, "sft", "dpo", difference, {}, p_adjusted=0.004
    )  # fmt: skip
    found = replace(compare(open_run(runs[0]), []), rows=[compared])
    table = capability_table(rows, found)
    assert [column.heading for column in table.columns] == ["Task", "Metric", "sft", "dpo", "Δ dpo"]
    assert [[cell.whole for cell in row] for row in table.rows] == [
        ["gsm8k", "exact_match", "40.0 % [36.0, 44.0]", "30.0 % [27.0, 33.0]", "-10.0** [-16.0, -4.0]"],
        ["wikitext", "perplexity", "12.50 [11.25, 13.75]", "14.00 [12.60, 15.40]", "–"],
    ]
    assert [column.heading for column in capability_table(rows, None).columns][2:] == ["sft", "dpo"]


def capability_table(rows: Sequence[Row], found: Comparisons | None) -> Table:
    return next(table for table in tables_of_runs(rows, found, {}) if table.name == "capability")


# --- where it comes from ---


def test_every_file_tells_its_runs_and_a_date_only_if_asked(say: Say, runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name, flags in (("dated", ("--date", "2026-01-31")), ("undated", ())):
        assert say("report", *runs, "--out", tmp_path / name, "--paper", *flags)[0] == 0
    fingerprint = open_run(runs[0]).model["sha256"][:12]
    dated = {path.name: path.read_bytes() for path in (tmp_path / "dated").iterdir()}
    told = {name for name, text in dated.items() if name.endswith((".tex", ".md", ".svg", ".png", ".html", ".bib"))}
    told |= {"provenance.txt", "provenance.json"}
    pictured = {name for name in dated if name.endswith(".pdf")}
    for name in told - {"section_example.tex"}:
        assert fingerprint.encode() in dated[name].replace(rb"\allowbreak{}", b""), name
        assert b"2026-01-31" in dated[name], name
    assert pictured
    assert all(b"/Subject" in dated[name] for name in pictured)
    undated = {path.name: path.read_bytes() for path in (tmp_path / "undated").iterdir()}
    assert undated.keys() == dated.keys()
    assert not [name for name, text in undated.items() if b"2026-01-31" in text]
    assert json.loads(undated["provenance.json"])["runs"][0]["command"].startswith("bench run --judge human:")
    assert say("report", *runs, "--out", tmp_path / "r", "--date", "31.1.2026")[2].count("write a date as 2026-01-31")


def test_the_lineage_of_a_checkpoint_is_read_line_by_line() -> None:
    told = list(lineage_lines(json.dumps(LINEAGE)))
    assert told[0].startswith("recipe folder/folder/")
    assert told[1] == "base: name smollm2, sha256 aaaaaaaaaaaa"
    assert not [line for line in told if "entropy" in line]
    assert "critiques, counts: kept 9, dropped.loop 2" in told
    assert "critiques, inputs: prompts bbbbbbbbbbbb" in told
    assert max(map(len, told)) <= LONGEST + LONGEST_VALUE
    assert sum(line.startswith("dpo, inputs: ") for line in told) > 2
    assert stages_of(json.dumps(LINEAGE)) == ["critiques", "dpo"]
    for odd in (
        "",
        "no json {" * 100,
        "[1, NaN]",
        '{"stages": {"sft": {"seed": 1}, "x": 3}}',
        '{"stages": 3}',
        "[" * 9999,
    ):
        assert all(len(line) < LONGEST + LONGEST_VALUE for line in lineage_lines(odd))


# --- LaTeX ---


def test_long_words_are_broken_and_none_begins_with_a_hyphen() -> None:
    assert list(pieces("runs/sft-3")) == ["runs/", "sft-", "3"]
    assert all(not piece.startswith("-") for piece in pieces("abcdefgh-3" * 4))
    assert broken("of a short-named run") == "of a short-named run"
    assert broken("--limit") == "-{}-limit"
    assert lines(LONG, 26)[0] == "llama-3-8b-sft-cai-lr1e-"
    assert lines("", 10) == [""]
    assert max(len(piece) for piece in pieces("x" * 99)) == PIECE


def test_every_set_that_can_be_pulled_has_a_work_to_cite() -> None:
    assert {name for name, source in SOURCES.items() if not source.by_hand} == set(OF_SETS)
    assert set(OF_SETS.values()) <= set(WORKS)


def compiled(folder: Path, name: str) -> str:
    """The log of a document that was set three times, with its bibliography."""
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    for command in (latex, ["bibtex", name], latex, latex):
        if command[0] == "bibtex" and "\\citation" not in (folder / f"{name}.aux").read_text():
            continue
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        said = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, said[-3000:]
        assert "Warning--" not in said, said
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def overfull(log: str) -> list[str]:
    return [
        line
        for line in log.splitlines()
        if (found := re.search(r"\((\d+\.\d+)pt too wide", line)) and float(found[1]) > 10
    ]


@pytest.fixture
def needs_latex() -> None:
    if not shutil.which("pdflatex") or not shutil.which("bibtex"):
        pytest.skip("no pdflatex here (Debian: texlive-latex-base, texlive-latex-recommended)")


@pytest.mark.slow
@pytest.mark.usefixtures("needs_latex")
def test_hostile_names_compile_and_are_obeyed_by_nothing(say: Say, tmp_path: Path) -> None:
    outcomes = ["harmful"] * 20 + ["refused"] * 10, ["harmful"] * 12 + ["refused"] * 18
    made = []
    for number, name in enumerate(HOSTILE):
        run = run_of_outcomes(say, tmp_path / str(number), outcomes[number % 2])
        manifest = json.loads((run / "run.json").read_text())
        manifest["model"] |= {"name": "\\input{/etc/passwd}%\u202e\ud800" + name, "lineage": json.dumps(LINEAGE)}
        (run / "run.json").write_text(json.dumps(manifest))
        made.append(run.rename(tmp_path / name))
    out = tmp_path / "r"
    title = r"\input{/etc/passwd} \ud800 " + LONG
    section_of(say, made, out, "--title", title, "--quoted", QUOTED, "--date", "2026-01-31")
    for name in ("section_example", "report"):
        log = compiled(out, name)
        assert not overfull(log)
        assert "undefined" not in log
        assert "Float too large" not in log
        assert "passwd" not in "".join(re.findall(r"\(/\S+", log))
    # One column is wide enough, too.
    example = (out / "section_example.tex").read_text().replace("[twocolumn]", "")
    (out / "one_column.tex").write_text(example)
    assert not overfull(compiled(out, "one_column"))


@pytest.mark.slow
@pytest.mark.usefixtures("needs_latex")
def test_every_work_is_bibtex(tmp_path: Path) -> None:
    (tmp_path / "references.bib").write_text(bibtex(WORKS))
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\n\\begin{document}\n\\nocite{*}\n\\bibliographystyle{plain}\n"
        "\\bibliography{references}\n\\end{document}\n"
    )
    compiled(tmp_path, "all")
    assert (tmp_path / "all.bbl").read_text().count("\\bibitem") == len(WORKS)
