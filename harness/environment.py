"""What a run was made with: library versions, hardware, and the commit of this program."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.hardware import usable_cpus

LIBRARIES = (
    "bench", "numpy", "pandas", "scipy", "torch", "transformers", "safetensors", "peft", "trl", "vllm", "ray",
    "lm_eval", "openai",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """For the manifest. Holds no environment variable and no user or host name."""
    return {
        "python": sys.version.split()[0],
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": usable_cpus(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "git_commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def bf16_instructions() -> str | None:
    """The instructions with which this processor multiplies bfloat16, or None where torch would emulate it."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return None
    return next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in words), None)


def _commit() -> str | None:
    """The commit of a checkout that this program runs from, with "+" where it was changed since; None elsewhere."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
