"""Checks: what a program can decide about a reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check of one turn. `args` are those of its kind; `weight` is its share in the turn's rating."""

    kind: str
    args: Mapping[str, Any]
    weight: float = 1.0


def parse_check(row: Mapping[str, Any]) -> Check:
    """Build a check from its JSON form; raises ValueError for an unknown kind, or missing, unknown or ill-typed keys."""
    raise ValueError("not written yet")
