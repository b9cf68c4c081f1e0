"""The decode loop over slots: prefill what joins, step what runs, hand back what ended. Knows tokens, not text."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.models.slots import SlotCache
from harness.models.steps import CERTAIN
from tasks.conversation import Finish, Settings


@dataclass
class Row:
    """One conversation being continued: its prompt, what it has said so far, and how it ended (None while it runs).

    `limit` is the most tokens it may say: fewer than the settings allow where the model's context ends before.
    `entropies` holds the next-token entropy of each step in nats, before temperature; in `certain` of them the
    likeliest token had a probability above `CERTAIN`.
    """

    prompt: Sequence[int]
    settings: Settings
    limit: int = 0
    tokens: list[int] = field(default_factory=list)
    entropies: array[float] = field(default_factory=lambda: array("f"))
    certain: int = 0
    finish: Finish | None = None
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.settings.seed)
        self.limit = self.limit or self.settings.max_new_tokens

    @property
    def position(self) -> int:
        """Tokens already in the cache."""
        return len(self.prompt) + len(self.tokens) - 1

    @property
    def token_entropy(self) -> float | None:
        """Mean next-token entropy over the steps taken; None where it is no number."""
        total = sum(self.entropies)
        return total / len(self.entropies) if self.entropies and math.isfinite(total) else None


class Decoder:
    """Continues up to `rows` conversations at once with one causal language model."""

    def __init__(self, model: Any, stop_ids: frozenset[int], rows: int, cache_tokens: int) -> None:
        self._model = model
        self._stop_ids = stop_ids
        self._device = model.device
        self._cache_tokens = cache_tokens
        self._cache = SlotCache()
        self._window, self._mixed = attention_window(model.config)
        self.rows = rows
        self.live: list[Row] = []

    def room_for(self, row: Row, joining: Sequence[Row] = ()) -> bool:
        """Whether a row fits beside those that live and join: a free slot, and buffers within the token budget.

        One row always fits.
        """
        others = [*self.live, *joining]
        longest = max(len(r.prompt) + r.limit for r in (*others, row))
        return not others or (len(others) < self.rows and longest * (len(others) + 1) <= self._cache_tokens)

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> list[Row]:
        """Prefill prompts of similar length in one pass and say their first tokens; returns the rows already ended."""
        logits = self.prefill_logits(rows)
        self.live.extend(rows)
        return self._say(rows, logits)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Say one token in every live row; returns the rows that ended with it."""
        return self._say(self.live, self.step_logits())

    def prefill_logits(self, rows: Sequence[Row]) -> torch.Tensor:
        """Read the prompts into the slots after the live rows; logits [rows, vocabulary] of each one's next token."""
        length = max(len(row.prompt) for row in rows)
        ids = torch.zeros((len(rows), length), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row.prompt)] = torch.as_tensor(row.prompt)
        last = torch.tensor([len(row.prompt) - 1 for row in rows], device=self._device)
        kept, place = torch.unique(last, return_inverse=True)
        # Padding stands on the right, so plain causal attention already keeps it out of every real position.
        places = torch.arange(length, device=self._device)
        distance = (places[:, None] - places[None])[None]
        # Room for all that these rows may come to say: the buffers need not grow at each step.
        most = max(len(row.prompt) + row.limit for row in (*self.live, *rows))
        self._cache.reserve(len(self.live) + len(rows), most, self._cache_tokens)
        self._cache.prefill(len(self.live), len(rows), length)
        output = self._model(
            input_ids=ids.to(self._device),
            attention_mask=self._mask(distance),
            position_ids=places[None].expand(len(rows), length),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=kept,
        )
        logits: torch.Tensor = output.logits[torch.arange(len(rows), device=self._device), place]
        return logits

    def step_logits(self) -> torch.Tensor:
        """Feed each live row its latest token; logits [rows, vocabulary] of its next."""
        positions = torch.tensor([row.position for row in self.live], device=self._device)
        span = max(row.position for row in self.live) + 1
        self._cache.step(positions, span)
        distance = positions[:, None, None] - torch.arange(span, device=self._device)[None, None]
        output = self._model(
            input_ids=torch.tensor([[row.tokens[-1]] for row in self.live], device=self._device),
            attention_mask=self._mask(distance),
            position_ids=positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _mask(self, distance: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """The additive attention mask for distances [rows, queries, keys]; one for each kind of layer where mixed."""
        full = self._additive(distance >= 0)
        if self._window is None:
            return full
        near = self._additive((distance >= 0) & (distance < self._window))
        return {"full_attention": full, "sliding_attention": near} if self._mixed else near

    def _additive(self, seen: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)[:, None]

    def _say(self, rows: Sequence[Row], logits: torch.Tensor) -> list[Row]:
        """Choose each row's next token from its logits [rows, vocabulary]; the ended rows give their slots up."""
        logits = logits.float()
        log_probs = torch.log_softmax(logits, dim=-1)
        entropies = -(log_probs.exp() * log_probs).sum(-1)
        chosen = logits.argmax(-1)
        certain = log_probs.gather(-1, chosen[:, None])[:, 0] > math.log(CERTAIN)
        sampled = [i for i, row in enumerate(rows) if row.settings.temperature > 0]
        if sampled:
            heat = torch.tensor([rows[i].settings.temperature for i in sampled], device=self._device)[:, None]
            draws = torch.tensor([rows[i].draw.random() for i in sampled], device=self._device, dtype=torch.float64)
            # Inverse of the cumulative distribution, one uniform number a row from the row's own generator: what a row
            # says depends on its seed alone, not on its neighbours.
            cumulative = torch.softmax(logits[sampled].double() / heat, dim=-1).cumsum(-1)
            picks = torch.searchsorted(cumulative, (draws * cumulative[:, -1])[:, None], right=True)[:, 0]
            chosen[sampled] = picks.clamp(max=logits.shape[-1] - 1)
        steps = zip(rows, chosen.tolist(), entropies.tolist(), certain.tolist(), strict=True)
        for row, token, entropy, is_certain in steps:
            row.tokens.append(token)
            row.entropies.append(entropy)
            row.certain += is_certain
            if token in self._stop_ids:
                row.finish = "stop"
            elif len(row.tokens) >= row.limit:
                row.finish = "length"
        return self._release()

    def _release(self) -> list[Row]:
        """Take the ended rows out, moving rows from the end into their slots."""
        ended = []
        slot = 0
        while slot < len(self.live):
            if self.live[slot].finish is None:
                slot += 1
                continue
            ended.append(self.live[slot])
            last = self.live.pop()
            if slot < len(self.live):
                self._cache.move(len(self.live), slot, last.position)
                self.live[slot] = last
        return ended


def joint_groups(rows: Sequence[Row], waste: float = 0.25, most_tokens: int = 8192) -> list[list[Row]]:
    """Split rows into groups to prefill together: padding is at most `waste` of one, and it has at most `most_tokens`.

    One row is a group whatever its length.
    """
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.prompt)):
        if groups:
            held = [*groups[-1], row]
            size = len(row.prompt) * len(held)
            if size <= most_tokens and sum(len(r.prompt) for r in held) >= (1 - waste) * size:
                groups[-1].append(row)
                continue
        groups.append([row])
    return groups


def attention_window(config: Any) -> tuple[int | None, bool]:
    """A model's sliding attention window in tokens (None: it sees everything), and whether only some layers slide.

    Raises:
        ValueError: it has layers that are neither (recurrent, chunked).
    """
    config = config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"its layers include {', '.join(sorted(unknown))}")
    window: int | None = getattr(config, "sliding_window", None)
    if kinds:
        return (window if "sliding_attention" in kinds else None), True
    return window, False


@torch.inference_mode()
def slot_error(model: Any) -> float:
    """Largest difference in logits between decoding in slots and a plain forward pass, as a share of their range.

    An architecture whose attention the slots do not reproduce (positions counted from padding, masks built elsewhere)
    shows here, on a few random tokens, before it can spoil a run.

    Raises:
        ValueError: layers that slots can not serve, or logits that are not finite numbers.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.get_text_config().vocab_size
    window = attention_window(model.config)[0] or 0
    beyond = window + 3 if window <= 1024 else 0
    prompts = [
        torch.randint(0, vocabulary, (length,), generator=generator).tolist() for length in (4, 9, max(7, beyond))
    ]
    rows = [Row(prompt, Settings(max_new_tokens=4)) for prompt in prompts]
    decoder = Decoder(model, frozenset(), len(rows), cache_tokens=0)
    first = decoder.prefill_logits(rows)
    decoder.live.extend(rows)
    for row, token in zip(rows, first.argmax(-1).tolist(), strict=True):
        row.tokens.append(token)
    second = decoder.step_logits()
    worst = 0.0
    for i, row in enumerate(rows):
        plain = model(input_ids=torch.tensor([[*row.prompt, *row.tokens]], device=model.device)).logits[0, -2:]
        if not plain.isfinite().all():
            raise ValueError("its logits are not finite numbers: the weights are damaged")
        differs = (torch.stack([first[i], second[i]]) - plain).abs().max()
        worst = max(worst, (differs / (plain.max() - plain.min())).item())
    return worst
