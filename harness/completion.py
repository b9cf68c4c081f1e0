"""Scripts that complete bench's commands, flags, choices, paths and names at the shell, made from its own parser.

`shtab` writes them; what is here says what each argument takes, which argparse can not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tasks.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILES = ("FILE", "[FORMAT=]FILE", "PATH", "[TASK=]SET", "SET", "LOG")
FOLDERS = ("DIR", "RUN", "RUN0", "CKPT", "M", "BASE")
"""By how a parser calls what an argument takes: what is completed from the disk. A model may be a folder."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a parser for `shell` (bash, zsh or fish).

    Raises:
        BadInput: shtab, which writes it, is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise BadInput("completion scripts are written by shtab, which is not installed: pip install shtab") from None
    names = _names()
    for action in _actions(parser):
        if action.choices is not None or action.nargs == 0:
            continue
        if action.dest in names:
            # argparse never sees these choices: a judge may also be openai:NAME, and tasks may come as a list.
            action.choices = names[action.dest]()
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell).rstrip("\n")


def _names() -> Mapping[str, Callable[[], Sequence[str]]]:
    """By the flag that takes one: the names that there are."""

    def tasks() -> Sequence[str]:
        from tasks.task import KINDS

        return list(KINDS)

    def judges() -> Sequence[str]:
        from judges.catalogue import JUDGES

        return list(JUDGES)

    return {"tasks": tasks, "task": tasks, "judge": judges}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
