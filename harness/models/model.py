"""What the engine asks of a model, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tasks.conversation import Completion, Message, Settings


class Model(Protocol):
    """A chat model under test. Opening one checks what can be checked cheaply; `load` does the heavy part.

    `name` is what tables call it, `busy_s` the seconds it has spent computing, `parallel` how many requests it works on
    at once.
    """

    name: str

    @property
    def busy_s(self) -> float: ...

    @property
    def parallel(self) -> int: ...

    def identity(self) -> dict[str, Any]:
        """What must not change within a run: the kind, and a hash of all that decides answers, wherever it lies."""
        ...

    def describe(self) -> dict[str, Any]:
        """For the manifest: the identity, where it came from, and how it runs here (device, dtype …), after `load`."""
        ...

    def load(self) -> None:
        """Make ready to answer; does nothing the second time. Raises BadInput for a checkpoint that can not be used."""
        ...

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        """Answer the last message. A request that can not be answered is a Completion with `error`.

        Raises:
            RunStopped: no further request can be answered (out of memory, say).
        """
        ...

    def usage(self) -> dict[str, Any]:
        """Requests, tokens and cost so far, where somebody counts them."""
        ...

    def close(self) -> None: ...
