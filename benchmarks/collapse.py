"""How fast collapse is measured, how that grows, and what the measures say of real models.

    make bench-collapse                                    # speed, growth, other packages
    python -m benchmarks.collapse --calibration DIR        # DIR holds AlpacaEval outputs: MODEL.json with "output"
    python -m benchmarks.collapse --semantic DIR           # sentence embeddings beside counts of words; a minute

Answers are made by resampling real ones (--data, AlpacaEval outputs) cut to an equal number of words. Times
are CPU seconds of this process, which runs one thread: what else the machine does changes them little. Making the
answers is not timed; everything from a batch of strings to every figure is.
"""

from __future__ import annotations

import os

# One thread, so that CPU time is the time of one core.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import importlib
import json
import random
import resource
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import seconds_of
from harness.intervals import rate_interval
from tasks import collapse
from tasks.collapse import embeddings, verdict
from tasks.collapse.measures import RULES, Measures, Way, can_compile
from tasks.collapse.repetition import ngrams
from tasks.collapse.thresholds import VERDICTS
from tasks.collapse.variety import BUDGET_TEXTS, BUDGET_WORDS

DATA = Path("../shared/data/alpaca_eval")
BATCH = 2_048


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of real answers (default {DATA})")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="measure the models in DIR instead")
    parser.add_argument("--semantic", type=Path, metavar="DIR", help="compare measures of meaning on those in DIR")
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=256)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the answers, to see that it runs")
    arguments = parser.parse_args()
    if arguments.calibration:
        calibrate(arguments.calibration)
        return
    if arguments.semantic:
        semantic(arguments.semantic)
        return
    said = [row for rows in real_answers(arguments.data).values() for row in rows if row[1].strip()]
    prompts, texts = [prompt for prompt, _ in said], [text for _, text in said]
    if not can_compile():
        print("numba is not installed (pip install 'bench[fast]'): only the plain functions are timed")
    scale = 100 if arguments.quick else 1
    speed(texts, prompts, arguments.answers // scale, arguments.words)
    growth(texts, scale)
    packages(texts, arguments.words, 200 // (10 if arguments.quick else 1))


def real_answers(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """The prompts and answers of each model in a folder of AlpacaEval outputs."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SystemExit(f"{folder} holds no MODEL.json: pass --data with a folder of AlpacaEval outputs")
    return {
        file.stem: [(row["instruction"], row["output"] or "") for row in json.loads(file.read_text(encoding="utf-8"))]
        for file in files
    }


def resampled(texts: Sequence[str], count: int, length: int, seed: int = 0) -> Iterator[list[str]]:
    """Batches of `count` answers in all, of `length` words each.

    Real answers are drawn with replacement and begun at a line drawn at random, so that few of the long ones come
    twice; they are cut where the words are full, and followed by another where they are too short.
    """
    rng = random.Random(seed)
    lines = [text.split("\n") for text in texts]
    known = [[len(collapse.words(line)) for line in rows] for rows in lines]
    for start in range(0, count, BATCH):
        batch = []
        for _ in range(min(BATCH, count - start)):
            answer: list[str] = []
            left = length
            while left > 0:
                drawn = rng.randrange(len(texts))
                first = rng.randrange(len(lines[drawn]))
                text, said = "\n".join(lines[drawn][first:]), sum(known[drawn][first:])
                if said:
                    answer.append(text if said <= left else collapse.head(text, left) or "")
                    left -= said
            batch.append("\n\n".join(answer))
        yield batch


def one_pass(
    batches: Iterator[list[str]], count: int, way: Way, prompts: Sequence[str] | None = None
) -> tuple[float, float, dict[str, float]]:
    """CPU seconds of every measure over answers that stream by, those of zlib alone among them, and the figures.

    With `prompts`, which are dealt out in turn, what answers copy from them is measured, too.
    """
    chosen = set(random.Random(0).sample(range(count), min(count, BUDGET_TEXTS)))
    seconds = squeezing = 0.0
    seen = 0
    heads: list[str] = []
    kept: list[tuple[Any, ...]] = []
    sums = np.zeros(8)
    for batch in batches:
        asked = [prompts[place % len(prompts)] for place in range(seen, seen + len(batch))] if prompts else None
        begun = time.process_time()
        found = collapse.measure(batch, way=way, prompts=asked)
        sums += per_answer(found)
        kept.append((found.whole, found.opener, found.closer, found.sketch))
        heads += [text for i, text in enumerate(batch, start=seen) if i in chosen]
        seen += len(batch)
        seconds += time.process_time() - begun
        begun = time.process_time()
        for text in batch:
            zlib.compress(text.encode("utf-8", "surrogatepass"))
        squeezing += time.process_time() - begun
    begun = time.process_time()
    figures = dict(zip(("degenerate", "loop", "rep_4", "compression"), sums / count, strict=False))
    figures |= of_the_set(*(np.concatenate(column) for column in zip(*kept, strict=True)))
    drawn = collapse.equal_budget(heads, length=BUDGET_WORDS)
    docs = [collapse.words(text) for text in drawn]
    figures |= {
        "distinct_2": collapse.distinct_n(docs, 2),
        "ead_2": collapse.ead(docs, 2),
        "bigram_entropy": collapse.ngram_entropy(docs),
        "corpus_compression": collapse.corpus_compression(drawn),
        "self_bleu": collapse.self_bleu(docs),
        "vendi": collapse.vendi_score(collapse.ngram_vectors(docs)),
    }
    return seconds + time.process_time() - begun, squeezing, figures


def per_answer(found: Measures) -> Any:
    return np.array(
        [
            column.sum()
            for column in (
                found.degenerate, found.loop, found.rep[:, 3], found.compression_ratio, found.entropy,
                found.non_lexical, found.words, found.empty,
            )
        ],
        dtype=float,
    )  # fmt: skip


def of_the_set(whole: Any, opener: Any, closer: Any, sketches: Any) -> dict[str, float]:
    return {
        "duplicates": float(collapse.exact_duplicates(whole.tolist()).mean()),
        "near_duplicates": float(collapse.near_duplicates(sketches).mean()),
        "opener": float(np.unique(opener, return_counts=True)[1].max() / len(opener)),
        "closer": float(np.unique(closer, return_counts=True)[1].max() / len(closer)),
    }


def speed(texts: Sequence[str], prompts: Sequence[str], count: int, length: int) -> None:
    print(f"\n{count:,} answers × {length} words: every per-answer measure and the measures of the set, one pass")
    few = max(100, count // 100)
    ways: list[tuple[Way, Sequence[str] | None, int]] = [("plain", None, few), ("plain", prompts, few)]
    if can_compile():
        collapse.measure(["warm up", "wärm up"], way="compiled")
        ways = [("compiled", None, count), ("compiled", prompts, count), *ways]
    for way, asked, some in ways:
        seconds, squeezing, figures = one_pass(resampled(texts, some, length), some, way, asked)
        name = f"{way}, and prompts" if asked else way
        print(
            f"  {name:23}{some / seconds:9,.0f} answers/s a core ({1e6 * seconds / some:6.1f} µs each, of which zlib "
            f"{1e6 * squeezing / some:.1f}; {some:,} answers, peak memory {peak():.0f} MB)"
        )
        print("           " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))


def growth(texts: Sequence[str], scale: int) -> None:
    way: Way = "compiled" if can_compile() else "plain"
    print(f"\nHow it grows ({way}): CPU µs an answer, and a word")
    for count, length in (
        *((n, 256) for n in (1_000, 10_000, 100_000)),
        *((n, length) for n, length in ((8_000, 64), (8_000, 256), (2_000, 1_024), (500, 4_096))),
    ):
        some = max(10, count // scale)
        seconds, _, _ = one_pass(resampled(texts, some, length), some, way)
        print(
            f"  {some:7,} answers × {length:5,} words {1e6 * seconds / some:9.1f} µs an answer "
            f"{1e9 * seconds / some / length:7.0f} ns a word   peak memory {peak():.0f} MB"
        )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def packages(texts: Sequence[str], length: int, count: int) -> None:
    """The same measures by packages that people use, on a slice."""
    texts = next(resampled(texts, count, length))
    docs = [collapse.words(text) for text in texts]
    few = docs[:50]
    print(f"\nBeside other packages, {count} answers × {length} words (CPU; ratio = theirs over ours)")

    def lexical() -> float:
        rich = importlib.import_module("lexicalrichness").LexicalRichness
        return float(statistics.mean(rich(text).ttr for text in texts))

    def bleu() -> float:
        score = importlib.import_module("nltk.translate.bleu_score")
        smooth = score.SmoothingFunction().method1
        scores = [
            score.sentence_bleu(few[:i] + few[i + 1 :], doc, smoothing_function=smooth) for i, doc in enumerate(few)
        ]
        return float(statistics.mean(scores))

    def squeezed() -> float:
        return float(importlib.import_module("diversity").compression_ratio(texts))

    def repeated() -> float:
        return float(importlib.import_module("diversity").ngram_diversity_score(texts, 4))

    def minhash() -> float:
        library = importlib.import_module("datasketch")
        index = library.MinHashLSH(threshold=VERDICTS.near, num_perm=64)
        for place, doc in enumerate(docs):
            found = library.MinHash(num_perm=64)
            found.update_batch([" ".join(map(str, gram)).encode("utf-8", "surrogatepass") for gram in ngrams(doc, 3)])
            index.insert(place, found)
        return 0.0

    def everything() -> float:
        return float(collapse.measure(texts, way="compiled" if can_compile() else "plain").rep.mean())

    def ours_minhash() -> float:
        return float(collapse.near_duplicates(np.array([collapse.sketch(doc) for doc in docs])).mean())

    pairs: list[tuple[str, Callable[[], float], str, Callable[[], float]]] = [
        ("lexicalrichness type-token ratio", lexical, "all per-answer measures", everything),
        ("nltk self-BLEU, 50 answers", bleu, "self_bleu", lambda: collapse.self_bleu(few)),
        ("diversity compression_ratio", squeezed, "corpus_compression", lambda: collapse.corpus_compression(texts)),
        ("diversity ngram_diversity_score", repeated, "distinct_n, n = 1..4",
         lambda: sum(collapse.distinct_n(docs, n) for n in (1, 2, 3, 4))),
        ("datasketch MinHash + LSH, 64", minhash, "sketch (plain) + near_duplicates", ours_minhash),
    ]  # fmt: skip
    for their_name, theirs, our_name, ours in pairs:
        try:
            theirs()
        except ImportError as missing:
            print(f"  {their_name:34} not compared: {missing}")
            continue
        other, own = seconds_of(theirs), seconds_of(ours)
        print(f"  {their_name:34}{1e3 * other:9.1f} ms   {our_name:32}{1e3 * own:8.2f} ms   ratio {other / own:6.1f}")


def calibrate(folder: Path) -> None:
    """What each model's answers come to, and the verdict; worst first. A constant model is added."""
    models = real_answers(folder)
    first = next(iter(models.values()))
    models["(constant answer)"] = [(prompt, first[0][1]) for prompt, _ in first[:300]]
    rows = sorted((summary(name, said) for name, said in models.items()), key=lambda row: -row[0])
    heading = (
        "| model | answers | degenerate | loop | empty | rep-4 > .5 | copies | near dup. | closer | compression "
        "| bigrams | EAD-2 | self-BLEU | verdict |"
    )
    print(heading)
    print("|---" * (heading.count("|") - 1) + "|")
    for _, line in rows:
        print(line)


def summary(name: str, said: list[tuple[str, str]]) -> tuple[float, str]:
    texts = [text for _, text in said]
    found = collapse.measure(texts, prompts=[prompt for prompt, _ in said])
    count, long_enough = len(texts), found.words >= VERDICTS.shared_words
    near = collapse.near_duplicates(found.sketch) & long_enough
    everyone = np.arange(count)

    def figure(hits: Any, among: Any) -> verdict.Figure:
        chosen = hits[among].astype(float)
        low, high = rate_interval(chosen, everyone[: len(chosen)]) or (None, None)
        return verdict.Figure(float(chosen.mean()) if len(chosen) else None, low, high, len(chosen))

    def commonest(hashes: Any, among: Any) -> Any:
        values, times = np.unique(hashes[among & (hashes != 0)], return_counts=True)
        return hashes == values[times.argmax()] if len(values) and times.max() > 1 else np.zeros(count, dtype=bool)

    everything = np.ones(count, dtype=bool)
    closer, opener = commonest(found.closer, long_enough), commonest(found.opener, long_enough)
    drawn = collapse.equal_budget(texts)
    docs = [collapse.words(text) for text in drawn]
    full = len(drawn) == BUDGET_TEXTS
    compression, entropy = collapse.corpus_compression(drawn), collapse.ngram_entropy(docs)
    degenerate = figure(found.degenerate, everything)
    judged = verdict.judge_model(
        [
            verdict.judge_loops(degenerate, copied=figure(found.copied, everything)),
            verdict.judge_boilerplate(
                figure(near | closer, long_enough),
                figure(commonest(found.whole, ~found.empty), ~found.empty),
                figure(closer, long_enough),
                figure(opener, long_enough),
                verdict.Figure(compression, None, None, len(drawn)) if full else None,
                verdict.Figure(entropy, None, None, len(drawn)) if full else None,
            ),
        ]
    )
    rate, low, high = (100 * (bound or 0.0) for bound in (degenerate.value, degenerate.low, degenerate.high))
    cells = (
        name, str(count), f"{rate:.1f} % [{low:.1f}, {high:.1f}]",
        str(int((found.rule == RULES.index("loop")).sum())), str(int(found.empty.sum())),
        f"{100 * (found.rep[:, 3] > 0.5).mean():.1f} %", str(int(found.copied.sum())), f"{100 * near.mean():.1f} %",
        f"{100 * closer[long_enough].mean() if long_enough.any() else 0:.1f} %",
        *((f"{compression:.2f}", f"{entropy:.1f}", f"{collapse.ead(docs, 2):.2f}", f"{collapse.self_bleu(docs):.2f}")
          if full else (f"({len(drawn)} texts)", "", "", "")),
        judged.word,
    )  # fmt: skip
    return rate + 100 * (judged.word == "collapsed"), "| " + " | ".join(chain(cells)) + " |"


def semantic(folder: Path) -> None:
    """Which measure tells answers to one prompt from answers to others, and what it says of each model.

    Answers of several models to one prompt mean much the same in different words: the area under the ROC curve is the
    chance that two of them are found more alike than two answers to different prompts.
    """
    models = real_answers(folder)
    heads = [{prompt: collapse.head(text, BUDGET_WORDS) for prompt, text in said} for said in models.values()]
    prompts = [prompt for prompt in heads[0] if all(of.get(prompt) for of in heads)][:150]
    texts = [of[prompt] or "" for prompt in prompts for of in heads]
    asked = np.repeat(np.arange(len(prompts)), len(heads))
    docs = [collapse.words(text) for text in texts]
    print(f"{len(prompts)} prompts × {len(heads)} models, {BUDGET_WORDS} words each, CPU of one thread")
    print("| vectors | ROC area | texts/s |\n|---|---|---|")
    ways: list[tuple[str, Callable[[], Any]]] = [
        ("counts of words", lambda: collapse.ngram_vectors(docs, 1)),
        ("counts of bigrams", lambda: collapse.ngram_vectors(docs, 2)),
        ("MiniLM, mean of its input table", lambda: static_vectors(texts)),
        ("MiniLM (`embed`)", lambda: collapse.embed(texts)),
    ]
    importlib.import_module("torch").set_num_threads(1)
    collapse.embed(texts[:1])
    for name, way in ways:
        begun = time.process_time()
        vectors = way()
        print(f"| {name} | {roc_area(vectors, asked):.4f} | {len(texts) / (time.process_time() - begun):,.0f} |")
    print("\n| model | texts | semantic diversity | Vendi, embeddings | Vendi, bigrams |\n|---|---|---|---|---|")
    models["(constant answer)"] = [
        next(said for said in next(iter(models.values())) if collapse.head(said[1], BUDGET_WORDS))
    ] * 300
    for name, said in models.items():
        found = collapse.semantic_measures([text for _, text in said])
        drawn = collapse.equal_budget([text for _, text in said])
        counts = collapse.vendi_score(collapse.ngram_vectors([collapse.words(text) for text in drawn]))
        print(f"| {name} | {found.texts} | {found.diversity:.3f} | {found.vendi:.0f} | {counts:.0f} |")


def static_vectors(texts: Sequence[str]) -> Any:
    """What a static model such as model2vec's does: a vector a token, rare ones weighing more, less their mean."""
    tokenizer, model = embeddings.sentence_model()
    table = model.embeddings.word_embeddings.weight.detach().numpy()
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    counts = np.bincount(np.concatenate(rows), minlength=len(table))
    weights = 1e-3 / (1e-3 + counts / counts.sum())
    vectors = np.array([(table[row] * weights[row][:, None]).mean(axis=0) for row in rows])
    return vectors - vectors.mean(axis=0)


def roc_area(vectors: Any, group: Any) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    one, other = np.triu_indices(len(unit), 1)
    alike, same = (unit @ unit.T)[one, other], group[one] == group[other]
    near, far = alike[same], np.sort(alike[~same])
    return float((np.searchsorted(far, near, "left") + np.searchsorted(far, near, "right")).mean() / 2 / len(far))


if __name__ == "__main__":
    main()
