"""Printing for people and for pipes, whose readers may go away at any time."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def print_line(text: str, stream: TextIO) -> None:
    """Print at once. That nobody reads any more (`bench show | head`) is no failure: the stream then leads nowhere."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(message: str) -> None:
    """A message for people, on stderr."""
    print_line(message, sys.stderr)


def say_nothing(_: str) -> None:
    """`say`, for --quiet."""
