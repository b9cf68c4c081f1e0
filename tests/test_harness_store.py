"""The run directory: durable before it counts, one writer, nothing of others touched."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.frames import read_frames
from harness.records import RecordFile, read_records
from harness.store import ANSWER_FIELDS, RunStore
from judges.judgment import Judgment
from tasks.conversation import Answer
from tasks.errors import BadInput, RunStopped

MANIFEST = {
    "schema_version": 1, "status": "running", "config": {}, "identity": {}, "model": {}, "sources": {},
    "environment": {}, "sittings": [],
}  # fmt: skip


def answer(item: str) -> Answer:
    return Answer("asr", item, 0, 1, "said", "stop")


def judgment(item: str) -> Judgment:
    return Judgment("asr", item, 0, 1, "j", 0, label="refused")


def test_a_record_is_synced_before_its_adder_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    sync = os.fsync

    def watched(fd: int) -> None:
        sync(fd)
        synced.append((tmp_path / "run" / "answers.jsonl").read_bytes())

    monkeypatch.setattr("harness.records.os.fsync", watched)

    async def add() -> None:
        await store.add_answer(answer("a"))
        assert b'"item": "a"' in synced[-1]

    with RunStore.open(tmp_path / "run", {}) as store:
        asyncio.run(add())


def test_an_answer_is_on_the_disk_before_the_judgment_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    append = RecordFile.append

    def watched(file: RecordFile, lines: bytes) -> None:
        written.append(file.path.name)
        append(file, lines)

    monkeypatch.setattr(RecordFile, "append", watched)

    async def add() -> None:
        await asyncio.gather(store.add_judgment(judgment("a")), store.add_answer(answer("a")))

    with RunStore.open(tmp_path / "run", {}) as store:
        asyncio.run(add())
    assert written == ["answers.jsonl", "judgments.jsonl"]


def test_many_records_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    sync = os.fsync

    def counted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        sync(fd)

    async def add() -> None:
        await asyncio.gather(*(store.add_answer(answer(f"i{n}")) for n in range(500)))

    with RunStore.open(tmp_path / "run", {}) as store:
        monkeypatch.setattr("harness.records.os.fsync", counted)
        asyncio.run(add())
    assert syncs <= 3
    assert len(list(read_records(tmp_path / "run" / "answers.jsonl", ANSWER_FIELDS))) == 500


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), MemoryError("none left")])
def test_whoever_waits_for_a_write_that_fails_is_told_and_nothing_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def broken(file: RecordFile, lines: bytes) -> None:
        raise trouble

    async def add() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RecordFile, "append", broken)
            async with asyncio.timeout(5):
                told = await asyncio.gather(*(store.add_answer(answer(name)) for name in "abc"), return_exceptions=True)
        assert all(isinstance(error, RunStopped) for error in told)
        await store.add_answer(answer("d"))

    with RunStore.open(tmp_path / "run", {}) as store:
        asyncio.run(add())
    assert [record["item"] for _, record in read_records(tmp_path / "run" / "answers.jsonl", ANSWER_FIELDS)] == ["d"]


def test_a_record_whose_adder_was_cancelled_is_written_before_drain_returns(tmp_path: Path) -> None:
    async def add() -> None:
        adding = asyncio.create_task(store.add_answer(answer("a")))
        await asyncio.sleep(0)
        adding.cancel()
        await store.drain()
        assert [record["item"] for _, record in read_records(tmp_path / "run" / "answers.jsonl", ANSWER_FIELDS)] == [
            "a"
        ]

    with RunStore.open(tmp_path / "run", {}) as store:
        asyncio.run(add())


@pytest.mark.parametrize("name", ["items.jsonl", "answers.jsonl", "judgments.jsonl", "scores.json"])
def test_files_of_somebody_else_are_neither_cut_nor_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}\n{"mine": 2}')
    with pytest.raises(BadInput, match=f"holds {name} but no run.json"):
        RunStore.open(tmp_path, {})
    assert (tmp_path / name).read_text() == '{"mine": 1}\n{"mine": 2}'
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_run_that_could_not_begin_leaves_only_what_was_there(tmp_path: Path) -> None:
    for directory, others in ((tmp_path / "new", set[str]()), (tmp_path / "mine", {"notes.txt"})):
        for other in others:
            directory.mkdir()
            (directory / other).write_text("")
        with RunStore.open(directory, {}) as store:
            store.discard_if_empty()
        assert directory.exists() == bool(others)
        if others:
            assert {path.name for path in directory.iterdir()} - {".lock"} == others


@pytest.mark.parametrize("line", ["rubbish", "{}", '{"task": "asr"}', "[1]", '{"a":' * 100_000, "null"])
def test_a_line_that_is_no_record_is_refused_by_number_and_kept(tmp_path: Path, line: str) -> None:
    with RunStore.open(tmp_path, {}) as store:
        store.write_json("run.json", MANIFEST)
    content = json.dumps(vars(answer("a"))) + f"\n{line}\n"
    (tmp_path / "answers.jsonl").write_text(content)
    with pytest.raises(BadInput, match=r"answers\.jsonl:2: not a record"):
        RunStore.open(tmp_path, {})
    assert (tmp_path / "answers.jsonl").read_text() == content


@pytest.mark.parametrize("manifest", ["[]", "{", '{"schema_version": 99, "identity": {}}', '{"schema_version": 1}'])
def test_a_manifest_of_another_make_is_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "run.json").write_text(manifest)
    with pytest.raises(BadInput, match=r"run\.json"):
        RunStore.open(tmp_path, {})


def test_records_from_before_a_field_was_added_are_still_a_runs(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "run.json").write_text(json.dumps(MANIFEST))
    for name, record, late in [
        ("answers", asdict(answer("a")), ("reasoning", "token_stats")),
        ("judgments", asdict(judgment("a")), ("unjudged",)),
    ]:
        row = {key: value for key, value in record.items() if key not in late}
        (directory / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    with RunStore.open(directory, {}) as store:
        assert store.stored_answer(answer("a").key) == answer("a")
        assert store.judged == {judgment("a").key}
    assert len(read_frames(directory).judgments) == 1
