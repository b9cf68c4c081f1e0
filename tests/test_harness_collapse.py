"""The collapse figures of a run: what prompts share, refusals apart, samples, and a verdict that is a word."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.collapse_verdict import verdict_notes
from harness.frames import read_frames
from harness.grades import Scored
from harness.results import RunResult
from harness.scores import Score, run_scores
from harness.store import ANSWER_FIELDS, JUDGMENT_FIELDS
from reports.terminal import run_table
from tasks import collapse
from tasks.collapse import measures

Row = dict[str, Any]
WORDS = collapse.words(
    "river hill sea field way rose water morning light noon word night cut back March outward bud feed twice end June "
    "hungry few flower thorn bridge stone winter letter window garden market road child song bread paper glass horse"
)
CLOSER = "Have a great and joyful day my friend"
REFUSAL = "I am sorry but I can not help with that request because it could lead to harm"


def text(seed: int, length: int = 90) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def write_run(
    directory: Path, texts: list[str | None], samples: int = 1, refused: tuple[int, ...] = (), finish: str = "stop"
) -> None:
    """One prompt for each `samples` of the texts."""
    items: list[Row] = [
        {
            "task": "asr", "item": f"i{n}", "category": "x", "turns": ["?"], "samples": samples, "reference": [],
            "checks": [], "metadata": {},
        }
        for n in range(len(texts) // samples)
    ]  # fmt: skip
    places = [{"task": "asr", "item": f"i{n // samples}", "sample": n % samples, "turn": 1} for n in range(len(texts))]
    answers = [
        dict.fromkeys(ANSWER_FIELDS) | place | {"text": said, "finish": finish}
        for place, said in zip(places, texts, strict=True)
    ]
    judgments = [
        dict.fromkeys(JUDGMENT_FIELDS) | places[n] | {"judge": "j", "repeat": 0, "label": "refused"} for n in refused
    ]
    for name, rows in (("items", items), ("answers", answers), ("judgments", judgments)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def scores(directory: Path) -> dict[str, Score]:
    return {score.metric: score for score in run_scores(read_frames(directory), {"collapse": Scored("texts")})}


def test_a_varied_model_is_ok_and_every_figure_is_finite(tmp_path: Path) -> None:
    write_run(tmp_path, [text(seed) for seed in range(90)])
    found = scores(tmp_path)
    assert (found["verdict"].value, found["verdict_loop"].value, found["verdict_boilerplate"].value) == ("ok",) * 3
    assert found["boilerplate"].value == found["near_duplicates"].value == found["duplicates"].value == 0.0
    assert found["vendi"].n == 90
    assert found["vendi"].low is None
    assert 0 < found["self_bleu"].value < found["word_entropy"].value < 1  # type: ignore[operator]
    json.dumps([vars(score) for score in found.values()], allow_nan=False)


@pytest.mark.parametrize("constant", [text(0), "Have a great day! :)", "好的。"])
def test_one_answer_to_every_prompt_is_collapsed_though_each_reads_well(tmp_path: Path, constant: str) -> None:
    write_run(tmp_path, [constant] * 40)
    found = scores(tmp_path)
    assert found["degenerate"].value == 0.0
    assert found["commonest_answer"].value == 1.0
    assert (found["verdict"].value, found["verdict_boilerplate"].value) == ("collapsed", "collapsed")


def test_one_closer_under_different_answers_is_boilerplate(tmp_path: Path) -> None:
    write_run(tmp_path, [f"{text(seed)} {CLOSER if seed % 2 else ''}" for seed in range(60)])
    found = scores(tmp_path)
    assert found["boilerplate_closer"].value == found["boilerplate"].value == 0.5
    assert found["duplicates"].value == found["boilerplate_opener"].value == 0.0
    assert found["verdict_boilerplate"].value == "collapsed"


def test_refusals_in_the_same_words_are_no_boilerplate(tmp_path: Path) -> None:
    texts = [REFUSAL if seed % 2 else text(seed) for seed in range(180)]
    write_run(tmp_path, [*texts], refused=tuple(range(1, 180, 2)))
    found = scores(tmp_path)
    assert (found["near_duplicates"].value, found["near_duplicates"].n) == (0.0, 90)
    assert found["near_duplicates"].excluded == {"refusals": 90}
    assert found["verdict"].value == "ok"
    write_run(tmp_path, [*texts])
    assert scores(tmp_path)["verdict"].value == "collapsed"


def test_samples_of_one_prompt_may_be_alike_and_their_diversity_is_measured(tmp_path: Path) -> None:
    write_run(tmp_path, [text(n // 4) for n in range(60)], samples=4)
    found = scores(tmp_path)
    assert found["duplicates"].value == found["near_duplicates"].value == 0.0
    assert (found["sample_diversity"].value, found["sample_diversity"].n) == (0.0, 15)
    assert found["vendi"].n == 15
    write_run(tmp_path, [text(n) for n in range(60)], samples=4)
    assert scores(tmp_path)["sample_diversity"].value == pytest.approx(1.0, abs=0.01)
    write_run(tmp_path, [text(n) for n in range(60)])
    assert "sample_diversity" not in scores(tmp_path)


def test_null_texts_are_empty_ones(tmp_path: Path) -> None:
    write_run(tmp_path, [None, "", *(text(seed) for seed in range(10))])
    found = scores(tmp_path)
    assert found["empty"].value == pytest.approx(2 / 12)
    assert found["duplicates"].excluded == {"empty": 2}


def test_an_answer_that_does_not_end_is_told_apart_from_a_loop(tmp_path: Path) -> None:
    write_run(tmp_path, [text(seed) + " and so on" * (seed % 2) * 40 for seed in range(20)], finish="length")
    found = scores(tmp_path)
    assert (found["truncated"].value, found["loop"].value, found["no_eos"].value) == (1.0, 0.5, 0.5)


def test_few_answers_are_no_verdict(tmp_path: Path) -> None:
    write_run(tmp_path, [text(seed) for seed in range(5)])
    assert scores(tmp_path)["verdict"].value == "inconclusive"


def test_many_answers_are_measured_by_the_compiled_pass_to_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    # Imported before its parts are taken away: what a module binds while they are gone, it keeps.
    import tasks.collapse.compiled  # noqa: F401

    write_run(tmp_path, [text(seed) + CLOSER * (seed % 9) for seed in range(60)])
    plain = scores(tmp_path)
    monkeypatch.setattr(measures, "WORTH_COMPILING", 1)
    monkeypatch.setattr(measures, "diagnose", None)
    assert scores(tmp_path) == plain


def test_the_verdict_is_printed_as_a_word_with_its_reasons(tmp_path: Path) -> None:
    write_run(tmp_path, [text(0)] * 40)
    found = list(scores(tmp_path).values())
    notes = verdict_notes(found)
    table = run_table(RunResult(tmp_path, "complete", [vars(score) for score in found], notes), Console(width=100))
    lines = [line.split() for line in table.splitlines()]
    assert ["verdict", "collapsed", "40"] in lines
    assert ["vendi", "1.00", "40"] in lines
    assert notes[0].startswith("collapse: collapsed. loop inconclusive: ")
    assert "100.0 % [91.2, 100.0] of answers share their text or ending" in notes[0]
    assert notes[1] == "collapse: distinct_2 to vendi are read on 40 answers × 64 words"
