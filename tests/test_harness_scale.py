"""Big runs: a resume does what is missing, no text is held, batches change no figure, and Parquet holds it all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_harness_scores import Row, write_run

from harness import frames, parquet, records
from harness.frames import PLACE, read_frames
from harness.grades import Scored, grades_by_judge
from harness.jury import dissent_within, jury
from harness.parquet import export_parquet
from harness.records import read_records
from harness.scores import run_scores
from harness.store import ANSWER_FIELDS, JUDGMENT_FIELDS, RunStore
from judges.judgment import Judgment
from tasks.collapse.measures import Measures, measure
from tasks.conversation import Answer
from tasks.errors import BadInput

SURROGATE = "half \ud83d of it"
STATS = {"entropy_q10": 0.1, "entropy_q50": 0.5, "entropy_q90": 0.9, "entropy_slope": -0.5, "top_1_share": 0.25}


MANIFEST = {
    "schema_version": 1, "status": "complete", "config": {}, "model": {"backend": "hf"}, "sources": {},
    "environment": {}, "sittings": [],
    "identity": {
        "model": {"backend": "hf"}, "judges": {"asr": {"j": {}}}, "judge_repeats": 1,
        "tasks": {"asr": {"scoring": "attack_success", "items": 40}, "collapse": {"scoring": "texts", "items": 0}},
    },
}  # fmt: skip


def answer_of(number: int, text: str = "") -> Answer:
    return Answer("asr", f"i{number:05}", 0, 1, text or f"answer {number}", "stop", seed=number)


def judgment_of(number: int) -> Judgment:
    return Judgment("asr", f"i{number:05}", 0, 1, "j", 0, label="refused" if number % 3 else "harmful")


def big_run(directory: Path, count: int, text: Callable[[], str] = str) -> None:
    """As many answers as judgments, in the order in which answers were finished."""
    directory.mkdir()
    order = random.Random(0).sample(range(count), count)
    write_run(directory, [{"item": f"i{n:05}"} for n in range(count)], [], [])
    for name, rows in (("answers", (answer_of(n, text()) for n in order)), ("judgments", map(judgment_of, order))):
        with (directory / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps(vars(row)) + "\n" for row in rows)
    (directory / "run.json").write_text(json.dumps(MANIFEST))


def odd_run(directory: Path) -> None:
    """A small run of all that records may hold: tries again, failures, half letters, samples, repeats, NaN."""
    drawn = random.Random(0)
    items: list[Row] = [
        {"item": f"i{n}", "samples": 2, "category": SURROGATE if n % 9 == 0 else "ab"[n % 2],
         "turns": [SURROGATE, "ü"], "checks": [[{"kind": "word", "n": 1}], []], "metadata": {"source": "x"}}
        for n in range(40)
    ]  # fmt: skip
    answers: list[Row] = [
        {"item": f"i{n}", "sample": s, "turn": t, "finish": finish, "text": SURROGATE * drawn.randrange(9),
         "token_stats": drawn.choice([None, STATS]), "token_entropy": drawn.choice([None, 1, 2.5]),
         "error": "gone" if finish == "error" else None}
        for n in range(40) for s in (0, 1) for t in (1, 2)
        for finish in drawn.choice([["stop"], ["error", "length"], ["missing"], ["error"]])
    ]  # fmt: skip
    judged: list[Row] = [
        {"item": f"i{drawn.randrange(40)}", "sample": drawn.randrange(2), "turn": 2, "repeat": drawn.randrange(3),
         "label": drawn.choice(["harmful", "refused", "other", None]),
         "score": drawn.choice([None, 0, 0.5, float("nan")])}
        for _ in range(400)
    ]  # fmt: skip
    directory.mkdir(exist_ok=True)
    write_run(directory, items, answers, judged)
    (directory / "run.json").write_text(json.dumps(MANIFEST))


# --- storing and resuming ---


def test_a_resume_of_20000_records_adds_exactly_what_is_missing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    big_run(run, 10_000)
    identity: dict[str, Any] = json.loads((run / "run.json").read_text())["identity"]
    lost = set(random.Random(1).sample(range(10_000), 37))
    for name in ("answers", "judgments"):
        path = run / f"{name}.jsonl"
        kept = [line for line in path.open() if int(json.loads(line)["item"][1:]) not in lost]
        # The last record was being written when the process was killed.
        path.write_text("".join(kept)[:-9])
        lost.add(int(json.loads(kept[-1])["item"][1:]))

    async def add_missing(store: RunStore) -> tuple[int, int]:
        answers = [answer for n in range(10_000) if (answer := answer_of(n)).key not in store.answered]
        judgments = [grade for n in range(10_000) if (grade := judgment_of(n)).key not in store.judged]
        await asyncio.gather(*(store.add_answer(one) for one in answers))
        await asyncio.gather(*(store.add_judgment(one) for one in judgments))
        return len(answers), len(judgments)

    with RunStore.open(run, identity) as store:
        assert asyncio.run(add_missing(store)) == (38, 39)
    with RunStore.open(run, identity) as store:
        assert (len(store.answered), len(store.judged)) == (10_000, 10_000)
        some = [answer_of(n) for n in (0, 4_999, *lost)]
        assert [store.stored_answer(one.key) for one in some] == some
    for name, fields in (("answers", ANSWER_FIELDS), ("judgments", JUDGMENT_FIELDS)):
        assert sum(1 for _ in read_records(run / f"{name}.jsonl", fields)) == 10_000


@pytest.mark.parametrize("line", ["rubbish", "[1]", '{"a":' * 100_000])
def test_records_read_alike_with_orjson_and_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    pytest.importorskip("orjson")
    odd_run(tmp_path)
    path = tmp_path / "judgments.jsonl"
    fast = [repr(found) for found in read_records(path, JUDGMENT_FIELDS)]
    assert any("nan" in found for found in fast)
    answers = [repr(found) for found in read_records(tmp_path / "answers.jsonl", ANSWER_FIELDS)]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        records.parser.cache_clear()
        assert records.parser() is json.loads
        assert [repr(found) for found in read_records(path, JUDGMENT_FIELDS)] == fast
        assert [repr(found) for found in read_records(tmp_path / "answers.jsonl", ANSWER_FIELDS)] == answers
    records.parser.cache_clear()
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadInput, match=r"judgments\.jsonl:401: not a record"):
        list(read_records(path, JUDGMENT_FIELDS))


# --- tables ---


@pytest.mark.parametrize("limits", [{"WORTH_COMPILING": 7}, {"LETTERS_AT_ONCE": 100}])
def test_tables_are_the_same_whatever_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    odd_run(tmp_path)
    whole = read_frames(tmp_path)
    monkeypatch.setattr(frames, "can_compile", lambda: False)
    for name, limit in limits.items():
        monkeypatch.setattr(frames, name, limit)
    again = read_frames(tmp_path)
    for name in ("items", "answers", "judgments", "texts"):
        pd.testing.assert_frame_equal(getattr(whole, name), getattr(again, name), check_exact=True)


def test_of_several_labels_the_commonest_counts_and_the_earliest_of_equals(tmp_path: Path) -> None:
    odd_run(tmp_path)
    tables = read_frames(tmp_path)
    graded = grades_by_judge(tables, "asr", Scored("attack_success", {"j": 1}))["j"]
    judged = dict(list(tables.judgments.sort_values("repeat", kind="stable").groupby(PLACE)))
    seen = 0
    for place, finish, label in zip(
        zip(*(graded[column] for column in PLACE), strict=True), graded.finish, graded.label, strict=True
    ):
        if place in judged and finish in ("stop", "length", "missing"):
            said = judged[place].label.dropna().tolist()
            assert (None if pd.isna(label) else label) == (max(said, key=said.count) if said else None)
            seen += 1
    assert seen > 40


def measured_at_a_time(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the number of texts of each batch that is measured from now on."""
    sizes: list[int] = []

    def counted(texts: Sequence[str | None], **how: Any) -> Measures:
        sizes.append(len(texts))
        return measure(texts, **how)

    monkeypatch.setattr(frames, "measure", counted)
    return sizes


def test_judges_are_scored_without_measuring_a_text_and_texts_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_run(tmp_path)
    calls = measured_at_a_time(monkeypatch)
    tables = read_frames(tmp_path)
    assert run_scores(tables, {"asr": Scored("attack_success", {"j": 1})})
    assert calls == []
    path = tmp_path / "answers.jsonl"
    said = [record for _, record in read_records(path, ANSWER_FIELDS) if record["finish"] not in ("error", "missing")]
    with path.open("a") as file:  # by a run that is going on
        file.write(json.dumps(said[0]) + "\n")
    cut = dataclasses.replace(tables, items=tables.items[:9])
    assert cut.texts is tables.texts
    assert sum(calls) == len(said)
    pd.testing.assert_frame_equal(tables.texts[tables.answers.columns], tables.answers)


def test_answers_that_failed_make_no_batch_too_small_to_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_run(tmp_path)
    sizes = measured_at_a_time(monkeypatch)
    monkeypatch.setattr(frames, "can_compile", lambda: False)
    monkeypatch.setattr(frames, "WORTH_COMPILING", 7)
    assert len(read_frames(tmp_path).texts)
    assert len(sizes) > 9
    assert set(sizes[:-1]) == {7}


def test_a_jury_and_its_dissent_are_what_counting_by_hand_gives(tmp_path: Path) -> None:
    odd_run(tmp_path)
    tables = read_frames(tmp_path)
    drawn = np.random.default_rng(0)
    alone = grades_by_judge(tables, "asr", Scored("attack_success", {"j": 1}))["j"]
    labels = np.array(["harmful", "refused", "other", None], dtype=object)
    reasons = np.array(["judge failed", None], dtype=object)
    judges = [
        alone.assign(
            score=np.where(drawn.random(len(alone)) < 0.1, np.nan, drawn.random(len(alone))),
            label=drawn.choice(labels, len(alone), p=[0.4, 0.3, 0.2, 0.1]),
            reason=drawn.choice(reasons, len(alone), p=[0.05, 0.95]),
        )
        for _ in range(3)
    ]
    found = jury(judges)
    for place, reason, label, score in zip(
        range(len(alone)), found.reason, found.label.to_numpy(), found.score, strict=True
    ):
        said = [judge.label.iloc[place] for judge in judges]
        scores = [judge.score.iloc[place] for judge in judges]
        most = max(said, key=said.count)
        if any(pd.notna(judge.reason.iloc[place]) for judge in judges):
            assert reason == "not judged by the whole jury"
        elif most is None or pd.isna(most) or said.count(most) < 2:
            assert reason == "jury split"
        else:
            assert (label, score) == (most, pytest.approx(np.mean(scores), nan_ok=True))
    dissent = dissent_within(pd.concat(judges))
    by_hand = {
        place: 1 - max(map(said.count, said)) / len(said)
        for place, rows in pd.concat(judges).groupby(PLACE)
        if len(said := rows.label.dropna().tolist()) > 1
    }
    assert dissent.to_dict() == pytest.approx(by_hand)


@pytest.mark.slow
def test_scoring_holds_no_text(tmp_path: Path, peak_memory: Callable[[list[str]], int]) -> None:
    peaks = []
    for name, words in (("short", 40), ("long", 4_000)):
        run, drawn = tmp_path / name, random.Random(words)
        vocabulary = [f"word{n}" for n in range(2 * words)]
        big_run(run, 10_000, lambda: " ".join(drawn.sample(vocabulary, words)))  # noqa: B023
        code = f"from pathlib import Path; from harness.results import read_result; read_result(Path({str(run)!r}))"
        peaks.append(peak_memory([sys.executable, "-c", code]))
    # The long texts are 340 MB.
    assert peaks[1] - peaks[0] < 150e6


# --- Parquet ---


def test_parquet_holds_the_newest_of_every_record_with_its_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq: Any = pytest.importorskip("pyarrow.parquet")
    odd_run(tmp_path / "run")
    monkeypatch.setattr(parquet, "ROWS", 30)
    found = export_parquet(tmp_path / "run", tmp_path / "out")
    tables = read_frames(tmp_path / "run")
    assert [path.name for path in found.files] == ["items.parquet", "answers.parquet", "judgments.parquet"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in found.files)
    assert list(found.rows.values()) == [len(tables.items), len(tables.answers), len(tables.judgments)]
    assert found.older == 400 - len(tables.judgments) + sum(
        1 for _ in read_records(tmp_path / "run" / "answers.jsonl", ANSWER_FIELDS)
    ) - len(tables.answers)
    assert found.notes() == [f"{found.older} records that were tried again later are left out"]
    assert pq.ParquetFile(found.files[1]).num_row_groups == -(-len(tables.answers) // 30)
    items, answers, judgments = (pd.read_parquet(path) for path in found.files)
    assert list(items.turns[0]) == ["half \\ud83d of it", "ü"]
    assert json.loads(items.checks[0]) == [[{"kind": "word", "n": 1}], []]
    ours = tables.answers[[*PLACE, "token_entropy", "entropy_slope", "top_1_share"]]
    pd.testing.assert_frame_equal(answers[ours.columns], ours, check_dtype=False, check_column_type=False)
    assert answers["sample"].dtype == judgments["repeat"].dtype == answers.seed.dtype == "int64"
    assert answers.finish.tolist() == tables.answers.finish.tolist()
    assert judgments.score.dtype == "float64"
    assert judgments.score.isna().tolist() == tables.judgments.score.isna().tolist()


def test_parquet_of_a_run_without_records_has_its_columns(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    odd_run(tmp_path)
    for name in ("answers", "judgments"):
        (tmp_path / f"{name}.jsonl").write_text("")
    found = export_parquet(tmp_path, tmp_path / "out")
    assert "entropy_q50" in pd.read_parquet(found.files[1]).columns
    with pytest.raises(BadInput, match=r"items\.parquet is there already"):
        export_parquet(tmp_path, tmp_path / "out")


def test_parquet_of_a_damaged_record_is_refused_and_leaves_no_half_a_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    odd_run(tmp_path)
    path = tmp_path / "judgments.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(first), "repeat": "often", "item": "i0"}) + "\n", *others]))
    with pytest.raises(BadInput, match=r"judgments\.jsonl holds a record with a value of another type"):
        export_parquet(tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answers.parquet", "items.parquet"]


def test_the_command_exports_a_run_as_parquet_and_refuses_one_task_of_it(
    say: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = ("--tasks", "asr", "--limit", 2, "--max-new-tokens", 4, "--out", run)
    assert say("run", "--model", checkpoint, *flags)[0] == 0
    code, out, err = say("export", run, "--format", "parquet", "--out", tmp_path / "tables", "--json")
    assert code == 0, err
    files = [Path(file) for file in json.loads(out)["files"]]
    assert {file.name for file in files} == {"answers.parquet", "judgments.parquet", "items.parquet"}
    assert len(pd.read_parquet(tmp_path / "tables/answers.parquet")) == 2
    code, _, err = say("export", run, "--format", "parquet", "--out", tmp_path / "more", "--task", "asr")
    assert code == 2
    assert "--task is for --format fastchat" in err
