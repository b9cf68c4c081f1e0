"""What watches over a training step by step: that its loss is a number, how fast it goes, which checkpoints are whole.

    work/checkpoint-50/whole.json   {"files": {"adapter_model.safetensors": 3742, "optimizer.pt": 7548, …}}

A trainer writes a checkpoint file by file, so that a kill leaves half of one; the list of its files comes last.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from harness.records import write_atomically
from tasks.errors import RunStopped

WHOLE = "whole.json"
SAY_EVERY_S = 10.0
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class Progress(TrainerCallback):  # type: ignore[misc]
    """Says how training goes every ten seconds, and stops it when its loss is no number any more.

    `tokens` are those read in all steps, also of the runs before a resumption; `seconds` those of this run. `state_of`
    gives the monitor's last word, if there is one.

    Raises:
        RunStopped: the loss, or the gradient where `check_gradient`, is not finite. The broken step is not saved.
    """

    def __init__(
        self, stage: str, say: Callable[[str], None], state_of: Callable[[], str | None], *, check_gradient: bool
    ) -> None:
        self._stage, self._say, self._state_of, self._check_gradient = stage, say, state_of, check_gradient
        self.tokens = self._tokens_before = 0
        self._begun = self._said = time.perf_counter()
        self._said_tokens = 0
        self.seconds = 0.0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        read = [int(entry["num_tokens"]) for entry in state.log_history if "num_tokens" in entry]
        self.tokens = self._tokens_before = self._said_tokens = read[-1] if read else 0
        self._begun = self._said = time.perf_counter()

    def on_log(self, args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        names = ("loss", "grad_norm") if self._check_gradient else ("loss",)
        for name in names:
            value = logs.get(name, 0.0)
            if not math.isfinite(value):
                raise RunStopped(self._broken(name, value, state.global_step, args))
        entry = state.log_history[-1]
        self.tokens = entry["num_tokens"] = int(logs.get("num_tokens", 0)) + self._tokens_before
        now = time.perf_counter()
        self.seconds = now - self._begun
        if state.is_world_process_zero and (now - self._said >= SAY_EVERY_S or state.global_step == state.max_steps):
            rate = (self.tokens - self._said_tokens) / max(now - self._said, 1e-9)
            said = (
                f"{self._stage}: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.4f}, "
                f"lr {logs.get('learning_rate', 0.0):.2g}, {rate:.0f} tokens/s"
            )
            watched = self._state_of()
            self._say(f"{said}, monitor: {watched}" if watched else said)
            self._said, self._said_tokens = now, self.tokens

    def _broken(self, name: str, value: float, step: int, args: Any) -> str:
        kept = whole_checkpoints(Path(args.output_dir))
        where = f"the checkpoint of step {step_of(kept[-1])} is kept in {kept[-1]}" if kept else "nothing was saved yet"
        called = "loss" if name == "loss" else "gradient"
        return (
            f"{self._stage}: the {called} is {value} at step {step}, so training stopped; {where}. "
            f"Lower {self._stage}.learning_rate ({args.learning_rate:g}) or raise {self._stage}.warmup_share"
        )


class WholeCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint once all processes have written their part of it."""

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        args.distributed_state.wait_for_everyone()
        if state.is_world_process_zero:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def mark_whole(checkpoint: Path) -> None:
    sizes = {str(it.relative_to(checkpoint)): it.stat().st_size for it in checkpoint.rglob("*") if it.is_file()}
    sizes.pop(WHOLE, None)
    write_atomically(checkpoint / WHOLE, [json.dumps({"files": sizes}).encode()])


def is_whole(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / WHOLE).read_bytes())["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def whole_checkpoints(work: Path) -> list[Path]:
    """Those from which a training can go on, by their steps."""
    return sorted((it for it in _checkpoints(work) if is_whole(it)), key=step_of)


def remove_torn(work: Path) -> None:
    """A torn checkpoint would count among the last ones that the trainer keeps."""
    for checkpoint in _checkpoints(work):
        if not is_whole(checkpoint):
            shutil.rmtree(checkpoint, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    named = CHECKPOINT.fullmatch(checkpoint.name)
    assert named
    return int(named[1])


def _checkpoints(work: Path) -> list[Path]:
    return [it for it in work.glob("checkpoint-*") if CHECKPOINT.fullmatch(it.name) and it.is_dir()]
