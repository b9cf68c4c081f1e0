"""The Vendi score: how many different texts a set amounts to (Friedman and Dieng 2023)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.collapse.repetition import ngrams


def vendi_score(vectors: ArrayLike) -> float:
    """exp of the entropy of the eigenvalues of K / n, K being the cosine similarities of the n `vectors` (n × d).

    Range [1, n]: 1.0 where all point the same way, n where all are orthogonal; 0.0 for none. A vector of zeros is like
    nothing else. Vectors can be sentence embeddings, or `ngram_vectors`. O(n d min(n, d)) and O(min(n, d)³).
    """
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    if not rows.size:
        return 0.0
    norms = np.linalg.norm(rows, axis=1)
    kept = rows[norms > 0] / norms[norms > 0, None]
    # The Gram matrix and the scatter matrix have the same eigenvalues but for zeros: take the smaller.
    small = kept @ kept.T if kept.shape[0] <= kept.shape[1] else kept.T @ kept
    found = np.concatenate([np.linalg.eigvalsh(small) if small.size else [], np.ones(len(rows) - len(kept))]) / len(
        rows
    )
    positive = found[found > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def ngram_vectors(docs: Sequence[Sequence[Hashable]], n: int = 2) -> NDArray[np.float64]:
    """Counts of the n-grams of each text, a row a text: the kernel of a Vendi score without embeddings.

    N-grams that one text alone has tell it from all others alike: they are folded into one column of that text's own,
    which changes no cosine and leaves few columns. O(tokens) time, O(texts · (texts + shared n-grams)) memory: for
    samples of some hundred texts.
    """
    counted = [Counter(ngrams(doc, n)) for doc in docs]
    holders = Counter(gram for counts in counted for gram in counts)
    columns = {gram: place for place, gram in enumerate(gram for gram, texts in holders.items() if texts > 1)}
    table = np.zeros((len(docs), len(columns) + len(docs)))
    for place, counts in enumerate(counted):
        own = 0
        for gram, times in counts.items():
            if gram in columns:
                table[place, columns[gram]] = times
            else:
                own += times**2
        table[place, len(columns) + place] = own**0.5
    return table
