"""Measures of noise and of sets against hand counts, oracles and other libraries; what two prompts share; verdicts."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks import collapse
from tasks.collapse import verdict
from tasks.collapse.verdict import Figure

PROSE = collapse.words(
    "Roses want water in the morning light at noon and a kind word at night cut them back in March just above an "
    "outward bud and feed them twice before the end of June because a hungry rose gives few flowers and many thorns"
)
DOCS = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), max_size=6)


def shuffled(seed: int, length: int = 80) -> str:
    return " ".join(random.Random(seed).choices(PROSE, k=length))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        (None, 0.0),
        (" \n", 0.0),
        ("Plain words, and a price: 5 €.", 0.0),
        ("天气很好。", 0.0),
        ("שלום עולם", 0.0),
        ("한국어 IT는 k\u03a9", 0.0),
        ("😀😀😀", 1.0),
        ("ab😀\x07", 0.5),
        ("\ud800\ud801", 1.0),
        ("ok \ufffd\ufffd", 0.5),
        ("h\u0435llo ok", 5 / 7),
    ],
)
def test_non_lexical_is_the_share_of_what_carries_no_language(text: str | None, share: float) -> None:
    assert collapse.non_lexical(text) == pytest.approx(share)


def test_normalised_entropy_is_one_without_repeats_and_zero_for_one_word() -> None:
    assert collapse.normalised_entropy("abcd") == 1.0
    assert (
        collapse.normalised_entropy("aaaa") == collapse.normalised_entropy("a") == collapse.normalised_entropy("") == 0
    )
    # Half a's, a quarter each of b and c: 1.5 bits of 2 for four tokens.
    assert collapse.normalised_entropy("aabc") == pytest.approx(0.75)


@given(DOCS, st.integers(1, 3))
def test_distinct_and_entropy_agree_with_their_formulas(docs: list[list[str]], n: int) -> None:
    grams = [tuple(doc[i : i + n]) for doc in docs for i in range(len(doc) - n + 1)]
    counts = Counter(grams)
    assert collapse.distinct_n(docs, n) == (len(counts) / len(grams) if grams else 0.0)
    assert collapse.ngram_entropy(docs, n) == pytest.approx(
        sum(-c / len(grams) * math.log2(c / len(grams)) for c in counts.values())
    )
    expected = 100 * (1 - (99 / 100) ** len(grams))
    assert collapse.ead(docs, n, vocabulary=100) == pytest.approx(len(counts) / expected if grams else 0.0)


def test_ead_moves_less_with_the_size_of_the_set_than_distinct_does() -> None:
    rng = random.Random(0)
    small, large = ([[rng.randrange(500) for _ in range(n)]] for n in (500, 5_000))
    fall = collapse.distinct_n(large, 1) / collapse.distinct_n(small, 1)
    assert fall < 0.3 < 0.9 < collapse.ead(large, 1, 500) / collapse.ead(small, 1, 500) < 1.1


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=12), min_size=2, max_size=6))
def test_self_bleu_is_what_nltk_says_of_each_text_against_the_others(docs: list[list[str]]) -> None:
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    smooth = bleu.SmoothingFunction().method1
    others = [docs[:i] + docs[i + 1 :] for i in range(len(docs))]
    # NLTK gives 0 where not one word is shared, instead of smoothing it.
    assume(all(set(doc) & set().union(*rest) for doc, rest in zip(docs, others, strict=True)))
    theirs = [bleu.sentence_bleu(rest, doc, smoothing_function=smooth) for doc, rest in zip(docs, others, strict=True)]
    assert collapse.self_bleu(docs) == pytest.approx(sum(theirs) / len(theirs))


def test_self_bleu_of_equal_texts_is_one_and_a_sample_is_drawn_by_seed() -> None:
    assert collapse.self_bleu([PROSE] * 3) == pytest.approx(1.0)
    # Three of four words, two of three pairs, one of two triples, and 0.1 of one in place of no match.
    assert collapse.self_bleu([list("abcd"), list("abce")]) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** 0.25)
    docs = [shuffled(seed).split() for seed in range(30)]
    assert collapse.self_bleu(docs, sample=10, seed=1) == collapse.self_bleu(docs, sample=10, seed=1)
    assert collapse.self_bleu(docs, sample=10, seed=1) != collapse.self_bleu(docs, sample=10, seed=2)


def test_an_equal_budget_cuts_all_to_one_length_and_leaves_shorter_texts_out() -> None:
    texts = [*(shuffled(seed) for seed in range(20)), "short", None, ""]
    drawn = collapse.equal_budget(texts, count=8, length=30)
    assert [len(collapse.words(text)) for text in drawn] == [30] * 8
    assert all(any(text and text.startswith(one) for text in texts) for one in drawn)
    assert drawn == collapse.equal_budget(texts, count=8, length=30)
    assert collapse.head("one two", 3) is None


def test_sample_diversity_is_the_mean_distance_of_all_pairs() -> None:
    assert collapse.sample_diversity([PROSE]) is None
    assert collapse.sample_diversity([PROSE] * 4) == 0.0
    assert collapse.sample_diversity([list("abcd"), list("efgh"), list("ijkl")]) == 1.0
    # Trigrams abc bcd / abc bcx: one of three shared.
    assert collapse.sample_diversity([list("abcd"), list("abcx")]) == pytest.approx(2 / 3)
    assert collapse.sample_diversity([[], []]) == 0.0


def test_vendi_counts_the_different_ones() -> None:
    assert collapse.vendi_score(np.eye(5)) == pytest.approx(5)
    assert collapse.vendi_score(np.ones((7, 3))) == pytest.approx(1)
    assert collapse.vendi_score(np.repeat(np.eye(3), 4, axis=0)) == pytest.approx(3)
    assert collapse.vendi_score(np.zeros((2, 4))) == pytest.approx(2)
    assert collapse.vendi_score(np.empty((0, 4))) == 0.0
    rows = np.random.default_rng(0).normal(size=(6, 40))
    kernel = np.corrcoef(rows - rows.mean(1, keepdims=True))
    values = np.linalg.eigvalsh(kernel / 6)
    assert collapse.vendi_score(rows - rows.mean(1, keepdims=True)) == pytest.approx(
        math.exp(-sum(v * math.log(v) for v in values))
    )
    assert collapse.vendi_score(collapse.ngram_vectors([PROSE, PROSE, list("xyz")])) == pytest.approx(
        math.exp(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))
    )


def test_exact_duplicates_are_answers_to_another_prompt() -> None:
    found = collapse.exact_duplicates(["a", "a", "b", "b", "c"], ["p", "q", "p", "p", "q"])
    assert found.tolist() == [True, True, False, False, False]


def test_near_duplicates_agree_with_all_pairs() -> None:
    rng = random.Random(3)
    docs = []
    for seed in range(40):
        doc = shuffled(seed, 120).split()
        docs.append(doc)
        for changes in (1, 3, 20):
            other = list(doc)
            for place in rng.sample(range(len(other)), changes):
                other[place] = f"new{rng.random()}"
            docs.append(other)
    found = collapse.near_duplicates(np.array([collapse.sketch(doc) for doc in docs]))
    grams = [{tuple(doc[i : i + 3]) for i in range(len(doc) - 2)} for doc in docs]
    best = [0.0] * len(docs)
    for a, b in combinations(range(len(docs)), 2):
        alike = len(grams[a] & grams[b]) / len(grams[a] | grams[b])
        best[a], best[b] = max(best[a], alike), max(best[b], alike)
    sure = [i for i, alike in enumerate(best) if abs(alike - 0.8) > 0.1]
    assert [bool(found[i]) for i in sure] == [best[i] > 0.8 for i in sure]
    assert 0 < sum(best[i] > 0.8 for i in sure) < len(sure)


def test_a_sketch_estimates_the_jaccard_index() -> None:
    errors = []
    for seed in range(60):
        doc = shuffled(seed, 200).split()
        other = [*doc[: 100 + seed], *(f"x{i}" for i in range(100 - seed))]
        one, two = ({tuple(t[i : i + 3]) for i in range(len(t) - 2)} for t in (doc, other))
        true = len(one & two) / len(one | two)
        errors.append(float(collapse.similarity(collapse.sketch(doc), collapse.sketch(other))) - true)
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.07


def test_many_equal_texts_are_found_without_comparing_all_pairs() -> None:
    sketches = np.tile(collapse.sketch(PROSE), (200_000, 1))
    assert collapse.near_duplicates(sketches).all()
    assert not collapse.near_duplicates(sketches, ["one prompt"] * len(sketches)).any()
    assert not collapse.near_duplicates(np.array([collapse.sketch([])] * 3)).any()


def test_near_duplicates_between_prompts_are_found_whatever_samples_lie_between() -> None:
    base, other = shuffled(1).split(), shuffled(2).split()
    changed = [*base[:40], "changed", *base[41:]]
    rows = [base, changed, changed, base, other]
    sketches = np.array([collapse.sketch(row) for row in rows])
    # The first is the second prompt's only near answer; the last samples of the first prompt are nobody's neighbours.
    for prompts in ([1, 2, 1, 1, 3], [1, 1, 2, 2, 3], [2, 1, 1, 1, 3], [1, 1, 1, 2, 3]):
        assert collapse.near_duplicates(sketches, prompts).tolist() == [True] * 4 + [False]
    rng = random.Random(0)
    for _ in range(20):
        prompts = [rng.randrange(3) for _ in range(30)]
        rows = [[*rng.choice([base, other]), *rng.choices(PROSE, k=2)] for _ in prompts]
        sketches = np.array([collapse.sketch(row) for row in rows])
        alike = [
            any(prompts[i] != prompts[j] and collapse.similarity(sketches[i], sketches[j]) >= 0.8 for j in range(30))
            for i in range(30)
        ]
        assert collapse.near_duplicates(sketches, prompts).tolist() == alike


def test_endings_that_differ_in_their_numbers_are_no_boilerplate() -> None:
    texts = [f"{shuffled(n, 20)}. So the answer is {n}." for n in range(30)]
    found = collapse.measure(texts)
    assert len(set(found.closer.tolist())) == len(texts)
    found = collapse.measure([f"{shuffled(n, 20)}. I hope that this helps you." for n in range(30)])
    assert len(set(found.closer.tolist())) == 1


def test_openers_and_closers_are_shares_of_texts_long_enough() -> None:
    docs = [[*"abcdef", str(i)] for i in range(3)] + [list("xyzuvw"), list("ab")]
    assert collapse.commonest_start(docs) == (tuple("abcde"), 3 / 4)
    assert collapse.commonest_end([[str(i), *"fedcba"] for i in range(2)]) == (tuple("fedcba"), 1.0)
    assert collapse.commonest_end([["short"]]) == (None, 0.0)


ODD = [
    None,
    "",
    " \n\t",
    "x",
    "😀" * 300,
    "\ud800" * 200,
    "שלום עולם " * 40,
    "天气很好。" * 60,
    "a" * 1_000_000,
    "\x00\x1c\u2028",
]


@pytest.mark.parametrize("text", ODD)
def test_every_measure_is_a_finite_number_for_any_text(text: str | None) -> None:
    tokens = collapse.words(text)
    drawn = collapse.equal_budget([text, text])
    docs = [tokens, tokens]
    row = collapse.measure([text]).row(0)
    values = [
        collapse.non_lexical(text), collapse.normalised_entropy(tokens), collapse.compression_ratio(text),
        collapse.prompt_copy(text, text), collapse.distinct_n(docs, 2), collapse.ead(docs, 2),
        collapse.ngram_entropy(docs), collapse.corpus_compression(drawn), collapse.self_bleu(docs),
        collapse.vendi_score(collapse.ngram_vectors(docs)), collapse.sample_diversity(docs),
        *(collapse.rep_n(tokens, n) for n in (1, 2, 3, 4)),
        row["compression_ratio"], row["entropy"], row["non_lexical"],
    ]  # fmt: skip
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    assert collapse.diagnose(text).words == row["words"]
    collapse.near_duplicates(np.array([collapse.sketch(tokens)] * 2))


def share(hits: int, n: int) -> Figure:
    z = 1.959964
    rate = hits / n
    centre, half = (
        (rate + z * z / 2 / n) / (1 + z * z / n),
        z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / 4 / n / n),
    )
    return Figure(rate, max(0.0, centre - half), min(1.0, centre + half), n)


@pytest.mark.parametrize(
    ("hits", "n", "word"),
    [
        (8, 80, "collapsed"),  # lower bound 5.2 %, the power note of reference D5
        (4, 80, "warning"),  # lower bound 2 %: above what is usual, perhaps not above 5 %
        (1, 80, "inconclusive"),
        (0, 80, "ok"),  # upper bound 4.6 %
        (0, 40, "inconclusive"),
        (2, 800, "ok"),
        (46, 800, "warning"),
        (80, 800, "collapsed"),
        (5, 5, "inconclusive"),
    ],
)
def test_the_loop_verdict_follows_the_bounds(hits: int, n: int, word: str) -> None:
    assert verdict.judge_loops(share(hits, n)).word == word


def test_against_a_baseline_the_difference_decides() -> None:
    weak = share(60, 800)
    assert verdict.judge_loops(weak).word == "collapsed"
    assert verdict.judge_loops(weak, share(58, 800), Figure(0.0025, -0.02, 0.025, 800)).word == "ok"
    assert verdict.judge_loops(weak, share(8, 800), Figure(0.065, 0.052, 0.08, 800)).word == "collapsed"
    assert verdict.judge_loops(weak, share(8, 800), Figure(0.065, 0.045, 0.08, 800)).word == "warning"


def test_prompts_said_over_again_are_held_to_the_same_limits() -> None:
    def words(hits: int, n: int, copied: int) -> str:
        return verdict.judge_loops(share(hits, n), copied=share(copied, n)).word

    assert [words(0, 800, copied) for copied in (0, 17, 80, 800)] == ["ok", "warning", "collapsed", "collapsed"]
    assert words(80, 800, 0) == "collapsed"
    assert words(0, 80, 1) == "inconclusive"
    found = verdict.judge_loops(share(0, 800), copied=share(800, 800))
    assert found.reason == "100.0 % [99.5, 100.0] of 800 answers repeat their prompt: surely above 5 %"
    assert verdict.judge_loops(share(0, 800), copied=Figure(None, None, None, 0)).word == "ok"


def test_boilerplate_is_told_by_what_different_prompts_share() -> None:
    none, all_of_them = share(0, 300), share(300, 300)
    judge = verdict.judge_boilerplate
    assert judge(none, share(1, 300), none, none).word == "ok"
    assert judge(all_of_them, all_of_them, all_of_them, all_of_them).word == "collapsed"
    # One short answer to everything: too short to be compared, and all the same.
    nothing = Figure(None, None, None, 0)
    assert judge(nothing, all_of_them, nothing, nothing).word == "collapsed"
    assert judge(share(50, 300), share(1, 300), share(50, 300), none).word == "warning"
    assert judge(share(4, 20), share(1, 20), share(2, 20), share(1, 20)).word == "inconclusive"
    assert judge(none, none, none, none, compression=Figure(3.4, None, None, 300)).word == "warning"
    assert judge(none, none, none, none, entropy=Figure(9.0, None, None, 300)).word == "warning"
    assert judge(nothing, Figure(None, None, None, 0), nothing, nothing).word == "inconclusive"


def test_mode_quality_and_endings_are_judged_by_their_intervals() -> None:
    words = [verdict.judge_mode(Figure(value, low, high, 50)).word for value, low, high in (
        (0.3, 0.2, 0.4), (0.45, 0.3, 0.8), (0.9, 0.8, 0.97), (1.0, 0.9, 1.1), (1.0, 0.7, 1.3),
    )]  # fmt: skip
    assert words == ["collapsed", "warning", "warning", "ok", "inconclusive"]
    words = [verdict.judge_quality(Figure(value, low, high, 50)).word for value, low, high in (
        (-3.0, -3.5, -2.5), (-1.0, -1.4, -0.6), (0.1, -0.2, 0.4), (-0.4, -0.9, 0.1),
    )]  # fmt: skip
    assert words == ["collapsed", "warning", "ok", "inconclusive"]
    words = [verdict.judge_endings(Figure(value, low, high, 50)).word for value, low, high in (
        (0.3, 0.2, 0.4), (0.0, -0.05, 0.05), (0.1, 0.05, 0.15),
    )]  # fmt: skip
    assert words == ["warning", "ok", "inconclusive"]
    assert verdict.judge_quality(Figure(-3.0, -3.5, -2.5, 9)).word == "inconclusive"


def test_the_gravest_kind_speaks_for_the_model_and_the_unknown_ones_are_named() -> None:
    said = verdict.judge_model(
        [verdict.judge_loops(share(0, 300)), verdict.judge_mode(Figure(0.3, 0.2, 0.4, 50)), None]
    )
    assert said.word == "collapsed"
    assert [(finding.kind, finding.word) for finding in said.findings] == [("loop", "ok"), ("mode", "collapsed")]
    assert said.unknown == ("quality", "no_eos")
    assert verdict.judge_model([]).word == "inconclusive"
