"""What every model in a test has and none of these tests is about; subclasses say what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.conversation import Completion, Message, Settings


class FakeModel:
    """A model that loads at once and costs nothing."""

    name = "fake"
    busy_s = 0.0
    parallel = 8

    def identity(self) -> dict[str, Any]:
        return {"backend": "fake"}

    def describe(self) -> dict[str, Any]:
        return self.identity()

    def load(self) -> None: ...

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        raise NotImplementedError
