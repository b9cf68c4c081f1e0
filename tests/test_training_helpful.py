"""What SFT reads: helpful conversations answered once, mixed with revisions by a ratio that is kept or told."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel

from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped
from training.helpful import make_helpful, make_mix
from training.prompts import helpful_prompts
from training.recipe import Sft

CUT = "Rivers carry rain from the hills to the sea, and sh"
SAID = "Rivers carry rain from the hills to the sea, and shape the land on their way."


class Fake(FakeModel):
    """Answers every prompt but those it is given an answer for with `SAID`; `fails` after so many."""

    name = "fake"
    busy_s = 0.0
    parallel = 3

    def __init__(self, answers: dict[str, Completion] | None = None, fails: int | None = None) -> None:
        self.answers, self.fails = answers or {}, fails
        self.asked: list[tuple[str, int]] = []

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        if self.fails is not None and len(self.asked) >= self.fails:
            raise RunStopped("out of memory")
        self.asked.append((messages[-1]["content"], settings.seed))
        return self.answers.get(messages[-1]["content"], Completion(SAID, "stop"))


def revise(folder: Path, kept: int, dropped: int = 0, turns: int = 1) -> None:
    """Write a revisions.jsonl."""
    before: list[dict[str, str]] = []
    for turn in range(turns):
        before += [{"role": "user", "content": f"Ask {turn}."}, {"role": "assistant", "content": f"Say {turn}."}]
    lines = [
        {
            "id": f"r{i}", "messages": before[:-1], "initial": "No.", "revision": f"Better {i}.", "kept": i < kept,
            "reason": None if i < kept else "loop", "stripped": None,
        }
        for i in range(kept + dropped)
    ]  # fmt: skip
    (folder / "revisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def mixed(
    folder: Path, model: Fake, seed: int = 0, **changes: Any
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    told: list[str] = []
    settings = Sft(**changes)
    counts = make_helpful(settings, seed, model, folder, told.append)
    counts |= make_mix(settings, seed, folder, told.append)
    return rows_in(folder / "sft.jsonl"), counts, told


def test_the_mix_has_every_kept_revision_and_as_many_helpful_ones_as_the_ratio_says(tmp_path: Path) -> None:
    revise(tmp_path, kept=10, dropped=4)
    rows, counts, _ = mixed(tmp_path, Fake(), helpful_ratio=0.5)
    assert sorted(row["id"] for row in rows if row["source"] == "revision") == sorted(f"r{i}" for i in range(10))
    assert sum(row["source"] == "helpful" for row in rows) == 5
    assert (counts["revisions"], counts["helpful"], counts["helpful_ratio"]) == (10, 5, 0.5)
    changes = sum(one["source"] != other["source"] for one, other in pairwise(rows))
    assert changes > 1, "they are shuffled"
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)


def test_a_conversation_keeps_its_whole_history(tmp_path: Path) -> None:
    revise(tmp_path, kept=1, turns=3)
    [row], counts, _ = mixed(tmp_path, Fake(fails=0), helpful_ratio=0.0)
    said = [message["content"] for message in row["messages"]]
    assert said == ["Ask 0.", "Say 0.", "Ask 1.", "Say 1.", "Ask 2.", "Better 0."]
    assert counts["helpful_answered"] == 0


def test_a_ratio_that_can_not_be_had_is_told_with_the_true_one(tmp_path: Path) -> None:
    revise(tmp_path, kept=1)
    ratio = len(helpful_prompts()) + 1
    _, counts, told = mixed(tmp_path, Fake(), helpful_ratio=float(ratio))
    assert counts["helpful_ratio"] == ratio - 1
    assert f"{ratio - 1:.2f} instead of {ratio} for each" in told[-1]


def test_what_is_degenerate_or_cut_off_is_left_out_counted_and_made_up_for(tmp_path: Path) -> None:
    prompts = [prompt.messages[-1]["content"] for prompt in helpful_prompts()]
    bad = [Completion("Well. " * 200, "stop"), Completion(CUT, "length"), Completion("", "missing", error="too long")]
    model = Fake({text: bad[i % 3] for i, text in enumerate(prompts) if i % 2})
    revise(tmp_path, kept=12)
    rows, counts, _ = mixed(tmp_path, model)
    helpful = [row["messages"][-1]["content"] for row in rows if row["source"] == "helpful"]
    assert helpful == [SAID] * 12
    assert counts["helpful_answered"] == 12 + sum(counts["helpful_left_out"].values()) == len(model.asked)
    assert {"truncated", "unanswered"} < set(counts["helpful_left_out"])
    assert len(rows_in(tmp_path / "helpful.jsonl")) == len(model.asked)


def test_an_answer_cut_off_within_a_sentence_goes_in_up_to_the_last_whole_one(tmp_path: Path) -> None:
    cut = {prompt.messages[-1]["content"]: Completion(f"{SAID} {CUT}", "length") for prompt in helpful_prompts()}
    revise(tmp_path, kept=2)
    rows, counts, _ = mixed(tmp_path, Fake(cut))
    assert [row["messages"][-1]["content"] for row in rows if row["source"] == "helpful"] == [SAID] * 2
    assert counts["helpful_left_out"] == {}


@pytest.mark.parametrize("stopped_after", [1, 7, 15, 19])
def test_a_stop_changes_nothing_and_asks_nothing_twice(stopped_after: int, tmp_path: Path) -> None:
    prompts = [prompt.messages[-1]["content"] for prompt in helpful_prompts()]
    bad = {text: Completion(CUT, "length") for text in random.Random(1).sample(prompts, len(prompts) // 3)}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
        revise(folder, kept=16)
    rows, *_ = mixed(whole, unbroken := Fake(bad))
    with pytest.raises(RunStopped, match="out of memory"):
        mixed(stopped, first := Fake(bad, fails=stopped_after))
    with (stopped / "helpful.jsonl").open("ab") as torn:
        torn.write(b'{"id": "x", "mess')
    again, *_ = mixed(stopped, second := Fake(bad))
    assert again == rows
    assert sorted(first.asked + second.asked) == sorted(unbroken.asked)


def test_another_seed_is_another_mix_and_fewer_revisions_later_a_part_of_it(tmp_path: Path) -> None:
    revise(tmp_path, kept=20)
    many, *_ = mixed(tmp_path, Fake())
    revise(tmp_path, kept=8)
    few, *_ = mixed(tmp_path, Fake(fails=0))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    revise(fresh, kept=8)
    assert few == mixed(fresh, Fake())[0]
    other = tmp_path / "other"
    other.mkdir()
    revise(other, kept=20)
    drawn = [{row["id"] for row in rows if row["source"] == "helpful"} for rows in (many, mixed(other, Fake(), 1)[0])]
    assert drawn[0] != drawn[1]


def test_conversations_of_a_file_go_in_and_no_model_is_asked(tmp_path: Path) -> None:
    revise(tmp_path, kept=3)
    file = tmp_path / "chat.jsonl"
    lakes = ("Como", "Garda", "Geneva", "Ohrid", "Prespa", "Inari", "Onega", "Ladoga", "Saimaa")
    lines = [{"id": lake, "prompt": f"Tell me of lake {lake}.", "response": f"{lake} is deep."} for lake in lakes]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, counts, _ = mixed(tmp_path, Fake(fails=0), helpful=str(file), helpful_ratio=2.0)
    drawn = {row["id"]: row["messages"][-1]["content"] for row in rows if row["source"] == "helpful"}
    assert counts["helpful"] == len(drawn) == 6
    assert drawn == {lake: f"{lake} is deep." for lake in drawn}


def test_a_mix_without_a_kept_revision_is_refused(tmp_path: Path) -> None:
    revise(tmp_path, kept=0, dropped=3)
    with pytest.raises(BadInput, match="no kept revision"):
        mixed(tmp_path, Fake())
