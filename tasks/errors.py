"""Mistakes a person can mend. Each carries one sentence that names what is wrong and what to do."""

from pathlib import Path


class BenchError(Exception):
    """Printed as one line, without a traceback; the command ends with `exit_code`."""

    exit_code = 2


class BadInput(BenchError):
    """A file, flag or folder given by the user can not be used (exit 2)."""


class RunStopped(BenchError):
    """A run began and could not finish: what it stored is kept, and the same command resumes it (exit 4)."""

    exit_code = 4


def user_path(text: str) -> Path:
    """A path as a person writes it, `~` understood; raises BadInput for one that no file system can have."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{text[:80]} is no usable path: {getattr(error, 'strerror', None) or error}") from None
    return path
