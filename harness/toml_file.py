"""TOML files that a user gives."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tasks.errors import BadInput


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """What a file holds; `what` it is ("the prices") is said where it can not be read.

    Raises:
        BadInput: unreadable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"can not read {what} {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"can not read {what} {path}: {error}") from None
