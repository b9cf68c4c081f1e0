"""What the calls of an API used, and what that costs at the prices a user gives (they change too often to ship any).

["gpt-4o"]
input = 2.5    # USD a million tokens
output = 10.0
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.toml_file import read_toml
from tasks.errors import BadInput

SIDES = ("input", "output")


@dataclass(frozen=True)
class Price:
    """USD a million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """In USD. What a provider gives for less (cached prompts, batches) is not deducted."""
        return (self.input * prompt_tokens + self.output * completion_tokens) / 1e6


def read_prices(path: Path) -> dict[str, Price]:
    """The prices in a TOML file, by model.

    Raises:
        BadInput: unreadable, or not one table a model with exactly a price for `input` and for `output`.
    """
    return {model: _price(path, model, given) for model, given in read_toml(path, "the prices").items()}


def _price(path: Path, model: str, given: Any) -> Price:
    if not isinstance(given, dict):
        raise BadInput(f'{path}: {model!r} stands outside a table; write ["{model}"] and under it input and output')
    if any(isinstance(value, dict) for value in given.values()):
        raise BadInput(f'{path}: the table of a model whose name has dots needs quotes: ["{model}.…"]')
    if unknown := sorted(given.keys() - set(SIDES)):
        raise BadInput(f"{path}: {unknown[0]!r} of {model} is no price; there are input and output")
    for side in SIDES:
        value = given.get(side)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise BadInput(f"{path}: {side} of {model} must be its price in USD a million tokens, not {value!r}")
    return Price(float(given["input"]), float(given["output"]))


@dataclass
class Usage:
    """What one sitting asked of an API and got. Retries are counted by their reason."""

    tries: int = 0
    calls: int = 0
    failed: int = 0
    rejected: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    without_usage: int = 0
    models: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)

    def add(self, prompt_tokens: int | None, completion_tokens: int | None, reasoning_tokens: int | None) -> None:
        """Count a reply. None is a number that the server did not tell, which is not 0."""
        self.calls += 1
        self.without_usage += prompt_tokens is None or completion_tokens is None
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0
        self.reasoning_tokens += reasoning_tokens or 0

    def cost(self, price: Price | None) -> float | None:
        """In USD, of the replies (what failed calls cost nobody tells); None where a price or a count is unknown."""
        return None if price is None or self.without_usage else price.of(self.prompt_tokens, self.completion_tokens)

    def record(self, prices: Mapping[str, Price], model: str) -> dict[str, Any]:
        """For the manifest. `failed` requests were given up and are tried again, `rejected` ones never."""
        cost = self.cost(prices.get(model))
        return {
            "calls": self.calls,
            "tries": self.tries,
            "retries": dict(sorted(self.retries.items())),
            "failed": self.failed,
            "rejected": self.rejected,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "without_usage": self.without_usage,
            "cost_usd": None if cost is None else round(cost, 6),
            "models": sorted(self.models),
        }
