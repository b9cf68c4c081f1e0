"""The page of big runs: so many answers and no more, the worst and the changed among them, and which it says."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_harness_scores import READABLE, write_run

from harness.stored_run import StoredRun, open_run
from reports.page import transcripts as module
from reports.page.document import PageContent, page
from reports.page.selection import selection
from reports.page.transcripts import transcripts

Row = dict[str, Any]
COUNT = 300


def run_of(
    directory: Path, labels: Sequence[str], ratings: Sequence[float] = (), *, backwards: bool = False
) -> StoredRun:
    """A run of as many requests as labels, then as many conversations of two turns as ratings."""
    directory.mkdir()
    turns = [(n, turn) for n in range(len(ratings)) for turn in (1, 2)]
    items: list[Row] = [{"item": f"i{n:03}", "turns": [f"do {n}"]} for n in range(len(labels))]
    items += [{"task": "mini_mt", "item": f"t{n:03}", "turns": ["one", "two"]} for n in range(len(ratings))]
    answers: list[Row] = [{"item": f"i{n:03}"} for n in range(len(labels))]
    answers += [{"task": "mini_mt", "item": f"t{n:03}", "turn": turn} for n, turn in turns]
    judged: list[Row] = [{"item": f"i{n:03}", "label": label} for n, label in enumerate(labels)]
    judged += [{"task": "mini_mt", "item": f"t{n:03}", "turn": turn, "score": ratings[n]} for n, turn in turns]
    step = -1 if backwards else 1
    write_run(directory, items, answers[::step], judged[::step])
    tasks = {
        "asr": {"scoring": "attack_success", "items": len(labels), "version": 1},
        "mini_mt": {"scoring": "ratings", "items": len(ratings), "version": 1},
    }
    identity = {"tasks": tasks, "judges": {}, "judge_repeats": 1, "model": {"backend": "hf"}}
    manifest: Row = {"config": {}, "sources": {}, "environment": {}, "identity": identity, "sittings": []}
    manifest |= {"schema_version": 1, "status": "complete", "model": {"backend": "hf", "name": "m"}}
    (directory / "run.json").write_text(json.dumps(manifest))
    return open_run(directory)


@pytest.fixture
def runs(tmp_path: Path) -> list[StoredRun]:
    """Two runs that differ on i000 to i009; i010 to i012 are harmful in both."""
    same = ["harmful"] * 3 + ["refused"] * (COUNT - 13)
    return [
        run_of(tmp_path / "a", ["refused"] * 10 + same, [1.0, *[9.0] * 49]),
        run_of(tmp_path / "b", ["other"] * 10 + same, [8.0] * 50, backwards=True),
    ]


def shown(data: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(data["questions"][it["question"]]["item"], it["run"], it["turn"]) for it in data["answers"]]


def test_runs_that_fit_are_shown_whole_and_nothing_is_said_of_it(runs: list[StoredRun]) -> None:
    assert selection(runs, 2 * (COUNT + 100)) is None
    data = transcripts(runs)
    assert len(data["answers"]) == 2 * (COUNT + 100)
    assert "partial" not in data


def test_of_more_the_worst_and_the_changed_are_there_and_a_sample_of_the_others(
    runs: list[StoredRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 400)
    data = transcripts(runs)
    there = shown(data)
    assert 390 < len(there) <= 400
    # The worst: harmful in both, and the conversation of which a turn was rated 1, with both turns of both runs.
    assert {(f"i{n:03}", run, 1) for n in (10, 11, 12) for run in (0, 1)} <= set(there)
    assert {("t000", run, turn) for run in (0, 1) for turn in (1, 2)} <= set(there)
    # The ratings of all others changed, from 9 to 8, as did the labels of ten: a third of the page is drawn of them.
    changed = [it for it in there if it[0] < "i010" or it[0] > "t000"]
    others = [it for it in there if "i012" < it[0] < "t000"]
    assert len(changed) >= 400 // 3 - 4
    assert len(others) > 100
    assert data["partial"].startswith(
        f"{len(there)} of 800 answers are on this page: 10 of 10 in conversations that went wrong (degenerate, not "
        "generated, called harmful, or rated 3 or lower), "
    )
    assert "of 216 others on which the runs' verdicts differ, and a random sample of" in data["partial"]
    assert all(question["harmful"] == (question["task"] == "asr") for question in data["questions"])


def test_the_order_of_the_records_changes_no_choice_and_one_run_has_no_changes(tmp_path: Path) -> None:
    labels = random.Random(0).choices(["harmful", "refused", "other"], k=COUNT)
    found = [selection([run_of(tmp_path / name, labels, backwards=name == "b")], 100) for name in "ab"]
    assert found[0]
    assert found[0] == found[1]
    assert len(found[0].places) == 100
    assert "differ" not in found[0].words
    worst = sum(labels[int(item[1:])] == "harmful" for _, item, _ in found[0].places)
    # A third is for the worst; what is left is drawn from all others.
    assert 100 // 3 <= worst < 70


def test_what_failed_or_repeats_itself_is_among_the_worst(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", ["refused"] * COUNT)
    path = tmp_path / "a" / "answers.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[7] |= {"text": "", "finish": "error", "error": "gone"}
    records[8] |= {"text": "Have a great day! :) " * 60}
    records[9] |= {"text": READABLE, "finish": "missing"}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = selection([run], 30)
    assert found
    assert {("asr", "i007", 0), ("asr", "i008", 0)} <= found.places
    assert found.words.startswith("30 of 300 answers are on this page: 2 of 2 in conversations that went wrong")


def test_words_of_harm_are_hidden_where_the_item_that_asks_for_harm_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "a", ["refused"] * COUNT, [1.0] * 10)
    path = tmp_path / "a" / "items.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["task"] == "mini_mt":
            record["turns"] = ["do 1", "two"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(module, "MOST", 60)
    questions = transcripts([run])["questions"]
    asked = {question["item"]: question["harmful"] for question in questions}
    assert "i001" not in asked
    assert asked["t000"] is True


def test_the_page_says_which_answers_it_shows(runs: list[StoredRun], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page(PageContent("t", runs))
    monkeypatch.setattr(module, "MOST", 50)
    part = page(PageContent("t", runs))
    assert "answers are on this page" not in whole
    assert '<p class="empty">' in part.split('id="answers"')[1].split("<noscript>")[0]
    assert "The worst of a run are listed by: bench inspect RUN." in part
    assert len(part) < len(whole)
