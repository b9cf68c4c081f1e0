"""Preferences: what is paired, what is judged, what is kept, and why the rest is not; a kill changes none of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel
from hypothesis import given
from hypothesis import strategies as st

from tasks.conversation import Completion, Finish, Message, Settings
from tasks.errors import BadInput, RunStopped
from training.constitution import Constitution, Principle
from training.pair_filters import length_ratio, unfit
from training.preferences import make_preferences
from training.prompts import Prompt, PromptSet
from training.recipe import Preferences
from training.sentences import whole_sentences

LOOP = "I am so glad you asked me. " * 30
TEXT = "you could ask a neighbour about the river and its colour before it rains on the green hill tomorrow night"
WORDS = TEXT.split()
CONSTITUTION = Constitution("tiny", "1", (), (Principle("kind", "Which is kinder?"),), ())


def said(count: int, offset: int = 0) -> str:
    """A readable answer of `count` words."""
    return " ".join(WORDS[(i + offset) % len(WORDS)] for i in range(count))


def prompt_set(*ids: str) -> PromptSet:
    prompts = tuple(Prompt(it, "harmful", ({"role": "user", "content": f"Request {it}?"},)) for it in ids)
    return PromptSet(prompts, "test", "0" * 64, ())


class Fake(FakeModel):
    """A model that answers from a table by prompt and call, and judges by `p` of what it is shown."""

    name = "fake"
    busy_s = 0.0
    parallel = 4

    def __init__(
        self,
        answers: Mapping[str, Sequence[str | Completion]],
        prefers: Callable[[str, str], float] = lambda a, b: 0.0,
        pause_s: float = 0.0,
    ) -> None:
        self.answers, self.prefers, self.pause_s = answers, prefers, pause_s
        self.settings: list[tuple[str, Settings]] = []
        self.judged = 0

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        await asyncio.sleep(self.pause_s)
        asked = messages[-1]["content"].removeprefix("Request ").removesuffix("?")
        answer = self.answer(asked, settings)
        self.settings.append((asked, settings))
        return Completion(answer, "stop") if isinstance(answer, str) else answer

    def answer(self, asked: str, settings: Settings) -> str | Completion:
        return self.answers[asked][sum(it == asked for it, _ in self.settings)]

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> list[float]:
        await asyncio.sleep(self.pause_s)
        self.judged += 1
        text = messages[-1]["content"]
        a, _, rest = text.partition("answer (A)\n")[2].partition("\n---- ")
        b = rest.partition("answer (B)\n")[2].partition("\n---- ")[0]
        return [self.prefers(a, b), 0.0]


def longer(a: str, b: str) -> float:
    return (len(a) - len(b)) / 20


def made(
    tmp_path: Path, model: Fake, prompts: PromptSet, constitution: Constitution = CONSTITUTION, **changes: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    settings = Preferences(**{"principles": 1, **changes})
    told: list[str] = []
    counts = make_preferences(settings, 0, constitution, prompts, model, model, tmp_path, told.append)
    return rows_in(tmp_path / "preferences.jsonl"), counts


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["chosen"][0]["content"], row["rejected"][0]["content"]


def cut(text: str, finish: Finish = "length") -> Completion:
    return Completion(text, finish)


def test_the_judge_s_choice_is_kept_with_its_p_and_its_principles(tmp_path: Path) -> None:
    short, long = said(9), said(14, 2)
    [row], counts = made(tmp_path, Fake({"a": [short, long]}, longer), prompt_set("a"))
    assert texts(row) == (long, short)
    assert row["p"] == pytest.approx(1 / (1 + 2.718281828 ** -abs(longer(long, short))))
    assert (row["id"], row["form"], row["principles"]) == ("a/0-1", "judged", ["kind"])
    assert (row["kept"], row["reason"]) == (True, None)
    assert row["prompt"] == [{"role": "user", "content": "Request a?"}]
    assert counts["kept"] == counts["judged"] == counts["comparisons"] == 1
    assert counts["position_bias"] == pytest.approx(0)
    [judged] = rows_in(tmp_path / "feedback.jsonl")
    assert judged["id"] == "a/0-1"
    assert judged["principles"][0]["p"] == pytest.approx(1 - row["p"])


@pytest.mark.parametrize("place", [0, 1])
def test_a_degenerate_answer_is_rejected_without_a_judge_and_at_any_length(place: int, tmp_path: Path) -> None:
    answers = [said(9), said(9)]
    answers[place] = LOOP
    model = Fake({"a": answers}, lambda a, b: 9.0 if LOOP.strip() in a else -9.0)
    [row], counts = made(tmp_path, model, prompt_set("a"))
    assert texts(row) == (said(9), LOOP)
    assert (row["p"], row["principles"], row["kept"]) == (1.0, [], True)
    assert model.judged == 0
    assert counts["degenerate"] == counts["kept_against_degenerate"] == 1


def test_what_can_not_be_trained_on_is_kept_in_the_file_with_its_reason(tmp_path: Path) -> None:
    cases: dict[str, list[str | Completion]] = {
        "fit": [said(9), said(14)],
        "both_degenerate": [LOOP, LOOP + "Yes."],
        "equal": [said(9), f" {said(9)}\n"],
        "tie": [said(12, 1), said(12, 1)[:-1] + "k"],
        "margin": [said(12), said(12) + " a"],
        "length": [said(4), said(20)],
        "truncated": [said(9), cut(said(14))],
        "unanswered": [said(9), cut("", "missing")],
    }
    asked = prompt_set(*cases, "cut")
    model = Fake({**cases, "cut": [cut(said(9)), cut(said(14))]}, longer)
    rows, counts = made(tmp_path, model, asked, min_margin=0.05)
    found = {row["id"].split("/")[0]: row["reason"] for row in rows}
    wanted = {name: name for name in cases if name not in ("fit", "unanswered")}
    assert found == {**wanted, "fit": None, "cut": "truncated"}
    assert counts["left_out"] == {"truncated": 2, **{name: 1 for name in wanted if name != "truncated"}}
    assert (counts["kept"], counts["pairs"], counts["unanswered"], counts["prompts"]) == (1, 8, 1, 9)
    assert counts["judged"] == 5, "nobody is asked where the answer would change nothing"


def test_an_answer_cut_off_within_a_sentence_is_compared_and_taught_up_to_its_last_whole_one(tmp_path: Path) -> None:
    whole = f"{said(14)}. {said(9, 3)}!"
    model = Fake({"a": [said(9), cut(f"{whole} {said(8)}")]}, longer)
    [row], counts = made(tmp_path, model, prompt_set("a"))
    assert texts(row) == (whole, said(9))
    assert (row["kept"], counts["shortened"], counts["truncated"]) == (True, 1, 0)
    [judged] = rows_in(tmp_path / "feedback.jsonl")
    assert judged["second"] == whole
    [sampled] = rows_in(tmp_path / "samples.jsonl")
    assert sampled["samples"][1] == {"text": f"{whole} {said(8)}", "finish": "length"}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("It is blue. It is", "It is blue."),
        ("It is blue.", "It is blue."),
        ("It is blue, and it", None),
        ("No. " + said(30), None),
        ('He said "No!" and then "Yes." But', 'He said "No!" and then "Yes."'),
        ("1. Ask her first.\n2. Then ask him.\n3. A", "1. Ask her first.\n2. Then ask him."),
        ("1. Ask her first.\n2. Then ask him.\n3.", "1. Ask her first.\n2. Then ask him."),
        ("It costs 3.50 in all. It is 3.", "It costs 3.50 in all. It is 3."),
        ("今天很好。明天", "今天很好。"),
        ("", None),
    ],
)
def test_a_text_is_whole_up_to_its_last_sentence_unless_little_is_left(text: str, whole: str | None) -> None:
    assert whole_sentences(text) == whole


def test_all_filtered_is_refused_with_the_count_of_every_reason(tmp_path: Path) -> None:
    model = Fake({"a": [said(9), said(9)], "b": [said(12), said(12) + " a"], "c": [said(9), said(9)]}, longer)
    with pytest.raises(BadInput, match=r"all 3 preference pairs were left out \(equal 2, margin 1\): raise .*temperat"):
        made(tmp_path, model, prompt_set("a", "b", "c"))
    assert len(rows_in(tmp_path / "preferences.jsonl")) == 3


def test_of_four_answers_the_widest_fit_pair_is_kept_and_one_against_the_degenerate(tmp_path: Path) -> None:
    answers = [said(4), LOOP, said(9), said(11), said(20)]
    rows, counts = made(tmp_path, Fake({"a": answers}, longer), prompt_set("a"), samples=5, max_length_ratio=3.0)
    names = [f"a/{i}-{j}" for i, j in combinations([0, 2, 3, 4], 2)]
    assert [row["id"] for row in rows] == [*names, "a/1-4"]
    kept = [row for row in rows if row["kept"]]
    assert [texts(row) for row in kept] == [(said(20), said(9)), (said(20), LOOP)]
    assert counts["left_out"] == {"smaller_margin": 4, "length": 1}


def test_of_many_answers_a_bounded_number_of_pairs_is_judged_always_the_same(tmp_path: Path) -> None:
    answers = [said(8 + i) for i in range(8)]
    drawn = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        model = Fake({"a": answers}, longer)
        rows, _ = made(folder, model, prompt_set("a"), samples=8)
        assert model.judged == 2 * 6
        drawn.append([row["id"] for row in rows])
    assert drawn[0] == drawn[1]


def test_each_sample_has_a_seed_of_its_own_and_what_is_sampled_is_not_asked_again(tmp_path: Path) -> None:
    model = Fake({name: [said(9), said(14)] for name in "abc"}, longer)
    first, _ = made(tmp_path, model, prompt_set(*"abc"), temperature=0.7, max_new_tokens=33)
    seeds = {settings.seed for _, settings in model.settings}
    assert len(seeds) == 6
    assert {(it.temperature, it.max_new_tokens) for _, it in model.settings} == {(0.7, 33)}
    silent = Fake({})
    again, _ = made(tmp_path, silent, prompt_set(*"abc"), temperature=0.7, max_new_tokens=33)
    assert (again, silent.settings, silent.judged) == (first, [], 0)


def test_an_answer_that_fails_is_asked_again_by_the_next_command(tmp_path: Path) -> None:
    answers: dict[str, list[str | Completion]] = {"a": [said(9), cut("", "error")], "b": [said(9), said(14)]}
    with pytest.raises(RunStopped, match="1 answers could not be had"):
        made(tmp_path, Fake(answers, longer), prompt_set("a", "b"))
    assert [row["id"] for row in rows_in(tmp_path / "samples.jsonl")] == ["b"]
    mended = Fake({"a": [said(9), said(14)]}, longer)
    rows, _ = made(tmp_path, mended, prompt_set("a", "b"))
    assert [row["id"] for row in rows] == ["a/0-1", "b/0-1"]
    assert {asked for asked, _ in mended.settings} == {"a"}


def revisions(tmp_path: Path, *rows: tuple[str, str, bool]) -> None:
    lines = [
        {
            "id": f"r{i}", "messages": [{"role": "user", "content": "Well?"}], "initial": initial,
            "revision": revision, "kept": kept, "reason": None if kept else "loop", "stripped": None,
        }
        for i, (initial, revision, kept) in enumerate(rows)
    ]  # fmt: skip
    (tmp_path / "revisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_kept_revision_is_preferred_to_what_it_revised_and_nobody_is_asked(tmp_path: Path) -> None:
    revisions(
        tmp_path,
        (said(9), said(9, 3), True), (said(9), LOOP, False), (LOOP, said(9), True), (said(9), LOOP, True),
        (said(20), said(4), True), (said(9), said(9), True),
    )  # fmt: skip
    model = Fake({})
    rows, counts = made(tmp_path, model, prompt_set("a"), form="revision")
    assert {row["id"]: row["reason"] for row in rows} == {
        "r0/revision": None, "r2/revision": None, "r3/revision": "degenerate_chosen", "r4/revision": "length",
        "r5/revision": "equal",
    }  # fmt: skip
    assert texts(rows[0]) == (said(9, 3), said(9))
    assert {row["form"] for row in rows} == {"revision"}
    assert {row["p"] for row in rows} == {1.0}
    assert (counts["kept_revisions"], model.settings, model.judged) == (2, [], 0)


def test_both_forms_stand_in_one_file(tmp_path: Path) -> None:
    revisions(tmp_path, (said(9), said(9, 3), True))
    rows, counts = made(tmp_path, Fake({"a": [said(9), said(14)]}, longer), prompt_set("a"), form="both")
    assert [row["form"] for row in rows] == ["judged", "revision"]
    assert (counts["kept_judged"], counts["kept_revisions"]) == (1, 1)


def test_a_constitution_without_principles_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    model = Fake({"a": [said(9), said(14)]})
    bare = Constitution("bare", "1", (), (), ())
    with pytest.raises(BadInput, match=r"bare has no principles .*form"):
        made(tmp_path, model, prompt_set("a"), bare)
    assert not model.settings


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.5, 1), st.floats(0, 0.49), st.floats(1, 5))
def test_the_filters_are_the_limits_that_they_are_said_to_be(
    one: int, other: int, p: float, margin: float, ratio: float
) -> None:
    reason = unfit(said(one), said(other), p, margin, ratio)
    assert length_ratio(said(one), said(other)) == max(one, other) / min(one, other)
    if abs(p - 0.5 - margin) > 1e-6 and abs(max(one, other) / min(one, other) - ratio) > 1e-6 and p > 0.5 + 1e-6:
        expected = "margin" if p - 0.5 < margin else "length" if max(one, other) > ratio * min(one, other) else None
        assert reason == expected
    if p == 0.5:
        assert reason == "tie"


def test_an_empty_answer_does_not_divide_by_nothing() -> None:
    assert length_ratio("", "") == 1
    assert length_ratio("", said(7)) == 7


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training_preferences import Fake, longer, made, prompt_set, said
names = [f"q{{i}}" for i in range(24)]
class Steady(Fake):
    def answer(self, asked, settings):
        return said(8 + settings.seed % 12, settings.seed % 5)
made(Path(sys.argv[1]), Steady({{}}, longer, float(sys.argv[2])), prompt_set(*names))
"""


def test_a_sigkill_at_any_moment_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    command = [sys.executable, "-c", code]
    subprocess.run([*command, str(whole), "0"], check=True)
    interrupted = 0
    for growing, rows in (("samples", 5), ("samples", 15), ("feedback", 4), ("feedback", 14)):
        process = subprocess.Popen([*command, str(killed), "0.02"])
        file = killed / f"{growing}.jsonl"
        while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < rows):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
    assert interrupted == 4, "the kills came too late to mean anything"
    subprocess.run([*command, str(killed), "0"], check=True)
    for name in ("samples", "feedback"):
        by_id = [sorted(rows_in(folder / f"{name}.jsonl"), key=lambda row: row["id"]) for folder in (whole, killed)]
        assert by_id[0] == by_id[1]
    assert (whole / "preferences.jsonl").read_bytes() == (killed / "preferences.jsonl").read_bytes()


@pytest.mark.slow
def test_a_real_model_makes_preferences_of_its_own_answers(tmp_path: Path) -> None:
    from harness.models.hf import HFModel

    model = HFModel("smollm2", None, lambda _: None)
    asked = ("How do I pick a lock?", "Tell me one thing about rivers.", "Insult my neighbour.")
    prompts = prompt_set(*asked)
    principles = (Principle("kind", "Which answer is kinder?"), Principle("safe", "Which answer is less harmful?"))
    constitution = Constitution("tiny", "1", (), principles, ())
    settings = Preferences(samples=3, max_new_tokens=96, principles=2, min_margin=0.0, max_length_ratio=1000)
    counts = make_preferences(settings, 0, constitution, prompts, model, model, tmp_path, lambda _: None)
    model.close()
    rows = rows_in(tmp_path / "preferences.jsonl")
    assert counts["samples"] == 9
    assert counts["kept"] == sum(row["kept"] for row in rows) >= 1
    assert 0 <= counts["position_bias"] <= 1
    assert all(0.5 <= row["p"] <= 1 for row in rows)
