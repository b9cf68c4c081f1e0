"""Installed versions that fight, as `bench doctor` finds them."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from harness import requirements


def package(folder: Path, name: str, version: str, *wanted: str) -> metadata.Distribution:
    home = folder / f"{name}-{version}.dist-info"
    home.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in wanted)]
    (home / "METADATA").write_text("\n".join(lines) + "\n")
    return metadata.Distribution.at(home)


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        (("transformers", "torch>=3"), "problem"),
        (("transformers", "absent>=1"), "problem"),
        (("trl", 'torch>=3; extra == "torch"'), "warning"),
        (("trl", 'torch>=3; extra == "dev"'), "ok"),
        (("trl", 'absent>=1; extra == "absent"'), "ok"),
        (("bench", 'torch>=3; extra == "hf"'), "problem"),
        (("somebody-elses", "torch>=3"), "warning"),
        (("trl", 'torch>=3; python_version < "3"'), "ok"),
        (("trl", "torch>=2"), "ok"),
        (("trl", "!!! no requirement"), "ok"),
    ],
)
def test_versions_that_fight_are_read_from_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, str], status: str
) -> None:
    name, requirement = wanted
    packages = {"torch": package(tmp_path, "torch", "2.13.0+cpu"), name: package(tmp_path, name, "5.0", requirement)}
    monkeypatch.setattr(requirements, "_packages", lambda: packages)
    (found,) = requirements.version_findings()
    assert found.status == status
    assert status == "ok" or str(found.remedy).startswith("pip install ")
