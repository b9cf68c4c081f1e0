"""Checkpoint folders: what is in them, whether they can be used, and their fingerprint. Loads no heavy library."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.downloads import sha256_of
from tasks.errors import BadInput
from tasks.paths import user_path

WEIGHTS = "*.safetensors"
DECIDES_ANSWERS = (
    WEIGHTS, "*.jinja", "*.model", "merges.txt", "vocab.txt", "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json", "vocab.json",
    "adapter_config.json", "model.safetensors.index.json",
)  # fmt: skip
"""What a run reads of a checkpoint. Training states, logs and evaluation results beside it change nothing."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Checkpoint:
    """A folder that transformers can load, and the LoRA adapter to put on it, if any."""

    folder: Path
    adapter: Path | None = None

    @property
    def tokenizer_folder(self) -> Path:
        """An adapter that was trained with its own template or tokens brings its tokenizer along."""
        if self.adapter and (self.adapter / "tokenizer_config.json").exists():
            return self.adapter
        return self.folder

    def chat_template(self) -> str | None:
        """The chat template as transformers would find it, or None."""
        folder = self.tokenizer_folder
        file = folder / "chat_template.jinja"
        try:
            if file.exists():
                return file.read_text(encoding="utf-8")
            configured = folder / "tokenizer_config.json"
            written = _read_json(configured).get("chat_template") if configured.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"can not read the chat template in {folder}: {error}") from None
        if isinstance(written, list):
            named = {entry.get("name"): entry.get("template") for entry in written if isinstance(entry, dict)}
            written = named.get("default")
        return written if isinstance(written, str) else None

    def fingerprint(self) -> str:
        """sha256 over the names and contents of every file that decides an answer."""
        digest = hashlib.sha256()
        for folder in filter(None, (self.folder, self.adapter)):
            found = {path for pattern in DECIDES_ANSWERS for path in folder.glob(pattern)}
            for path in sorted(found):
                digest.update(f"{path.name}\0{sha256_of(path)}\n".encode())
        return digest.hexdigest()


def open_checkpoint(spec: str) -> Checkpoint:
    """Find and check the checkpoint a user names: a folder, an adapter folder, or a hub id.

    Raises:
        BadInput: missing, incomplete, unreadable, or not in safetensors.
    """
    folder = user_path(spec)
    if not folder.exists():
        folder = _from_hub(spec)
    if not folder.is_dir():
        raise BadInput(f"{spec} is a file, not a checkpoint folder (to replay stored answers: --model answers:{spec})")
    if (folder / "adapter_config.json").exists():
        return _open_adapter(folder)
    _check_folder(folder)
    return Checkpoint(folder)


def _open_adapter(folder: Path) -> Checkpoint:
    base = _read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise BadInput(f"{folder}/adapter_config.json names no base model (base_model_name_or_path)")
    if not list(folder.glob(WEIGHTS)):
        raise BadInput(f"{folder} has an adapter_config.json but no {WEIGHTS}: save the adapter again")
    # A relative path may be meant from where the adapter was trained, or from where it lies.
    near = [place for place in (folder / base, folder.parent / base) if place.is_dir()]
    try:
        found = open_checkpoint(str(near[0]) if near else base)
    except BadInput as error:
        raise BadInput(f"the base model of the adapter {folder} can not be used: {error}") from None
    if found.adapter:
        raise BadInput(f"{folder} is an adapter on an adapter ({base}): merge the first one")
    return Checkpoint(found.folder, adapter=folder)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists():
        inside = sorted(path.parent for path in folder.glob("*/config.json"))
        hint = f"did you mean {inside[-1]}?" if inside else "pass the folder that save_pretrained wrote"
        raise BadInput(f"{folder} has no config.json, so it is not a checkpoint: {hint}")
    if "model_type" not in _read_json(folder / "config.json"):
        raise BadInput(f"{folder}/config.json names no model_type: not a transformers checkpoint")
    weights = sorted(folder.glob(WEIGHTS))
    if not weights:
        other = [path.name for pattern in ("*.bin", "*.pt", "*.gguf") for path in folder.glob(pattern)]
        held = f"only {', '.join(sorted(other)[:3])}" if other else "no weights"
        raise BadInput(f"{folder} holds {held}; weights are read from {WEIGHTS} alone: save it with safetensors")
    for path in weights:
        _check_safetensors(path)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        wanted = set(_read_json(index).get("weight_map", {}).values())
        if missing := sorted(wanted - {path.name for path in weights}):
            raise BadInput(f"{folder} lacks {', '.join(missing)}, which its index names: copy the checkpoint again")


def _check_safetensors(path: Path) -> None:
    """The header must be JSON and the file as long as it says: a torn copy is seen here, before minutes of loading."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(length)) if 0 < length <= size - 8 else None
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError):
        raise BadInput(f"{path} is not a safetensors file, or is damaged: copy or save it again") from None
    if size != 8 + length + max(ends, default=0):
        raise BadInput(f"{path} is damaged ({size} bytes, its header speaks of {8 + length + max(ends, default=0)})")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"can not read {path}: {error}") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path} is not a JSON object")
    return value


def _from_hub(spec: str) -> Path:
    if spec.startswith(("/", ".", "~")) or not HUB_ID.fullmatch(spec):
        raise BadInput(f"no folder {spec}: pass a checkpoint folder, a hub id, answers:FILE or smollm2")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise BadInput(f"no folder {spec}; to fetch it from the hub: pip install 'bench[hf]'") from None
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return Path(snapshot_download(spec, allow_patterns=list(DECIDES_ANSWERS)))
    except Exception as error:  # noqa: BLE001 - the hub client raises a dozen kinds; each means that it is not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"no folder {spec} here, and it can not be had from the hub: {reason[:200]}") from None
