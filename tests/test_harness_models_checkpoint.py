"""Checkpoints on the hub: by revision, with the commit that was found, from the cache where nothing answers."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.models import checkpoint as checkpoints
from harness.models.checkpoint import open_checkpoint, short_name
from harness.models.hf import HFModel
from tasks.errors import BadInput

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[1]


class HubServer(http.server.SimpleHTTPRequestHandler):
    """A hub with one model, ada/small, of two revisions that are the same commit."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        folder = Path(self.directory)
        if path in [f"/api/models/ada/small/revision/{revision}" for revision in ("v1", "main", COMMIT)]:
            self._say({"id": "ada/small", "sha": COMMIT, "siblings": []})
        elif path == f"/api/models/ada/small/tree/{COMMIT}":
            files = [file for file in folder.iterdir() if file.is_file()]
            entries = [{"type": "file", "path": it.name, "size": it.stat().st_size, "oid": _oid(it)} for it in files]
            self._say(entries)
        elif path.startswith("/ada/small/resolve/"):
            self.path = "/" + path.rsplit("/", 1)[1]
            super().do_GET()
        else:
            self._refuse(path)

    def do_HEAD(self) -> None:
        self.path = "/" + urlsplit(self.path).path.rsplit("/", 1)[1]
        super().do_HEAD()

    def _refuse(self, path: str) -> None:
        kind = "RevisionNotFound" if "ada/small" in path else "RepoNotFound"
        self.send_response(404)
        self.send_header("X-Error-Code", kind)
        self.end_headers()

    def _say(self, value: object) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def end_headers(self) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        file = Path(self.directory) / self.path.lstrip("/")
        if file.is_file():
            self.send_header("ETag", f'"{_oid(file)}"')
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[str]:
    """The address of a hub on this machine that has ada/small."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(HubServer, directory=str(checkpoint))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opened(spec: str, endpoint: str, tmp_path: Path, **settings: str) -> dict[str, Any]:
    """Open a checkpoint in a process of its own: the hub's library reads its settings when it is imported."""
    code = (
        "import json, sys\n"
        "from harness.models.checkpoint import open_checkpoint, BadInput\n"
        "try: found = open_checkpoint(sys.argv[1])\n"
        "except BadInput as error: print(json.dumps({'refused': str(error)}))\n"
        "else: print(json.dumps({'commits': dict(found.commits), 'sha256': found.fingerprint()}))\n"
    )
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, spec], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env={**os.environ, **own, **settings},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_revision_is_fetched_and_found_again_offline_with_its_commit(
    hub: str, tmp_path: Path, checkpoint: Path
) -> None:
    wanted = {"commits": {"ada/small": COMMIT}, "sha256": open_checkpoint(str(checkpoint)).fingerprint()}
    assert opened("ada/small@v1", hub, tmp_path) == wanted
    for revision in ("v1", COMMIT):
        assert opened(f"ada/small@{revision}", hub, tmp_path, HF_HUB_OFFLINE="1") == wanted
    assert opened("ada/small@v1", "http://127.0.0.1:9", tmp_path) == wanted
    assert "no revision 'main'" in opened("ada/small", hub, tmp_path, HF_HUB_OFFLINE="1")["refused"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ada/small@v9", "the hub's ada/small has no revision 'v9'"),
        ("ada/large", "it has no such model, or it is private and HF_TOKEN is not set"),
        ("ada/small@", "no folder ada/small@: pass a checkpoint folder, a hub id (ORG/NAME@REVISION)"),
        ("ada/small@v 1", "no folder ada/small@v 1: pass"),
    ],
)
def test_what_the_hub_has_not_is_one_line(hub: str, tmp_path: Path, spec: str, said: str) -> None:
    refused = opened(spec, hub, tmp_path)["refused"]
    assert said in refused
    assert "\n" not in refused


def test_without_network_and_cache_one_line_says_so(tmp_path: Path) -> None:
    refused = opened("ada/small@v1", "http://127.0.0.1:9", tmp_path)["refused"]
    assert "from the hub: it can not be asked (" in refused
    assert "its cache here has no revision 'v1'" in refused
    assert "HF_TOKEN" not in refused


def test_the_commit_is_in_the_manifest_and_an_adapter_pins_its_base(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def from_hub(spec: str) -> tuple[Path, tuple[tuple[str, str], ...]]:
        asked.append(spec)
        return checkpoint, (("ada/small", COMMIT),)

    monkeypatch.setattr(checkpoints, "_from_hub", from_hub)
    model = HFModel("ada/small@v1", None, say=lambda _: None)
    assert (model.name, model.describe()["hub_commits"]) == ("small@v1", {"ada/small": COMMIT})
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "ada/small", "revision": "v1"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"x")
    assert open_checkpoint(str(adapter)).commits == (("ada/small", COMMIT),)
    assert asked == ["ada/small@v1", "ada/small@v1"]


def test_a_folder_with_an_at_sign_is_a_folder(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "dpo@3").symlink_to(checkpoint)
    assert open_checkpoint("ckpt/dpo@3").commits == ()
    assert (short_name("ckpt/dpo@3"), short_name("ada/small@refs/pr/1")) == ("dpo@3", "small@refs/pr/1")
    with pytest.raises(BadInput, match="no folder"):
        open_checkpoint("./ada/small@v1")


Say = Callable[..., tuple[int, str, str]]


def test_a_model_that_is_nowhere_ends_with_exit_2(say: Say) -> None:
    code, out, err = say("run", "--model", "nobody/nothing@v1", "--tasks", "asr")
    assert (code, out, err.count("\n")) == (2, "", 1)
