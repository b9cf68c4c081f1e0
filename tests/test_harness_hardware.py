"""A container's limits count, not the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import hardware
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


def test_a_process_that_is_given_part_of_the_processors_claims_that_part_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "usable_cpus", lambda: 8)
    monkeypatch.setattr(hardware, "available_memory", lambda: 1_000_000)
    found = []
    for wanted in ("", "2", "64", "no"):
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        found.append((hardware.threads_of_model(), hardware.cache_memory(0.25)))
    assert found == [(8, 250_000), (2, 62_500), (8, 250_000), (8, 250_000)]
