"""Checkpoints, in folders or on the hub: what is in them, whether they can be used, and their fingerprint.

Loads no heavy library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.downloads import HUB_TIMEOUT_S, sha256_of
from tasks.errors import BadInput
from tasks.paths import user_path

WEIGHTS = "*.safetensors"
DECIDES_ANSWERS = (
    WEIGHTS, "*.jinja", "*.model", "merges.txt", "vocab.txt", "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json", "vocab.json",
    "adapter_config.json", "model.safetensors.index.json",
)  # fmt: skip
"""What a run reads of a checkpoint. Training states, logs and evaluation results beside it change nothing."""
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./+-]+))?")
"""A model of the hub, and one of its revisions: a branch, a tag or a commit."""


Commits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Checkpoint:
    """A folder that transformers can load, and the LoRA adapter to put on it, if any.

    `commits` are those that were taken from the hub, by the ids of their repositories.
    """

    folder: Path
    adapter: Path | None = None
    commits: Commits = ()

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
    """Find and check the checkpoint a user names: a folder, an adapter folder, or a hub id (`ORG/NAME@REVISION`).

    Raises:
        BadInput: missing, incomplete, unreadable, or not in safetensors.
    """
    folder = user_path(spec)
    commits: Commits = ()
    if not folder.exists():
        folder, commits = _from_hub(spec)
    if not folder.is_dir():
        raise BadInput(f"{spec} is a file, not a checkpoint folder (to replay stored answers: --model answers:{spec})")
    if (folder / "adapter_config.json").exists():
        return _open_adapter(folder, commits)
    _check_folder(folder)
    return Checkpoint(folder, commits=commits)


def short_name(spec: str) -> str:
    """What a checkpoint is called: the last part of its path, or of its hub id with the revision behind it."""
    if (hub := HUB_ID.fullmatch(spec)) and hub["revision"] and not user_path(spec).exists():
        return f"{Path(hub['name']).name}@{hub['revision']}"
    return Path(spec).name or spec


def _open_adapter(folder: Path, commits: Commits) -> Checkpoint:
    config = _read_json(folder / "adapter_config.json")
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        raise BadInput(f"{folder}/adapter_config.json names no base model (base_model_name_or_path)")
    if not list(folder.glob(WEIGHTS)):
        raise BadInput(f"{folder} has an adapter_config.json but no {WEIGHTS}: save the adapter again")
    # A relative path may be meant from where the adapter was trained, or from where it lies.
    near = [place for place in (folder / base, folder.parent / base) if place.is_dir()]
    # An adapter that was trained on a revision of its base names it.
    pinned = f"{base}@{revision}" if isinstance(revision, str) and HUB_ID.fullmatch(base) else base
    try:
        found = open_checkpoint(str(near[0]) if near else base if user_path(base).exists() else pinned)
    except BadInput as error:
        raise BadInput(f"the base model of the adapter {folder} can not be used: {error}") from None
    if found.adapter:
        raise BadInput(f"{folder} is an adapter on an adapter ({base}): merge the first one")
    return Checkpoint(found.folder, adapter=folder, commits=(*commits, *found.commits))


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
    try:
        size = path.stat().st_size
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


def _from_hub(spec: str) -> tuple[Path, Commits]:
    """The folder of the hub's cache that holds the newest commit of a revision, fetched if need be, and that commit."""
    hub = HUB_ID.fullmatch(spec)
    if spec.startswith(("/", ".", "~")) or not hub:
        raise BadInput(
            f"no folder {spec}: pass a checkpoint folder, a hub id (ORG/NAME@REVISION), answers:FILE or smollm2"
        )
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise BadInput(f"no folder {spec}; to fetch it from the hub: pip install 'bench[hf]'") from None
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    name, wanted = hub["name"], hub["revision"] or "main"
    trouble = ""
    try:
        # Asked once and without retries, so that a machine without network learns it within the timeout.
        HfApi().model_info(name, revision=wanted, timeout=HUB_TIMEOUT_S)
    except RevisionNotFoundError:
        raise BadInput(
            f"the hub's {name} has no revision {wanted!r}: its page lists its branches, tags and commits"
        ) from None
    except OfflineModeIsEnabled:
        trouble = "HF_HUB_OFFLINE is set, so it is not asked"
    except GatedRepoError:
        trouble = "its terms must be accepted on its page, and HF_TOKEN set"
    except RepositoryNotFoundError:
        trouble = "it has no such model, or it is private and HF_TOKEN is not set"
    except Exception as error:  # noqa: BLE001 - the hub client raises a dozen kinds; each means that it does not answer
        trouble = f"it can not be asked ({_first_line(error)})"
    allowed = list(DECIDES_ANSWERS)
    try:
        # What is in the cache serves without the hub, too.
        folder = Path(snapshot_download(name, revision=wanted, allow_patterns=allowed, local_files_only=bool(trouble)))
    except Exception as error:  # noqa: BLE001 - as above
        reason = f"{trouble}, and its cache here has no revision {wanted!r}" if trouble else _first_line(error)
        raise BadInput(f"no folder {spec} here, and it can not be had from the hub: {reason}") from None
    return folder, ((name, folder.name),)


def _first_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[0][:200] if said else type(error).__name__
