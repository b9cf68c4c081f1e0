"""The figures of the task `collapse`: over the texts of all answers, over the set of them, and the verdict.

Rates and means have an interval over requests. The measures of the set as a whole (distinct_2 … vendi) have none: they
depend on the number of texts, so that resampling with replacement, which repeats texts, would shift them.
Answers that a judge of the run found to be refusals are left out of all that compares answers to different prompts:
to refuse them in the same words is what a safe model does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.engine import NO_REPLY
from harness.figures import Figure, Rate, counts, mean_of, rate
from tasks import collapse
from tasks.collapse import verdict
from tasks.collapse.duplicates import BINS
from tasks.collapse.thresholds import VERDICTS
from tasks.collapse.variety import BUDGET_TEXTS, BUDGET_WORDS

if TYPE_CHECKING:
    import pandas as pd

RATES = ("degenerate", "loop", "empty")
MEANS = ("rep_1", "rep_2", "rep_3", "rep_4", "compression_ratio", "word_entropy", "non_lexical", "words")
SHARES = ("rep_", "word_entropy", "non_lexical", "top_1_share")
OF_THE_MODEL = {"entropy": "token_entropy", "entropy_slope": "entropy_slope", "top_1_share": "top_1_share"}
"""Metrics from the model's next-token distributions (nats, nats per 100 tokens, a share), and their columns."""
OF_THE_SET: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[str]]], float]] = {
    "distinct_2": lambda _, docs: collapse.distinct_n(docs, 2),
    "ead_2": lambda _, docs: collapse.ead(docs, 2),
    "bigram_entropy": lambda _, docs: collapse.ngram_entropy(docs, 2),
    "corpus_compression": lambda texts, _: collapse.corpus_compression(texts),
    "self_bleu": lambda _, docs: collapse.self_bleu(docs),
    "vendi": lambda _, docs: collapse.vendi_score(collapse.ngram_vectors(docs)),
}
VERDICT = "verdict"
REFUSALS = "refusals"


def text_metrics(answers: pd.DataFrame) -> Iterator[Figure]:
    """Rates and means over answers, each by itself and each beside those to other prompts."""
    said = answers.degenerate.notna()
    silent = answers[~said]
    why = silent.error.fillna(NO_REPLY).where(silent.finish == "missing", "generation failed")
    missing = counts(why.where(silent.finish.notna(), "not answered"))
    texts = answers[said]
    everything = np.ones(len(texts), dtype=bool)
    for name in RATES:
        yield name, rate(texts, texts[name].to_numpy(dtype=bool), everything), missing
    known = (texts.finish != "unknown").to_numpy()
    unknown = {"nobody recorded how they ended": int((~known).sum())} if not known.all() else {}
    cut = (texts.finish == "length").to_numpy()
    yield "truncated", rate(texts, cut, known), missing | unknown
    yield "no_eos", rate(texts, cut & ~texts.loop.to_numpy(dtype=bool), known), missing | unknown
    for name in MEANS:
        yield name, _mean(texts, name), missing
    for name, column in OF_THE_MODEL.items():
        measured = texts[column].notna()
        unknown_here = texts.token_entropy.isna() if name == "entropy" else texts.top_1_share.isna()
        without = {"no log-probs": int(unknown_here.sum())}
        without["too few tokens for a slope"] = int((~measured).sum()) - without["no log-probs"]
        yield name, _mean(texts[measured], column), missing | {reason: n for reason, n in without.items() if n}
    for name, found, left_out in _shared(texts):
        yield name, found, missing | left_out


def _mean(rows: pd.DataFrame, column: str) -> Rate:
    """The mean over requests: a long conversation weighs no more than a short one."""
    scale = (0.0, 1.0) if column.startswith(SHARES) else None
    by_request = rows.groupby(["task", "request"])[column].mean()
    return mean_of(by_request.to_numpy(dtype=float), len(rows), scale)


def _shared(texts: pd.DataFrame) -> Iterator[tuple[str, Rate, dict[str, int]]]:
    """What answers to different prompts have in common."""
    texts, left_out = _compared(texts)
    limits = VERDICTS
    prompts = list(zip(texts.task, texts.request, strict=True))
    everything = np.ones(len(texts), dtype=bool)
    long_enough = texts.words.to_numpy(dtype=float) >= limits.shared_words
    short = int((~long_enough).sum())
    too_short = left_out | ({f"under {limits.shared_words} words": short} if short else {})
    sketches = np.frombuffer(b"".join(texts.sketch), dtype=np.uint16).reshape(-1, BINS)
    near = collapse.near_duplicates(sketches, prompts, limits.near)
    exact = collapse.exact_duplicates(texts.whole.tolist(), prompts)
    yield "duplicates", rate(texts, exact, everything), left_out
    near = near | exact
    yield "near_duplicates", rate(texts, near, long_enough), too_short
    yield "commonest_answer", rate(texts, _commonest(texts.whole, prompts, everything), everything), left_out
    closer = _commonest(texts.closer, prompts, long_enough)
    yield "boilerplate_opener", rate(texts, _commonest(texts.opener, prompts, long_enough), long_enough), too_short
    yield "boilerplate_closer", rate(texts, closer, long_enough), too_short
    yield "boilerplate", rate(texts, near | closer, long_enough), too_short


def _compared(texts: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The answers that can be compared across prompts, and what they leave out."""
    refused, empty = texts.refused.to_numpy(dtype=bool), texts["empty"].to_numpy(dtype=bool)
    left_out = {REFUSALS: int((refused & ~empty).sum()), "empty": int(empty.sum())}
    return texts[~refused & ~empty], {reason: n for reason, n in left_out.items() if n}


def _commonest(
    hashes: pd.Series[Any], prompts: Sequence[tuple[str, str]], among: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows hold the value that most prompts got. One that only one prompt got is shared by none."""
    asked: dict[int, set[tuple[str, str]]] = {}
    for value, prompt, counted in zip(hashes, prompts, among, strict=True):
        if counted and value:
            asked.setdefault(value, set()).add(prompt)
    most = max(asked, key=lambda value: (len(asked[value]), value), default=None)
    if most is None or len(asked[most]) < 2:
        return np.zeros(len(hashes), dtype=bool)
    return (hashes == most).to_numpy(dtype=bool)


def set_metrics(answers: pd.DataFrame) -> Iterator[Figure]:
    """Measures of all answers as one set, on the reference budget of words; and of the samples of each prompt.

    The budget takes the first sample of each prompt. n is the number of texts in it.
    """
    said = answers[answers.degenerate.notna()]
    texts, left_out = _compared(said[said["sample"] == 0])
    drawn = collapse.equal_budget(texts.head_of_text)
    docs = [collapse.words(text) for text in drawn]
    short = int((texts.words.to_numpy(dtype=float) < BUDGET_WORDS).sum())
    left_out |= {f"under {BUDGET_WORDS} words": short} if short else {}
    beyond = len(texts) - short - len(drawn)
    left_out |= {f"beyond {BUDGET_TEXTS} × {BUDGET_WORDS} words": beyond} if beyond else {}
    for name, measured in OF_THE_SET.items():
        yield name, Rate(measured(drawn, docs) if docs else None, None, len(docs)), left_out
    if (said["sample"] > 0).any():
        yield from _of_samples(said)


def _of_samples(said: pd.DataFrame) -> Iterator[Figure]:
    """How different the samples of one prompt are, over their first 64 words; prompts with one sample have none."""
    diversity: dict[Hashable, list[float]] = {}
    distinct: dict[Hashable, list[float]] = {}
    alone = 0
    for (task, request, _, _), group in said.groupby(["task", "request", "item", "turn"]):
        docs = [collapse.words(text) for text in group.head_of_text]
        found = collapse.sample_diversity(docs)
        if found is None:
            alone += 1
            continue
        diversity.setdefault((task, request), []).append(found)
        distinct.setdefault((task, request), []).append(collapse.distinct_n(docs, 2))
    left_out = {"only one sample": alone} if alone else {}
    for name, by_prompt in (("sample_diversity", diversity), ("sample_distinct_2", distinct)):
        means = np.array([np.mean(values) for values in by_prompt.values()])
        yield name, mean_of(means, len(means), (0.0, 1.0)), left_out


class HasFigure(Protocol):
    """A score, as far as the verdict needs it."""

    @property
    def metric(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def judge(self) -> str | None: ...
    @property
    def value(self) -> float | str | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...


def verdict_notes(scores: Sequence[HasFigure]) -> list[str]:
    """What a reader must know beside the figures: why the verdict is what it is, and on which budget sets were read."""
    overall = [score for score in scores if score.judge is None and score.group == "all"]
    if VERDICT not in {score.metric for score in overall}:
        return []
    in_budget = next(score.n for score in overall if score.metric == "bigram_entropy")
    said = model_verdict(overall)
    return [
        f"collapse: {said.word}. {said.explain()}",
        f"collapse: distinct_2 to vendi are read on {in_budget} answers × {BUDGET_WORDS} words",
    ]


def model_verdict(scores: Sequence[HasFigure]) -> verdict.ModelVerdict:
    """The verdict on one run alone, from its collapse scores over all answers."""
    found = {
        score.metric: verdict.Figure(
            None if isinstance(score.value, str) else score.value, score.low, score.high, score.n
        )
        for score in scores
    }
    # The healthy band is that of the whole budget; smaller sets lie elsewhere.
    full = found["bigram_entropy"].n == BUDGET_TEXTS
    return verdict.judge_model(
        [
            verdict.judge_loops(found["degenerate"]),
            verdict.judge_boilerplate(
                found["boilerplate"],
                found["commonest_answer"],
                found["boilerplate_closer"],
                found["boilerplate_opener"],
                found["corpus_compression"] if full else None,
                found["bigram_entropy"] if full else None,
            ),
        ]
    )
