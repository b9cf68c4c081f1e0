"""How varied a set of texts is. All of these move with the amount of text: compare only at equal budgets.

>>> budget = equal_budget(texts)          # up to 300 texts, each cut after its word 64
>>> distinct_n([words(text) for text in budget], 2), corpus_compression(budget)

No n-gram runs across the border of two texts. A set of nothing gives 0.0 everywhere.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from tasks.collapse.repetition import letter_compression, ngrams
from tasks.collapse.words import head

BUDGET_TEXTS, BUDGET_WORDS = 300, 64
"""Reference budget. Under it healthy models lie close together: corpus compression 2.4-2.6, bigrams 12.5-13.2 bits."""
VOCABULARY = 50_257
"""Vocabulary of EAD where the model's own is unknown (GPT-2's size). It must be the same in all that is compared."""

Tokens = Sequence[Hashable]


def equal_budget(
    texts: Iterable[str | None], count: int = BUDGET_TEXTS, length: int = BUDGET_WORDS, seed: int = 0
) -> list[str]:
    """At most `count` of the `texts` that have `length` words, drawn by `seed`, each cut after its word `length`.

    Shorter texts are left out, since padding or mixing lengths is what an equal budget is to prevent. What is drawn
    depends on the order of `texts` alone. O(len(texts) · length).
    """
    long_enough = [text for text in (head(text, length) for text in texts) if text is not None]
    if len(long_enough) <= count:
        return long_enough
    return [long_enough[i] for i in sorted(random.Random(seed).sample(range(len(long_enough)), count))]


def distinct_n(docs: Iterable[Tokens], n: int) -> float:
    """Distinct n-grams over all n-grams of the set (Li et al. 2016).

    Range [0, 1]; 0.0 where no text has n tokens. O(all tokens). Falls as the set grows (0.42 for 500 words of one
    model, 0.09 for its 200,000): compare only at equal token budgets.
    """
    grams = _counted(docs, n)
    return len(grams) / grams.total() if grams else 0.0


def ead(docs: Iterable[Tokens], n: int, vocabulary: int = VOCABULARY) -> float:
    """Expectation-adjusted distinct n-grams: U / (V · (1 - ((V - 1) / V)^C)) (Liu et al. 2022).

    U distinct ones among C n-grams over what C draws from V equally likely ones would give. Range [0, about V / C at
    most, near 1]; 0.0 where no text has n tokens. `vocabulary` is V. O(all tokens). Moves less with the size of the set
    than distinct-n does, but it moves.
    """
    grams = _counted(docs, n)
    expected = -vocabulary * math.expm1(grams.total() * math.log1p(-1 / vocabulary)) if grams else 0.0
    return len(grams) / expected if expected else 0.0


def ngram_entropy(docs: Iterable[Tokens], n: int = 2) -> float:
    """Shannon entropy of the n-gram frequencies of the set, in bits: -sum p log2 p.

    Range [0, log2 of the number of n-grams]; 0.0 where no text has n tokens. O(all tokens). Biased low for small sets:
    compare only at equal token budgets.
    """
    counts = _counted(docs, n)
    total = counts.total()
    return max(0.0, -sum(c / total * math.log2(c / total) for c in counts.values()))


def corpus_compression(texts: Iterable[str | None]) -> float:
    """Bytes over zlib bytes of all texts in a row, a line each (Shaib et al. 2024).

    A letter is a byte where there are at most 256 different ones, lest an alphabet that UTF-8 spells with two or three
    read as collapse.
    Range [0, about 1000]; 2.4-2.6 for healthy models at the reference budget, far above where texts repeat each other.
    O(all characters). zlib looks back 32 KiB, about a hundred texts of 64 words.
    """
    return letter_compression("\n".join(text or "" for text in texts))


def self_bleu(docs: Sequence[Tokens], order: int = 4, sample: int = 100, seed: int = 0) -> float:
    """Mean BLEU of each text against all the others as references (Zhu et al. 2018, Texygen); higher is more alike.

    Range [0, 1]; 0.0 for fewer than two texts with tokens. Sentence BLEU with equal weights up to `order` (at most the
    length of the shortest text) and 0.1 in place of no match (NLTK's smoothing method 1). Over `sample` texts drawn by
    `seed`. The largest and second largest count of each n-gram over the texts give the clipped counts of all leave-one-
    out references at once: O(tokens of the sample), not its square.
    """
    docs = [doc for doc in docs if doc]
    if len(docs) > sample:
        docs = random.Random(seed).sample(docs, sample)
    if len(docs) < 2:
        return 0.0
    order = min(order, *map(len, docs))
    logs = [0.0] * len(docs)
    for n in range(1, order + 1):
        counted = [Counter(ngrams(doc, n)) for doc in docs]
        most: dict[Hashable, tuple[int, int]] = {}
        for counts in counted:
            for gram, times in counts.items():
                first, second = most.get(gram, (0, 0))
                most[gram] = (times, first) if times > first else (first, max(second, times))
        for i, counts in enumerate(counted):
            matched = 0
            for gram, times in counts.items():
                first, second = most[gram]
                matched += min(times, second if times == first else first)
            logs[i] += math.log((matched or 0.1) / counts.total()) / order
    lengths = [len(doc) for doc in docs]
    return sum(math.exp(log + min(0.0, 1 - _closest(lengths, i) / lengths[i])) for i, log in enumerate(logs)) / len(
        docs
    )


def sample_diversity(samples: Sequence[Tokens], n: int = 3) -> float | None:
    """How different several answers to one prompt are: 1 - mean Jaccard index of their n-gram sets over all pairs.

    Range [0, 1]: 0.0 where all are the same, 1.0 where no two share an n-gram. Two answers shorter than n are compared
    whole. None for fewer than two. O(k² · tokens) for k samples: meant for a handful, each cut to the same length.
    """
    if len(samples) < 2:
        return None
    sets = [set(ngrams(sample, n)) or {tuple(sample)} for sample in samples]
    pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
    return 1 - sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


def commonest_start(docs: Iterable[Tokens], n: int = 5) -> tuple[tuple[Hashable, ...] | None, float]:
    """The commonest first `n` tokens (opener) and the share of the texts of `n` tokens or more that begin with them.

    Range of the share [1 / len, 1]; (None, 0.0) where no text is long enough. At most 0.03 for healthy models over
    different prompts. O(number of texts).
    """
    return _commonest([tuple(doc[:n]) for doc in docs if len(doc) >= n])


def commonest_end(docs: Iterable[Tokens], n: int = 6) -> tuple[tuple[Hashable, ...] | None, float]:
    """The commonest last `n` tokens (closer) and their share, as `commonest_start`. At most 0.01 for healthy models."""
    return _commonest([tuple(doc[-n:]) for doc in docs if len(doc) >= n])


def _counted(docs: Iterable[Tokens], n: int) -> Counter[tuple[Hashable, ...]]:
    grams: Counter[tuple[Hashable, ...]] = Counter()
    for doc in docs:
        grams.update(ngrams(doc, n))
    return grams


def _commonest(edges: list[tuple[Hashable, ...]]) -> tuple[tuple[Hashable, ...] | None, float]:
    if not edges:
        return None, 0.0
    [(edge, times)] = Counter(edges).most_common(1)
    return edge, times / len(edges)


def _closest(lengths: list[int], i: int) -> int:
    """The length of the reference closest to that of text i (the shorter of two), for BLEU's brevity penalty."""
    return min((length for j, length in enumerate(lengths) if j != i), key=lambda it: (abs(it - lengths[i]), it))
