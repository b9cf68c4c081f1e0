"""What of this machine a process may use: containers limit it without taking processors or memory out of sight."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Processors that this process may keep busy: its affinity, and the quota of its container (cgroup v2)."""
    cpus = len(os.sched_getaffinity(0))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cpus = min(cpus, max(1, math.ceil(int(quota) / int(period))))
    return cpus


def threads_of_model() -> int:
    """Threads that a model of this process computes with: one a processor, or OMP_NUM_THREADS where that is less."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable_cpus(), max(1, int(wanted))) if wanted.isdigit() else usable_cpus()


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that could be had without swapping, within the limit of its container (cgroup v2)."""
    lines = _read(Path("/proc/meminfo")).splitlines()
    stated = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    free = stated[0] if stated else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return free


def cache_memory(share: float) -> int:
    """Bytes for a model's cache: a share of the free memory, and of that what its part of the processors is."""
    return int(share * available_memory() * threads_of_model() / usable_cpus())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
