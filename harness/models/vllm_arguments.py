"""Engine arguments of vLLM: which of its own a user may set, what they say of answers, and their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.models.hf import first_line
from tasks.errors import BadInput, suggestion

OURS = frozenset({
    "model", "tokenizer", "tokenizer_mode", "skip_tokenizer_init", "served_model_name", "runner", "convert", "hf_token",
    "enable_lora", "generation_config", "override_generation_config", "logprobs_mode", "disable_log_stats",
    "use_tqdm_on_load",
})  # fmt: skip
"""Engine arguments that are set here, or have no meaning here."""
PLACING = frozenset({
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "data_parallel_backend",
    "distributed_executor_backend", "gpu_memory_utilization", "kv_cache_memory_bytes", "max_num_seqs",
    "max_num_batched_tokens", "enforce_eager", "enable_prefix_caching", "enable_chunked_prefill", "cpu_offload_gb",
    "max_parallel_loading_workers", "disable_custom_all_reduce", "device_ids", "block_size", "max_logprobs",
})  # fmt: skip
"""Engine arguments that say where and how fast an answer comes, not which: a run may be resumed with others."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `max_lora_rank`."""


def engine_arguments(given: Mapping[str, str]) -> dict[str, Any]:
    """Engine arguments as values.

    Raises:
        BadInput: vLLM has no such argument, or it is not the user's to set.
    """
    if not given:
        return {}
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = [field.name for field in fields(AsyncEngineArgs) if not field.name.startswith("_")]
    for key in given:
        if key in OURS:
            raise BadInput(f"--model-args {key} is set by bench itself: leave it out")
        if key not in known:
            usual = [name for name in known if name in PLACING or name in ("dtype", "max_model_len", "quantization")]
            hint = suggestion(key, known, "ones")
            hint = hint if hint.startswith("did you mean") else f"usual ones are {', '.join(usual)}"
            raise BadInput(f"--model-args: vLLM has no engine argument {key!r}: {hint}")
    return {key: _value(text) for key, text in given.items()}


def _value(text: str) -> Any:
    """A number, true, false or null as such; anything else is a text."""
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def lora_rank(adapter: Path) -> int:
    """The smallest `max_lora_rank` that vLLM takes and that holds the adapter.

    Raises:
        BadInput: its rank is larger, or nowhere to be read.
    """
    try:
        rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{adapter}/adapter_config.json names no rank r: {first_line(error)}") from None
    found = next((size for size in LORA_RANKS if size >= rank), None)
    if found is None:
        raise BadInput(f"the adapter {adapter} has rank {rank}, vLLM takes up to {LORA_RANKS[-1]}: merge it first")
    return found
