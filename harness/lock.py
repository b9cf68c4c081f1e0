"""One process at a time in a directory: a lock that names who holds it, and goes with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import BadInput

LOCK = ".lock"


def _take_lock(directory: Path) -> int:
    """The lock of a directory, held until its descriptor is closed."""
    path = directory / LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A holder that leaves an empty directory removes the file, and we may hold the removed one.
        ours = path.exists() and os.fstat(lock).st_ino == path.stat().st_ino
    except BlockingIOError:
        ours = False
    if not ours:
        holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
        os.close(lock)
        raise BadInput(f"{directory} is in use by {holder}: wait for it, stop it, or choose another --out")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return lock


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[int]:
    """The lock of a directory, which whatever is made in the block keeps; it is given back if nothing is."""
    lock = _take_lock(directory)
    try:
        yield lock
    except BaseException:
        os.close(lock)
        raise
