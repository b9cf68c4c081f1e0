"""A key/value cache with one slot a conversation, so that rows join and leave a running batch at any step.

`generate` of transformers keeps a batch together until its last row ends and copies the whole cache at every step.
Here every row owns a slot in one buffer: a row that joins is prefilled into it, a row that ends gives it up, and a step
writes one position a row in place. Rows have their own positions, so nothing is padded on the left and a
row's text does not depend on when it joined.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache

# Buffers grow in steps: fewer copies against memory held in vain.
ROWS_STEP, LENGTH_STEP = 16, 128


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of the rows being generated, for any model that calls `past_key_values.update(k, v, layer)`.

    Rows 0..n-1 are live and contiguous. `reserve` makes room; `prefill` or `step` says what the next forward pass does.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._rows = 0
        self._length = 0
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._prefill_rows: slice | None = None
        self._index: tuple[torch.Tensor, torch.Tensor] | None = None
        self._span = 0

    @property
    def is_compileable(self) -> bool:
        return False

    def reserve(self, rows: int, length: int, budget: int) -> None:
        """Make room for `rows` rows of at most `length` tokens, all live rows among them.

        A buffer that must grow takes the size needed now in both directions: many short rows followed by a few long
        ones never cost many long ones. What is rounded up stays within `budget` tokens where the rows themselves do.
        """
        if rows <= self._rows and length <= self._length:
            return
        self._length = -(-length // LENGTH_STEP) * LENGTH_STEP
        self._rows = max(rows, min(-(-rows // ROWS_STEP) * ROWS_STEP, budget // self._length))
        for buffers in (self._keys, self._values):
            for layer, old in enumerate(buffers):
                buffers[layer] = self._empty(old)
                kept = (slice(0, min(self._rows, old.shape[0])), slice(None), slice(0, min(self._length, old.shape[2])))
                buffers[layer][kept] = old[kept]

    def prefill(self, first: int, count: int, length: int) -> None:
        """The next forward pass reads prompts of at most `length` tokens into rows first..first+count-1."""
        self._prefill_rows = slice(first, first + count)
        self._span = length

    def step(self, positions: torch.Tensor, span: int) -> None:
        """The next forward pass adds one token to each of the first `len(positions)` rows, at these positions."""
        self._prefill_rows = None
        self._index = (torch.arange(len(positions), device=positions.device), positions)
        self._span = span

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` positions, to close the gap that an ended row leaves."""
        for buffer in (*self._keys, *self._values):
            buffer[target, :, :length] = buffer[source, :, :length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store this layer's new keys and values [rows, heads, tokens, size]; return those to attend to."""
        if layer_idx == len(self._keys):
            self._keys.append(self._empty(key_states))
            self._values.append(self._empty(value_states))
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        if self._prefill_rows is not None:
            keys[self._prefill_rows, :, : self._span] = key_states
            values[self._prefill_rows, :, : self._span] = value_states
            return key_states, value_states
        assert self._index is not None
        rows, positions = self._index
        keys[rows, :, positions] = key_states[:, :, 0]
        values[rows, :, positions] = value_states[:, :, 0]
        return keys[: len(rows), :, : self._span], values[: len(rows), :, : self._span]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """0: positions are always passed explicitly, a row at a time."""
        return 0

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros((self._rows, like.shape[1], self._length, like.shape[3]))
