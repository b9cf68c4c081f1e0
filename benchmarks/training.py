"""Training throughput beside plain TRL: tokens a second of `fit_sft` and `fit_dpo`, with the collapse monitor and
without it, and of TRL's own trainers on the same rows, model, adapter, batches and number types.

    python -m benchmarks.training [--stage sft|dpo] [--steps 12] [--batch 4] [--rounds 1] [--probes 16]

All run in this process, in turns, and one clock is read around `Trainer.train`, so that the looks before the first step
and after the last count. It is CPU seconds: other work on the machine does not. TRL renders the rows itself and reads
the line break behind each answer that `bench` leaves out, so each rate is of the tokens really read.

The looks at the beginning, the quarters and the end are never left out, so in a short run they weigh most. What a look
costs tells how long a training has to be for all of them to take less than a twentieth.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness.models.embedded import embedded_checkpoint
from training.dpo import fit_dpo
from training.fit import FitJob, adapter_config, load_model, open_base, trainer_arguments
from training.hardware_choice import hardware_here
from training.looks import read_monitor
from training.recipe import Dpo, Fit, Monitor, Sft
from training.sft import fit_sft

ROWS = 64
OFF = Monitor(every=0)


@dataclass
class Clock:
    """CPU seconds within `Trainer.train`, and the tokens read there, of the latest training."""

    seconds: float = 0.0
    tokens: int = 0

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


@contextlib.contextmanager
def clocked() -> Iterator[Clock]:
    """Reads the clock around whichever trainer is run in this block."""
    from transformers import Trainer

    clock, train = Clock(), Trainer.train

    def timed(self: Any, *args: Any, **given: Any) -> Any:
        begun = time.process_time()
        done = train(self, *args, **given)
        clock.seconds = time.process_time() - begun
        clock.tokens = max(int(entry.get("num_tokens", 0)) for entry in self.state.log_history)
        return done

    Trainer.train = timed
    try:
        yield clock
    finally:
        Trainer.train = train


def conversation(i: int) -> tuple[str, str, str]:
    """A prompt and two answers, from some ten to some hundred and fifty words."""
    said = f"People meet the number {i} wherever they count things, and most of them never think about it. "
    other = "It is good for nothing. "
    return f"What is the number {i} good for in daily life?", said * (1 + i % 8), other * (1 + i % 5)


def sft_row(i: int) -> dict[str, Any]:
    asked, said, _ = conversation(i)
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return {"id": str(i), "source": "revision", "messages": messages}


def dpo_row(i: int) -> dict[str, Any]:
    asked, said, other = conversation(i)
    prompt = [{"role": "user", "content": asked}]
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (said, other))
    return {"id": str(i), "prompt": prompt, "chosen": chosen, "rejected": rejected, "p": 0.8, "kept": True}


def plain_trl(job: FitJob, settings: Sft | Dpo, rows: list[dict[str, Any]]) -> None:
    """TRL as its documentation has it, with the same settings."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    base, hardware = open_base(job, settings), hardware_here()
    arguments = {**trainer_arguments(job, settings, hardware), "max_length": settings.max_length}
    given = {"processing_class": base.speech.tokenizer, "peft_config": adapter_config(settings)}
    if isinstance(settings, Sft):
        pairs = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in rows]
        trainer = SFTTrainer(
            load_model(base, settings, hardware), args=SFTConfig(**arguments), train_dataset=Dataset.from_list(pairs),
            **given,
        )  # fmt: skip
    else:
        pairs = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]
        trainer = DPOTrainer(
            load_model(base, settings, hardware), args=DPOConfig(**arguments, beta=settings.beta),
            train_dataset=Dataset.from_list(pairs), **given,
        )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def compared(
    stage: str, settings: Sft | Dpo, rows: list[dict[str, Any]], monitor: Monitor, rounds: int, folder: Path
) -> None:
    data = folder / f"{stage}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    base = embedded_checkpoint(print)

    def job(name: str, monitor: Monitor) -> FitJob:
        return FitJob(base, None, folder / name, folder / f"{name}-made", 0, (), monitor, lambda _: None)

    def ours(name: str, monitor: Monitor) -> None:
        if isinstance(settings, Sft):
            fit_sft(job(name, monitor), settings, data)
        else:
            fit_dpo(job(name, monitor), settings, data)

    ways: dict[str, Callable[[str], None]] = {
        "plain TRL": lambda name: plain_trl(job(name, OFF), settings, rows),
        "bench, monitor off": lambda name: ours(name, OFF),
        "bench, monitor on": lambda name: ours(name, monitor),
    }
    plain_trl(job("warm", OFF), replace(settings, max_steps=1), rows)
    measured: dict[str, list[Clock]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way, run in ways.items():
            with clocked() as clock:
                run(f"{stage}-{way.rpartition(' ')[2]}-{turn}")
            measured[way].append(clock)
    rates = {way: median(clock.rate for clock in clocks) for way, clocks in measured.items()}
    for way, rate in rates.items():
        print(f"{stage:4} {way:20} {rate:8.1f} tokens/CPU s   {rate / rates['plain TRL']:.3f} of plain TRL")
    looks = read_monitor(folder / f"{stage}-on-{rounds - 1}" / "monitor.jsonl")
    costs = median(a.seconds - b.seconds for a, b in zip(measured["bench, monitor on"], measured["bench, monitor off"],
                                                         strict=True))  # fmt: skip
    first, later = looks[0].seconds, [look.seconds for look in looks[1:]]
    step = median(clock.seconds for clock in measured["bench, monitor off"]) / (settings.max_steps or 1)
    forced = first + 4 * median(later)
    print(
        f"{stage:4} {len(looks)} looks took {costs:.1f} CPU s: {first:.1f} s the first (three times the probes), "
        f"{median(later):.1f} s a later one, {step:.1f} CPU s a step; from {19 * forced / step:.0f} steps on those "
        "that are never left out take less than a twentieth"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("sft", "dpo"))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--probes", type=int, default=Monitor.probes)
    parser.add_argument("--max-new-tokens", type=int, default=Monitor.max_new_tokens)
    given = parser.parse_args()
    shared: dict[str, Any] = {"batch_size": given.batch, "max_steps": given.steps, "save_steps": 10**6}
    monitor = Monitor(every=Monitor.every, probes=given.probes, max_new_tokens=given.max_new_tokens)
    stages: dict[str, tuple[Fit, Callable[[int], dict[str, Any]]]] = {
        "sft": (Sft(**shared), sft_row), "dpo": (Dpo(**shared, soft_labels=False), dpo_row),
    }  # fmt: skip
    warnings.simplefilter("ignore", FutureWarning)
    with tempfile.TemporaryDirectory() as folder:
        for stage, (settings, row) in stages.items():
            if given.stage in (None, stage):
                assert isinstance(settings, Sft | Dpo)
                compared(stage, settings, [row(i) for i in range(ROWS)], monitor, given.rounds, Path(folder))


if __name__ == "__main__":
    main()
