"""The metrics of the task `collapse`: of the text of every answer, and of all answers as a set.

Rates and means have an interval over requests. The measures of the set as a whole (distinct_2 … vendi) have none: they
depend on the number of texts, so that resampling with replacement, which repeats texts, would shift them.
Answers that a judge of the run found to be refusals are left out of all that compares answers to different prompts:
to refuse them in the same words is what a safe model does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.engine import NO_REPLY
from harness.figures import Metric, Rate, counts, rate
from harness.frames import PLACE, RunFrames
from harness.grades import wanted_answers
from tasks import collapse
from tasks.collapse.duplicates import BINS
from tasks.collapse.thresholds import VERDICTS
from tasks.collapse.variety import BUDGET_TEXTS, BUDGET_WORDS
from tasks.task import CAPABILITY

if TYPE_CHECKING:
    import pandas as pd

RATES = ("degenerate", "loop", "empty", "copied")
MEANS = ("rep_1", "rep_2", "rep_3", "rep_4", "compression_ratio", "word_entropy", "non_lexical", "prompt_copy", "words")
SHARES = ("rep_", "word_entropy", "non_lexical", "prompt_copy", "top_1_share")
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
SHARED = (
    "duplicates", "near_duplicates", "commonest_answer", "boilerplate_opener", "boilerplate_closer", "boilerplate",
)  # fmt: skip
OF_SAMPLES = ("sample_diversity", "sample_distinct_2")
TEXT_METRICS = (*RATES, "truncated", "no_eos", *MEANS, *OF_THE_MODEL, *SHARED, *OF_SAMPLES)
"""Every metric that `text_metrics` can give."""
REFUSALS = "refusals"

SetFigure = tuple[str, Rate, Mapping[str, int]]
"""A figure of a set of answers, none of which has a value of its own: its name, its value, what was left out and why.
"""


def read_texts(frames: RunFrames, *, same_answers: bool = False) -> pd.DataFrame:
    """All answers that a run was to give, with their measures and whether a judge called them `refused`.

    Not those to lm-eval's tasks, most of which are choices: short, alike and rightly so.
    `same_answers`: its tasks read the same stored answers, which then count once.
    """
    items = frames.items[~frames.items.task.str.startswith(CAPABILITY)]
    texts = wanted_answers(items).merge(frames.texts, on=PLACE, how="left")
    if same_answers:
        texts = texts.drop_duplicates(["item", "sample", "turn"])
    refusals = frames.judgments.loc[frames.judgments.label == "refused", PLACE].drop_duplicates()
    refused = texts[PLACE].merge(refusals.assign(refused=True), on=PLACE, how="left").refused.notna()
    return texts.assign(refused=refused.to_numpy())


def text_metrics(answers: pd.DataFrame) -> Iterator[Metric]:
    """Rates and means over answers, each alone and beside those to other prompts; and over the samples of a prompt."""
    said = answers.degenerate.notna()
    silent = answers[~said]
    why = silent.error.fillna(NO_REPLY).where(silent.finish == "missing", "generation failed")
    missing = counts(why.where(silent.finish.notna(), "not answered"))
    texts = answers[said]
    for name in RATES:
        yield rate(name, texts, texts[name].to_numpy(dtype=bool), left_out=missing)
    known = (texts.finish != "unknown").to_numpy()
    unknown = {"nobody recorded how they ended": int((~known).sum())} if not known.all() else {}
    cut = (texts.finish == "length").to_numpy()
    yield rate("truncated", texts, cut, known, missing | unknown)
    yield rate("no_eos", texts, cut & ~texts.loop.to_numpy(dtype=bool), known, missing | unknown)
    for name in MEANS:
        yield _mean(name, texts, name, missing)
    for name, column in OF_THE_MODEL.items():
        measured = texts[column].notna()
        unknown_here = texts.token_entropy.isna() if name == "entropy" else texts.top_1_share.isna()
        without = {"no log-probs": int(unknown_here.sum())}
        without["too few tokens for a slope"] = int((~measured).sum()) - without["no log-probs"]
        left_out = missing | {reason: n for reason, n in without.items() if n}
        yield _mean(name, texts[measured], column, left_out)
    yield from _shared(texts, missing)
    if (answers["sample"] > 0).any():
        yield from _of_samples(texts, missing)


def _mean(name: str, rows: pd.DataFrame, column: str, left_out: Mapping[str, int]) -> Metric:
    scale = (0.0, 1.0) if column.startswith(SHARES) else None
    return Metric(name, rows, rows[column].to_numpy(dtype=np.float64), False, scale, left_out)


def _shared(texts: pd.DataFrame, missing: Mapping[str, int]) -> Iterator[Metric]:
    """What answers to different prompts have in common."""
    texts, not_compared = _compared(texts)
    left_out = {**missing, **not_compared}
    limits = VERDICTS
    prompts = texts.groupby(["task", "request"], sort=False).ngroup().to_numpy()
    everything = np.ones(len(texts), dtype=bool)
    long_enough = texts.words.to_numpy(dtype=float) >= limits.shared_words
    short = int((~long_enough).sum())
    too_short = left_out | ({f"under {limits.shared_words} words": short} if short else {})
    sketches = np.frombuffer(b"".join(texts.sketch), dtype=np.uint16).reshape(-1, BINS)
    near = collapse.near_duplicates(sketches, prompts.tolist(), limits.near)
    exact = collapse.exact_duplicates(texts.whole.tolist(), prompts.tolist())
    yield rate("duplicates", texts, exact, left_out=left_out)
    near = near | exact
    yield rate("near_duplicates", texts, near, long_enough, too_short)
    yield rate("commonest_answer", texts, _commonest(texts.whole, prompts, everything), left_out=left_out)
    closer = _commonest(texts.closer, prompts, long_enough)
    yield rate("boilerplate_opener", texts, _commonest(texts.opener, prompts, long_enough), long_enough, too_short)
    yield rate("boilerplate_closer", texts, closer, long_enough, too_short)
    yield rate("boilerplate", texts, near | closer, long_enough, too_short)


def _compared(texts: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The answers that can be compared across prompts, and what they leave out."""
    refused, empty = texts.refused.to_numpy(dtype=bool), texts["empty"].to_numpy(dtype=bool)
    left_out = {REFUSALS: int((refused & ~empty).sum()), "empty": int(empty.sum())}
    return texts[~refused & ~empty], {reason: n for reason, n in left_out.items() if n}


def _commonest(
    hashes: pd.Series[Any], prompts: NDArray[np.integer[Any]], among: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows hold the value that most prompts got. One that only one prompt got is shared by none."""
    values = hashes.to_numpy(dtype=np.uint64)
    counted = among & (values != 0)
    there = values[counted]
    order = np.lexsort((prompts[counted], there))
    pairs = np.column_stack([there[order], prompts[counted][order].astype(np.uint64)])
    another = np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)]) if len(pairs) else np.zeros(0, dtype=bool)
    kinds, asked = np.unique(pairs[another, 0], return_counts=True)
    if not len(asked) or asked.max() < 2:
        return np.zeros(len(values), dtype=bool)
    # Of equally common ones the greatest.
    return np.asarray(values == kinds[asked == asked.max()][-1])


def _of_samples(texts: pd.DataFrame, missing: Mapping[str, int]) -> Iterator[Metric]:
    """How different the samples of one prompt are, over their first 64 words; prompts with one sample have none."""
    import pandas as pd

    rows = []
    alone = 0
    for (task, request, item, turn), group in texts.groupby(["task", "request", "item", "turn"]):
        docs = [collapse.words(text) for text in group.head_of_text]
        found = collapse.sample_diversity(docs)
        if found is None:
            alone += 1
        else:
            rows.append((task, item, 0, turn, request, found, collapse.distinct_n(docs, 2)))
    columns = ["task", "item", "sample", "turn", "request", "sample_diversity", "sample_distinct_2"]
    prompts = pd.DataFrame(rows, columns=columns)
    left_out = {**missing, **({"only one sample": alone} if alone else {})}
    for name in OF_SAMPLES:
        yield Metric(name, prompts, prompts[name].to_numpy(dtype=np.float64), False, (0.0, 1.0), left_out)


def set_figures(answers: pd.DataFrame) -> Iterator[SetFigure]:
    """Measures of all answers as one set, on the reference budget of words.

    The budget takes the first sample of each prompt. n is the number of texts in it.
    """
    said = answers[answers.degenerate.notna()]
    texts, left_out = _compared(said[said["sample"] == 0])
    long_enough = texts.words.to_numpy(dtype=float) >= BUDGET_WORDS
    drawn = collapse.equal_budget(texts.head_of_text[long_enough])
    docs = [collapse.words(text) for text in drawn]
    short = int((~long_enough).sum())
    left_out |= {f"under {BUDGET_WORDS} words": short} if short else {}
    beyond = len(texts) - short - len(drawn)
    left_out |= {f"beyond {BUDGET_TEXTS} × {BUDGET_WORDS} words": beyond} if beyond else {}
    for name, measured in OF_THE_SET.items():
        yield name, Rate(measured(drawn, docs) if docs else None, None, len(docs)), left_out
