"""The flags of `bench doctor`, `bench runs` and `bench completion`, for command_line.py."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "fish")


def add_shell(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands about this machine and its shell to those of the command line."""
    command = commands.add_parser(
        "runs", parents=[common], help="the runs in a folder: how they stand, and their main figures",
        description="List run directories, the newest first, with the figures that were stored when they were scored.",
        epilog="example: bench runs        (one folder of many: bench runs experiments/may)",
    )  # fmt: skip
    command.set_defaults(command="runs")
    command.add_argument("directory", metavar="DIR", nargs="?", help="where to look, folders within it, too (runs)")

    command = commands.add_parser(
        "doctor", parents=[common], help="what is wrong with this machine or a checkpoint, and what to do about it",
        description="Examine this machine, and a checkpoint if one is named. Exits 0 where nothing is wrong (there may "
        "be warnings), 2 where something is.",
        epilog="example: bench doctor ckpt/dpo-cai --offline",
    )  # fmt: skip
    command.set_defaults(command="doctor")
    add = command.add_argument
    add("checkpoint", metavar="CKPT", nargs="?", help="checkpoint or adapter folder, hub id, or smollm2")
    add("--offline", action="store_true", help="ask nothing of the network")
    add("--no-generate", action="store_true", help="do not load the weights to say five tokens")
    add("--chat-template", metavar="FILE", help="Jinja template for a checkpoint that has none")

    command = commands.add_parser(
        "completion", help="a script that completes bench's commands at the shell",
        description="Print a completion script. Names of tasks and judges, choices and paths are completed, too.",
        epilog='example: eval "$(bench completion bash)"        (in ~/.bashrc; docs/shell.md has zsh and fish)',
    )  # fmt: skip
    command.set_defaults(command="completion", json=False)
    command.add_argument("shell", choices=SHELLS, help="whose script")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
