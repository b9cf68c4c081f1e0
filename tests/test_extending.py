"""docs/extending.md does what it says: its files are written, its package is installed, its commands are run."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import transcripts
from mock_server import MockServer

PAGE = transcripts.DOCS / "extending.md"
BLOCK = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<title>[\w./-]+)")?\n(?P<body>.*?)^```$|^    (?P<line>bench judge [^\n]*)$',
    re.M | re.S,
)
NO_JUDGE_HERE = "hf:ckpt/judge"


def as_run(text: str, folder: Path) -> str:
    """The page, with what its commands print when they are run from `folder`."""
    with transcripts.at_work(folder):
        return BLOCK.sub(_done, text)


def _done(block: re.Match[str]) -> str:
    if block["line"]:
        if NO_JUDGE_HERE not in block["line"]:
            transcripts.run(f"{block['line']} --quiet")
        return block[0]
    if block["title"]:
        file = Path(block["title"])
        file.parent.mkdir(exist_ok=True)
        file.write_text(block["body"])
        if file.name == "bench_sums.py":
            _install(file.parent)
    return transcripts._answered(block) if block["kind"] == "console" else block[0]


def _install(package: Path) -> None:
    """What `pip install ./bench-sums` would leave behind, without building anything."""
    described = tomllib.loads((package / "pyproject.toml").read_text())
    project = described["project"]
    info = Path("site") / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    points = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in of.items()) for group, of in groups]
    (info / "entry_points.txt").write_text("\n".join(points))
    for module in described["tool"]["setuptools"]["py-modules"]:
        shutil.copy(package / f"{module}.py", "site")
    importlib.invalidate_caches()


@pytest.fixture
def judge(judge_server: MockServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MockServer:
    judge_server.behave(lambda request, _: "It says the same.\nRating: [[4]]")
    monkeypatch.setenv("OPENAI_BASE_URL", judge_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "bench_sums", raising=False)
    return judge_server


def test_the_tutorial_runs_and_prints_what_it_shows(judge: MockServer, tmp_path: Path) -> None:
    text = PAGE.read_text()
    assert as_run(text, tmp_path) == text
    asked = [request.json["messages"][-1]["content"] for request in judge.requests]
    assert len(asked) == 24
    assert any("reference answer, turn 1\nNairobi\n" in said and "turn 1\nMombasa\n" in said for said in asked)
