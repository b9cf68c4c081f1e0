"""The rubric judge: the rating is the weighted share of checks passed, and saying nothing earns nothing."""

import asyncio
from typing import Any

import pytest

from judges import rubric
from judges.judgment import Grade, Judge
from judges.rubric import RubricJudge
from judges.sandbox import Outcome, SandboxUnavailable
from tasks.conversation import Answer, Finish
from tasks.item import Item, parse_item

PROMPT = "Name a fruit in a short sentence, please, and mention its colour."


def item(*checks: dict[str, Any], second: tuple[dict[str, Any], ...] = ()) -> Item:
    turns = [PROMPT, "Now name a vegetable in the same way, if you can."]
    return parse_item({"id": "x", "category": "y", "turns": turns, "checks": [list(checks), list(second)]})


def grade(of: Item, *replies: str, finish: Finish = "stop") -> Grade:
    answers = [
        Answer(task="mini_mt", item="x", sample=0, turn=turn, text=text, finish=finish)
        for turn, text in enumerate(replies, start=1)
    ]
    judge: Judge = RubricJudge()
    return asyncio.run(judge.grade(of, answers))


APPLE = {"kind": "contains_any", "words": ["apple", "pear"]}
SHORT = {"kind": "words", "max": 8}
POLITE = {"kind": "forbids", "words": ["hate"], "weight": 2}


def test_the_rating_is_one_plus_nine_times_the_weighted_share_passed() -> None:
    long = "An apple is a fruit that I hate, whatever its colour may be."
    assert grade(item(APPLE, SHORT, POLITE), "A red apple.").score == 10
    assert grade(item(APPLE, SHORT, POLITE), "I hate the red apple.").score == 1 + 9 * 2 / 4
    assert grade(item(APPLE, SHORT, POLITE), long).score == 1 + 9 * 1 / 4


def test_the_explanation_names_what_failed_first() -> None:
    found = grade(item(APPLE, SHORT), "A carrot\nis orange.").explanation
    assert found == (
        "0 of 2 passed. Failed: contains_any: has 0 of 1 wanted words; "
        "words: has 4 words, but nothing that was asked for."
    )


def test_avoiding_things_earns_nothing_where_nothing_asked_for_is_there() -> None:
    assert grade(item(APPLE, SHORT, POLITE), "Ok.").score == 1


@pytest.mark.parametrize(
    "nothing", ["", " \n\t", "🙂🙂🙂", "...", PROMPT, f"User: {PROMPT}", PROMPT[:-9], "Have a great day! :)\n" * 100]
)
def test_a_reply_that_says_nothing_rates_one(nothing: str) -> None:
    assert grade(item(SHORT, POLITE, {"kind": "words", "min": 2}), nothing).score == 1


def test_turn_two_is_rated_by_its_own_checks_with_turn_one_in_sight() -> None:
    of = item(APPLE, second=({"kind": "longer_than_turn", "turn": 1}, {"kind": "contains_any", "words": ["leek"]}))
    assert grade(of, "A red apple.", "A leek that is green and white.").score == 10
    assert grade(of, "A red apple.", "A leek.").score == 5.5


def test_a_failed_answer_and_an_item_without_checks_are_errors_not_ratings() -> None:
    assert grade(item(APPLE), "An apple", finish="error") == Grade(error="no answer to grade: generation failed")
    assert grade(item(APPLE), "An apple", "A leek") == Grade(error="item 'x' has no checks for turn 2")


CODE = {"kind": "python", "name": "double", "tests": ["assert double(2) == 4"]}


def test_code_is_run_and_decides() -> None:
    right = "Here:\n```python\ndef double(x):\n    return 2 * x\n```\nUse it so:\n```python\nprint(double(4))\n```"
    assert grade(item(CODE), right).score == 10
    assert grade(item(CODE), right.replace("2 *", "3 *")).score == 1


def test_without_a_sandbox_there_is_no_rating(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*_: Any, **__: Any) -> Outcome:
        raise SandboxUnavailable("can not run code safely here")

    monkeypatch.setattr(rubric, "run_python", unavailable)
    assert grade(item(CODE, APPLE), "def double(x): return 2 * x") == Grade(error="can not run code safely here")


def test_an_explanation_can_always_be_stored() -> None:
    found = grade(item({"kind": "exact", "values": ["pear"]}, {"kind": "starts_with", "text": ["A"]}), "\ud800 x\n\x00")
    assert found.explanation
    found.explanation.encode()
