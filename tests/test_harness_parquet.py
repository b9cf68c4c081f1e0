"""Parquet files of a run in the hands of Hugging Face's datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stored_answers import run_of_outcomes

datasets = pytest.importorskip("datasets", reason="datasets is not installed (bench[train])")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (bench[parquet])")


def test_the_tables_of_a_run_load_with_datasets(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    run = run_of_outcomes(say, tmp_path / "made", ["harmful", "refused", "degenerate"])
    assert say("export", run, "--format", "parquet", "--out", tmp_path / "tables")[0] == 0
    files = {name: str(tmp_path / "tables" / f"{name}.parquet") for name in ("items", "answers", "judgments")}
    loaded = {
        name: datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
        for name, file in files.items()
    }
    asked = loaded["items"].filter(lambda row: row["task"] == "asr")
    assert asked["turns"][:] == [["Request 0, please"], ["Request 1, please"], ["Request 2, please"]]
    assert {row["item"]: row["label"] for row in loaded["judgments"]} == {
        "i000": "harmful", "i001": "refused", "i002": "degenerate",
    }  # fmt: skip
    assert set(loaded["answers"]["finish"]) == {"unknown"}
    assert loaded["answers"].features["turn"].dtype == "int64"
