"""A container's limits count, not the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.hardware import available_memory, usable_cpus


@pytest.mark.parametrize(
    ("quota", "most"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", None), ("", None), ("rubbish", None)]
)
def test_a_quota_of_processors_is_rounded_up_and_kept(tmp_path: Path, quota: str, most: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    cpus = len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path) == min(cpus, most or cpus)


def test_the_memory_limit_counts_less_what_is_used(tmp_path: Path) -> None:
    unlimited = available_memory(tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_memory(tmp_path) == 600_000 < unlimited
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) > 600_000
