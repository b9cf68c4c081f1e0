"""The site: transcripts are what is printed, every command and page is there, and links lead somewhere.

mkdocs itself (make docs) is strict about links and nav; what is tested here needs none of it.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transcripts

from harness.command_line import parser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
yaml: Any = importlib.import_module("yaml")
NAV: list[Any] = yaml.safe_load((ROOT / ".ci/mkdocs.yml").read_text())["nav"]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that most pages begin with."""
    folder = tmp_path_factory.mktemp("transcripts")
    with transcripts.at_work(folder):
        transcripts.make_runs()
    return folder


@pytest.mark.parametrize("page", transcripts.pages(), ids=lambda page: page.stem)
def test_every_transcript_is_what_is_printed(page: Path, prepared: Path) -> None:
    assert transcripts.as_printed(page, prepared) == page.read_text(), "if the page is what is wrong: make transcripts"


def test_a_transcript_that_is_no_longer_true_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "DOCS", tmp_path)
    page = tmp_path / "start.md"
    page.write_text("```console\n$ bench judges | head -n 1\nrubric  somebody who likes it\n```\n\nText.\n")
    assert transcripts.as_printed(page) == (
        "```console\n$ bench judges | head -n 1\nrubric          checks that a program decides; offline\n```\n\nText.\n"
    )


def leaves(found: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something."""
    inner = [it for it in found._actions if isinstance(it, argparse._SubParsersAction)]
    if not inner:
        yield words
    for name, command in (inner[0].choices if inner else {}).items():
        yield from leaves(command, (*words, name))


def test_every_command_has_a_page_with_its_flags() -> None:
    markers = {
        (page.stem, *found.split()[1:]): page
        for page in (DOCS / "commands").glob("*.md")
        for found in re.findall(r"^<!-- help: (.+) -->$", page.read_text(), re.M)
        if found.split()[0] == page.stem
    }
    assert set(markers) == set(leaves(parser()))


def in_nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        where = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [where] if isinstance(where, str) else in_nav(where)


def test_every_page_is_in_the_nav_and_everything_in_the_nav_is_a_page() -> None:
    listed = list(in_nav(NAV))
    assert len(listed) == len(set(listed))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    # Tables that a report wrote are linked to, and the reference has a nav of its own.
    own = {page for page in pages if not re.match(r"reference/|example/(?!README)|replication/\w+/", page)}
    assert own == set(listed)


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *DOCS.rglob("*.md")], ids=lambda page: page.stem)
def test_every_link_between_files_leads_somewhere(page: Path) -> None:
    if page.is_relative_to(DOCS / "reference"):
        pytest.skip("the other pages of the reference are made with the site, which checks its links")
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    links = [
        link for link in re.findall(r"\]\(([^)\s#]+)", text) if not re.match(r"\w+:|reference/|\.\./reference/", link)
    ]
    assert not [link for link in links if not (page.parent / link).exists()]
