"""A run that is killed, stopped or starved goes on where it was: nothing lost, nothing done twice."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCH = [sys.executable, str(Path(__file__).parents[1] / "bench.py")]


def bench(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)


def records(run: Path, name: str) -> list[dict[str, Any]]:
    path = run / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines() if line] if path.exists() else []


def keys(run: Path, name: str) -> list[tuple[Any, ...]]:
    fields = ("task", "item", "sample", "turn", "judge", "repeat")
    return [tuple(record.get(field) for field in fields) for record in records(run, name)]


def whole_lines(path: Path) -> bytes:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1,500 stored answers."""
    path = tmp_path_factory.mktemp("answers") / "answers.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "prompt", "response"])
        for n in range(1500):
            rows.writerow([f"q{n}", f"How do I do thing {n}?", f"I can't help with thing {n}." * (1 + n % 3)])
    return path


def test_sigkill_at_any_moment_loses_nothing_and_repeats_nothing(answers: Path, tmp_path: Path) -> None:
    command = [*BENCH, "run", "--model", f"answers:{answers}", "--tasks", "asr,collapse", "--quiet"]
    start = time.perf_counter()
    whole = subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True)
    assert whole.returncode == 0
    length = time.perf_counter() - start
    run = tmp_path / "killed"
    draw = random.Random(0)
    kept = {"answers": b"", "judgments": b""}
    interrupted = 0
    for _ in range(12):
        process = subprocess.Popen([*command, "--out", str(run)], stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.1, 0.8) * length)
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
        for name, before in kept.items():
            now = whole_lines(run / f"{name}.jsonl")
            assert now.startswith(before), f"records of {name} that were on the disk are gone"
            kept[name] = now
    assert interrupted >= 5, "the kills came too late to mean anything"
    assert subprocess.run([*command, "--out", str(run)], check=False).returncode == 0
    for name in kept:
        found = keys(run, name)
        assert len(found) == len(set(found)) == 1500
        assert (run / f"{name}.jsonl").read_bytes().startswith(kept[name])
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["scores"] for name in ("whole", "killed")]
    assert scores[0] == scores[1]


def test_a_torn_last_line_is_dropped_with_a_warning_and_done_again(answers: Path, tmp_path: Path) -> None:
    command = ("run", "--model", f"answers:{answers}", "--tasks", "asr", "--limit", "20", "--out", tmp_path / "run")
    assert bench(*command).returncode == 0
    path = tmp_path / "run" / "judgments.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    again = bench(*command)
    assert again.returncode == 0
    assert "cut short" in again.stderr
    assert len(set(keys(tmp_path / "run", "judgments"))) == len(records(tmp_path / "run", "judgments")) == 20


def test_a_finished_run_does_nothing_again(answers: Path, tmp_path: Path) -> None:
    command = ("run", "--model", f"answers:{answers}", "--tasks", "asr", "--limit", "20", "--out", tmp_path / "run")
    first = bench(*command, "--json")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    again = bench(*command, "--json")
    assert (first.returncode, first.stdout) == (again.returncode, again.stdout)
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    del before[".lock"], after[".lock"]  # holds the pid of the last writer
    assert before == after


def test_prompts_lost_from_the_list_of_items_are_missed_and_put_back(answers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("run", "--model", f"answers:{answers}", "--tasks", "asr", "--limit", "20", "--out", run, "--json")
    first = bench(*command)
    for keep in (0, 12):
        items = (run / "items.jsonl").read_text().splitlines(keepends=True)
        (run / "items.jsonl").write_text("".join(items[:keep]))
        shown = bench("show", run, "--json")
        assert (shown.returncode, json.loads(shown.stdout)["status"]) == (4, "incomplete")
        again = bench(*command)
        assert (again.returncode, again.stdout) == (0, first.stdout)


def test_a_run_killed_before_its_items_are_written_is_no_complete_one(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench as door
    from harness.store import RunStore

    def killed(*_: object) -> None:
        raise SystemExit("killed")

    command = ["run", "--model", f"answers:{answers}", "--tasks", "asr", "--limit", "5", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "write_items", killed)
        with pytest.raises(SystemExit):
            door.main(command)
    assert door.main(["show", str(tmp_path / "run")]) == 4
    assert door.main([*command[:-3], "6", *command[-2:]]) == 2
    assert door.main(command) == 0
    assert door.main(["show", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("change", [("--limit", "21"), ("--judge-repeats", "2")])
def test_other_settings_on_the_same_directory_are_refused_by_name(
    answers: Path, tmp_path: Path, change: tuple[str, str]
) -> None:
    command = ("run", "--model", f"answers:{answers}", "--tasks", "asr", "--limit", "20", "--out", tmp_path / "run")
    assert bench(*command).returncode == 0
    refused = bench(*command, *change)
    assert refused.returncode == 2
    named = {"--limit": "tasks.asr.items: 20 → 21", "--judge-repeats": "judge_repeats: 1 → 2"}
    assert named[change[0]] in refused.stderr


def test_a_second_process_on_a_run_is_refused_with_the_first_ones_pid(answers: Path, tmp_path: Path) -> None:
    from harness.store import RunStore

    with RunStore.open(tmp_path / "run", {}):
        refused = bench("run", "--model", f"answers:{answers}", "--out", tmp_path / "run")
    assert refused.returncode == 2
    assert f"in use by pid {os.getpid()} on " in refused.stderr


@pytest.mark.parametrize("ask_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(
    checkpoint: Path, tmp_path: Path, ask_to_stop: signal.Signals
) -> None:
    run = tmp_path / "run"
    # A few conversations at a time: all at once, they could also end at once, before the signal comes.
    command = [*BENCH, "run", "--model", str(checkpoint), "--tasks", "over_refusal", "--out", str(run)]
    command += ["--concurrency", "4", "--max-new-tokens", "64"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (run / "answers.jsonl").exists() or not (run / "answers.jsonl").stat().st_size:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(ask_to_stop)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "the same command resumes the run" in said
    assert "Traceback" not in said
    assert json.loads((run / "run.json").read_text())["status"] == "incomplete"
    stopped_with = keys(run, "answers")
    assert 0 < len(stopped_with) < 80
    assert bench(*command[2:]).returncode == 0
    finished = keys(run, "answers")
    assert finished[: len(stopped_with)] == stopped_with
    assert len(finished) == len(set(finished)) == 80


def test_a_full_disk_ends_the_run_with_whole_records(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench as door

    room = 50_000
    write = os.write

    def write_until_full(fd: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(28, "No space left on device")
        written = write(fd, bytes(data)[:room])
        room -= written
        return written

    monkeypatch.setattr("harness.store.os.write", write_until_full)
    command = ["run", "--model", f"answers:{answers}", "--tasks", "asr", "--out", str(tmp_path / "run")]
    assert door.main(command) == 4
    assert "No space left on device" in capsys.readouterr().err
    for name in ("answers", "judgments"):
        assert whole_lines(tmp_path / "run" / f"{name}.jsonl") == (tmp_path / "run" / f"{name}.jsonl").read_bytes()
    kept = keys(tmp_path / "run", "answers")
    assert kept
    monkeypatch.undo()
    assert door.main(command) == 0
    assert keys(tmp_path / "run", "answers")[: len(kept)] == kept
    assert len(set(keys(tmp_path / "run", "judgments"))) == 1500


def test_a_run_of_many_items_holds_few_of_them(tmp_path: Path, peak_memory: Callable[[list[str]], int]) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.jsonl"
        with path.open("w") as file:
            for n in range(rows):
                file.write(json.dumps({"prompt": f"question {n}", "response": f"{n} " + "abcdefghi" * 440}) + "\n")
        return peak_memory(
            [*BENCH, "run", "--model", f"answers:{path}", "--quiet", "--out", str(tmp_path / f"r{rows}")]
        )

    few, many = peak(500), peak(4500)
    # 4,000 more answers of 4 kB are 16 MB as text; what may grow are keys and measures, about 1 kB an answer.
    assert many - few < 8_000_000
