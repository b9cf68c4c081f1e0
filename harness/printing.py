"""Printing for people and for pipes, whose readers may go away at any time."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from tasks.errors import RunStopped


def print_line(text: str, stream: TextIO | None) -> None:
    """Print at once. That nobody reads any more (`bench show | head`) is no failure: the stream then leads nowhere.

    Raises:
        RunStopped: what was asked for can not be printed (a full disk behind it, say).
    """
    if stream is None:  # closed before we were started
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise RunStopped(f"can not print: {error.strerror}") from None


def say(message: str) -> None:
    """A message for people, on stderr. If it can not be printed, the work goes on."""
    with contextlib.suppress(RunStopped):
        print_line(message, sys.stderr)


def printable(text: str) -> str:
    """Text of a file or a model, on one line: what could steer a terminal is shown, not sent."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def takes_colour(stream: TextIO | None) -> bool:
    """Whether a stream leads to a terminal whose user did not say no to colours (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return stream is not None and wanted and stream.isatty()


def say_nothing(_: str) -> None:
    """`say`, for --quiet."""
