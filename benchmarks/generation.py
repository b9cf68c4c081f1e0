"""Tokens a second: the hf back end against three ways to generate with the same model on the same prompts.

    make bench-generation

In one process, one after the other:
  ours         the batcher of harness/models, requests submitted all at once
  one by one   a loop of batch-1 `generate` calls, as MT-Bench's original script does (on an even slice of the prompts)
  static       `generate` on fixed batches, padded on the left; the best of the sizes tried
  lm-eval      HFLM.generate_until
with every answer forced to 64 tokens, and with natural lengths (an answer ends when the model ends it, or at 512).
Each figure is the best of --rounds: whatever else runs on the machine can only slow a round down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from harness.models.batcher import Batcher
from harness.models.decoder import Decoder, Row
from harness.models.embedded import embedded_checkpoint
from harness.models.hf import batch_limits
from tasks.conversation import Settings
from tasks.task import TaskOptions, load_task

FIXED, CAP = 64, 512


def prompts() -> list[str]:
    """First turns of the embedded tasks: short and long answers, mixed."""
    return [item.turns[0] for name in ("mini_mt", "over_refusal") for item in load_task(name, TaskOptions()).items()]


def ours(model: Any, tokenizer: Any, encoded: list[list[int]], length: int | None) -> int:
    stop = frozenset() if length else frozenset({tokenizer.eos_token_id})
    batcher = Batcher(Decoder(model, stop, *batch_limits(model)))
    settings = Settings(length or CAP)

    async def everything() -> list[Row]:
        return await asyncio.gather(*(batcher.submit(Row(prompt, settings)) for prompt in encoded))

    rows = asyncio.run(everything())
    batcher.close()
    return sum(len(row.tokens) for row in rows)


def static(size: int) -> Callable[..., int]:
    def generate(model: Any, tokenizer: Any, encoded: list[list[int]], length: int | None) -> int:
        said = 0
        tokenizer.padding_side = "left"
        for start in range(0, len(encoded), size):
            batch = tokenizer.pad({"input_ids": encoded[start : start + size]}, return_tensors="pt")
            made = model.generate(
                **batch, do_sample=False, max_new_tokens=length or CAP, min_new_tokens=length,
                pad_token_id=tokenizer.pad_token_id,
            )[:, batch["input_ids"].shape[1] :]  # fmt: skip
            said += answered(made, tokenizer.eos_token_id) if length is None else made.numel()
        return said

    return generate


def answered(made: torch.Tensor, end: int) -> int:
    """Tokens up to and with the first end token of each row; what a static batch computes after it is no answer."""
    ended = (made == end).int().cumsum(-1)
    return int(((ended == 0) | ((ended == 1) & (made == end))).sum())


def lm_eval(size: int) -> Callable[..., int]:
    def generate(model: Any, tokenizer: Any, encoded: list[list[int]], length: int | None) -> int:
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, add_bos_token=False)
        settings: dict[str, Any] = {"max_gen_toks": length or CAP, "do_sample": False}
        if length:
            settings["min_new_tokens"] = length
        requests = [
            Instance("generate_until", {}, (tokenizer.decode(prompt), settings), i) for i, prompt in enumerate(encoded)
        ]
        replies = harness.generate_until(requests, disable_tqdm=True)
        if length:
            return length * len(replies)
        # It returns text alone: the end token is added to what its text is made of.
        return sum(min(CAP, len(tokenizer(reply, add_special_tokens=False)["input_ids"]) + 1) for reply in replies)

    return generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--lengths", choices=["fixed", "natural", "both"], default="both")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    checkpoint = embedded_checkpoint(print)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    encoded = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        for text in prompts()[-arguments.prompts :]
    ]
    few = encoded[:: max(1, len(encoded) // 12)]
    ways = {
        "ours": (ours, encoded),
        "one by one": (static(1), few),
        **{f"static, {size} rows": (static(size), encoded) for size in (32, 64)},
        "lm-eval, 32 rows": (lm_eval(32), encoded),
    }
    modes = {"fixed": (f"{FIXED} tokens each", FIXED), "natural": (f"natural lengths, at most {CAP}", None)}
    report: dict[str, dict[str, float]] = {}
    for mode, length in modes.values() if arguments.lengths == "both" else [modes[arguments.lengths]]:
        print(f"{mode} ({len(encoded)} prompts, {torch.get_num_threads()} threads)", flush=True)
        best = report[mode] = dict.fromkeys(ways, 0.0)
        for _ in range(arguments.rounds):
            for name, (generate, asked) in ways.items():
                start = time.perf_counter()
                said = generate(model, tokenizer, asked, length)
                best[name] = max(best[name], said / (time.perf_counter() - start))
                print(
                    f"  {name:20}{best[name]:8.1f} tokens/s   ours is {best['ours'] / best[name]:.2f} × that",
                    flush=True,
                )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
