"""From what a user writes after --model to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.config import JudgeConfig, RunConfig
from harness.models.api import ApiModel
from harness.models.checkpoint import open_checkpoint
from harness.models.embedded import NAME as EMBEDDED
from harness.models.hf import HFModel
from harness.models.model import Model
from harness.models.prices import read_prices
from harness.models.replay import ReplayModel
from tasks.errors import BadInput
from tasks.paths import user_path

ANSWERS = "answers:"
OPENAI = "openai:"
HF = "hf:"
MODEL_KEYS = ("OPENAI_API_KEY",)
CEILING = 16
"""Requests in flight at an API, unless --concurrency says otherwise."""


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
    if config.model.startswith(OPENAI):
        if config.backend:
            raise BadInput("--backend has no effect on an openai: model: leave it out")
        return open_named(config.model, config, config.base_url, MODEL_KEYS, say)
    if config.backend not in (None, "hf"):
        raise BadInput(f"no back end {config.backend!r} in this version: leave --backend out, or use hf")
    return HFModel(config.model, user_path(config.chat_template) if config.chat_template else None, say)


def open_named(
    name: str,
    config: JudgeConfig,
    base_url: str | None,
    keys: Sequence[str],
    say: Callable[[str], None],
    template: str | None = None,
) -> ApiModel | HFModel:
    """The model behind `openai:NAME` or `hf:CKPT`. `keys` are the environment variables that may hold its key.

    `template` takes the place of a checkpoint's chat template; a server applies its own.
    """
    if not name.startswith(OPENAI):
        return HFModel(name.removeprefix(HF), template, say)
    if name == OPENAI:
        raise BadInput("openai: lacks the NAME of the model, as its server knows it")
    prices = read_prices(user_path(config.prices)) if config.prices else None
    return ApiModel(
        name.removeprefix(OPENAI), base_url, keys, ceiling=config.concurrency or CEILING, timeout_s=config.timeout,
        prices=prices, say=say,
    )  # fmt: skip


def template_of(name: str) -> str | None:
    """The chat template of `hf:CKPT`; None where it has none, and for a model behind a server."""
    if name.startswith(OPENAI) or name.removeprefix(HF) == EMBEDDED:
        return None
    return open_checkpoint(name.removeprefix(HF)).chat_template()
