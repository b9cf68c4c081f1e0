"""From what a trainer saved to an ordinary checkpoint: weights in safetensors, tokenizer, template, and the tokens that
end an answer in generation_config.json, without which other programs would let it talk on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.models.checkpoint import open_checkpoint
from harness.records import sync_directory

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def merge(base: Path, trained: Path, tokenizer: Any, stop_ids: frozenset[int], out: Path) -> None:
    """Write the checkpoint `out` from `trained`: an adapter that is put on `base`, or all weights.

    The weights are added up in the type that `base` is stored in, on the CPU: an adapter that was trained on a
    quantized base is merged into the whole one. `out` is replaced at once, or stays as it was.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    is_adapter = (trained / ADAPTER[0]).exists()
    stored = AutoConfig.from_pretrained(base).dtype or "auto"
    model = AutoModelForCausalLM.from_pretrained(base if is_adapter else trained, dtype=stored, use_safetensors=True)
    if is_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, trained).merge_and_unload()
    model.generation_config = _with_stops(model.generation_config, tokenizer, stop_ids)
    made = _fresh(out)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    _put(made, out)


def keep_adapter(base: Path, trained: Path, tokenizer: Any, out: Path) -> None:
    """Copy an adapter to where people look for it; it names its base by the full path."""
    made = _fresh(out)
    for name in ADAPTER:
        shutil.copyfile(trained / name, made / name)
    config = json.loads((made / ADAPTER[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(base.resolve())
    if isinstance(config.get("target_modules"), list):  # a set that was written in no order
        config["target_modules"].sort()
    (made / ADAPTER[0]).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(made)
    _put(made, out)


def _with_stops(config: Any, tokenizer: Any, stop_ids: frozenset[int]) -> Any:
    """The generation settings of the base with every token that ends an answer."""
    from transformers import GenerationConfig

    ids: Sequence[int] = sorted(stop_ids)
    config.eos_token_id = ids[0] if len(ids) == 1 else list(ids)
    for sampled in (config.do_sample, True):
        # A base may set a temperature without sampling: transformers saves that only as it was read.
        config.do_sample = sampled
        try:
            config.validate(strict=True)
            return config
        except ValueError:
            continue
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )


def _fresh(out: Path) -> Path:
    made = out.with_name(f".{out.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    return made


def _put(made: Path, out: Path) -> None:
    """Move a finished folder to its place once it is whole, readable and on the disk."""
    open_checkpoint(str(made))
    for path in made.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    made.rename(out)
    sync_directory(out.parent)
    shutil.rmtree(old, ignore_errors=True)
