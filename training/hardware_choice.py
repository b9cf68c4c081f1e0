"""What numbers and which attention a training uses on the hardware that is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tasks.errors import BadInput

FLASH = "flash_attention_2"
LEAST_FLASH = 8
"""Compute capability (Ampere) from which flash-attention runs."""


@dataclass(frozen=True)
class Hardware:
    """Where a training runs. `half` is the type of mixed precision, None for float32 throughout.

    `attention` is what transformers is told, None for its own choice.
    """

    device: str
    half: str | None
    attention: str | None

    def weights(self, *, trained: bool) -> str:
        """The type that a model is held in.

        Weights that are trained stay float32: in half precision most of an optimiser's small steps are rounded away.
        A base that is frozen under its adapter is held in half.
        """
        return "float32" if trained or self.half is None else self.half


def hardware_here() -> Hardware:
    """float32 on a CPU; on a GPU bfloat16 where it has it, float16 elsewhere, and flash-attention where installed."""
    import torch

    if not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return Hardware("cpu", None, None)
    from transformers.utils import is_flash_attn_2_available

    flash = torch.cuda.get_device_capability()[0] >= LEAST_FLASH and is_flash_attn_2_available()
    half = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return Hardware("cuda", half, FLASH if flash else None)


def four_bits(hardware: Hardware) -> Any:
    """How a base is loaded for QLoRA: NF4, its scales quantized too, products in half precision (Dettmers et al. 2023).

    Raises:
        BadInput: no GPU, or no bitsandbytes.
    """
    from importlib.util import find_spec

    if hardware.device == "cpu" or hardware.half is None:
        raise BadInput("a quantized base (QLoRA) needs a CUDA GPU: leave --quantized out, LoRA runs on a CPU too")
    if find_spec("bitsandbytes") is None:
        raise BadInput("a quantized base (QLoRA) needs bitsandbytes: pip install bitsandbytes")
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, hardware.half),
    )  # fmt: skip
