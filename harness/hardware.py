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


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that could be had without swapping, within the limit of its container (cgroup v2)."""
    lines = _read(Path("/proc/meminfo")).splitlines()
    stated = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    free = stated[0] if stated else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return free


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
