"""The package as others get it: all files inside, and a wheel that works in an environment with nothing else.

Builds are made of a copy, so that nothing is left in the repository. Dependencies come from the package index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("harness", "tasks", "judges", "training", "reports")
CONSTRAINTS = ROOT / ".ci/constraints.txt"
NOT_OURS = shutil.ignore_patterns(
    ".*_cache", ".hypothesis", ".venv", ".git", "__pycache__", "runs", "build", "*.egg-info"
)

pytestmark = pytest.mark.packaging


def sh(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, without this environment's packages; its stdout."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, env=clean | environment
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def environment_in(folder: Path) -> Path:
    """The bin of a new environment."""
    sh(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel; the wheel is built from the sdist, as build does it."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_OURS)
    bin = environment_in(folder / "builder")
    sh(bin / "pip", "install", "--quiet", "--disable-pip-version-check", "build==1.6.1", cwd=folder)
    sh(bin / "python", "-m", "build", "--outdir", folder / "dist", folder / "source", cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin of an environment that holds the wheel and its core dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    bin = environment_in(folder / "venv")
    pip = (bin / "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS)
    sh(*pip, wheel, cwd=folder)
    return bin


def test_the_wheel_holds_every_file_of_every_room_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = {name for name in names if ".dist-info/" not in name}
        (metadata,) = [
            archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")
        ]
        licences = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    ours = {
        file.relative_to(ROOT).as_posix()
        for room in ROOMS
        for file in (ROOT / room).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert inside == ours | {"bench.py"}
    assert {f"{room}/py.typed" for room in ROOMS} <= inside
    assert licences
    assert "License-Expression: Apache-2.0" in metadata


def test_the_sdist_holds_what_its_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CITATION.cff", "Makefile", "tests/conftest.py", "docs/ci.md", ".ci/constraints.txt"} <= inside
    assert {f"tests/{file.name}" for file in (ROOT / "tests").glob("*.py")} <= inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith((".venv", "runs", ".git/"))]


def test_the_wheel_evaluates_stored_answers_with_no_extra(installed: Path, tmp_path: Path) -> None:
    sh(installed / "python", "-c", "import importlib.util as u; assert not u.find_spec('torch')", cwd=tmp_path)
    assert "commands:" in sh(installed / "bench", "--help", cwd=tmp_path)
    for name, run in (("smollm2", "base"), ("smollm2-3bit", "3bit")):
        answers = ROOT / f"docs/answers/{name}.jsonl"
        asked = ("--tasks", "asr,collapse", "--out", run, "--json")
        said = sh(installed / "bench", "run", "--model", f"answers:{answers}", *asked, cwd=tmp_path)
        assert json.loads(said)["status"] == "complete"
    compared = json.loads(sh(installed / "bench", "compare", "base", "3bit", "--json", cwd=tmp_path))
    assert compared["comparisons"]
    sh(installed / "bench", "report", "base", "3bit", "--out", "report", "--format", "csv,latex", cwd=tmp_path)
    assert "toprule" in (tmp_path / "report/paper.tex").read_text()


def test_what_an_extra_gives_is_asked_for_in_one_line_where_it_is_missing(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "bench"), "run", "--model", "smollm2", "--tasks", "asr", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "bench[hf]" in done.stderr


def test_types_of_the_wheel_are_seen(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from tasks.item import Item\n\ndef name(item: Item) -> int:\n    return item.id\n"
    )
    checker = [sys.executable, "-m", "mypy", "--python-executable", str(installed / "python"), "own.py"]
    done = subprocess.run(checker, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'got "str", expected "int"' in done.stdout


def citation() -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped, unused-ignore]

    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    return found


def test_the_citation_is_of_this_version_and_licence() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation()["version"]}"' in project
    assert f'license = "{citation()["license"]}"' in project


def test_the_image_is_pinned_and_belongs_to_no_root() -> None:
    """What hadolint asks for, as far as a text shows it; docker is not needed."""
    text = (ROOT / "Dockerfile").read_text()
    steps = re.sub(r"\\\n", " ", text)
    assert re.search(r"^ARG BASE=\S+:\S+$", steps, re.M)
    assert "--constraint" in steps
    assert "--no-cache-dir" in steps
    users = re.findall(r"^USER (\S+)", steps, re.M)
    assert users
    assert users[-1] not in ("root", "0")
    assert not re.search(r"^ADD |sudo |:latest", steps, re.M)
    assert re.search(r'^ENTRYPOINT \["bench"\]$', steps, re.M)
