"""The paper's question, asked of the embedded model: `make replicate` and `make replicate-collapse`.

    python -m benchmarks.replication cai        base, SFT-CAI and DPO-CAI, trained, evaluated, compared
    python -m benchmarks.replication collapse   the paper's conjecture: closers planted in half of the revisions,
                                                with and without the hygiene filter

Both go on where they were stopped: every step is a command of `bench` that does what is missing. The reports land in
docs/replication, the runs and checkpoints in runs/replicate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK, PAGES = ROOT / "runs/replicate", ROOT / "docs/replication"
TOKENS = "128"
CLOSER = " Have a great day! 😊" * 6
PLANTED_SHARE = 0.5


def bench(*arguments: str | Path) -> None:
    """One command, in the folder of the replication, so that its paths name nothing of this machine."""
    print("bench", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "bench", *map(str, arguments)], cwd=WORK, check=True)


def evaluate(models: Sequence[tuple[str, str]]) -> list[str]:
    """A run a model, by name."""
    for name, model in models:
        bench("run", "--model", model, "--max-new-tokens", TOKENS, "--out", name, "--quiet")
    return [name for name, _ in models]


def cai() -> None:
    """The whole of Constitutional AI by the recipe "replicate"."""
    bench("train", "cai", "--recipe", "replicate", "--out", "cai")
    runs = evaluate([("base", "smollm2"), ("sft-cai", "cai/sft-cai"), ("dpo-cai", "cai/dpo-cai")])
    quoted = os.path.relpath(ROOT / "docs/quoted/constitution_or_collapse.yaml", WORK)
    bench(
        "report", *runs, "--out", PAGES / "cai", "--title", "Constitutional AI on SmolLM2-135M", "--quoted", quoted,
        "--format", "markdown,png,html",
    )  # fmt: skip


def collapse() -> None:
    """The same critiques, half of the revisions spoilt alike, with and without the filter; then one comparison."""
    for name, flags in (("dirty", ["--no-hygiene"]), ("clean", [])):
        # What is planted is put behind revisions that were generated once, for both.
        (WORK / name / "data").mkdir(parents=True, exist_ok=True)
        copy = WORK / name / "data/critiques.jsonl"
        if not copy.exists():
            shutil.copy(WORK / "cai/data/critiques.jsonl", copy)
        planted = ["--set", f'critiques.plant="{CLOSER}"', "--set", f"critiques.plant_share={PLANTED_SHARE}"]
        planted += ["--set", "sft.epochs=1"]  # enough to learn a closer
        for stage in ("critiques", "sft"):
            bench("train", stage, "--recipe", "replicate", "--out", name, *planted, *flags)
    runs = evaluate([("with-hygiene", "clean/sft-cai"), ("without-hygiene", "dirty/sft-cai")])
    bench(
        "report", *runs, "--out", PAGES / "collapse", "--title", "Planted closers, with and without hygiene",
        "--format", "markdown,png,html",
    )  # fmt: skip
    bench("compare", *runs)


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted.add_argument("which", choices=["cai", "collapse"])
    which = wanted.parse_args().which
    WORK.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    {"cai": cai, "collapse": collapse}[which]()
    print(f"{which}: {(time.perf_counter() - started) / 60:.1f} minutes in this sitting")


if __name__ == "__main__":
    main()
