"""The embedded model: fetched and converted once, also when two processes want it at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def bench(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "bench.py"), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "BENCH_CACHE": str(cache)},
    )  # fmt: skip


@pytest.mark.slow
def test_two_first_runs_at_once_convert_it_once_and_both_end_well(cache: Path, tmp_path: Path) -> None:
    small = ("run", "--model", "smollm2", "--limit", 3, "--max-new-tokens", 16, "--json")
    both = [bench(cache, *small, "--out", tmp_path / name) for name in ("one", "two")]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in both]
    assert [code for *_, code in ended] == [0, 0], ended
    assert sum("getting the embedded model" in err for _, err, _ in ended) == 1
    scores = [json.loads(out)["scores"] for out, *_ in ended]
    # The rows that happen to share a batch move the last digits of an entropy.
    for one, two in zip(*scores, strict=True):
        same = one["value"] == two["value"]
        assert same or one["value"] == pytest.approx(two["value"], rel=1e-3), one["metric"]
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == ["smollm2-b179c9523d0e-1"]


@pytest.mark.slow
def test_an_unwritable_cache_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = bench(tmp_path / "file" / "cache", "run", "--model", "smollm2", "--out", tmp_path / "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "set BENCH_CACHE" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_it_answers_in_words_and_stops_by_itself(cache: Path) -> None:
    code = (
        "import asyncio\n"
        "from harness.models.hf import HFModel\n"
        "from tasks.conversation import Settings\n"
        "model = HFModel('smollm2', None, print)\n"
        "said = asyncio.run(model.complete([{'role': 'user', 'content': 'What is the capital of France?'}],"
        " Settings(64)))\n"
        "assert 'Paris' in said.text and said.finish == 'stop', said\n"
        "assert '<|im_end|>' in model.describe()['stop_tokens']\n"
    )
    environment = {**os.environ, "BENCH_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
