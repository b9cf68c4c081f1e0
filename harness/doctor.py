"""`bench doctor`: what this machine has and lacks, each finding with its remedy. Checkpoints: doctor_checkpoint.py."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.environment import bf16_instructions, environment
from harness.findings import Examination, Finding, ok, problem, warning
from harness.hardware import available_memory, usable_cpus
from harness.judging import JUDGE_KEYS
from harness.models.opening import MODEL_KEYS
from harness.reach import reach_findings
from harness.requirements import version_findings
from harness.runs import RUNS
from tasks.downloads import user_cache
from tasks.errors import BadInput

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY, LITTLE_MEMORY = 1 << 30, 3 << 30
LEAST_DISK, LITTLE_DISK = 100 << 20, 2 << 30
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
BFLOAT16_CAPABILITY = (8, 0)
"""CUDA compute capability from which the hardware itself multiplies bfloat16 (Ampere)."""


def examine(
    spec: str | None = None, *, template: str | None = None, offline: bool = False, generate: bool = True
) -> Examination:
    """Look at this machine, and at the checkpoint that `spec` names; `generate` lets it say five tokens.

    Raises:
        BadInput: `spec` names no checkpoint, or a template is given without one.
    """
    waits = os.environ.get("OMP_WAIT_POLICY", "")  # loading torch sets it
    if template and not spec:
        raise BadInput("--chat-template goes with a checkpoint: bench doctor CKPT --chat-template FILE")
    checkpoint: list[Finding] = []
    with _offline() if offline else contextlib.nullcontext():
        if spec:
            from harness.doctor_checkpoint import checkpoint_findings

            checkpoint = checkpoint_findings(spec, template, generate=generate)
        made_with = environment()
        machine = [
            *_python(made_with),
            *version_findings(),
            *_processor(made_with, waits),
            *_gpu(),
            *_disk(),
            *_keys(),
            *reach_findings(offline=offline),
        ]
    return Examination(machine, checkpoint, made_with, named=spec)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """What fetches a model is told to use its cache alone."""
    before = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "PIP_NO_INDEX")}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _python(made_with: dict[str, Any]) -> Iterator[Finding]:
    says = f"{made_with['python']} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        yield problem("Python", says, f"bench needs {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    else:
        yield ok("Python", says)
    yield ok("libraries", ", ".join(f"{name} {version}" for name, version in made_with["libraries"].items()))
    lacking = [name for name in ("torch", "transformers") if name not in made_with["libraries"]]
    if lacking:
        says = f"without {' and '.join(lacking)} no checkpoint can be run; stored answers and APIs can be evaluated"
        yield warning("libraries", says, "pip install 'bench[hf]'")


def _processor(made_with: dict[str, Any], waits: str) -> Iterator[Finding]:
    there = bf16_instructions()
    bf16 = f"multiplies bfloat16 ({there})" if there else "has no bfloat16 instructions"
    yield ok("processor", f"{made_with['processor']}, {usable_cpus()} usable, {bf16}; bench runs in float32 on it")
    if waits.lower() == "active":
        yield warning("OMP_WAIT_POLICY", "active: waiting threads take the processor from working ones", "unset it")
    else:
        yield ok("OMP_WAIT_POLICY", waits.lower() or "passive (bench sets it)")
    free = available_memory()
    says = f"{free / 2**30:.1f} GiB of {made_with['memory_gib']} GiB free"
    if free < LEAST_MEMORY:
        yield problem("memory", says, "end other programs, or raise the limit of this container")
    elif free < LITTLE_MEMORY:
        yield warning("memory", says, "enough for smollm2 and little more: end other programs to run larger models")
    else:
        yield ok("memory", says)


def _gpu() -> Iterator[Finding]:
    driver = Path("/proc/driver/nvidia/version").exists()
    if find_spec("torch") is None:
        return
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        yield problem("torch", f"can not be loaded: {reason}", "pip install --force-reinstall torch")
        return
    if not torch.cuda.is_available():
        if driver and torch.version.cuda is None:
            says = f"there is one, and torch {torch.__version__} was built without CUDA"
            yield warning("GPU", says, "pip install --force-reinstall torch, from an index that has it with CUDA")
        elif driver:
            says = f"there is one, and torch {torch.__version__} for CUDA {torch.version.cuda} can not use it"
            yield warning("GPU", says, "compare with nvidia-smi: update the driver, or install a torch for its CUDA")
        else:
            yield ok("GPU", "none: checkpoints run on the processor")
        return
    for place in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(place)
        capability = torch.cuda.get_device_capability(place)
        says = (
            f"{torch.cuda.get_device_name(place)}, {free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free, compute "
            f"capability {capability[0]}.{capability[1]}, CUDA {torch.version.cuda}"
        )
        if torch.version.cuda and capability < BFLOAT16_CAPABILITY:
            remedy = "bench falls back on float16 where torch says so; train in float32, or on Ampere or newer"
            yield warning(f"GPU {place}", f"{says}; no bfloat16 in hardware", remedy)
        else:
            yield ok(f"GPU {place}", f"{says}, bfloat16 in hardware")


def _disk() -> Iterator[Finding]:
    for subject, folder, choose, tell_size in (
        ("runs", Path(RUNS), "--out to a folder with room", False),
        ("bench's cache", user_cache(), "BENCH_CACHE to a folder with room", True),
        ("hub's cache", hub_cache(), "HF_HOME to a folder with room", True),
    ):
        there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))
        size = f"{_size(folder) / 2**20:,.0f} MiB in " if tell_size and folder.is_dir() else ""
        try:
            free = shutil.disk_usage(there).free
        except OSError as error:
            yield warning(subject, f"{folder} can not be read: {error.strerror}", f"set {choose}")
            continue
        says = f"{size}{folder}, {free / 2**30:.1f} GiB free there"
        if not os.access(there, os.W_OK):
            yield problem(subject, f"{folder} can not be written", f"set {choose}, or mend its permissions")
        elif free < LEAST_DISK:
            yield problem(subject, says, f"make room, or set {choose}")
        elif free < LITTLE_DISK:
            yield warning(subject, says, f"make room, or set {choose}")
        else:
            yield ok(subject, says)


def hub_cache() -> Path:
    """Where the hub's library keeps files: HF_HUB_CACHE, else hub in HF_HOME, else in the user's cache folder."""
    if chosen := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    return hub_home() / "hub"


def hub_home() -> Path:
    if chosen := os.environ.get("HF_HOME"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; links, which the hub's cache is full of, count nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # it was removed meanwhile
                status = (Path(place) / name).lstat()
                total += 0 if stat.S_ISLNK(status.st_mode) else status.st_size
    return total


def _keys() -> Iterator[Finding]:
    """Which keys there are, by name. Nothing else is said of one but that it can not be a key."""
    names = dict.fromkeys((*MODEL_KEYS, *JUDGE_KEYS, *HUB_TOKENS))
    values = {name: os.environ.get(name) for name in names}
    present = [name for name, value in values.items() if value and value.strip()]
    token = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token")
    present += [str(token)] if token.is_file() else []
    nothing = "none; openai: models and gated checkpoints need one"
    yield ok("keys", f"present: {', '.join(present)}" if present else nothing)
    for name, value in values.items():
        if value is not None and not value.strip():
            yield warning("keys", f"{name} is set and empty", f"unset {name}, or give it its key")
        elif value and (value.strip()[0] in "'\"" or any(letter.isspace() for letter in value.strip())):
            yield problem(
                "keys", f"{name} has quotes or blanks in it, so it is no key", f"set {name} anew, without them"
            )
