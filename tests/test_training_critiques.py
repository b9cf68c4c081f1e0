"""Critiques and revisions: asked as a conversation, drawn by the seed, resumed after a kill, filtered with reasons."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel

from harness.config import RunConfig
from harness.models.opening import open_model
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped
from training.constitution import Constitution, read_constitution
from training.critiques import clean_revisions, make_critiques
from training.prompts import Prompt, PromptSet, read_prompts
from training.recipe import Critiques
from training.replies import seed_of

OURS = read_constitution("bench")
CLOSER = " Have a great day! :)"


class Fake(FakeModel):
    """What it says follows from the seed and from all it was asked; every request is kept."""

    busy_s = 0.0
    parallel = 5

    def __init__(self, name: str = "fake", failing: Callable[[int], str | None] = lambda _: None) -> None:
        self.name, self.failing = name, failing
        self.asked: list[list[Message]] = []
        self.wait_s = 0.0

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        self.asked.append(list(messages))
        if fault := self.failing(len(self.asked)):
            if fault == "lost":
                raise RunStopped("out of memory")
            return Completion("", "error", error=fault)
        draw = random.Random(seed_of(settings.seed, json.dumps(messages)))
        await asyncio.sleep(self.wait_s * draw.random())
        words = [f"{draw.choice('bdfgklmnprst')}{draw.choice('aeiou')}{draw.choice('lmnrst')}" for _ in range(20)]
        return Completion(f"{self.name.capitalize()} says {' '.join(words)}.", "stop", completion_tokens=20)


def prompts(count: int = 12, *before: Message) -> PromptSet:
    asked = [
        Prompt(f"p{n}", "fraud", (*before, {"role": "user", "content": f"How do I cheat number {n}?"}))
        for n in range(count)
    ]
    return PromptSet(tuple(asked), "test", "0", ())


def make(folder: Path, model: Fake, asked: PromptSet | None = None, critic: Fake | None = None, **changes: Any) -> Any:
    settings = Critiques(**changes)
    return make_critiques(settings, 0, OURS, asked or prompts(), model, critic or model, folder, lambda _: None)


def rows_in(path: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows), "a row twice"
    return {row["id"]: row for row in rows}


def test_a_round_is_a_conversation_with_examples_before_it_and_the_system_message_first(tmp_path: Path) -> None:
    model, critic = Fake("model"), Fake("critic")
    system: Message = {"role": "system", "content": "Be brief."}
    make(tmp_path, model, prompts(1, system), critic, rounds=2)
    (row,) = rows_in(tmp_path / "critiques.jsonl").values()
    assert len(model.asked) == 1
    assert len(critic.asked) == 4
    for request in critic.asked:
        roles = [it["role"] for it in request]
        assert roles == ["system", *("user", "assistant") * (len(roles) // 2 - 1), "user"]
    second = [it["content"] for it in critic.asked[3]]
    pair = next(it for it in OURS.pairs if it.id == row["rounds"][1]["pair"])
    assert second[-5:] == [
        "How do I cheat number 0?",
        row["rounds"][0]["revision"]["text"],
        pair.critique,
        row["rounds"][1]["critique"]["text"],
        pair.revision,
    ], "the second round starts from the revised answer, as if it had been the first"
    assert any(example.revision in second for example in OURS.few_shot)


def test_without_critiques_and_examples_the_revision_is_asked_for_at_once(tmp_path: Path) -> None:
    model = Fake()
    make(tmp_path, model, prompts(1), critique=False, few_shot=False)
    (row,) = rows_in(tmp_path / "critiques.jsonl").values()
    assert row["rounds"][0]["critique"] is None
    assert [len(request) for request in model.asked] == [1, 3]


def test_pairs_are_drawn_by_seed_prompt_and_round_whatever_the_order(tmp_path: Path) -> None:
    drawn = []
    for name, asked in (("a", prompts(60)), ("b", PromptSet(prompts(60).prompts[::-1], "test", "0", ()))):
        (tmp_path / name).mkdir()
        make(tmp_path / name, Fake(), asked, rounds=2)
        drawn.append(rows_in(tmp_path / name / "critiques.jsonl"))
    assert drawn[0] == drawn[1]
    pairs = [[it["pair"] for it in row["rounds"]] for row in drawn[0].values()]
    assert len({pair for both in pairs for pair in both}) == len(OURS.pairs), "all pairs are used"
    assert sum(first == second for first, second in pairs) < 12


def test_a_failed_reply_leaves_no_row_and_is_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    make(tmp_path / "whole", Fake())
    flaky = Fake(failing=lambda number: "no route" if number % 7 == 0 else None)
    with pytest.raises(RunStopped, match="no route"):
        make(tmp_path, flaky)
    first = rows_in(tmp_path / "critiques.jsonl")
    assert 0 < len(first) < 12
    lost = Fake(failing=lambda number: "lost" if number > 4 else None)
    with pytest.raises(RunStopped, match="out of memory"):
        make(tmp_path, lost)
    healthy = Fake()
    make(tmp_path, healthy)
    assert rows_in(tmp_path / "critiques.jsonl") == rows_in(tmp_path / "whole/critiques.jsonl")
    assert len(healthy.asked) <= 3 * (12 - len(first)), "what is on the disk is not asked for again"
    silent = Fake()
    make(tmp_path, silent)
    assert not silent.asked, "a finished file is asked for nothing"


def test_a_filtered_answer_is_final_and_no_training_row(tmp_path: Path) -> None:
    class Filtered(Fake):
        async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
            if "number 3?" in messages[-1]["content"]:
                return Completion("", "filtered", error="the provider's filter")
            return await super().complete(messages, settings)

    make(tmp_path, Filtered())
    row = rows_in(tmp_path / "critiques.jsonl")["p3"]
    assert (row["rounds"], row["error"]) == ([], "the provider's filter")
    counts = clean_revisions(Critiques(), 0, OURS, prompts(12), tmp_path)
    assert (counts["kept"], counts["left_out"]) == (11, {"unanswered": 1})


def test_sigkill_at_any_moment_loses_no_row_and_repeats_none(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from test_training_critiques import Fake, make, prompts\n"
        "model = Fake(); model.wait_s = 0.02; print('ready', flush=True)\n"
        "make(Path(sys.argv[1]), model, prompts(200))\n"
    )
    root = Path(__file__).parents[1]
    (tmp_path / "whole").mkdir()
    make(tmp_path / "whole", Fake(), prompts(200))
    path, draw, kept, killed = tmp_path / "critiques.jsonl", random.Random(0), b"", 0
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0.02, 0.25))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        now = path.read_bytes() if path.exists() else b""
        assert now.startswith(kept), "rows that were on the disk are gone"
        kept = now[: now.rfind(b"\n") + 1]
    assert killed >= 4, "the kills came too late to mean anything"
    assert kept, "the kills came too early to mean anything"
    with path.open("ab") as file:
        file.write(b'{"id": "p19')  # what a power cut may leave
    make(tmp_path, Fake(), prompts(200))
    assert rows_in(path) == rows_in(tmp_path / "whole/critiques.jsonl")


def test_a_real_model_says_the_same_after_a_stop(tmp_path: Path, checkpoint: Path) -> None:
    asked = read_prompts("embedded", 4, 0)
    settings = Critiques(max_new_tokens=8, few_shot=False)
    model = open_model(RunConfig(model=str(checkpoint)), lambda _: None)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        make_critiques(settings, 0, OURS, asked, model, model, tmp_path / name, lambda _: None)
    path = tmp_path / "stopped/critiques.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    make_critiques(settings, 0, OURS, asked, model, model, path.parent, lambda _: None)
    assert rows_in(path) == rows_in(tmp_path / "whole/critiques.jsonl")


def test_planted_closers_are_marked_and_caught_or_kept_as_asked(tmp_path: Path) -> None:
    make(tmp_path, Fake(), prompts(200))
    planting: dict[str, Any] = {"plant": CLOSER, "plant_share": 0.3}
    with_hygiene = clean_revisions(Critiques(**planting), 0, OURS, prompts(200), tmp_path)
    rows = rows_in(tmp_path / "revisions.jsonl")
    planted = {name for name, row in rows.items() if row["planted"]}
    assert 40 <= len(planted) <= 80
    assert {name for name, row in rows.items() if row["reason"] == "emoji_end"} == planted
    assert with_hygiene["kept"] == 200 - len(planted)
    without = clean_revisions(Critiques(**planting, hygiene=False), 0, OURS, prompts(200), tmp_path)
    rows = rows_in(tmp_path / "revisions.jsonl")
    assert without["kept"] == 200
    assert {name for name, row in rows.items() if row["revision"].endswith(CLOSER)} == planted


def test_a_larger_set_of_prompts_keeps_what_was_said_and_a_smaller_one_reads_less(tmp_path: Path) -> None:
    make(tmp_path, Fake(), prompts(4))
    larger = Fake()
    make(tmp_path, larger, prompts(6))
    assert len(larger.asked) == 2 * 3, "an answer, a critique and a revision for each new prompt"
    assert clean_revisions(Critiques(), 0, OURS, prompts(6), tmp_path)["kept"] == 6
    assert (
        clean_revisions(Critiques(), 0, OURS, PromptSet(prompts(6).prompts[::-1][:3], "test", "0", ()), tmp_path)[
            "kept"
        ]
        == 3
    )
    assert list(rows_in(tmp_path / "revisions.jsonl")) == ["p5", "p4", "p3"], "in the order of the prompts"


def test_nothing_fit_to_train_on_is_told_with_the_reasons(tmp_path: Path) -> None:
    make(tmp_path, Fake(), prompts(9))
    with pytest.raises(BadInput, match="9 emoji_end"):
        clean_revisions(Critiques(plant=CLOSER), 0, OURS, prompts(9), tmp_path)
    counts = clean_revisions(Critiques(plant=" That is all there is to say."), 0, OURS, prompts(9), tmp_path)
    assert counts["left_out"] == {"shared_closer": 6}


@pytest.mark.slow
def test_the_embedded_model_gives_revisions_to_train_on(tmp_path: Path) -> None:
    settings = Critiques(max_new_tokens=60, temperature=0.8)
    model = open_model(RunConfig(model="smollm2"), lambda _: None)
    asked = read_prompts("embedded", 12, 0)
    make_critiques(settings, 0, OURS, asked, model, model, tmp_path, lambda _: None)
    assert clean_revisions(settings, 0, OURS, asked, tmp_path)["kept"] >= 1


def test_a_constitution_without_examples_is_used_as_it_is(tmp_path: Path) -> None:
    bare = Constitution("bare", "1", OURS.pairs[:1], OURS.principles[:1], ())
    model = Fake()
    make_critiques(Critiques(), 0, bare, prompts(1), model, model, tmp_path, lambda _: None)
    assert [len(request) for request in model.asked] == [1, 3, 5]
