"""`bench runs`: every run as it stands, whatever state its directory is in, without reading a record."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stored_answers import run_of_outcomes

from harness import runs as listing
from harness.lock import locked
from harness.runs import list_runs

Say = Callable[..., tuple[int, str, str]]
OUTCOMES = ("harmful", "refused", "refused", "harmful", "refused")


@pytest.fixture
def folder(say: Say, tmp_path: Path) -> Path:
    """A folder with one complete run in it, at a/run."""
    run_of_outcomes(say, tmp_path / "a", OUTCOMES)
    return tmp_path


def test_a_complete_run_is_listed_with_the_figures_of_its_scores(say: Say, folder: Path) -> None:
    code, out, err = say("runs", folder, "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["runs"]
    assert (row["name"], row["status"], row["backend"], row["tasks"]) == (
        "a/run",
        "complete",
        "answers",
        ["asr", "collapse"],
    )
    asr = next(headline for headline in row["headlines"] if headline["task"] == "asr")
    stored = json.loads((folder / "a" / "run" / "scores.json").read_text())["scores"]
    stated = next(s for s in stored if (s["task"], s["metric"], s["group"]) == ("asr", "asr", "all"))
    assert asr["value"] == 0.4
    assert all(asr[key] == stated[key] for key in ("value", "low", "high", "n", "judge"))
    _, out, _ = say("runs", folder)
    assert "asr 40.0 % [" in out
    assert f"by {stated['judge']}" in out, "a figure without its judge"


def test_a_task_of_somebody_elses_has_its_main_figure(say: Say, folder: Path) -> None:
    stored = folder / "a" / "run" / "scores.json"
    figure = {"group": "all", "value": 0.5, "low": 0.25, "high": 0.75, "n": 20, "excluded": {}, "judge": "j"}
    metrics = {"mine": ("refusal", "asr"), "rated": ("turn_1", "average"), "capability:x": ("acc,none", "f1")}
    rows = [{**figure, "task": task, "metric": metric} for task, of_task in metrics.items() for metric in of_task]
    stored.write_text(json.dumps({"scores": rows}))
    _, out, _ = say("runs", folder)
    assert [line.strip() for line in out.splitlines()[1:]] == [
        "mine asr 50.0 % [25.0, 75.0] by j",
        "rated 0.50 [0.25, 0.75] by j",
        "capability:x acc,none 0.50 [0.25, 0.75] by j",
    ]


def test_figures_older_than_the_records_are_not_shown(say: Say, folder: Path) -> None:
    later = time.time() + 5
    os.utime(folder / "a" / "run" / "judgments.jsonl", (later, later))
    _, out, _ = say("runs", folder)
    assert "older than the records: bench show" in out
    assert "asr 40" not in out


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"schema_version": 99}', '{"schema_version": 1}', None, "[" * 100_000],
    ids=["torn", "a list", "of the future", "half", "lost", "deep"],
)
def test_a_damaged_run_is_listed_as_such_and_hides_no_other(say: Say, folder: Path, damage: str | None) -> None:
    run_of_outcomes(say, folder / "b", OUTCOMES)
    manifest = folder / "b" / "run" / "run.json"
    manifest.unlink() if damage is None else manifest.write_text(damage)
    code, out, _ = say("runs", folder, "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["runs"]}
    assert (rows["b/run"]["status"], rows["a/run"]["status"]) == ("damaged", "complete")
    assert rows["b/run"]["trouble"]


def test_a_manifest_that_is_a_pipe_is_damaged_and_not_waited_for(folder: Path) -> None:
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "run.json")
    assert {run.name: run.status for run in list_runs(str(folder)).runs} == {"a/run": "complete", "pipe": "damaged"}


@pytest.mark.parametrize("part", ["model", "identity", "status"])
def test_a_manifest_of_wrong_shapes_is_damaged(folder: Path, part: str) -> None:
    manifest = folder / "a" / "run" / "run.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), part: None}))
    (run,) = list_runs(str(folder)).runs
    assert run.status == ("incomplete" if part == "status" else "damaged")


@pytest.mark.parametrize("scores", ["", "[]", '{"scores": [[]]}', '{"scores": {"a": 1}}', "NaN", "1e999"])
def test_damaged_scores_are_no_figures(say: Say, folder: Path, scores: str) -> None:
    file = folder / "a" / "run" / "scores.json"
    whole = json.loads(file.read_text())
    if scores in ("NaN", "1e999"):
        row = {"task": "asr", "metric": "asr", "group": "all", "low": None, "high": None, "n": 3, "judge": None}
        scores = json.dumps({**whole, "scores": [{**row, "value": "X"}]}).replace('"X"', scores)
    file.write_text(scores)
    _, out, _ = say("runs", folder)
    assert "scores.json is damaged: bench show" in out


def test_a_run_that_is_held_names_its_process_and_listing_disturbs_it_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = folder / "a" / "run"
    with locked(directory) as lock:
        (run,) = list_runs(str(folder)).runs
        assert (run.status, run.holder) == ("running", (directory / ".lock").read_text().strip())
        monkeypatch.setattr(listing, "KERNEL_LOCKS", Path("/nowhere"))
        assert list_runs(str(folder)).runs[0].status == "running", "without the kernel's list a living process counts"
        os.close(lock)
    monkeypatch.undo()
    assert list_runs(str(folder)).runs[0].status == "complete"


def test_a_killed_run_is_incomplete_and_one_of_another_machine_may_be_running(folder: Path) -> None:
    directory = folder / "a" / "run"
    manifest = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
    (directory / ".lock").write_text("pid 999999 on " + os.uname().nodename)
    assert list_runs(str(folder)).runs[0].status == "incomplete"
    (directory / ".lock").write_text("pid 1 on elsewhere")
    (run,) = list_runs(str(folder)).runs
    assert (run.status, run.holder) == ("running", "perhaps pid 1 on elsewhere")


def test_what_names_could_do_to_a_terminal_is_shown_and_not_sent(say: Say, folder: Path) -> None:
    manifest = folder / "a" / "run" / "run.json"
    described = json.loads(manifest.read_text())
    described["model"]["name"] = "\x1b]0;owned\x07"
    manifest.write_text(json.dumps(described))
    (folder / "a" / "run").rename(folder / "a" / "\x1b[2Jrun")
    _, out, _ = say("runs", folder)
    assert "\x1b" not in out
    assert "\\x1b]0;owned" in out


def test_hundreds_of_runs_are_listed_without_reading_a_record(say: Say, folder: Path) -> None:
    first = folder / "a" / "run"
    whole = {name: (first / name).read_bytes() for name in ("run.json", "scores.json")}
    for number in range(500):
        directory = folder / "many" / f"{number:03}"
        directory.mkdir(parents=True)
        for name in ("items", "answers", "judgments"):
            (directory / f"{name}.jsonl").write_text("no record\n")
        for name, content in whole.items():
            (directory / name).write_bytes(content)
    code, out, _ = say("runs", folder / "many", "--json")
    rows = json.loads(out)["runs"]
    assert (code, len(rows), {row["status"] for row in rows}) == (0, 500, {"complete"})
    assert all(row["headlines"] for row in rows)


def test_a_folder_that_can_not_be_looked_into_is_said(say: Say, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked_up, scan = folder / "\x1block", os.scandir
    locked_up.mkdir()

    def scandir(place: str) -> object:
        if str(place) == str(locked_up):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", scandir)
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    code, out, err = say("runs", folder)
    assert (code, out.count("complete"), err.count("\n")) == (0, 1, 1)
    assert "x1block: Permission denied" in err
    assert "\x1b" not in err


def test_no_runs_is_said_on_stderr_and_a_missing_folder_is_a_mistake(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = say("runs")
    assert (code, out) == (0, "")
    assert "no runs in runs" in err
    code, out, _ = say("runs", "--json")
    assert json.loads(out) == {"schema_version": 1, "runs": [], "unreadable": []}
    code, out, err = say("runs", "nowhere")
    assert (code, out) == (2, "")
    assert "no folder nowhere" in err
