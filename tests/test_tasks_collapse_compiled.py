"""The compiled pass says of every text exactly what the plain functions say; loops against brute force by thousands."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.collapse import Loop, Thresholds, loop, measure
from tasks.collapse.measures import RULES

pytest.importorskip("numba")

LOOSE = Thresholds(min_words=1, loop_repeats=2, loop_words=2, loop_max_period=3)
STRICT = Thresholds(min_words=4, loop_words=4, loop_share=0.1, rep_4=0.2, compression=2.0, compression_bytes=40)
PIECES = [
    "word", "Word", " ", "\n", "\n- ", "\n1. ", "\n12) ", "\n12345. ", "• ", "–", "don't", "it’s'x", "2024", "٣",
    "a1b2", "...", "---------", "!", "|", "| a | b |\n", "```\n", "~~~", "天", "气", "ไทย", "हिन्दी", "שלום", "😀",
    "\ud800", "\x07", "\u2028", "h\u0435llo", "İ", "ΑΣ", "ß", "x" * 30, "k\u03a9", "e\u0301", "\u0301", "_", "#",
    "１．", "Ⓐ", "½", "ǅ", "\U000e0101", "\U0010ffff",
]  # fmt: skip
SOME = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(max_size=40),
    st.tuples(SOME, SOME, st.integers(2, 12)).map(lambda it: it[0] + f"{it[1]} " * it[2] + it[1][:3]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=8), st.sampled_from([Thresholds(), STRICT, LOOSE]))
def test_the_compiled_pass_equals_the_plain_functions(texts: list[str], thresholds: Thresholds) -> None:
    plain, compiled = measure(texts, thresholds, way="plain"), measure(texts, thresholds, way="compiled")
    for place in range(len(texts)):
        assert compiled.row(place) == plain.row(place)


ANY_LENGTH = Thresholds(copied_words=1, prompt_copy=0.5, prompt_repeated=0.5, copied_more=9)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SOME, TEXTS, SOME), max_size=8), st.sampled_from([Thresholds(), ANY_LENGTH]), st.randoms())
def test_what_is_copied_from_a_prompt_is_found_alike(
    parts: list[tuple[str, str, str]], thresholds: Thresholds, rng: random.Random
) -> None:
    prompts = [rng.choice([None, text, text.upper(), text + before, "word " + text]) for before, text, _ in parts]
    texts = [rng.choice([before, ""]) + text + rng.choice([after, ""]) for before, text, after in parts]
    plain = measure(texts, thresholds, way="plain", prompts=prompts)
    compiled = measure(texts, thresholds, way="compiled", prompts=prompts)
    for place in range(len(texts)):
        assert compiled.row(place) == plain.row(place)


def test_copies_are_found_alike_at_any_length_and_beside_long_prompts() -> None:
    rng = random.Random(3)
    asked = [" ".join(rng.choices("abcdefgh", k=rng.randrange(1, 9))) for _ in range(2_000)]
    said = [rng.choice([one, f"Q: {one}", f"{one} yes", one.upper(), one[2:], asked[0]]) for one in asked]
    asked += ["word " * 50_000, "a", ""]
    said += ["one word", "a " * 50_000, "x"]
    plain = measure(said, ANY_LENGTH, way="plain", prompts=asked)
    compiled = measure(said, ANY_LENGTH, way="compiled", prompts=asked)
    assert compiled.copied.tolist() == plain.copied.tolist()
    assert compiled.prompt_copy.tolist() == plain.prompt_copy.tolist()
    assert compiled.rule.tolist() == plain.rule.tolist()
    assert 500 < plain.copied.sum() < 1_900


def test_as_many_prompts_as_texts_are_wanted() -> None:
    with pytest.raises(ValueError, match="1 prompts for 2 texts"):
        measure(["a", "b"], prompts=["p"])


CODE = [
    "```\n" + "".join(f"put({n}, one, two, three)\n" for n in range(40)) + end for end in ("```", "", "```\nDone.")
]  # fmt: skip


def test_code_and_pictures_are_let_be_alike() -> None:
    boxes = "```\n" + "┌──┬──┐ " * 9 + "\n```"
    texts = [
        *CODE,
        "😀😀",
        "👍",
        "😀" * 40,
        "```\n```",
        "```\n" + "/\\ " * 40 + "\n```",
        boxes,
        "a b c " + "😀" * 40,
        "[]",
    ]
    texts += [f"[{', '.join(str(n) for n in range(90))}]", '[{"a": 1, "b": "c d e"}' + ', {"a": 1, "b": "c d e"}' * 40]
    texts += [texts[-1] + "]", "b\u0430 " * 40 + "end", "п" * 400 + "\u0301", "да и нет " * 60]
    plain, compiled = measure(texts, way="plain"), measure(texts, way="compiled")
    for place in range(len(texts)):
        assert compiled.row(place) == plain.row(place)
    assert [RULES[rule] if rule >= 0 else None for rule in plain.rule[:3]] == [None, "loop", None]


@pytest.mark.parametrize("thresholds", [LOOSE, STRICT, Thresholds(min_words=1, loop_words=3)])
def test_short_loops_of_words_and_numbers_are_found_alike(thresholds: Thresholds) -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(["a", "A", "b", "7", "12"], k=rng.randrange(14))) for _ in range(3_000)]
    texts += [" ".join(rng.choices(["a", "B", "c", "7"], k=rng.randrange(1, 6)) * rng.randrange(1, 5)) for _ in texts]
    plain, compiled = measure(texts, thresholds, way="plain"), measure(texts, thresholds, way="compiled")
    assert compiled.loop.tolist() == plain.loop.tolist()
    assert compiled.rule.tolist() == plain.rule.tolist()
    assert 500 < plain.loop.sum() < 5_500


def test_every_letter_of_unicode_is_read_alike() -> None:
    texts = [
        "".join(f"{chr(code)}a {chr(code)} " for code in range(start, start + 64)) for start in range(0, 0x32000, 64)
    ]
    plain, compiled = measure(texts, way="plain"), measure(texts, way="compiled")
    assert [compiled.row(place) for place in range(len(texts))] == [plain.row(place) for place in range(len(texts))]


def test_real_answers_are_measured_alike(shared_data: Path) -> None:
    texts = [
        row["output"]
        for model in ("ghost-7b-alpha", "phi-2")
        for row in json.loads((shared_data / "alpaca_eval" / f"{model}.json").read_text(encoding="utf-8"))[:300]
    ]
    plain, compiled = measure([*texts, None], way="plain"), measure([*texts, None], way="compiled")
    assert {RULES[rule] for rule in plain.rule if rule >= 0} >= {"loop", "rep-4"}
    for place in range(len(texts) + 1):
        assert compiled.row(place) == plain.row(place)


def test_a_batch_of_long_texts_is_measured_alike() -> None:
    texts = ["a b " * 250_000, "a " * 300_000 + "b", "".join(map(chr, range(0x4E00, 0x9000))) * 20, ""]
    texts += ["x" * 1_000_000, "😀" * 250_000, " " * 1_000_000, "a'" * 300_000, "\n1. a" * 100_000]
    plain, compiled = measure(texts, way="plain"), measure(texts, way="compiled")
    for place in range(len(texts)):
        assert compiled.row(place) == plain.row(place)


def slow_loop(tokens: str, repeats: int, least: int, longest: int) -> Loop | None:
    for start in range(len(tokens)):
        tail = tokens[start:]
        for period in range(1, min(longest, len(tail) // repeats) + 1):
            if len(tail) >= least and tail[period:] == tail[:-period]:
                return Loop(start, period, len(tail) // period, len(tail) / len(tokens))
    return None


def fibonacci(length: int) -> str:
    shorter, longer = "a", "ab"
    while len(longer) < length:
        shorter, longer = longer, longer + shorter
    return longer[:length]


def test_the_loop_finder_agrees_with_brute_force_on_thousands_of_strings() -> None:
    rng = random.Random(0)
    strings = ["".join(rng.choices("ab" if n % 2 else "abc", k=rng.randrange(40))) for n in range(3_000)]
    strings += [letter * n + end for letter in "a" for n in range(60) for end in ("", "b")]
    strings += [fibonacci(n) for n in range(1, 90)]
    for _ in range(1_500):
        period = "".join(rng.choices("abcd", k=rng.randrange(1, 9)))
        head = "".join(rng.choices("abcd", k=rng.randrange(12)))
        strings.append(head + period * rng.randrange(2, 7) + period[: rng.randrange(len(period))])
    found = 0
    for text in strings:
        repeats, least, longest = rng.choice([(3, 12, 256), (2, 4, 5), (3, 6, 3)])
        expected = slow_loop(text, repeats, least, longest)
        assert loop(text, min_repeats=repeats, min_tokens=least, max_period=longest) == expected, text
        found += expected is not None
    assert 500 < found < len(strings) - 500


@pytest.mark.parametrize(("count", "letters", "compiled"), [(4_000, 4, True), (5, 1 << 20, True), (3_999, 4, False)])
def test_many_texts_and_long_ones_are_worth_loading_the_compiled_pass(
    monkeypatch: pytest.MonkeyPatch, count: int, letters: int, compiled: bool
) -> None:
    import tasks.collapse.compiled

    done: list[int] = []
    monkeypatch.setattr(tasks.collapse.compiled, "fill", lambda texts, *_: done.append(len(texts)))
    monkeypatch.setattr(tasks.collapse.measures, "measure_into", lambda *_: None)
    measure(["a" * letters] * count)
    assert done == [count] * compiled
