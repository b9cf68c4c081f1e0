"""`answers:FILE`: nothing is generated; the items of the file bring their replies along (`Item.replies`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.conversation import Completion, Message, Settings
from tasks.downloads import sha256_of
from tasks.errors import BadInput

ANSWERS_BACKEND = "answers"


class ReplayModel:
    """Stands for whatever wrote the file. See `Model` for the interface."""

    busy_s = 0.0
    parallel = 64

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        try:
            self._sha256 = sha256_of(path)
        except OSError as error:
            raise BadInput(f"can not read the answers file {path}: {error.strerror or error}") from None

    def identity(self) -> dict[str, Any]:
        return {"backend": ANSWERS_BACKEND, "sha256": self._sha256}

    def describe(self) -> dict[str, Any]:
        return {**self.identity(), "name": self.name, "source": str(self._path)}

    def load(self) -> None:
        pass

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:  # noqa: ARG002
        raise AssertionError("every item of an answers file has replies")

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass
