"""A parser of arguments that speaks as the rest of bench does: one line for a mistake, with what was probably meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.printing import print_line, say
from tasks.errors import suggestion

EXIT_CODES = """\
exit codes:
  0  done (bench gate: passed)
  1  bench gate: failed
  2  a mistake in the command line or a file, or a problem that bench doctor found
  3  bench gate: inconclusive
  4  incomplete or stopped: the same command goes on from there"""


class Parser(argparse.ArgumentParser):
    """`argparse`'s parser; those of its commands are of this class, too."""

    def parse_known_args(  # type: ignore[override]  # as argparse calls it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Unknown flags are refused here, by the command that they were given to: it knows which ones are near."""
        known, left = super().parse_known_args(args, namespace)
        if unknown := [word.partition("=")[0] for word in left if word.startswith("-")]:
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            self.error(f"no flag {unknown[0]}: {suggestion(unknown[0], flags, 'flags')}")
        return known, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Of a misspelt command, argparse lists every other and guesses none (before Python 3.14)."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            raise argparse.ArgumentError(None, f"no command {value!r}: {suggestion(value, action.choices, 'commands')}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message} ({self.prog} --help)")
        sys.exit(2)

    def print_help(self, file: Any = None) -> None:
        print_line(self.format_help().rstrip("\n"), file or sys.stdout)


class ShowVersion(argparse.Action):
    """--version. What it prints is looked up when it is asked for: that takes longer than all else in here."""

    def __init__(self, option_strings: Sequence[str], **options: Any) -> None:
        super().__init__(option_strings, nargs=0, **{**options, "dest": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("bench")
        except PackageNotFoundError:
            found = "(not installed: it runs from its source)"
        print_line(f"bench {found}", sys.stdout)
        parser.exit()
