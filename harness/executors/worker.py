"""What runs in a worker: one back end, opened as the driver says, which answers what the driver sends.

Nothing here knows how a worker is reached.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from harness.config import RunConfig
from judges.judgment import ScoringModel
from tasks.conversation import Completion, Message, Settings

if TYPE_CHECKING:
    from harness.models.model import Model

MUST_AGREE = ("bench", "torch", "transformers", "tokenizers", "peft", "vllm", "lm_eval")
"""Packages that decide what a model says: in another version, records would mix two programs."""


@dataclass(frozen=True)
class Opened:
    """A worker that is ready: what its model is, how it runs there, and how many requests it works on at once."""

    identity: Mapping[str, Any]
    description: Mapping[str, Any]
    parallel: int
    pid: int
    host: str


class Worker:
    """Holds a model for the driver. `versions` is asked first: the rest only makes sense where they agree."""

    def __init__(self) -> None:
        self._model: Model | None = None

    async def versions(self) -> tuple[str, Mapping[str, str | None]]:
        """The machine's name, and the version of each package that must agree (None: not installed)."""
        return socket.gethostname(), versions()

    async def open(self, config: RunConfig, threads: int | None) -> Opened:
        """Open and load the model; `threads` limits the processors that it keeps busy.

        Raises:
            BadInput: it can not be used on this machine.
        """
        from harness.models.opening import open_here
        from harness.printing import say_nothing

        if threads:
            # The back end would take all that it sees, and other workers see the same.
            os.environ["OMP_NUM_THREADS"] = str(threads)
        model = open_here(config, say_nothing)
        model.load()
        description = model.describe()
        self._model = model
        return Opened(model.identity(), description, model.parallel, os.getpid(), socket.gethostname())

    async def complete(self, messages: Sequence[Message], settings: Settings) -> tuple[Completion, float]:
        """A reply, and the seconds that the model has been busy so far. Raises as `Model.complete`."""
        assert self._model is not None
        said = await self._model.complete(messages, settings)
        return said, self._model.busy_s

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> tuple[list[float] | str, float]:
        """The log-probabilities, or why this can not be put to the model; and the seconds busy so far."""
        model = self._model
        assert model is not None
        assert isinstance(model, ScoringModel)
        try:
            return await model.continuation_logprobs(messages, prefix, continuations), model.busy_s
        except ValueError as error:
            return str(error), model.busy_s


def versions() -> dict[str, str | None]:
    """The version of each package that must agree, in this process."""
    found: dict[str, str | None] = {}
    for name in MUST_AGREE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
