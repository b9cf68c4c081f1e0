"""Whether a model fits into GPUs, worked out before minutes of loading end in a traceback from another process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from harness.models.checkpoint import WEIGHTS
from tasks.errors import BadInput

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "half": 2, "float": 4}
GIB = 2**30


def refuse_too_large(name: str, folder: Path, config: Any, arguments: Mapping[str, Any]) -> None:
    """Compare what weights and one whole conversation need with what the GPUs have.

    Raises:
        BadInput: it can not fit; names the memory needed, and the engine arguments that help.
    """
    import torch

    gpus = arguments.get("tensor_parallel_size", 1) * arguments.get("pipeline_parallel_size", 1)
    have = torch.cuda.device_count()
    wanted = gpus * arguments.get("data_parallel_size", 1)
    if wanted > have:
        raise BadInput(f"--model-args ask for {wanted} GPUs, and {have} are here: lower tensor_ or data_parallel_size")
    total = torch.cuda.get_device_properties(0).total_memory
    share = arguments.get("gpu_memory_utilization") or 0.9
    refuse_beyond(name, folder, config, arguments, int(total * share * gpus))


def refuse_beyond(name: str, folder: Path, config: Any, arguments: Mapping[str, Any], budget: int) -> None:
    """As `refuse_too_large`, for a `budget` in bytes of all GPUs that share one copy of the model."""
    item_bytes = ITEM_BYTES.get(str(arguments.get("dtype")), 2)
    quantized = arguments.get("quantization") or getattr(config, "quantization_config", None)
    weights = file_bytes(folder) if quantized else parameters(folder) * item_bytes
    has = f"these GPUs give it {budget / GIB:.1f} GiB"
    if weights > budget:
        raise BadInput(
            f"{name} needs {weights / GIB:.1f} GiB for its weights, and {has}: spread it by --model-args "
            "tensor_parallel_size=N, or make it smaller by quantization=fp8"
        )
    asked = arguments.get("max_model_len")
    known: int = getattr(config.get_text_config(), "max_position_embeddings", 0)
    length = asked if isinstance(asked, int) and asked > 0 else known
    cache = token_bytes(config, item_bytes) * length
    if weights + cache > budget:
        fits = max(0, budget - weights) // token_bytes(config, item_bytes)
        raise BadInput(
            f"{name} needs {weights / GIB:.1f} GiB for its weights and {cache / GIB:.1f} GiB for one conversation of "
            f"{length} tokens, and {has}: --model-args max_model_len={fits // 1024 * 1024 or fits} or less fits, "
            "tensor_parallel_size=N makes room"
        )


def token_bytes(config: Any, item_bytes: int) -> int:
    """Bytes of keys and values of one token in all layers. An upper bound where layers see a window only."""
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * item_bytes)


def parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a checkpoint hold."""
    count = 0
    for path in folder.glob(WEIGHTS):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return count


def file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(WEIGHTS))
