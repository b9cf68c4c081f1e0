"""Mistakes a person can mend. Each carries one sentence that names what is wrong and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Printed as one line, without a traceback; the command ends with `exit_code`."""

    exit_code = 2


class BadInput(BenchError):
    """A file, flag or folder given by the user can not be used (exit 2)."""


class RunStopped(BenchError):
    """A run began and could not finish: what it stored is kept, and the same command resumes it (exit 4)."""

    exit_code = 4


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """What a person may have meant by a name that there is not: the near ones, or else all there are."""
    names = list(known)
    near = get_close_matches(name, names, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known {what}: {', '.join(names)}"
