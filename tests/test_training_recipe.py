"""Recipes: what is shipped can be read, and a mistake in one is named."""

from pathlib import Path

import pytest

from tasks.errors import BadInput
from training.recipe import RECIPES, read_recipe, sha256_of_settings


@pytest.mark.parametrize("name", [path.stem for path in RECIPES.glob("*.toml")])
def test_every_shipped_recipe_is_read_and_trains_on_clean_data(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.critiques.hygiene
    assert recipe.critiques.plant is None


def test_changes_win_over_the_file_and_change_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[sft]\nepochs = 3\n[dpo]\nloss_type = ["sigmoid", "sft"]\nloss_weights = [1, 0.5]\n')
    recipe = read_recipe(str(file))
    changed = read_recipe(str(file), {"sft.epochs": 2, "seed": 7})
    assert (recipe.sft.epochs, changed.sft.epochs, changed.seed) == (3.0, 2.0, 7)
    assert changed.dpo.loss_weights == (1.0, 0.5)
    assert sha256_of_settings(recipe) != sha256_of_settings(changed)
    assert sha256_of_settings(recipe.dpo) == sha256_of_settings(changed.dpo)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sft.epoch": 2}, "unknown key 'sft.epoch'; did you mean epochs?"),
        ({"sft.epochs": -1}, "sft.epochs is above 0"),
        ({"sft": 3}, "sft is a table"),
        ({"critiques.rounds": True}, "critiques.rounds is a whole number"),
        ({"dpo.loss_type": ["hinge"]}, "dpo.loss_type is one of"),
        ({"dpo.loss_type": ["ipo"]}, "one number for each"),
        ({"dpo.label_smoothing": 0.1}, 'in the loss "robust" alone'),
        ({"dpo.beta": float("nan")}, "finite"),
        ({"preferences.samples": 1}, "at least 2"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("(", r"\(").replace("?", r"\?")):
        read_recipe("tiny", changes)


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="did you mean tiny"):
        read_recipe("tny")
