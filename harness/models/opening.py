"""From what a user writes after --model to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from harness.config import EXECUTORS, JudgeConfig, RunConfig
from harness.models.api import ApiModel
from harness.models.checkpoint import open_checkpoint
from harness.models.embedded import NAME as EMBEDDED
from harness.models.hf import HFModel
from harness.models.model import Model
from harness.models.prices import read_prices
from harness.models.replay import ReplayModel
from harness.plugged import open_plugged, plugged_opener
from tasks.errors import BadInput
from tasks.paths import user_path

ANSWERS = "answers:"
OPENAI = "openai:"
HF = "hf:"
LM_EVAL = "lm-eval:"
BACKENDS = ("hf", "vllm")
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
    if config.executor not in EXECUTORS:
        raise BadInput(f"--executor is one of {', '.join(EXECUTORS)}, not {config.executor!r}")
    if config.executor == "local":
        for key in ("workers", "worker_resources", "ray_address"):
            if getattr(config, key):
                raise BadInput(f"--{key.replace('_', '-')} goes with --executor ray: add it, or leave this out")
        return open_here(config, say)
    if config.model.startswith((ANSWERS, OPENAI)):
        raise BadInput(f"--executor ray has no effect on {config.model}: no model is run here; leave it out")
    from harness.executors.ray import ray_model

    if not config.model.startswith(LM_EVAL) and not plugged_opener(config.model):
        # What is chosen here by the hardware must not be chosen otherwise there.
        config = replace(config, backend=backend_of(config))
    return ray_model(open_here(config, say), config, say)


def open_here(config: RunConfig, say: Callable[[str], None]) -> Model:
    """The model that a run names, to be run by this process, whatever `executor` says; raises as `open_model`."""
    if path := answers_file(config.model):
        return ReplayModel(path)
    if point := plugged_opener(config.model):
        if given := [key for key in ("backend", "chat_template") if getattr(config, key)]:
            raise BadInput(f"--{given[0].replace('_', '-')} has no effect on a {point.name}: model: leave it out")
        return open_plugged(point, config.model, config.model_args)
    template = user_path(config.chat_template) if config.chat_template else None
    outside = next((kind for kind in (OPENAI, LM_EVAL) if config.model.startswith(kind)), None)
    if outside and (given := [key for key in ("backend", "model_args") if getattr(config, key)]):
        raise BadInput(f"--{given[0].replace('_', '-')} has no effect on an {outside} model: leave it out")
    if outside == OPENAI:
        return open_named(config.model, config, config.base_url, MODEL_KEYS, say)
    if outside == LM_EVAL:
        from harness.models.lm_eval import LmEvalModel

        return LmEvalModel(config.model.removeprefix(LM_EVAL), template, say)
    if backend_of(config) == "vllm":
        from harness.models.vllm import VllmModel

        return VllmModel(config.model, template, config.model_args, say)
    if config.model_args:
        raise BadInput("--model-args are of the vllm engine: add --backend vllm, or leave them out")
    return HFModel(config.model, template, say)


def backend_of(config: RunConfig) -> str:
    """What runs the checkpoint of a run: what it says, else vllm where it is installed and has a GPU, else hf."""
    if config.backend:
        if config.backend not in BACKENDS:
            raise BadInput(f"no back end {config.backend!r}: --backend is one of {', '.join(BACKENDS)}")
        return config.backend
    if find_spec("vllm") is None:
        return "hf"
    import torch

    return "vllm" if torch.cuda.is_available() else "hf"


def open_named(
    name: str,
    config: JudgeConfig,
    base_url: str | None,
    keys: Sequence[str],
    say: Callable[[str], None],
    template: str | None = None,
) -> Model:
    """The model behind `openai:NAME`, `hf:CKPT` or the name of a plug-in's.

    `keys` are the environment variables that may hold a server's key. `template` takes the place of a checkpoint's chat
    template; a server applies its own.
    """
    if point := plugged_opener(name):
        return open_plugged(point, name, {})
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
