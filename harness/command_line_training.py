"""The flags of `bench train`, for command_line.py."""

from __future__ import annotations

import argparse
from typing import Any

STAGES = {
    "cai": "critiques, SFT-CAI, AI feedback and DPO-CAI, one after the other",
    "critiques": "red-team prompts → answers, critiques and revisions, and what of them is fit to train on",
    "sft": "revisions and helpful conversations → the SFT-CAI checkpoint",
    "preferences": "answers of SFT-CAI, and which of two a judge prefers by the constitution",
    "dpo": "preferences → the DPO-CAI checkpoint",
}


def add_training(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `train` and what comes after it to the commands of the command line."""
    command = commands.add_parser(
        "train", help="make SFT-CAI and DPO-CAI checkpoints by a constitution",
        epilog="example: bench train cai --model smollm2 --recipe tiny --out runs/tiny",
    )  # fmt: skip
    stages = command.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, about in STAGES.items():
        stage = stages.add_parser(
            name, parents=[common], help=about, description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: bench train {name} --out runs/tiny --recipe tiny. What is done is not done again; after "
            "a stop the same command goes on.",
        )  # fmt: skip
        stage.set_defaults(command="train", stage=name)
        _add_flags(stage)
    check = stages.add_parser(
        "constitution", parents=[common], help="check a constitution, with line numbers",
        epilog="example: bench train constitution --check my.yaml",
    )  # fmt: skip
    check.set_defaults(command="train", stage="constitution")
    check.add_argument("--check", metavar="FILE", required=True, help="YAML of ours, or JSON of the original release")


def _add_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--out", metavar="DIR", required=True, help="the training's folder: data, checkpoints, lineage")
    add(
        "--recipe",
        metavar="R",
        help="tiny, replicate, llama3-8b, mistral-7b, or a TOML file (default: the folder's own, else tiny)",
    )
    add("--model", metavar="BASE", help="the base: checkpoint folder, hub id or smollm2, instead of the recipe's")
    add("--chat-template", metavar="FILE", help="Jinja template for a base that has none")
    add("--constitution", metavar="C", help="YAML file, folder of the original release, or bench (ours)")
    add("--prompts", metavar="SET", help="red-team prompts: a file, or embedded (ours)")
    add("--limit", metavar="N", type=int, help="at most N prompts")
    add("--critic", metavar="M", help="who criticises and revises: a checkpoint or openai:NAME (default: the base)")
    add("--judge", metavar="M", help="who prefers: a checkpoint or openai:NAME (default: SFT-CAI itself)")
    add("--base-url", metavar="U", help="server of openai: critics and judges")
    add("--seed", metavar="S", type=int, help="of everything that is drawn (default 0)")
    add("--no-hygiene", action="store_true", help="train on revisions as they came, to see a collapse")
    add("--stop-on-collapse", action="store_true", help="end a training that collapses; keep its last healthy weights")
    add("--quantized", action="store_true", help="QLoRA: load the base in 4 bits (needs CUDA)")
    add("--report-to", metavar="T,…", help="tensorboard, wandb, trackio")
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        help="any setting of the recipe, in TOML: --set sft.epochs=2 --set 'dpo.loss_type=[\"ipo\"]'",
    )
    add = command.add_argument_group("how checkpoints generate, as in bench run").add_argument
    add("--backend", metavar="B", help="hf or vllm")
    add("--model-args", metavar="K=V,…", help="of the vllm engine")
    add("--executor", metavar="E", help="local (default) or ray")
    add("--workers", metavar="N", type=int, help="with ray: processes that each hold a model")
    add("--worker-resources", metavar="K=V,…", help="with ray: what each is given, cpus=…,gpus=…")
    add("--ray-address", metavar="A", help="with ray: of the cluster")
