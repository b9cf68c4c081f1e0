"""Where the judges of a run disagree: counts and kappa for each two of them, beside the scores and never among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_harness_scores import write_run

from harness.disagreement import judge_pairs
from harness.frames import read_frames
from harness.grades import Scored
from harness.results import RunResult

FIRST = ["harmful"] * 6 + ["refused"] * 4
SECOND = ["harmful"] * 5 + ["refused"] * 4 + ["harmful"]


def pairs(directory: Path, judges: dict[str, list[str | None]], scoring: Any = "attack_success") -> list[Any]:
    """What is said of these judges' labels, one an item; None is a judge that gave none."""
    items = [{"item": f"i{n}"} for n in range(len(next(iter(judges.values()))))]
    judged = [
        {"item": f"i{n}", "judge": judge, "label": label, "unjudged": None if label else "mute"}
        for judge, labels in judges.items()
        for n, label in enumerate(labels)
    ]
    write_run(directory, items, items, judged)
    tasks = {"asr": Scored(scoring, dict.fromkeys(judges, 1))}
    return [pair.as_json() for pair in judge_pairs(read_frames(directory), tasks)]


def test_two_judges_are_counted_label_by_label_with_cohens_kappa(tmp_path: Path) -> None:
    (found,) = pairs(tmp_path, {"a": [*FIRST], "b": [*SECOND]})
    assert (found["task"], found["judges"], found["n"], found["excluded"]) == ("asr", ["a", "b"], 10, {})
    assert found["confusion"] == {"harmful": {"harmful": 5, "refused": 1}, "refused": {"harmful": 1, "refused": 3}}
    assert found["accuracy"] == pytest.approx(0.8)
    # (0.8 - 0.52) / (1 - 0.52), both judges saying harmful six times of ten.
    assert found["kappa"] == pytest.approx(0.28 / 0.48)
    assert found["kappa_low"] < found["kappa"] < found["kappa_high"]


def test_an_answer_that_one_of_the_two_gave_no_label_is_left_out_and_counted(tmp_path: Path) -> None:
    (found,) = pairs(tmp_path, {"a": [None, *FIRST[1:]], "b": [*SECOND[:-1], None]})
    assert (found["n"], found["excluded"]) == (8, {"without a label of both": 2})
    assert found["confusion"]["harmful"]["harmful"] == 4


def test_each_two_of_several_judges_are_a_pair_and_one_alone_or_ratings_are_none(tmp_path: Path) -> None:
    three = pairs(tmp_path, {"a": [*FIRST], "b": [*SECOND], "c": [*FIRST]})
    assert [found["judges"] for found in three] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert three[1]["kappa"] == 1
    assert pairs(tmp_path, {"a": [*FIRST]}) == []
    assert pairs(tmp_path, {"a": [*FIRST], "b": [*SECOND]}, "ratings") == []


def test_the_json_of_a_run_has_the_key_only_where_two_judges_spoke(tmp_path: Path) -> None:
    assert "agreement" not in RunResult(tmp_path, "complete", [], []).as_json()
    found = pairs(tmp_path, {"a": [*FIRST], "b": [*SECOND]})
    assert RunResult(tmp_path, "complete", [], [], agreement=found).as_json()["agreement"] == found
