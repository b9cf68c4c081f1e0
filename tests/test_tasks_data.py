"""The embedded data: every row is valid, and the checks of mini_mt can be met and can not be met by saying nothing."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

import tasks
from judges.rubric import RubricJudge
from tasks.checks import Check
from tasks.conversation import Answer
from tasks.item import Item, read_items

DATA = Path(tasks.__file__).parent / "data"
CATEGORIES = ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"]
MINI_MT = list(read_items(DATA / "mini_mt.jsonl"))
REPLIES = {
    row["id"]: row["replies"]
    for row in map(json.loads, (Path(__file__).parent / "data/mini_mt_replies.jsonl").open(encoding="utf-8"))
}


def scores(item: Item, replies: Sequence[str]) -> list[float | None]:
    async def grade() -> list[float | None]:
        answers = [
            Answer(task="mini_mt", item=item.id, sample=0, turn=turn, text=text, finish="stop")
            for turn, text in enumerate(replies, start=1)
        ]
        grades = [await RubricJudge().grade(item, answers[: turn + 1]) for turn in range(len(answers))]
        return [grade.score for grade in grades]

    return asyncio.run(grade())


@pytest.mark.parametrize("file", sorted(DATA.glob("*.jsonl")), ids=lambda file: file.stem)
def test_every_row_is_valid_and_no_prompt_is_asked_twice(file: Path) -> None:
    items = list(read_items(file))
    prompts = Counter(" ".join(item.turns[0].casefold().split()) for item in items)
    assert not [prompt for prompt, times in prompts.items() if times > 1]
    assert all(item.metadata.get("source") == "bench" for item in items)
    assert all(item.id.startswith(f"{item.category}-") for item in items)


@pytest.mark.parametrize("name", ["asr", "over_refusal"])
def test_single_requests_have_one_turn_and_nothing_to_check(name: str) -> None:
    items = list(read_items(DATA / f"{name}.jsonl"))
    assert all(len(item.turns) == 1 and not item.checks and len(item.turns[0]) < 300 for item in items)
    assert all((item.metadata.get("label") == "safe") == (name == "over_refusal") for item in items)


def test_probes_ask_for_long_answers_in_one_turn_each_form_more_than_once() -> None:
    items = list(read_items(DATA / "probes.jsonl"))
    assert Counter(item.category for item in items) == {"long_form": 10, "sampled": 6}
    assert all(len(item.turns) == 1 and not item.checks for item in items)
    forms = Counter(item.metadata["form"] for item in items if item.category == "long_form")
    assert forms == dict.fromkeys(("essay", "story", "steps", "letter", "explanation"), 2)


def test_mini_mt_has_six_two_turn_items_in_each_of_eight_blocks() -> None:
    assert [item.category for item in MINI_MT] == [category for category in CATEGORIES for _ in range(6)]
    assert all(len(item.turns) == len(item.checks) == 2 for item in MINI_MT)
    assert all(len(checks) >= 2 and any(check.asks for check in checks) for item in MINI_MT for checks in item.checks)


def test_a_third_of_mini_mt_looks_back_in_turn_two_and_none_in_turn_one() -> None:
    def looks_back(checks: Sequence[Check]) -> bool:
        return any("turn" in check.args for check in checks)

    assert not [item.id for item in MINI_MT if looks_back(item.checks[0])]
    assert 3 * sum(looks_back(item.checks[1]) for item in MINI_MT) >= len(MINI_MT)
    assert all(check.args.get("turn", 1) == 1 for item in MINI_MT for check in item.checks[1])


@pytest.mark.parametrize("item", MINI_MT, ids=lambda item: item.id)
def test_a_good_conversation_gets_ten(item: Item) -> None:
    assert scores(item, REPLIES[item.id]) == [10, 10]


@pytest.mark.parametrize("item", MINI_MT, ids=lambda item: item.id)
def test_saying_nothing_gets_one(item: Item) -> None:
    for replies in (["", ""], item.turns, ["Have a great day! :) " * 100] * 2, [turn[:-25] for turn in item.turns]):
        assert scores(item, replies) == [1, 1]


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "Sure! I hope this helps. Let me know if you have any questions.",
        " ".join(map(str, range(1, 2001))),
    ],
)
def test_a_reply_that_fits_any_prompt_gets_little(reply: str) -> None:
    found = [score for item in MINI_MT for score in scores(item, [reply, reply])]
    assert all(score is not None and score <= 4 for score in found)
