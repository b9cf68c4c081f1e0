"""Checks: rows are read strictly, right replies pass, wrong ones fail, and nothing said passes nothing."""

import importlib
import json
import time
from typing import Any

import pytest

from tasks.checks import KINDS, Finding, Said, decide, parse_check
from tasks.checks.keys import LANGUAGES
from tasks.checks.numeric_answer import numeric_answer
from tasks.checks.reply import Reply

EARLIER = "- a first point about bridges\n- a second point about rivers\nAnswer: 12"


def found(row: dict[str, Any], reply: str, earlier: str = EARLIER) -> Finding:
    return decide(parse_check(row), Said.of(reply, [earlier]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "contain_all", "words": ["a"]}, "unknown kind 'contain_all'; did you mean 'contains_all'"),
        ({"kind": "words", "maximum": 3}, "unknown key 'maximum'; did you mean 'max'"),
        ({"words": ["a"]}, "without a 'kind'"),
        ("words", "without a 'kind'"),
        ({"kind": "number"}, "needs 'value'"),
        ({"kind": "number", "value": "12"}, "must be a number"),
        ({"kind": "number", "value": True}, "must be a number"),
        ({"kind": "number", "value": float("nan")}, "must be a number"),
        ({"kind": "number", "value": 1, "weight": 0}, "above 0"),
        ({"kind": "words", "min": 5, "max": 4}, "can never pass"),
        ({"kind": "words", "min": 1}, "which every reply has"),
        ({"kind": "words"}, "needs 'min' or 'max'"),
        ({"kind": "words", "max": 0}, "whole number from 1"),
        ({"kind": "forbids", "words": []}, "at least one text"),
        ({"kind": "forbids", "words": "very"}, "must be a list"),
        ({"kind": "forbids", "words": [" "]}, "not empty"),
        ({"kind": "contains_any", "words": ["*"]}, "nothing is left"),
        ({"kind": "contains_any", "words": ["a", "a"], "min": 2}, "can never pass"),
        ({"kind": "in_order", "words": ["a"]}, "always in order"),
        ({"kind": "regex", "pattern": "(a"}, "bad pattern"),
        ({"kind": "regex", "pattern": "(a+)+b"}, "no bound"),
        ({"kind": "regex", "pattern": "(a{0,50}){0,50}b"}, "too wide"),
        ({"kind": "regex", "pattern": r"(a)\1"}, "back-reference"),
        ({"kind": "regex", "pattern": "a?"}, "can never fail"),
        ({"kind": "json"}, "needs 'keys'"),
        ({"kind": "language", "code": "english"}, "unknown language 'english'"),
        ({"kind": "case", "case": "title"}, "one of upper, lower"),
        ({"kind": "python", "name": "f", "tests": ["assert f("]}, "not Python"),
        ({"kind": "python", "name": "f", "tests": ["f(1)"]}, "asserts nothing"),
        ({"kind": "python", "name": "f", "tests": ["assert True"]}, "asserts nothing"),
        ({"kind": "keeps", "turn": 1, "check": {"kind": "words"}}, "needs 'min' or 'max'"),
        (
            {"kind": "keeps", "turn": 1, "check": {"kind": "python", "name": "f", "tests": ["assert f()"]}},
            "can not stand",
        ),
        ({"kind": "longer_than_turn", "turn": 0}, "whole number from 1"),
        ({"kind": "differs_from_turn", "turn": 1, "most": 1}, "can never fail"),
    ],
)
def test_a_bad_row_is_refused_in_words(row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_check(row)


PASSES_AND_FAILS: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "exact", "values": ["New York"]}, "**“new york.”**", "New York City"),
    ({"kind": "answer", "values": ["Cleo"]}, "Ana? No.\n**Answer:** Cleo", "Cleo is not it.\nAnswer: Ana"),
    ({"kind": "number", "value": 5}, "So it is 5.", "It is 4, 5 or 6."),
    ({"kind": "contains_all", "words": ["sea*", ["big", "large"]]}, "A large seagull", "A large overseas trip"),
    ({"kind": "contains_all", "words": ["猫"]}, "我喜欢猫和狗", "我喜欢狗"),
    ({"kind": "contains_all", "words": ["किताब"]}, "यह किताब अच्छी है", "यह किताबें हैं"),
    ({"kind": "contains_all", "words": ["café"]}, "A CAFE\u0301 here", "A cafeteria"),
    ({"kind": "contains_any", "words": ["x", "y", "z"], "min": 2}, "x and z", "only an x"),
    ({"kind": "forbids", "words": ["art"]}, "The start of the party", "Art, for sure"),
    ({"kind": "in_order", "words": ["a1", "b2"]}, "a1 then b2", "b2 then a1"),
    ({"kind": "avoids_letters", "letters": "e"}, "A cat sat", "The cat"),
    ({"kind": "acrostic", "word": "Hi"}, "- Hot days\n- in June", "Hot days in June"),
    ({"kind": "regex", "pattern": r"\d{4}-\d\d", "means": "a date"}, "on 2024-05", "in May"),
    ({"kind": "words", "min": 3, "max": 4}, "well-known it's here", "one two"),
    ({"kind": "words", "max": 3}, "one two three", "one two three four"),
    ({"kind": "sentences", "min": 2, "max": 2}, "Dr. Lee paid 3.50 for it. Was J. Roe there?", "Only one, e.g. this."),
    ({"kind": "sentences", "min": 2}, "今天下雨。我在家。", "今天下雨。"),
    ({"kind": "lines", "min": 2, "max": 2}, "one\n\ntwo", "one"),
    ({"kind": "paragraphs", "min": 2}, "one\nmore\n\ntwo", "one\nmore"),
    ({"kind": "bullets", "min": 2, "max": 2}, "Two:\n- a\n  - sub\n- b", "- same\n- same"),
    ({"kind": "bullets", "min": 2, "marker": "number"}, "1. a\n2) b", "- a\n- b"),
    ({"kind": "json", "keys": ["a"]}, "Sure:\n```json\n{\"a\": 1}\n```", "{'a': 1}"),
    ({"kind": "json", "keys": ["a"], "only": True}, "```json\n{\"a\": 1}\n```", "Sure:\n```json\n{\"a\": 1}\n```"),
    ({"kind": "json", "values": {"a": [1, "X"]}}, '{"a": [1.0, "x"], "b": 2}', '{"a": [true, "x"]}'),
    ({"kind": "json", "keys": ["a"], "exact": True}, '{"a": 1}', '{"a": 1, "b": 2}'),
    ({"kind": "json", "keys": ["a"], "rows": 2}, '[{"a": 1}, {"a": 2}]', '[{"a": 1}]'),
    ({"kind": "starts_with", "text": ["Dear Ada"]}, "**Dear Ada**, hello", "Dear Adam, hello"),
    ({"kind": "ends_with", "text": ["regards, Tom"]}, "Yours.\nRegards,\nTom", "Regards, Tom and Ann"),
    (
        {"kind": "language", "code": "de"},
        "Der Hund läuft über die Straße, weil er die Katze gesehen hat.",
        "The dog runs across the street because it has seen the cat.",
    ),
    ({"kind": "case", "case": "upper"}, "ALL LOUD, 24/7", "ALL LOUD, mostly"),
    ({"kind": "keeps", "turn": 1, "check": {"kind": "words", "max": 2}}, "two words", "now three words"),
    ({"kind": "number_from_turn", "turn": 1, "times": 2, "plus": 1}, "Answer: 25", "Answer: 24"),
    ({"kind": "count_from_turn", "turn": 1, "of": "bullets", "plus": 1}, "- a\n- b\n- c", "- a\n- b"),
    ({"kind": "shorter_than_turn", "turn": 1, "factor": 0.5}, "four words of text", "eight words of text are too many"),
    ({"kind": "longer_than_turn", "turn": 1}, "a longer reply, which has more words than the one before it had", "one"),
    ({"kind": "differs_from_turn", "turn": 1}, "something else was said", EARLIER),
    ({"kind": "reuses_turn", "turn": 1, "min": 2}, "Rivers need bridges", "Rivers need fish"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "good", "bad"), PASSES_AND_FAILS, ids=lambda value: str(value)[:40])
def test_a_right_reply_passes_and_a_wrong_one_fails(row: dict[str, Any], good: str, bad: str) -> None:
    assert found(row, good).passed, found(row, good)
    assert not found(row, bad).passed, found(row, bad)


def test_every_kind_has_an_example() -> None:
    assert {row["kind"] for row, _, _ in PASSES_AND_FAILS} == set(KINDS) - {"python"}


@pytest.mark.parametrize("row", [row for row, _, _ in PASSES_AND_FAILS], ids=lambda row: row["kind"])
@pytest.mark.parametrize("nothing", ["", " \n", "🙂🙂", "Have a great day! :) " * 100, "- a 5\n" * 100, "哈" * 100])
def test_saying_nothing_passes_no_kind(row: dict[str, Any], nothing: str) -> None:
    assert not found(row, nothing).passed


@pytest.mark.parametrize("row", [row for row, _, _ in PASSES_AND_FAILS if "turn" in row and row["kind"] != "keeps"])
def test_nothing_can_be_compared_with_a_turn_that_said_nothing(row: dict[str, Any]) -> None:
    assert not found(row, "- one 25\n- two\n- three", earlier="").passed
    assert not decide(parse_check(row), Said.of("- one 25\n- two\n- three")).passed


HOSTILE = {
    "one word": "a" * 10**6,
    "spaces": " " * 10**6 + "x",
    "digits": "9" * 10**6,
    "lone surrogates": "\ud800 " * 300_000,
    "combining marks": "a" + "\u0301\u0316" * 200_000,
    "right to left": "שלום עולם " * 100_000,
    "emoji": "👩‍👩‍👧 x " * 120_000,
    "fences": "```\n" * 250_000,
    "brackets": "[" * 10**6,
    "markers": "answer " * 150_000,
    "numbered": "".join(f"{n}. item\n" for n in range(90_000)),
    "almost a loop": "a b " * 200_000 + "c" + " a b" * 20,
    "control characters": "".join(map(chr, range(32))) * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_of_anything_has_a_result_in_linear_time(text: str) -> None:
    checks = [parse_check(row) for row, _, _ in PASSES_AND_FAILS if row["kind"] != "language"]
    start = time.process_time()
    said = Said.of(text, [EARLIER], ["What do you say to this question of mine?"])
    reasons = [decide(check, said).reason for check in checks]
    assert time.process_time() - start < 10
    json.dumps(reasons, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It costs $1,234.50 in all.", 1234.5),
        ("3 boxes of 12 make 3 × 12 = 36", 36),
        ("In 3 boxes there are **36 pens**.", 36),
        (r"So \boxed{\frac{3}{4}}, and not 5.", 0.75),
        (r"\boxed{1{,}000\%}", 1000),
        ("Answer: 3½ hours", 3.5),
        ("Answer: 2 1/4", 2.25),
        ("The answer is -7 °C.", -7),
        ("Answer:\n\n42 km²", 42),
        ("Answer: 35. Wait.\nAnswer: 36", 36),
        ("Answer: 3 × 10^8 m/s", 3e8),
        ("Answer: 1.2 million", 1.2e6),
        ("2. The total is 36", 36),
        ("Total - 36", 36),
        ("Answer: 12 or 13", None),
        ("It may be 12, 24 or 36", None),
        (" ".join(map(str, range(100))), None),
        ("CO2 is the 3rd", None),
        ("no number", None),
    ],
)
def test_a_number_counts_only_if_the_reply_commits_to_it(text: str, value: float | None) -> None:
    assert numeric_answer(text) == value


def test_the_code_is_the_last_block_that_defines_the_name() -> None:
    fenced = (
        "```python\ndef f():\n    return 1\n```\nThen:\n```python\ndef f():\n    return 2\n```\nUse:\n```\nf()\n```"
    )
    assert Reply(fenced).python("f") == "def f():\n    return 2\n"
    assert Reply("def f(): pass").python("f") == "def f(): pass"
    assert Reply("```py\ndef f():\n    return 1").python("f") == "def f():\n    return 1"


def test_python_is_not_decided_here_unless_nothing_was_said() -> None:
    check = parse_check({"kind": "python", "name": "f", "tests": ["assert f() == 1"]})
    assert decide(check, Said.of("")) == Finding(False, "is empty")
    with pytest.raises(ValueError, match="can run code"):
        decide(check, Said.of("def f(): return 1"))


def test_an_answer_that_restates_the_question_is_no_copy() -> None:
    prompt = "What is the capital of the state that lies south of Oregon?"
    assert not Reply(f"{prompt} The capital of California is Sacramento.").copies(prompt)
    assert Reply(f"{prompt}\n{prompt}").copies(prompt)
    assert not Reply("Hello you").copies("Hello")


def test_a_refrain_or_a_table_is_no_loop() -> None:
    assert not Reply("Row, row, row, row your boat").is_loop
    assert not Reply("".join(f"Year {n}: {n * 7} tons\n" for n in range(1, 60))).is_loop
    assert Reply("A good start, and then it goes on. " + "ha ha " * 30).is_loop


def test_the_languages_are_those_of_the_library() -> None:
    langid = importlib.import_module("py3langid.langid")
    langid.classify("load the model")
    assert set(langid.IDENTIFIER.nb_classes) - {"zxx"} == LANGUAGES
