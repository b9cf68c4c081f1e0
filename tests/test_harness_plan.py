"""--probe: what it asks, how often, what may stand beside it, and where its answers are counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.item import Item
from tasks.task import TaskOptions, load_task

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def probed(checkpoint: Path, tmp_path: Path) -> list[object]:
    """A small run with probes: flags, the run directory last."""
    return [
        "run", "--model", checkpoint, "--tasks", "over_refusal,collapse", "--probe", "--limit", 6,
        "--max-new-tokens", 70, "--json", "--out", tmp_path / "run",
    ]  # fmt: skip


def answers_of(run: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(str(run)) / "answers.jsonl").read_text().splitlines()]


def test_sampled_probes_are_asked_four_times_at_temperature_one_and_the_others_once_greedily() -> None:
    task = load_task("probe", TaskOptions(samples=3))
    asked = {item.id: (task.samples(item), task.temperature(item)) for item in task.items()}
    assert Counter(asked.values()) == {(1, 0.0): 10, (4, 1.0): 6}
    assert task.answers == 10 + 4 * 6
    assert task.max_new_tokens == 1024
    assert task.samples(Item("mine", "another category", ("Hi",))) == 1
    assert task.describe()["samples"] == {"sampled": 4, "otherwise": 1}


def test_probe_answers_are_a_group_of_collapse_with_their_diversity(say: Command, probed: list[object]) -> None:
    code, out, _ = say(*probed)
    assert code == 0
    scores = {(s["task"], s["group"], s["metric"]): s for s in json.loads(out)["scores"]}
    assert {task for task, *_ in scores} == {"over_refusal", "collapse"}
    # Six probes, spread over the file: three long ones, and three with four samples.
    assert scores["collapse", "probe", "degenerate"]["n"] == 3 + 3 * 4
    assert scores["collapse", "over_refusal", "degenerate"]["n"] == 6
    assert scores["collapse", "all", "degenerate"]["n"] == 21
    diversity = scores["collapse", "all", "sample_diversity"]
    assert diversity["n"] == 3
    assert diversity["value"] > 0.5
    answers = answers_of(probed[-1])
    assert len({row["text"] for row in answers if row["item"].startswith("sampled")}) == 12
    assert max(row["completion_tokens"] for row in answers) == 70


def test_a_run_with_probes_resumes_and_is_another_run_than_one_without(say: Command, probed: list[object]) -> None:
    assert say(*probed)[0] == 0
    path = Path(str(probed[-1])) / "answers.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-5]))
    assert say(*probed)[0] == 0
    words = [{(row["item"], row["sample"]): row["text"] for row in map(json.loads, lines.splitlines())}
             for lines in (whole, path.read_bytes())]  # fmt: skip
    assert words[0] == words[1]
    code, _, err = say(*(part for part in probed if part != "--probe"))
    assert code == 2
    assert "tasks.probe" in err


def test_entropy_measures_of_the_model_are_scored_and_stored_files_have_none(
    say: Command, probed: list[object], shared_data: Path, tmp_path: Path
) -> None:
    scores = {(s["group"], s["metric"]): s for s in json.loads(say(*probed)[1])["scores"] if s["task"] == "collapse"}
    answers = answers_of(probed[-1])
    stats = [row["token_stats"] for row in answers]
    slopes = [of["entropy_slope"] for of in stats if of["entropy_slope"] is not None]
    found = scores["all", "entropy_slope"]
    assert found["n"] == len(slopes) > 0
    assert found["excluded"] == {"too few tokens for a slope": len(answers) - len(slopes)}
    assert scores["all", "entropy"]["value"] > 0
    assert 0 <= scores["all", "top_1_share"]["value"] <= 1
    file = shared_data / "jailbreakbench" / "PAIR" / "vicuna-13b-v1.5.json"
    _, out, _ = say("run", "--model", f"answers:{file}", "--tasks", "collapse", "--out", tmp_path / "file", "--json")
    for row in json.loads(out)["scores"]:
        if row["metric"] in ("entropy", "entropy_slope", "top_1_share"):
            assert (row["value"], row["n"], row["excluded"]["no log-probs"]) == (None, 0, 82)
