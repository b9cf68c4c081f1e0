"""Paths as people write them."""

from pathlib import Path

from tasks.errors import BadInput


def user_path(text: str) -> Path:
    """A path as a person writes it, `~` understood; raises BadInput for one that no file system can have."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{text[:80]} is no usable path: {getattr(error, 'strerror', None) or error}") from None
    return path
