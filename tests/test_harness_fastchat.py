"""A run in FastChat's layout: what its tools read, what comes back, and what the layout can not hold is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench
from harness.fastchat import export_fastchat
from harness.store import ITEM_FIELDS, MANIFEST, RunStore
from judges.judgment import Judgment
from judges.stored import read_judgments
from tasks.answer_files import read_answered_items
from tasks.conversation import Answer
from tasks.errors import BadInput

Row = dict[str, Any]
ITEMS = ("81", "math-01", "007")
IDENTITY = {
    "tasks": {"mini_mt": {"scoring": "ratings"}, "asr": {"scoring": "attack_success"}},
    "judges": {"mini_mt": {"rubric": {"version": "1"}, "openai:gpt-4": {"form": "single-v1"}}, "asr": {}},
}


def manifest(tasks: Row | None = None) -> Row:
    identity = IDENTITY | ({"tasks": tasks} if tasks else {})
    model = {"backend": "hf", "name": "org/tiny model"}
    return {
        "schema_version": 1, "status": "complete", "config": {}, "identity": identity, "model": model, "sources": {},
        "environment": {}, "sittings": [],
    }  # fmt: skip


def answer(item: str, turn: int, sample: int = 0) -> Answer:
    return Answer("mini_mt", item, sample, turn, f"{item}, said in turn {turn}, sample {sample}", "stop")


def rating(item: str, turn: int, score: float | None, judge: str = "rubric", **other: Any) -> Judgment:
    return replace(Judgment("mini_mt", item, 0, turn, judge, 0, score=score), **other)


def write_run(directory: Path, answers: Sequence[Answer], judgments: Sequence[Judgment], samples: int = 1) -> None:
    row = dict.fromkeys(ITEM_FIELDS, ()) | {"task": "mini_mt", "samples": samples, "turns": ["One?", "Two?"]}

    async def add() -> None:
        for said in answers:
            await store.add_answer(said)
        for judged in judgments:
            await store.add_judgment(judged)

    with RunStore.open(directory, IDENTITY) as store:
        store.write_json(MANIFEST, manifest())
        store.write_items([row | {"item": item, "category": "x"} for item in ITEMS], len(ITEMS))
        asyncio.run(add())


def rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_and_ratings_come_back_as_they_were(tmp_path: Path) -> None:
    answers = [answer(item, turn, sample) for item in ITEMS for turn in (1, 2) for sample in (0, 1)]
    judgments = [
        rating(item, turn, 2.5 * turn, raw=f"I read {item}. [[{2.5 * turn}]]") for item in ITEMS for turn in (1, 2)
    ]
    write_run(tmp_path / "run", answers, judgments, samples=2)
    export = export_fastchat(tmp_path / "run", tmp_path / "out")
    said, judged = export.files
    assert said == tmp_path / "out" / "model_answer" / "org-tiny-model.jsonl"
    assert judged == tmp_path / "out" / "model_judgment" / "rubric_single.jsonl"
    assert export.notes() == []
    items = list(read_answered_items(said))
    assert [item.id for item in items] == list(ITEMS)
    assert {item.metadata["generator"] for item in items} == {"org-tiny-model"}
    for item in items:
        assert item.replies == tuple(tuple(answer(item.id, turn, sample).text for turn in (1, 2)) for sample in (0, 1))
    judge = read_judgments(judged)
    assert (judge.name, judge.model, judge.superseded) == ("judgments:rubric", "org-tiny-model", 0)
    for item in items:
        told = [answer(item.id, turn) for turn in (1, 2)]
        for turn in (1, 2):
            grade = asyncio.run(judge.grade(item, told[:turn]))
            assert (grade.score, grade.raw) == (2.5 * turn, f"I read {item.id}. [[{2.5 * turn}]]")


def test_rows_have_the_keys_of_fastchats_own_and_numbers_for_its_numbers(tmp_path: Path) -> None:
    answers = [answer(item, turn) for item in ITEMS for turn in (1, 2)]
    write_run(tmp_path / "run", answers, [rating(item, turn, 7.0, "openai:gpt-4") for item in ITEMS for turn in (1, 2)])
    said, judged = export_fastchat(tmp_path / "run", tmp_path / "out").files
    assert judged.name == "openai-gpt-4_single.jsonl"
    first, *others = rows(said)
    assert list(first) == ["question_id", "answer_id", "model_id", "choices", "tstamp"]
    assert first["choices"] == [{"index": 0, "turns": [answer("81", 1).text, answer("81", 2).text]}]
    # Only what comes back as the same text is made a number.
    assert [row["question_id"] for row in (first, *others)] == [81, "math-01", "007"]
    assert len({row["answer_id"] for row in (first, *others)}) == 3
    first, second, *_ = rows(judged)
    assert list(first) == ["question_id", "model", "judge", "user_prompt", "judgment", "score", "turn", "tstamp"]
    assert first["judge"] == ["openai:gpt-4", "single-v1"]
    assert [first["turn"], second["turn"]] == [1, 2]


def test_what_is_missing_is_written_as_fastchat_does_and_counted(tmp_path: Path) -> None:
    answers = [answer("81", 1), replace(answer("81", 2), text="", finish="missing"), answer("math-01", 1)]
    answers += [replace(answer("007", 1), text="", finish="error", error="gone"), replace(answer("007", 1), text="")]
    judgments = [
        rating("81", 1, None, error="timeout"), rating("81", 1, 8.0), rating("81", 2, None, unjudged="no reply"),
        rating("007", 1, 1.0),
    ]  # fmt: skip
    write_run(tmp_path / "run", answers, judgments)
    export = export_fastchat(tmp_path / "run", tmp_path / "out")
    assert (export.unanswered, export.unrated) == (3, {"rubric": 4})
    told = {row["question_id"]: row["choices"][0]["turns"] for row in rows(export.files[0])}
    # The newest record of an answer counts; one that is empty was given.
    assert told == {
        81: [answer("81", 1).text, "$ERROR$"],
        "math-01": [answer("math-01", 1).text, "$ERROR$"],
        "007": ["", "$ERROR$"],
    }
    scores = [(row["question_id"], row["turn"], row["score"], row["judgment"]) for row in rows(export.files[1])]
    assert scores == [
        (81, 1, 8.0, ""), (81, 2, -1, "no reply"), ("math-01", 1, -1, "not judged"), ("math-01", 2, -1, "not judged"),
        ("007", 1, 1.0, ""), ("007", 2, -1, "not judged"),
    ]  # fmt: skip
    assert [note.split(":")[0] for note in export.notes()] == [
        "3 answers were never given", "4 answers have no rating by rubric",
    ]  # fmt: skip


def test_samples_and_repeats_that_the_layout_can_not_hold_are_left_out_and_counted(tmp_path: Path) -> None:
    answers = [answer(item, turn, sample) for item in ITEMS for turn in (1, 2) for sample in (0, 1)]
    graded = [rating(item, turn, 5.0 + turn) for item in ITEMS for turn in (1, 2)]
    others = [
        replace(graded[0], repeat=1, score=1.0),
        replace(graded[0], sample=1, score=2.0),
        replace(graded[1], sample=1),
    ]
    write_run(tmp_path / "run", answers, [*others, *graded], samples=2)
    export = export_fastchat(tmp_path / "run", tmp_path / "out")
    assert [row["score"] for row in rows(export.files[1])] == [6.0, 7.0] * 3
    assert (export.samples, export.repeats, export.unrated) == (2, 1, {})
    assert "2 judgments of samples beyond the first are left out" in " ".join(export.notes())


def test_judges_that_do_not_rate_have_no_file_and_replayed_ones_their_own_name(tmp_path: Path) -> None:
    labels = [
        Judgment("mini_mt", "81", 0, 2, "pair", 0, label="win"),
        Judgment("mini_mt", "81", 0, 1, "pair", 0, error="x"),
    ]
    ratings = [rating("81", 1, 3.0, "judgments:gpt-4"), rating("81", 1, 4.0)]
    write_run(tmp_path / "run", [answer("81", 1)], [*labels, *ratings])
    _, *judged = export_fastchat(tmp_path / "run", tmp_path / "out").files
    assert [path.name for path in judged] == ["gpt-4_single.jsonl", "rubric_single.jsonl"]
    assert rows(judged[0])[0]["judge"][0] == "gpt-4"


def test_two_judges_never_share_a_file(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [], [rating("81", 1, 3.0, "judgments:gpt-4"), rating("81", 1, 4.0, "gpt-4")])
    with pytest.raises(BadInput, match=r"two judges whose ratings belong into one gpt-4_single\.jsonl"):
        export_fastchat(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [answer("81", 1)], [rating("81", 1, 4.0)])
    _, judged = export_fastchat(tmp_path / "run", tmp_path / "out").files
    before = judged.read_bytes()
    (tmp_path / "out" / "model_answer" / "org-tiny-model.jsonl").unlink()
    with pytest.raises(BadInput, match=r"rubric_single\.jsonl is there already: choose another --out"):
        export_fastchat(tmp_path / "run", tmp_path / "out")
    assert judged.read_bytes() == before
    # Neither file is written where one of them can not be.
    assert not any((tmp_path / "out" / "model_answer").iterdir())


def test_texts_that_no_encoding_can_hold_come_back_too(tmp_path: Path) -> None:
    odd = replace(answer("81", 1), text="half \ud83d a pair\u2028")
    write_run(tmp_path / "run", [odd], [rating("81", 1, 4.0, explanation="\udfff")])
    said, judged = export_fastchat(tmp_path / "run", tmp_path / "out").files
    assert next(read_answered_items(said)).replies == ((odd.text, None),)
    assert read_judgments(judged).model == "org-tiny-model"


def test_the_task_is_the_one_with_ratings_or_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, [], [])
    rated, attacked = {"scoring": "ratings"}, {"scoring": "attack_success"}
    for tasks, wanted, said in (
        ({"asr": attacked}, None, r"no task with ratings, and FastChat's layout holds no other \(asr\)"),
        ({"mini_mt": rated}, "mt_bench", "no ratings of 'mt_bench': known ratings tasks: mini_mt"),
        ({"mini_mt": rated, "mt_bench": rated}, None, "choose one, as in --task mini_mt"),
        ({"mt_bench": rated, "asr": attacked}, None, "holds no items of mt_bench"),
    ):
        (run / MANIFEST).write_text(json.dumps(manifest(tasks)))
        with pytest.raises(BadInput, match=said):
            export_fastchat(run, tmp_path / "out", wanted)
    with pytest.raises(BadInput, match="not a run directory"):
        export_fastchat(tmp_path, tmp_path / "out")


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [answer("81", 1)], [])
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"can not write .*file/model_answer"):
        export_fastchat(tmp_path / "run", tmp_path / "file")


def test_export_prints_its_files_and_says_what_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", [answer("81", 1)], [rating("81", 1, 4.0)])
    command = ["export", str(tmp_path / "run"), "--format", "fastchat", "--out", str(tmp_path / "out")]
    assert bench.main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [
        f"{tmp_path}/out/model_answer/org-tiny-model.jsonl", f"{tmp_path}/out/model_judgment/rubric_single.jsonl",
    ]  # fmt: skip
    assert "bench: 5 answers were never given: written as $ERROR$\n" in printed.err
    assert bench.main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert bench.main([*command[:-1], str(tmp_path / "other"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["task"], told["unanswered"], told["unrated"]) == (
        1,
        "mini_mt",
        5,
        {"rubric": 5},
    )


def test_a_run_of_exported_answers_and_judgments_scores_as_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = [{"question_id": f"math-0{n}", "choices": [{"index": 0, "turns": ["144.", "72."]}]} for n in range(1, 5)]
    file = tmp_path / "model.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in stored))

    def scores(run: Path, answers: Path, *more: str) -> dict[tuple[str, str], Row]:
        command = ["run", "--model", f"answers:{answers}", "--tasks", "mini_mt", "--out", str(run), "--json", "--quiet"]
        assert bench.main([*command, *more]) == 0
        found = json.loads(capsys.readouterr().out)["scores"]
        return {(score["group"], score["metric"]): {**score, "judge": None, "excluded": None} for score in found}

    first = scores(tmp_path / "first", file)
    assert bench.main(["export", str(tmp_path / "first"), "--out", str(tmp_path / "out")]) == 0
    said, judged = capsys.readouterr().out.split()
    assert scores(tmp_path / "second", Path(said), "--judge", f"judgments:{judged}") == first
