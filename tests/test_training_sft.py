"""Supervised fine-tuning: what of a conversation is trained, and that the checkpoint says it and stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.models.hf import HFModel
from tasks.conversation import Settings
from tasks.errors import BadInput
from training.encoding import check_first_batch
from training.fit import FitJob, open_base
from training.recipe import Monitor, Sft
from training.sft import check_sft_batch, encode_rows, fit_sft

Job = Callable[..., FitJob]
FULL = Sft(lora_rank=0, learning_rate=1e-2, batch_size=8, epochs=20, warmup_share=0.0, schedule="constant")


@pytest.fixture
def job(tmp_path: Path, checkpoint: Path) -> Job:
    def make(base: Path = checkpoint, say: Callable[[str], None] = lambda _: None, **changes: Any) -> FitJob:
        given: dict[str, Any] = {
            "base": base, "chat_template": None, "work": tmp_path / "work", "out": tmp_path / "made", "seed": 0,
            "report_to": (), "monitor": Monitor(every=0), "say": say, **changes,
        }  # fmt: skip
        return FitJob(**given)

    return make


def conversation(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(rows)), encoding="utf-8")
    return path


def revisions(path: Path, answers: Sequence[str]) -> Path:
    return write(path, *({"source": "revision", "messages": conversation(f"Ask {a}", a)} for a in answers))


def trained_texts(base: Any, row: dict[str, list[int]]) -> list[str]:
    """The trained parts of a row, as text."""
    parts: list[list[int]] = [[]]
    for label in row["labels"]:
        if label == -100:
            parts.append([])
        else:
            parts[-1].append(label)
    return [base.speech.tokenizer.decode(part) for part in parts if part]


def test_of_a_revision_the_last_answer_is_trained_and_of_a_helpful_conversation_every_answer(
    job: Job, tmp_path: Path
) -> None:
    messages = conversation("One", "Un", "Two", "Deux")
    data = write(
        tmp_path / "rows.jsonl",
        {"source": "revision", "messages": messages},
        {"source": "helpful", "messages": messages},
    )
    base = open_base(job(), Sft())
    (revised, helpful), _ = encode_rows(data, base, 500)
    assert trained_texts(base, revised) == ["Deux<|im_end|>"]
    assert trained_texts(base, helpful) == ["Un<|im_end|>", "Deux<|im_end|>"]
    assert base.speech.tokenizer.decode(revised["input_ids"]).endswith("Deux<|im_end|>")


def test_an_earlier_answer_that_the_template_rewrites_or_leaves_open_is_not_trained(
    job: Job, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    closes_the_last = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if m.role == 'user' or loop.last %}<|im_end|>{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    base = open_base(job(make_checkpoint(template=closes_the_last)), Sft())
    data = write(tmp_path / "rows.jsonl", {"source": "helpful", "messages": conversation("One", "Un", "Two", "Deux")})
    (row,), _ = encode_rows(data, base, 500)
    assert trained_texts(base, row) == ["Deux<|im_end|>"]


def test_a_prompt_that_ends_unlike_an_answer_begins_is_said(job: Job, make_checkpoint: Callable[..., Path]) -> None:
    thinks = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    said: list[str] = []
    open_base(job(say=said.append), Sft())
    assert said == []
    open_base(job(make_checkpoint(template=thinks), say=said.append), Sft())
    assert "'<think>\\n'" in said[0]


def test_rows_too_long_or_empty_are_counted_and_none_is_cut(job: Job, tmp_path: Path) -> None:
    base = open_base(job(), Sft())
    data = revisions(tmp_path / "rows.jsonl", ["short", "long " * 40, " "])
    rows, left_out = encode_rows(data, base, 100)
    assert dict(left_out) == {"too_long": 1, "empty": 1}
    assert [trained_texts(base, row) for row in rows] == [["short<|im_end|>"]]


def test_a_template_whose_answers_never_end_is_refused(
    job: Job, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    endless = make_checkpoint(template="{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(BadInput, match="--chat-template"):
        fit_sft(job(endless), Sft(), revisions(tmp_path / "rows.jsonl", ["Yes"]))


def test_a_masked_end_of_turn_is_found_in_the_first_batch(job: Job, tmp_path: Path) -> None:
    """The old collator's fault: padding with the end token, and masking every padding token."""
    from types import SimpleNamespace

    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    base = open_base(job(), Sft())
    stop = base.speech.tokenizer.convert_tokens_to_ids("<|im_end|>")
    rows, _ = encode_rows(revisions(tmp_path / "rows.jsonl", ["Yes", "No, never"]), base, 500)

    class Masking(DataCollatorForLanguageModeling):  # type: ignore[misc]
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            batch["labels"][batch["input_ids"] == stop] = -100
            return batch

    class Embedded:
        def get_input_embeddings(self) -> Any:
            return SimpleNamespace(num_embeddings=len(base.speech.tokenizer))

    def with_collator(collator: Any) -> Any:
        return SimpleNamespace(train_dataset=rows, data_collator=collator, model=Embedded())

    check_sft_batch(with_collator(DataCollatorForLanguageModeling(pad_token_id=stop)), base, 2)
    check_sft_batch(with_collator(DataCollatorForLanguageModeling(pad_token_id=stop, padding_free=True)), base, 2)
    with pytest.raises(BadInput, match="never learn to stop"):
        check_sft_batch(with_collator(Masking(pad_token_id=stop)), base, 2)


def test_a_beginning_of_sequence_written_twice_is_refused(job: Job) -> None:
    base = open_base(job(), Sft())
    bos, stop = base.speech.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    base.speech.tokenizer.bos_token = "<|im_start|>"
    check_first_batch([([bos, 5, bos, 6, stop], [False, False, False, True, True])], base.speech, 300)
    with pytest.raises(BadInput, match="twice"):
        check_first_batch([([bos, bos, 5, 6, stop], [False, False, False, True, True])], base.speech, 300)


def test_the_checkpoint_says_what_it_was_taught_and_stops(job: Job, tmp_path: Path) -> None:
    data = revisions(tmp_path / "rows.jsonl", ["Yes, gladly."] * 16)
    made = fit_sft(job(), FULL, data)
    assert made.counts["rows"] == 16
    assert made.counts["steps"] == 40
    written = json.loads((tmp_path / "made/generation_config.json").read_text())
    assert written["eos_token_id"] == [256, 258]
    model = HFModel(str(tmp_path / "made"), None, lambda _: None)
    said = asyncio.run(model.complete([{"role": "user", "content": "Ask Yes, gladly."}], Settings(max_new_tokens=40)))
    model.close()
    assert (said.text, said.finish) == ("Yes, gladly.", "stop")


def test_the_first_loss_is_the_cross_entropy_of_the_answers_tokens(job: Job, tmp_path: Path, checkpoint: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    data = revisions(tmp_path / "rows.jsonl", ["Yes", "No, never"])
    made = fit_sft(job(), Sft(batch_size=2, max_steps=1), data)
    base = open_base(job(), Sft())
    rows, _ = encode_rows(data, base, 500)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    losses = []
    with torch.no_grad():
        for row in rows:
            logs = torch.log_softmax(model(torch.tensor([row["input_ids"]])).logits[0].double(), dim=-1)
            labels = row["labels"]
            losses += [-logs[i - 1, labels[i]].item() for i in range(1, len(labels)) if labels[i] != -100]
    assert made.counts["last"]["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_the_merged_checkpoint_is_its_base_with_the_adapter_on(job: Job, tmp_path: Path, checkpoint: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    data = revisions(tmp_path / "rows.jsonl", [f"Number {i}" for i in range(8)])
    fit_sft(job(), Sft(learning_rate=1e-2, epochs=3), data)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    base = AutoModelForCausalLM.from_pretrained(checkpoint)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(checkpoint), tmp_path / "made-adapter")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        said = merged(ids).logits
        assert torch.allclose(said, adapted(ids).logits, atol=1e-4)
        assert not torch.allclose(said, base(ids).logits, atol=0.1)
    opened = HFModel(str(tmp_path / "made-adapter"), None, lambda _: None)
    assert opened.describe()["adapter"]


def test_packing_without_flash_attention_is_said_and_left_out(job: Job, tmp_path: Path) -> None:
    said: list[str] = []
    data = revisions(tmp_path / "rows.jsonl", ["Yes", "No"])
    made = fit_sft(job(say=said.append), Sft(packing=True, max_steps=1, batch_size=1), data)
    assert any("not packed" in line for line in said)
    assert made.counts["tokens"] < 60  # one row, not both


def test_where_the_monitor_stops_the_last_healthy_weights_are_merged(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    class Stops(TrainerCallback):  # type: ignore[misc]
        stopped: str | None = None
        kept_step: int | None = None
        last = None
        failed = 0

        def __init__(self, _settings: Monitor, _file: Path, keep: Path, *_: Any) -> None:
            self.keep = keep

        def on_step_end(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step == 2:
                model.save_pretrained(self.keep)
                self.kept_step = 2
            if state.global_step == 4:
                self.stopped = "collapse at step 4"
                control.should_training_stop = True

    monkeypatch.setattr("training.monitor.CollapseMonitor", Stops)
    data = revisions(tmp_path / "rows.jsonl", [f"Number {i}" for i in range(8)])
    settings = Sft(lora_rank=0, learning_rate=1e-3, epochs=5, batch_size=4)
    counts = fit_sft(job(monitor=Monitor(every=2)), settings, data).counts
    assert (counts["steps"], counts["stopped"], counts["kept_step"]) == (4, "collapse at step 4", 2)
    made, healthy = (load_file(tmp_path / name / "model.safetensors") for name in ("made", "work/healthy"))
    assert all(torch.equal(made[name], healthy[name]) for name in healthy)


def test_the_monitor_looks_while_it_trains_and_changes_nothing(job: Job, tmp_path: Path) -> None:
    from training.looks import read_monitor

    data = revisions(tmp_path / "rows.jsonl", [f"Number {i}" for i in range(8)])
    settings = Sft(learning_rate=1e-3, batch_size=4, epochs=2)
    fit_sft(job(), settings, data)
    alone = (tmp_path / "made/model.safetensors").read_bytes()
    watched = job(
        work=tmp_path / "watched", out=tmp_path / "seen", monitor=Monitor(every=1, probes=4, max_new_tokens=4)
    )
    fit_sft(watched, settings, data)
    assert (tmp_path / "seen/model.safetensors").read_bytes() == alone
    assert [look.step for look in read_monitor(tmp_path / "watched/monitor.jsonl")][:1] == [0]
