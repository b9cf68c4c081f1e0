"""From what a user writes after --model to a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.config import RunConfig
from harness.models.hf import HFModel
from harness.models.model import Model
from harness.models.replay import ReplayModel
from tasks.errors import BadInput
from tasks.paths import user_path

ANSWERS = "answers:"


def answers_file(model: str) -> Path | None:
    """The file of stored answers that `answers:FILE` names."""
    if not model.startswith(ANSWERS):
        return None
    if model == ANSWERS:
        raise BadInput("--model answers:FILE lacks the FILE of stored answers")
    return user_path(model.removeprefix(ANSWERS))


def open_model(config: RunConfig, say: Callable[[str], None]) -> Model:
    """Check the model that a run names, and fingerprint it; nothing heavy is loaded yet.

    Raises:
        BadInput: no such model, unusable, or a back end that this version does not have.
    """
    if path := answers_file(config.model):
        return ReplayModel(path)
    if config.model.startswith("openai:"):
        raise BadInput("openai: models are not in this version; use a checkpoint folder, answers:FILE or smollm2")
    if config.backend not in (None, "hf"):
        raise BadInput(f"no back end {config.backend!r} in this version: leave --backend out, or use hf")
    return HFModel(config.model, user_path(config.chat_template) if config.chat_template else None, say)
