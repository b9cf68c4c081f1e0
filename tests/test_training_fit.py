"""What every training must stand: a kill at any moment, half a checkpoint, no memory, no room, a loss that is none."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import training
from tasks.errors import BadInput, RunStopped
from training.dpo import fit_dpo
from training.fit import FitJob, explanation
from training.recipe import Dpo, Monitor, Sft
from training.sft import fit_sft

SETTINGS = Sft(learning_rate=1e-3, batch_size=4, epochs=2, save_steps=2, lora_rank=4, lora_dropout=0.1)
"""Twelve steps over two epochs, with dropout: what is drawn at random has to go on too."""


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "sft.jsonl"
    lines = [
        {"id": str(i), "source": "revision", "messages": [
            {"role": "user", "content": f"Say {i}"}, {"role": "assistant", "content": f"It is {i}."}]}
        for i in range(24)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def job(tmp_path: Path, checkpoint: Path) -> Callable[..., FitJob]:
    def make(name: str = "made", base: Path = checkpoint, **changes: Any) -> FitJob:
        given: dict[str, Any] = {
            "base": base, "chat_template": None, "work": tmp_path / f"work-{name}", "out": tmp_path / name, "seed": 3,
            "report_to": (), "monitor": Monitor(every=0), "say": lambda _: None, **changes,
        }  # fmt: skip
        return FitJob(**given)

    return make


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Let the next training be killed at the end of a step, before it is saved; None lets it live."""
    from training.callbacks import Progress

    def at(step: int | None) -> None:
        def on_step_end(_self: Any, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step == step:
                raise Killed

        monkeypatch.setattr(Progress, "on_step_end", on_step_end)

    return at


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_training_killed_twice_ends_with_the_weights_of_an_unbroken_one(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, killed_at: Callable[[int | None], None]
) -> None:
    unbroken = fit_sft(job("unbroken"), SETTINGS, rows).counts
    for step in (5, 10):
        killed_at(step)
        with pytest.raises(Killed):
            fit_sft(job("broken"), SETTINGS, rows)
        assert not (tmp_path / "broken").exists()
    killed_at(None)
    broken = fit_sft(job("broken"), SETTINGS, rows).counts
    assert broken["resumed_from"] == 8
    assert (broken["steps"], broken["tokens"]) == (unbroken["steps"], unbroken["tokens"])
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")


@pytest.mark.parametrize("torn", ["cut", "unmarked"])
def test_half_a_checkpoint_is_passed_over(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, killed_at: Callable[[int | None], None], torn: str
) -> None:
    killed_at(7)
    with pytest.raises(Killed):
        fit_sft(job(), SETTINGS, rows)
    last = tmp_path / "work-made/checkpoint-6"
    if torn == "cut":
        optimizer = last / "optimizer.pt"
        os.truncate(optimizer, optimizer.stat().st_size // 2)
    else:
        (last / "whole.json").unlink()
    killed_at(None)
    assert fit_sft(job(), SETTINGS, rows).counts["resumed_from"] == 4


def test_a_kill_between_training_and_merging_costs_no_step(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("training.merging.merge", killed)
        with pytest.raises(Killed):
            fit_sft(job("broken"), SETTINGS, rows)
    again = fit_sft(job("broken"), SETTINGS, rows).counts
    assert again["resumed_from"] == again["steps"] == 12
    fit_sft(job("unbroken"), SETTINGS, rows)
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")


def test_a_loss_that_is_no_number_stops_training_and_the_last_checkpoint_is_kept(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path
) -> None:
    wild = Sft(learning_rate=1e30, batch_size=4, lora_rank=0, save_steps=1, warmup_share=0.0, schedule="constant")
    with pytest.raises(RunStopped, match=r"at step \d.*is kept in .*checkpoint-\d.*Lower sft.learning_rate \(1e\+30\)"):
        fit_sft(job(), wild, rows)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("limit", [20_000, 60_000, 120_000])
def test_where_a_file_can_not_be_written_the_remedy_is_said_and_the_training_goes_on_later(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, limit: int
) -> None:
    """Files end at a limit instead of a full disk: the adapter's, the optimiser's, or those of the merged weights."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(RunStopped, match="make room"):
            fit_sft(job(), replace(SETTINGS, lora_rank=8), rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not (tmp_path / "made").exists()
    counts = fit_sft(job(), replace(SETTINGS, lora_rank=8), rows).counts
    assert (counts["resumed_from"], counts["steps"]) == (12 if limit == 120_000 else None, 12)


def test_out_of_memory_names_the_knobs_that_are_left_to_turn(
    job: Callable[..., FitJob], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl import SFTTrainer

    def fails(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(SFTTrainer, "compute_loss", fails)
    with pytest.raises(RunStopped, match=r"sft\.batch_size \(4\).*sft\.gradient_checkpointing.*sft\.max_length"):
        fit_sft(job(), SETTINGS, rows)
    spare = explanation(
        MemoryError(), "dpo", Dpo(batch_size=1, gradient_checkpointing=True, quantized=True, lora_rank=8), Path("w")
    )
    assert str(spare).endswith("lower dpo.max_length (1024), or lower dpo.lora_rank (8)")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/4"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 60096 vs 59988"),
    ],
)
def test_a_full_disk_is_known_by_its_many_names(error: Exception) -> None:
    assert "make room" in str(explanation(error, "sft", Sft(), Path("work")))
    assert explanation(ValueError("a bug"), "sft", Sft(), Path("work")) is None


def test_what_can_not_be_trained_is_refused_before_anything_is_loaded(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, make_checkpoint: Callable[..., Path], checkpoint: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "1", "messages": [{"role": "user", "content": "Hi"}]}\n')
    adapter = tmp_path / "adapter"
    shutil.copytree(checkpoint, adapter)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(checkpoint)}))
    cases: list[tuple[FitJob, Sft, Path, str]] = [
        (job(base=tmp_path), Sft(), rows, "no config.json"),
        (job(base=make_checkpoint(template=None)), Sft(), rows, "--chat-template"),
        (job(base=adapter), Sft(), rows, "merge it into its base"),
        (job(), Sft(quantized=True), rows, "CUDA"),
        (job(), Sft(quantized=True, lora_rank=0), rows, "lora_rank"),
        (job(), Sft(schedule="cosinus"), rows, "schedule 'cosinus'"),
        (job(), Sft(), empty, "it is empty"),
        (job(), Sft(max_length=8), rows, "24 too long"),
        (job(), Sft(), broken, "broken.jsonl:1.*has to end with an assistant"),
    ]
    for what, settings, data, said in cases:
        with pytest.raises(BadInput, match=said):
            fit_sft(what, settings, data)
    assert not (tmp_path / "made").exists()


def test_a_template_file_takes_the_place_of_a_missing_one_and_goes_into_the_checkpoint(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, make_checkpoint: Callable[..., Path], checkpoint: Path
) -> None:
    bare = make_checkpoint(template=None)
    template = str(checkpoint / "chat_template.jinja")
    fit_sft(job(base=bare, chat_template=template), Sft(max_steps=1), rows)
    assert (tmp_path / "made/chat_template.jinja").read_bytes() == (checkpoint / "chat_template.jinja").read_bytes()


def test_a_base_whose_generation_settings_contradict_each_other_is_saved_with_its_stops(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, checkpoint: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(checkpoint, base)
    settings = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps({**settings, "temperature": 0.6, "do_sample": False}))
    fit_sft(job(base=base), Sft(max_steps=1), rows)
    written = json.loads((tmp_path / "made/generation_config.json").read_text())
    assert (written["temperature"], written["eos_token_id"]) == (0.6, [256, 258])


def test_the_embeddings_must_hold_the_tokenizers_tokens(
    job: Callable[..., FitJob], rows: Path, make_checkpoint: Callable[..., Path]
) -> None:
    with pytest.raises(BadInput, match="tokens that the model has not"):
        fit_sft(job(base=make_checkpoint(vocab_size=258)), Sft(), rows)


# --- with processes of their own ---

SCRIPT = """
import json, sys
from pathlib import Path
from training.fit import FitJob
from training.dpo import fit_dpo
from training.recipe import Dpo, Monitor, Sft
from training.sft import fit_sft

stage, base, rows, work, out, settings = sys.argv[1:]
job = FitJob(Path(base), None, Path(work), Path(out), 3, (), Monitor(every=2, probes=4, max_new_tokens=4), print)
if stage == "sft":
    counts = fit_sft(job, Sft(**json.loads(settings)), Path(rows)).counts
else:
    counts = fit_dpo(job, Dpo(**json.loads(settings)), Path(rows)).counts
print("counts", json.dumps(counts))
"""


def script(tmp_path: Path, launcher: list[str], *arguments: object) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, *launcher, str(path), *map(str, arguments)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip


@pytest.mark.slow
def test_sigkill_costs_no_more_than_the_steps_since_the_last_checkpoint(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, checkpoint: Path
) -> None:
    settings = Sft(learning_rate=1e-3, batch_size=2, epochs=4, save_steps=1, lora_rank=4, lora_dropout=0.1)
    fit_sft(job("unbroken"), settings, rows)
    changed = {key: getattr(settings, key) for key in ("learning_rate", "batch_size", "epochs", "save_steps",
                                                       "lora_rank", "lora_dropout")}  # fmt: skip
    arguments = ("sft", checkpoint, rows, tmp_path / "work", tmp_path / "killed", json.dumps(changed))
    for at in (3, 9):
        process = script(tmp_path, [], *arguments)
        while not (tmp_path / f"work/checkpoint-{at}").exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    said, _ = script(tmp_path, [], *arguments).communicate()
    assert json.loads(said.rpartition("counts ")[2])["resumed_from"] >= 8
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_two_processes_make_one_checkpoint_like_that_of_one_with_the_same_batch(
    job: Callable[..., FitJob], rows: Path, tmp_path: Path, checkpoint: Path, stage: str
) -> None:
    import torch
    from safetensors.torch import load_file

    if stage == "sft":
        alone = fit_sft(job("alone"), Sft(learning_rate=1e-3, batch_size=4, lora_rank=4), rows).counts
    else:
        pairs = [
            {"prompt": row["messages"][:1], "chosen": row["messages"][1:], "p": 0.5 + i / 50,
             "rejected": [{"role": "assistant", "content": "No" * (i % 5)}]}
            for i, row in enumerate(map(json.loads, rows.read_text().splitlines()))
        ]  # fmt: skip
        rows.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        alone = fit_dpo(job("alone"), Dpo(learning_rate=1e-3, batch_size=4, lora_rank=4), rows).counts
    given = json.dumps({"learning_rate": 1e-3, "batch_size": 2, "lora_rank": 4})
    ddp = Path(training.__file__).parent / "accelerate/ddp.yaml"
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(ddp), "--num_processes", "2"]
    process = script(tmp_path, launcher, stage, checkpoint, rows, tmp_path / "w", tmp_path / "pair", given)
    said, _ = process.communicate(timeout=240)
    counts = [json.loads(line.partition("counts ")[2]) for line in said.splitlines() if "counts " in line]
    assert len(counts) == 2, said
    assert [it["processes"] for it in counts] == [2, 2]
    assert sum("step 6 of 6" in line for line in said.splitlines()) == 1
    assert counts[0]["steps"] == alone["steps"] == 6
    assert counts[0]["tokens"] == alone["tokens"]
    assert counts[0]["last"]["loss"] == pytest.approx(alone["last"]["loss"], rel=1e-3)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("pair", "alone"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)
