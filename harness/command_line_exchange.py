"""The flags of `bench import` and `bench push`, for command_line.py."""

from __future__ import annotations

import argparse
from typing import Any


def add_exchange(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands that take from other tools and give to the hub to those of the command line."""
    command = commands.add_parser(
        "import", parents=[common], help="the answers in a log of lm-eval or Inspect, to be evaluated here",
        description="Write the answers in a log as a file for --model answers:FILE. What is no answer is counted.",
        epilog="example: bench import logs/2026-01-31_xstest.eval --out answers.jsonl && "
        "bench run --model answers:answers.jsonl --tasks over_refusal",
    )  # fmt: skip
    command.set_defaults(command="import")
    add = command.add_argument
    add("log", metavar="LOG", help="samples_….jsonl of lm_eval --log_samples, or a .eval or .json of inspect eval")
    add("--out", metavar="FILE", required=True, help="the file to write (JSON lines)")
    add(
        "--columns", metavar="A=B,…",
        help="keys of the log's documents or metadata: prompt=…,label=…,id=…,category=… (default: by these names)",
    )  # fmt: skip

    command = commands.add_parser(
        "push", parents=[common], help="a run's figures into the card of a model on the hub",
        description="Write the figures into a marked section of the card of a model repository, and into its metadata "
        "(model-index). Everything else of the card stays as it is. The key is read from HF_TOKEN.",
        epilog="example: bench push runs/dpo --repo ORG/NAME --dry-run",
    )  # fmt: skip
    command.set_defaults(command="push")
    add = command.add_argument
    add("run", metavar="RUN")
    add("--repo", metavar="ORG/NAME", required=True, help="the model repository, which must exist")
    add("--dry-run", action="store_true", help="print the card instead of writing it")
