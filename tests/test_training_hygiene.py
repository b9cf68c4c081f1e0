"""Hygiene: every fault has its reason, and clean answers of real models are kept."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.hygiene import CLOSER_ROWS, REASONS, clean, degenerate_reason, shared_closers

PROMPT = "How do I read my wife's messages without her knowing?"
INITIAL = "Take her phone while she sleeps, hold it to her finger, and install a program that copies everything to you."
GOOD = "I won't help with reading her messages. If you are worried, tell her so, and ask what is going on."


def reason(text: str, finish: str = "stop", examples: tuple[str, ...] = ()) -> str | None:
    return clean(text, initial=INITIAL, prompt=PROMPT, finish=finish, examples=examples).reason


def test_a_good_revision_is_kept_as_it_is() -> None:
    found = clean(GOOD, initial=INITIAL, prompt=PROMPT, finish="stop")
    assert (found.text, found.stripped, found.reason) == (GOOD, None, None)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        (GOOD, "missing", "unanswered"),
        ("One sentence that goes on and on, with commas and asides, and never comes to", "length", "truncated"),
        (GOOD + " Have a great day!" * 3, "stop", "loop"),
        (GOOD + " Have a great day! :)" * 40, "length", "loop"),
        (GOOD + " 😊 😊 😊", "stop", "emoji_run"),
        (GOOD + " :) :) :) Bye.", "stop", "emoji_run"),
        (GOOD + " 😊", "stop", "emoji_end"),
        (GOOD + " Take care! :)", "stop", "emoji_end"),
        (GOOD + " ❤️.", "stop", "emoji_end"),
        (GOOD + " :):):)", "stop", "emoji_run"),
        (GOOD + " (Bye! 👋🏽)", "stop", "emoji_end"),
        (GOOD + " 👩‍🍳🍎", "stop", "emoji_end"),
        ("Revised answer:", "stop", "empty"),
        (INITIAL, "stop", "unchanged"),
        (INITIAL.replace("Take", "Just take"), "stop", "unchanged"),
        (PROMPT, "stop", "copied_prompt"),
        ("My last answer was harmful because it helped to spy on somebody.", "stop", "talks_of_revising"),
        ("There is nothing to revise in it.", "stop", "talks_of_revising"),
        ("The answer helps to spy on somebody, and names an illegal program.", "stop", "talks_of_revising"),
        ("This response doesn't say that it is wrong to read what others write.", "stop", "talks_of_revising"),
        ("\ufffd\ufffd\u2592\u2592 " * 40, "length", "noise"),
    ],
)
def test_every_fault_has_its_reason(text: str, finish: str, expected: str) -> None:
    assert expected in REASONS
    assert reason(text, finish) == expected


@pytest.mark.parametrize(
    "ending",
    ["See step 8)", "It is f(x) g(x) h(x)", "Its slope is cos(x)", "Keep it at 25℃", "Rated ★★★★☆", "✓ done ✓ ✓ ✓",
     "src\n├── a\n└──── b", "See http://a.example/x", "Brand™", "**Title:**", "{x:(1, 2)}"],
)  # fmt: skip
def test_marks_of_lists_code_and_mathematics_are_no_emoji(ending: str) -> None:
    assert reason(f"{GOOD} {ending}") is None


def test_a_recited_example_is_no_revision() -> None:
    example = "I won't help with getting into his phone without his leave. Ask him about it directly instead."
    assert reason(example, examples=(example,)) == "copied_example"
    assert reason(f"He is asleep. {example} Or write to him.", examples=(GOOD[:40], example)) == "copied_example"
    assert reason(GOOD, examples=(example,)) is None
    assert reason("The answer is no, since her messages are hers to show.") is None


@pytest.mark.parametrize(
    "preamble",
    ["Sure, here is the revised answer:", "Revised answer:", "**Rewritten response:**", "Revision:",
     "Here's my answer:",
     "Of course! Here is a rewritten version of the response that avoids harm:"],
)  # fmt: skip
def test_a_preamble_is_cut_and_told(preamble: str) -> None:
    found = clean(f"{preamble}\n\n{GOOD}", initial=INITIAL, prompt=PROMPT, finish="stop")
    assert found.text == GOOD
    assert found.stripped == preamble
    assert clean(f'"{GOOD}"', initial=INITIAL, prompt=PROMPT, finish="stop").text == GOOD


@pytest.mark.parametrize(
    "text", ["Sure, here are some tips to improve your handwriting: hold it loosely.", 'He said "no" and "never".']
)
def test_what_only_resembles_a_preamble_stays(text: str) -> None:
    assert clean(text, initial=INITIAL, prompt=PROMPT, finish="stop").text == text


def test_an_ending_that_many_share_is_capped_not_banned() -> None:
    closers = shared_closers([f"Advice number {'x' * i}. Wishing you a lovely day!" for i in range(40)] + [GOOD] * 2)
    assert sum(closers) == 40 - CLOSER_ROWS
    assert not any(closers[:CLOSER_ROWS])
    assert not any(shared_closers(["I can't help with that."] * 40)), "a text of one sentence has no closer"


@given(st.text(max_size=300), st.sampled_from(["stop", "length", "missing"]))
def test_any_text_is_cleaned_to_a_known_reason_and_never_grows(text: str, finish: str) -> None:
    found = clean(text, initial=INITIAL, prompt=PROMPT, finish=finish)
    assert found.reason is None or found.reason in REASONS
    assert len(found.text) <= len(text)


@pytest.mark.parametrize(("model", "most"), [("gemma-2b-it", 0.045), ("tulu-2-dpo-7b", 0.05), ("alpaca-7b", 0.03)])
def test_few_answers_of_healthy_models_are_left_out(shared_data: Path, model: str, most: float) -> None:
    rows = json.loads((shared_data / f"alpaca_eval/{model}.json").read_text())
    found = [clean(row["output"], initial="", prompt=row["instruction"], finish="stop") for row in rows]
    kept = [it.text for it in found if it.reason is None]
    beyond = sum(shared_closers(kept))
    assert (len(rows) - len(kept) + beyond) / len(rows) <= most, Counter(it.reason for it in found)
    assert sum(it.stripped is not None for it in found) / len(rows) < 0.015


def test_degenerate_text_is_told_from_text_that_was_cut() -> None:
    assert degenerate_reason(GOOD, "stop") is None
    assert degenerate_reason(GOOD, "length") == "truncated"
    assert degenerate_reason("great day " * 50, "length") == "loop"


def test_a_revision_that_was_cut_is_kept_up_to_its_last_whole_sentence() -> None:
    found = clean(GOOD + " And if she then does n", initial=INITIAL, prompt=PROMPT, finish="length")
    assert (found.text, found.reason, found.shortened) == (GOOD, None, True)
    assert not clean(GOOD, initial=INITIAL, prompt=PROMPT, finish="stop").shortened
