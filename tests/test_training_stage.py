"""Stages: done once, gone on with after a stop, done anew when what they were made from has changed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasks.errors import BadInput
from training.stage import Stage, run_stage


class Worker:
    """Makes out.txt from a file that grows; dies in its first `deaths` attempts."""

    def __init__(self, folder: Path, deaths: int = 0) -> None:
        self.folder, self.deaths, self.calls = folder, deaths, 0
        self.said: list[str] = []

    def make(self) -> Mapping[str, int]:
        self.calls += 1
        with (self.folder / "rows.jsonl").open("a") as rows:
            rows.write("{}\n")
        if self.calls <= self.deaths:
            raise KeyboardInterrupt
        lines = (self.folder / "rows.jsonl").read_text()
        (self.folder / "out.txt").write_text(lines)
        return {"rows": lines.count("\n")}

    def run(self, limit: int = 1, seed: int = 0) -> dict[str, object]:
        inputs = {"seed": seed, "limit": limit}
        stage = Stage("filter", inputs, ["out.txt"], growing={"rows.jsonl": {"seed": seed}})
        return run_stage(self.folder, stage, self.make, self.said.append)


def test_a_finished_stage_is_not_done_again_unless_its_files_change(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    first = worker.run()
    assert worker.run()["counts"] == first["counts"] == {"rows": 1}
    assert worker.calls == 1
    (tmp_path / "out.txt").write_text("tampered")
    worker.run()
    assert worker.calls == 2


def test_a_stopped_stage_goes_on_with_what_it_had(tmp_path: Path) -> None:
    worker = Worker(tmp_path, deaths=1)
    with pytest.raises(KeyboardInterrupt):
        worker.run()
    assert worker.run()["counts"] == {"rows": 2}
    assert "goes on" in worker.said[-1]


def test_other_inputs_set_aside_what_depends_on_them_and_nothing_else(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.run()
    assert worker.run(limit=2)["counts"] == {"rows": 2}
    assert (tmp_path / "replaced/1/out.txt").exists()
    assert not (tmp_path / "replaced/1/rows.jsonl").exists()
    assert any("limit: 1 → 2" in line for line in worker.said)
    assert worker.run(limit=2, seed=1)["counts"] == {"rows": 1}
    assert (tmp_path / "replaced/2/rows.jsonl").read_text() == "{}\n{}\n"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/filter.json").write_text("{")
    with pytest.raises(BadInput, match=r"filter\.json"):
        Worker(tmp_path).run()


def test_the_second_process_follows_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, follower = Worker(tmp_path), Worker(tmp_path)
    first = worker.run()
    monkeypatch.setitem(os.environ, "RANK", "1")
    assert follower.run()["counts"] == first["counts"]
    assert not follower.calls
    record = json.loads((tmp_path / "stages/filter.json").read_text())
    (tmp_path / "stages/filter.json").write_text(json.dumps({**record, "status": "running"}))
    stage = Stage("filter", {"seed": 0, "limit": 1}, ["out.txt"], together=True)
    assert run_stage(tmp_path, stage, lambda: {"mine": 1}, follower.said.append)["counts"] == {"mine": 1}
