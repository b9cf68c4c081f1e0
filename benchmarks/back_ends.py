"""What our way to vLLM and to Ray's workers costs beside the plain one, and how soon a command line answers.

  make bench-back-ends                                # all of it; half an hour on two cores
  python -m benchmarks.back_ends ray --prompts 48

vllm     seconds for the same prompts, 64 tokens each, of the back end and of vLLM's own `LLM.chat`, each in processes
         of their own that take turns, engines loaded and warm. With `--tiny` a random model of two layers generates:
         nearly all of the time is then that of the plumbing, which tells what a request costs whatever the model.
ray      `bench run` in one process against two workers on the same cores; seconds from start-up to the last record,
         and how many answers are the same
help     `bench --help` against `lm_eval --help` and `inspect --help`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

TOKENS = 64
ENVIRONMENTS = Path(".venv")
SAME_FOR_BOTH = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Settings of vLLM that the back end makes for itself where nobody else did."""


# --- vllm: run by the Python of its own environment ---


def prompts(count: int) -> list[str]:
    """Different ones, so that no round finds the last one's in the prefix cache."""
    from tasks.task import TaskOptions, load_task

    first = [item.turns[0] for name in ("mini_mt", "over_refusal") for item in load_task(name, TaskOptions()).items()]
    return [f"{first[number % len(first)]} (Part {number // len(first) + 1})" for number in range(count)]


Way = tuple[Callable[[Sequence[str]], int], Callable[[], None]]
"""Generates, and says how many tokens; and ends."""


def ours(checkpoint: str) -> Way:
    from harness.models.vllm import VllmModel
    from tasks.conversation import Settings

    model = VllmModel(checkpoint, None, {}, print)
    model.load()

    async def everything(asked: Sequence[str]) -> int:
        settings = Settings(TOKENS)
        said = await asyncio.gather(*(model.complete([{"role": "user", "content": text}], settings) for text in asked))
        return sum(one.completion_tokens or 0 for one in said)

    return lambda asked: asyncio.run(everything(asked)), model.close


def plain(checkpoint: str) -> Way:
    from vllm import LLM, SamplingParams

    engine = LLM(
        checkpoint, dtype="float32", enforce_eager=True, enable_prefix_caching=True, seed=0,
        generation_config="vllm", disable_log_stats=True,
    )  # fmt: skip
    parameters = SamplingParams(temperature=0.0, max_tokens=TOKENS)

    def generate(asked: Sequence[str]) -> int:
        said = engine.chat([[{"role": "user", "content": text}] for text in asked], parameters, use_tqdm=False)
        return sum(len(one.outputs[0].token_ids) for one in said)

    return generate, engine.llm_engine.engine_core.shutdown


WAYS = {"ours": ours, "plain": plain}


def one_way(way: str, checkpoint: str, count: int, rounds: int) -> None:
    """Print seconds, processor seconds of this process and tokens of each round."""
    generate, close = WAYS[way](checkpoint)
    every = prompts(count * rounds + 8)
    generate(every[-8:])
    for number in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        said = generate(every[number * count : (number + 1) * count])
        print("measured", time.perf_counter() - begun, time.process_time() - used, said, flush=True)
    close()


def measure_vllm(count: int, rounds: int, turns: int, *, tiny: bool) -> Iterator[str]:
    python = ENVIRONMENTS / "vllm" / "bin" / "python"
    if not python.exists():
        sys.exit("vLLM has an environment of its own: make test-vllm makes it")
    with tempfile.TemporaryDirectory() as made:
        checkpoint = tiny_checkpoint(Path(made)) if tiny else embedded()
        took: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _ in range(turns):
            for way in WAYS:
                command = [str(python), "-m", "benchmarks.back_ends", "vllm", "--one", way, "--checkpoint", checkpoint]
                command += ["--prompts", str(count), "--rounds", str(rounds)]
                said = subprocess.run(
                    command, capture_output=True, text=True, check=False, env=os.environ | SAME_FOR_BOTH
                )
                lines = [line for line in said.stdout.splitlines() if line.startswith("measured ")]
                if len(lines) < rounds:
                    sys.exit(f"{way} failed:\n{said.stderr[-3000:]}")
                took[way] += [list(map(float, line.split()[1:])) for line in lines]
    model = "two random layers" if tiny else "embedded model"
    yield f"vllm, {model}, {count} prompts of up to {TOKENS} tokens, {turns} × {rounds} rounds each"
    for way, found in took.items():
        seconds, cpu, tokens = zip(*found, strict=True)
        each = statistics.median(one / count for one in cpu)
        yield (
            f"  {way:8}{min(seconds):8.2f} s best{statistics.median(seconds):8.2f} s median"
            f"{statistics.median(tokens) / statistics.median(seconds):9.1f} tokens/s"
            f"{1000 * each:8.2f} ms of this process a prompt"
        )
    best, middle = (
        summary([one[0] for one in took["ours"]]) / summary([one[0] for one in took["plain"]])
        for summary in (min, statistics.median)
    )
    yield f"  ours is {best:.3f} × plain (best), {middle:.3f} × (median)"


def embedded() -> str:
    from harness.models.embedded import embedded_checkpoint

    return str(embedded_checkpoint(print))


def tiny_checkpoint(folder: Path) -> str:
    """Two layers of the embedded model's shape, with random weights and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    source = Path(embedded())
    config = AutoConfig.from_pretrained(source)
    config.num_hidden_layers = 2
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:2]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.float32).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (source / name).exists():
            shutil.copy(source / name, folder / name)
    return str(folder)


# --- Ray ---


def measure_ray(count: int, turns: int) -> Iterator[str]:
    flags = {"one process": [], "two workers": ["--executor", "ray", "--workers", "2"]}
    took: dict[str, list[float]] = {way: [] for way in flags}
    texts: dict[str, dict[Any, str]] = {}
    with tempfile.TemporaryDirectory() as made:
        for turn in range(turns):
            for way, added in flags.items():
                run = Path(made) / f"{way}-{turn}"
                command = [sys.executable, "-m", "bench", "run", "--model", "smollm2", "--tasks", "asr", "--quiet"]
                command += ["--limit", str(count), "--max-new-tokens", str(TOKENS), "--out", str(run), *added]
                # Ray makes its workers nice: beside others they would be compared with a process that is not.
                subprocess.run(command, check=True, env=os.environ | {"RAY_worker_niceness": "0"})
                sitting = json.loads((run / "run.json").read_text())["sittings"][-1]
                took[way].append(sitting["wall_s"] - sitting["start_up_s"])
                answers = map(json.loads, (run / "answers.jsonl").read_text().splitlines())
                texts[way] = {(one["item"], one["turn"]): one["text"] for one in answers}
    one, two = texts.values()
    same = sum(text == two.get(key) for key, text in one.items())
    yield f"ray, embedded model, {count} prompts of up to {TOKENS} tokens, {turns} rounds each"
    for way, seconds in took.items():
        yield f"  {way:12}{min(seconds):8.2f} s best{statistics.median(seconds):8.2f} s median"
    best, middle = (summary(took["two workers"]) / summary(took["one process"]) for summary in (min, statistics.median))
    yield f"  two workers take {best:.3f} × the time (best), {middle:.3f} × (median)"
    yield f"  {same} of {len(one)} answers are the same"


# --- the process that judges and writes ---

SAMPLES = (4, 24)
"""Answers to each prompt of a short run and of a long one: what starting costs falls out of their difference."""


def spent(flags: Sequence[str], samples: int, out: Path) -> tuple[float, int]:
    """Processor seconds of a run's own process, children not counted, and its answers; runs in that process."""
    from bench import main as bench

    code = bench(["run", "--quiet", "--tasks", "asr,collapse", "--out", str(out), *flags, "--samples", str(samples)])
    if code:
        sys.exit(f"bench run ended with {code}")
    return time.process_time(), sum(1 for _ in (out / "answers.jsonl").open("rb"))


def measure_driver() -> Iterator[str]:
    yield "driver, two random layers, answers of 1 token, judged and measured"
    with tempfile.TemporaryDirectory() as made:
        checkpoint = tiny_checkpoint(Path(made) / "tiny")
        flags = ["--model", checkpoint, "--max-new-tokens", "1", "--executor", "ray", "--workers", "1"]
        found = []
        for samples in SAMPLES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.back_ends",
                "driver",
                "--one-run",
                str(Path(made) / str(samples)),
            ]
            command += ["--samples", str(samples), "--flags", json.dumps(flags)]
            said = (
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1].split()
            )
            found.append((float(said[0]), int(said[1])))
    (short, few), (long, many) = found
    yield f"  ray: {1000 * (long - short) / (many - few):.2f} ms an answer ({few} and {many} answers)"


# --- start-up ---


def measure_help(turns: int) -> Iterator[str]:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bench --help": [str(ENVIRONMENTS / "bin" / "bench"), "--help"],
        "lm_eval --help": [str(ENVIRONMENTS / "bin" / "lm_eval"), "--help"],
        "inspect --help": [str(ENVIRONMENTS / "inspect" / "bin" / "inspect"), "--help"],
    }
    there = {name: command for name, command in commands.items() if Path(command[0]).exists()}
    took: dict[str, list[float]] = {name: [] for name in there}
    for turn in range(turns + 1):
        for name, command in there.items():
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if turn:  # the first reads the disk
                took[name].append(time.perf_counter() - begun)
    yield f"start-up, {turns} rounds each"
    of_bench = min(took["bench --help"])
    for name, seconds in took.items():
        best, middle = min(seconds), statistics.median(seconds)
        yield f"  {name:16}{best:8.3f} s best{middle:8.3f} s median{best / of_bench:8.1f} × bench"
    for name in commands.keys() - there.keys():
        yield f"  {name:16} is not installed here"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["vllm", "ray", "driver", "help", "all"], default="all", nargs="?")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2, help="in one process of vllm")
    parser.add_argument("--turns", type=int, default=3, help="processes of each way, which take turns")
    parser.add_argument("--tiny", action="store_true", help="vllm with two random layers")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--one-run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flags", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count, rounds, turns = arguments.prompts, arguments.rounds, arguments.turns
    if arguments.one:
        one_way(arguments.one, arguments.checkpoint, count, rounds)
        return
    if arguments.one_run:
        print(*spent(arguments.flags, arguments.samples, arguments.one_run))
        return
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "vllm": lambda: measure_vllm(count, rounds, turns, tiny=arguments.tiny),
        "vllm --tiny": lambda: measure_vllm(8 * count, rounds, turns, tiny=True),
        "ray": lambda: measure_ray(count, turns),
        "driver": measure_driver,
        "help": lambda: measure_help(10),
    }
    for part in parts.values() if arguments.what == "all" else [parts[arguments.what]]:
        for line in part():
            print(line, flush=True)


if __name__ == "__main__":
    main()
