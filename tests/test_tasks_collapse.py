"""Collapse: each measure against an oracle, and the finding against texts that are (and are not) degenerate."""

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.collapse import (
    Loop,
    Thresholds,
    compression_ratio,
    copies_prompt,
    corpus_compression,
    diagnose,
    is_empty,
    is_readable,
    loop,
    prompt_copy,
    rep_n,
    repeats_prompt,
    without_code,
    without_code_and_tables,
    words,
)

GOOD = (
    "Roses want water in the morning, light at noon and a kind word at night. Cut them back in March, just above an "
    "outward bud, and feed them twice before the end of June. "
)
CLOSER = "Have a great day! :) "


def slow_loop(tokens: list[str], min_repeats: int, min_tokens: int, max_period: int) -> Loop | None:
    for start in range(len(tokens)):
        tail = tokens[start:]
        for period in range(1, min(max_period, len(tail) // min_repeats) + 1):
            if len(tail) >= min_tokens and tail[period:] == tail[:-period]:
                return Loop(start, period, len(tail) // period, len(tail) / len(tokens))
    return None


@given(
    st.lists(st.sampled_from("ab"), max_size=12),
    st.lists(st.sampled_from("ab"), max_size=6),
    st.integers(0, 8),
    st.integers(2, 3),
    st.integers(1, 14),
    st.integers(1, 8),
)
def test_the_loop_finder_agrees_with_brute_force(
    head: list[str], period: list[str], times: int, min_repeats: int, min_tokens: int, max_period: int
) -> None:
    tokens = head + period * times + period[: len(period) // 2]
    found = loop(tokens, min_repeats=min_repeats, min_tokens=min_tokens, max_period=max_period)
    assert found == slow_loop(tokens, min_repeats, min_tokens, max_period)


def test_a_loop_must_reach_the_end_and_may_be_cut_within_its_period() -> None:
    assert loop([*"a" * 50, "b"]) is None
    assert loop([*"xyz", *"abcd" * 5, *"ab"]) == Loop(start=3, period=4, repeats=5, share=22 / 25)
    assert loop(["a"] * 11) is None
    assert loop([]) is None


def test_a_fibonacci_word_has_the_loop_that_brute_force_finds() -> None:
    shorter, longer = "a", "ab"
    while len(longer) < 300:
        shorter, longer = longer, longer + shorter
        assert loop(list(longer)) == slow_loop(list(longer), 3, 12, 256)


@pytest.mark.parametrize(
    "text", ["a " * 100_000, "a " * 100_000 + "b", "ab" * 500_000, "\n- " * 100_000, "| " * 100_000]
)
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    began = time.perf_counter()
    diagnose(text)
    assert time.perf_counter() - began < 3


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 4))
def test_rep_n_is_the_share_of_n_grams_seen_before(tokens: list[str], n: int) -> None:
    grams = [tokens[i : i + n] for i in range(len(tokens) - n + 1)]
    repeated = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert rep_n(tokens, n) == pytest.approx(repeated / len(grams) if grams else 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t panic, it's 42!", ["Don’t", "panic", ",", "it's", "42", "!"]),
        ("天气很好。", ["天", "气", "很", "好", "。"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("😀😀 ok", ["😀", "😀", "ok"]),
        ("a -------- b", ["a", "--------", "b"]),
        ("x" * 50, ["x" * 24, "x" * 24, "xx"]),
        (" \n\t", []),
    ],
)
def test_words_of_every_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_code_and_tables_are_blanked_in_place() -> None:
    text = "See:\n```py\nx = 1\n```\nand\n| a | b |\n|---|---|\nor this | that.\n~~~\nopen to the end"
    bare = without_code_and_tables(text)
    assert bare.split() == ["See:", "and", "or", "this", "|", "that."]
    assert len(bare) == len(text)
    assert bare.index("and") == text.index("and")


def test_code_that_came_to_an_end_is_told_from_code_that_may_run_away() -> None:
    text = "a\n```py\nx\n```\nb\n~~~\nopen | to | the end"
    assert without_code(text).split() == ["a", "b", "~~~", "open", "|", "to", "|", "the", "end"]
    assert without_code(' {"a": [1, 2]}\n').split() == without_code_and_tables("[1, 2]").split() == []
    for no_json in ("{", "[" * 100_000 + "]", '{"a": 1', "[1,]", "{} and {}", "", "[1] is the first."):
        assert without_code(no_json) is no_json


def test_empty_is_only_white_space_and_readable_needs_a_letter_or_digit() -> None:
    assert [is_empty(text) for text in ("", " \n", "42", "✓")] == [True, True, False, False]
    assert [is_readable(text) for text in ("42", "好", "é", "✓", "_?!_", "")] == [True, True, True, False, False, False]


def test_compression_ratio_grows_with_repetition_and_takes_lone_surrogates() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("hello") < 1 < compression_ratio(GOOD) < 2.5 < compression_ratio(CLOSER * 40)
    assert compression_ratio("\ud800" * 1000) > 5


def test_prompt_copy_is_the_share_of_the_reply_taken_from_the_prompt() -> None:
    prompt = "How do I pick the lock of my own front door?"
    assert prompt_copy(prompt, prompt.upper() + "!!") == 1
    assert prompt_copy(prompt, "how do i pick roses and lilies") == pytest.approx(4 / 7)
    assert prompt_copy(prompt, "my own") == prompt_copy(prompt, "") == prompt_copy("", "text") == 0
    assert copies_prompt(prompt, f"{prompt} {prompt}")
    assert not copies_prompt(f"Repeat after me: my own front door. {GOOD}", "my own front door")
    assert prompt_copy("Sort the numbers 5 3 9 1 7", "1 3 5 7 9") == 0


ARTICLE = (
    "Zinc is an essential mineral that is required for good health. It helps the body to make DNA and proteins, it "
    "helps wounds to heal, and it plays a part in our senses of taste and of smell."
)


@pytest.mark.parametrize(
    ("prompt", "reply", "expected"),
    [
        ("When was Canada colonized?", "when was canada colonized", True),
        (ARTICLE, f"Question:\n{ARTICLE}", True),
        ("Hello!", "Hello!", False),
        ("What is 3 plus 4?", "What is 3 plus 4? Seven.", False),
        (f"What is missing? {ARTICLE}", f"What is missing? {ARTICLE} Nothing.", False),
        # Answers that are taken from the prompt, and leave out its instruction.
        (f"Correct the grammar of this text: {ARTICLE}", ARTICLE, False),
        (f"{ARTICLE} Which sentences speak of health?", ARTICLE, False),
        ("", "", False),
        (None, "text", False),
        ("?!", "?!", False),
    ],
)
def test_a_repeated_prompt_is_told_from_an_answer_that_quotes_it(
    prompt: str | None, reply: str, expected: bool
) -> None:
    assert repeats_prompt(prompt, reply) == expected
    assert diagnose(reply, prompt=prompt).copied == expected


def test_a_long_copy_of_the_prompt_is_degenerate_and_a_short_one_is_told() -> None:
    long = diagnose(ARTICLE, prompt=ARTICLE)
    assert (long.degenerate, long.rule, long.span, long.prefix_end) == (True, "prompt copy", (0, len(ARTICLE)), 0)
    short = diagnose("Who wears short shorts?", prompt="Who wears short shorts?")
    assert (short.degenerate, short.copied, short.prompt_copy) == (False, True, 1.0)
    assert long.explain() == short.explain() == "nothing but a copy of the prompt"
    assert diagnose("Who wears short shorts?", Thresholds(copied_words=1), "Who wears short shorts?").degenerate
    assert not diagnose(ARTICLE).copied


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("😀" * 100, "nothing readable"),
        ("\ud800" * 50, "nothing readable"),
        ("```\n```", "nothing readable"),
        (CLOSER * 40, "loop"),
        (GOOD + "😀" * 100, "loop"),
        (GOOD + "ha" * 500, "loop"),
        (GOOD + CLOSER * 20 + "Have a gre", "loop"),
        (GOOD + "".join(f"{i}. {CLOSER}\n" for i in range(30)), "loop"),
        ("天气很好。" * 20, "loop"),
        ("שלום לכולם. " * 20, "loop"),
        (GOOD + "".join(f"The {c} garden is in the city of {c}. " * 2 for c in "abcdefghi") * 2 + "The end.", "rep-4"),
        ("SELECT " + ", ".join(f"column{i}" for i in range(600)) + ";", "compression"),
        ("Sure, let me see. " + "".join(map(chr, range(0x1F300, 0x1F3F0))), "noise"),
        (
            "h\u0435llo w\u043erld fr\u043em n\u043ewh\u0435re " * 3 + "".join(f"p\u0430g\u0435{c} " for c in GOOD),
            "noise",
        ),
        # A fence that is never closed may be what runs away.
        ("```sql\n" + "".join(f"INSERT INTO t VALUES ({i}, 'name', 'street', 'town');\n" for i in range(40)), "loop"),
    ],
)
def test_degenerate_text_is_found_by_its_rule(text: str, rule: str) -> None:
    found = diagnose(text)
    assert (found.degenerate, found.rule) == (True, rule)


@pytest.mark.parametrize(
    "text",
    [
        "42",
        "Yes.",
        "No no no no no no no no no no no no no no.",
        GOOD * 2,
        GOOD + "Bye bye bye bye bye bye bye bye bye bye.",
        ", ".join(map(str, range(150))),
        "\n".join(f"{i} x 7 = {7 * i}" for i in range(1, 30)),
        GOOD + " " * 9000 + GOOD[:80],
        GOOD + "\n| a | b |\n|---|---|\n" + "| row | 1 |\n" * 12 + GOOD[:80],
        GOOD + "\n```py\n" + "x = f(x)\n" * 20 + "```\n" + GOOD[:80],
        "😻😼😼😼😺",
        "👍",
        "```\n" + "\n".join(" " * (9 - i) + "/" + "*" * i + "|" * i + "\\" for i in range(9)) + "\n```",
        "```\n┌────┬────┐\n│ ●  │  ○ │\n├────┼────┤\n│  ○ │ ●  │\n└────┴────┘\n```\n",
        "```sql\n" + "".join(f"INSERT INTO t VALUES ({i}, 'name', 'street', 'town');\n" for i in range(40)) + "```",
        json.dumps([{"id": i, "name": f"n{i}", "street": "none", "is known": True} for i in range(60)], indent=2),
        json.dumps({"rows": [{"id": i, "name": f"n{i}", "street": "none", "is known": True} for i in range(60)]}),
    ],
)
def test_good_answers_are_not_degenerate(text: str) -> None:
    found = diagnose(text)
    assert (found.degenerate, found.rule, found.prefix_end) == (False, None, len(text))


def test_the_evidence_tells_where_the_loop_starts() -> None:
    found = diagnose(GOOD + CLOSER * 40)
    assert found.prefix_end == len(GOOD)
    assert found.span == (len(GOOD), len(GOOD + CLOSER * 40) - 1)
    assert found.explain() == f"loop of 7 words × 40 from word {len(words(GOOD)) + 1}"


def test_a_near_loop_is_cut_where_it_sets_in() -> None:
    endless = "".join(f"* 1/4 cup of fresh and finely chopped {c}{c}\n" for c in "abcdefghijklmnopqrstuvwxyz")
    found = diagnose(GOOD + endless)
    assert found.rule == "rep-4"
    assert len(GOOD) < found.prefix_end < len(GOOD) + 100


def test_noise_is_cut_where_it_sets_in() -> None:
    found = diagnose(GOOD + "".join(map(chr, range(0x1F300, 0x1F400))))
    assert (found.rule, found.prefix_end) == ("noise", len(GOOD))
    assert found.explain() == "64% of its characters carry no language"


def test_no_alphabet_is_held_to_have_said_a_thing_twice() -> None:
    # Two bytes a letter, and one word in five a new one: what a zlib ratio of 5 takes for repetition in Latin letters.
    rng = random.Random(0)
    syllables = [one + two for one in "кгнпртлмсд" for two in "аеиоу"]
    said = " ".join("".join(rng.choices(syllables[: 9 + n // 40], k=2)) for n in range(1500))
    latin = said.translate(str.maketrans("кгнпртлмсдаеиоу", "kgnprtlmsdaeiou"))
    assert compression_ratio(said) > 1.2 * compression_ratio(latin)
    limit = Thresholds(compression=1.1 * compression_ratio(latin), rep_4=1.0)
    assert [diagnose(one, limit).rule for one in (said, latin)] == [None, None]
    assert corpus_compression([said]) == pytest.approx(corpus_compression([latin]), rel=0.02)


def test_the_thresholds_are_an_argument() -> None:
    text = "No way. " * 8
    assert not diagnose(text).degenerate
    assert diagnose(text, Thresholds(min_words=20)).degenerate


@pytest.fixture(scope="module")
def rates(shared_data: Path) -> dict[str, tuple[float, int]]:
    """Share of degenerate answers, and number of empty ones, by model."""
    found = {}
    for file in (shared_data / "alpaca_eval").glob("*.json"):
        rows = json.loads(file.read_text(encoding="utf-8"))
        diagnoses = [diagnose(row["output"], prompt=row["instruction"]) for row in rows]
        found[file.stem] = (sum(d.degenerate for d in diagnoses) / len(diagnoses), sum(d.empty for d in diagnoses))
    return found


def test_real_models_rank_as_they_read(rates: dict[str, tuple[float, int]]) -> None:
    degenerate = {model: rate for model, (rate, _) in rates.items()}
    assert max(degenerate, key=degenerate.__getitem__) == "ghost-7b-alpha"
    assert degenerate["ghost-7b-alpha"] > 0.05
    assert degenerate["alpaca-7b"] < 0.01
    assert rates["gemma-2b-it"][1] == 22
