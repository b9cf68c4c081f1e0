"""Measures of collapsed text, and the finding that one answer is degenerate.

>>> diagnose("Here you go. " + "Have a great day! :) " * 40).explain()
'loop of 7 words × 40 from word 5'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tasks.collapse.copying import copies_prompt, prompt_copy, repeats_prompt
from tasks.collapse.diagnosis import Diagnosis, Rule, diagnose
from tasks.collapse.loops import Loop, loop
from tasks.collapse.noise import non_lexical
from tasks.collapse.repetition import compression_ratio, normalised_entropy, rep_n
from tasks.collapse.thresholds import DEFAULTS, VERSION, Thresholds
from tasks.collapse.variety import (
    commonest_end,
    commonest_start,
    corpus_compression,
    distinct_n,
    ead,
    equal_budget,
    ngram_entropy,
    sample_diversity,
    self_bleu,
)
from tasks.collapse.words import head, is_empty, is_readable, plain_words, without_code, without_code_and_tables, words

if TYPE_CHECKING:
    from tasks.collapse.duplicates import exact_duplicates, near_duplicates, similarity, sketch
    from tasks.collapse.embeddings import SemanticMeasures, embed, semantic_diversity, semantic_measures
    from tasks.collapse.measures import Measures, measure
    from tasks.collapse.vendi import ngram_vectors, vendi_score

_NEED_NUMPY = {
    **dict.fromkeys(("exact_duplicates", "near_duplicates", "similarity", "sketch"), "duplicates"),
    **dict.fromkeys(("SemanticMeasures", "embed", "semantic_diversity", "semantic_measures"), "embeddings"),
    **dict.fromkeys(("Measures", "measure"), "measures"),
    **dict.fromkeys(("ngram_vectors", "vendi_score"), "vendi"),
}


def __getattr__(name: str) -> object:
    """The names that need numpy, which `bench --help` does not load."""
    if name not in _NEED_NUMPY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_NEED_NUMPY[name]}"), name)
    return found


__all__ = [
    "DEFAULTS",
    "VERSION",
    "Diagnosis",
    "Loop",
    "Measures",
    "Rule",
    "SemanticMeasures",
    "Thresholds",
    "commonest_end",
    "commonest_start",
    "compression_ratio",
    "copies_prompt",
    "corpus_compression",
    "diagnose",
    "distinct_n",
    "ead",
    "embed",
    "equal_budget",
    "exact_duplicates",
    "head",
    "is_empty",
    "is_readable",
    "loop",
    "measure",
    "near_duplicates",
    "ngram_entropy",
    "ngram_vectors",
    "non_lexical",
    "normalised_entropy",
    "plain_words",
    "prompt_copy",
    "rep_n",
    "repeats_prompt",
    "sample_diversity",
    "self_bleu",
    "semantic_diversity",
    "semantic_measures",
    "similarity",
    "sketch",
    "vendi_score",
    "without_code",
    "without_code_and_tables",
    "words",
]
