"""Preference training: the loss with soft labels against its formula, its reference, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import BadInput
from training.dpo import encode_pairs, fit_dpo, notes
from training.fit import FitJob, adapter_config, load_model, open_base, trainer_arguments
from training.hardware_choice import hardware_here
from training.recipe import Dpo, Monitor

PS = (1.0, 0.9, 0.6, 0.5)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    lines = [
        {
            "id": str(i),
            "form": "judged",
            "prompt": [{"role": "user", "content": f"Ask {i}"}],
            "chosen": [{"role": "assistant", "content": f"A good answer {i}"}],
            "rejected": [{"role": "assistant", "content": "Bad" * (i + 1)}],
            "p": 1.0,
            "kept": True,
            **row,
        }
        for i, row in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def job(tmp_path: Path, checkpoint: Path) -> FitJob:
    return FitJob(
        base=checkpoint, chat_template=None, work=tmp_path / "work", out=tmp_path / "made", seed=0, report_to=(),
        monitor=Monitor(every=0), say=lambda _: None,
    )  # fmt: skip


def make_trainer(job: FitJob, settings: Dpo, pairs: list[dict[str, Any]], kind: Any, **given: Any) -> Any:
    """A trainer as `fit_dpo` makes it, of a class of choice; its policy is moved off its reference."""
    import torch
    from datasets import Dataset
    from trl import DPOConfig

    base, hardware = open_base(job, settings), hardware_here()
    trainer = kind(
        load_model(base, settings, hardware),
        ref_model=None if settings.lora_rank else load_model(base, settings, hardware),
        args=DPOConfig(
            **trainer_arguments(job, settings, hardware), beta=settings.beta, loss_type=list(settings.loss_type),
            loss_weights=list(settings.loss_weights),
        ),
        train_dataset=Dataset.from_list(pairs), processing_class=base.speech.tokenizer,
        peft_config=adapter_config(settings), **given,
    )  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return trainer


def soft_trainer(job: FitJob, settings: Dpo, tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    """The trainer and a batch of four pairs with the labels `PS`."""
    from training.soft_labels import SoftCollator, SoftLabelDPOTrainer

    pairs, _ = encode_pairs(
        write(tmp_path / "pairs.jsonl", *({"p": p} for p in PS)), open_base(job, settings), 500, soft=True
    )
    collator = SoftCollator(pad_token_id=256)
    trainer = make_trainer(job, settings, pairs, SoftLabelDPOTrainer, data_collator=collator)
    return trainer, collator(pairs)


def log_probability(model: Any, prompt: list[int], answer: list[int]) -> float:
    """The sum of log π(token | what is before) over the answer, one row at a time and without padding."""
    import torch

    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([prompt + answer])).logits[0].double(), dim=-1)
    return sum(logs[len(prompt) + i - 1, token].item() for i, token in enumerate(answer))


def deltas(trainer: Any, reference: Any, *, normalised: bool) -> list[float]:
    found = []
    for row in trainer.train_dataset:
        ratios = []
        for name in ("chosen_ids", "rejected_ids"):
            answer = row[name]
            ratio = log_probability(trainer.model, row["prompt_ids"], answer) - log_probability(
                reference, row["prompt_ids"], answer
            )
            ratios.append(ratio / len(answer) if normalised else ratio)
        found.append(ratios[0] - ratios[1])
    return found


@pytest.mark.parametrize("loss_type", ["sigmoid", "sigmoid_norm"])
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_soft_labels_weigh_both_orders_of_a_pair(
    job: FitJob, tmp_path: Path, checkpoint: Path, loss_type: Any, lora_rank: int
) -> None:
    import math

    from transformers import AutoModelForCausalLM

    settings = Dpo(loss_type=(loss_type,), beta=0.3, lora_rank=lora_rank)
    trainer, batch = soft_trainer(job, settings, tmp_path)
    loss = trainer._compute_loss(trainer.model, batch, False).item()
    reference = AutoModelForCausalLM.from_pretrained(checkpoint)
    by_hand = []
    for delta, p in zip(deltas(trainer, reference, normalised=loss_type == "sigmoid_norm"), PS, strict=True):
        chosen_wins = -math.log1p(math.exp(-0.3 * delta))
        rejected_wins = -math.log1p(math.exp(0.3 * delta))
        by_hand.append(-(p * chosen_wins + (1 - p) * rejected_wins))
        assert abs(delta) > 0.01
    assert loss == pytest.approx(sum(by_hand) / 4, rel=1e-5)


@pytest.mark.parametrize("loss_type", [("sigmoid",), ("ipo",), ("sigmoid_norm", "sft")])
def test_sure_labels_give_the_loss_and_gradient_of_trl_to_the_last_digit(
    job: FitJob, tmp_path: Path, loss_type: Any
) -> None:
    import torch
    from trl import DPOTrainer

    settings = Dpo(loss_type=loss_type, loss_weights=(1.0, 0.1)[: len(loss_type)], lora_rank=4)
    trainer, batch = soft_trainer(job, settings, tmp_path)
    batch["p"] = torch.ones(4)
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    plain = make_trainer(job, settings, [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows],
                         DPOTrainer)  # fmt: skip
    ours = trainer._compute_loss(trainer.model, batch, False)
    theirs = plain._compute_loss(plain.model, {name: value for name, value in batch.items() if name != "p"}, False)
    assert torch.equal(ours, theirs)
    ours.backward()
    theirs.backward()
    pairs = zip(trainer.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)


def test_an_even_label_pulls_the_pair_together_and_extreme_margins_stay_finite() -> None:
    import torch

    from training.soft_labels import softening

    mask = torch.ones(4, 3)
    chosen = torch.tensor([2000.0, -2000.0], requires_grad=True)
    rejected = torch.zeros(2)
    p = torch.tensor([0.5, 0.5])
    hard = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()
    loss = hard + softening((chosen, rejected), mask, p, 0.1, ["sigmoid"], [1.0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(100.0)
    assert chosen.grad is not None
    assert chosen.grad.tolist() == pytest.approx([0.025, -0.025])


def test_only_whole_kept_and_different_pairs_are_trained(job: FitJob, tmp_path: Path) -> None:
    def says(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    data = write(
        tmp_path / "pairs.jsonl",
        {"p": 0.75},
        {"kept": False, "chosen": []},
        {"rejected": says("long " * 60)},
        {"rejected": says("A good answer 3")},
        {"chosen": says("")},
        {"rejected": says("")},
    )
    base = open_base(job, Dpo())
    pairs, left_out = encode_pairs(data, base, 120, soft=True)
    assert dict(left_out) == {"too_long": 1, "same_answers": 1, "empty": 1}
    decode = base.speech.tokenizer.decode
    assert [decode(it["rejected_ids"]) for it in pairs] == ["Bad<|im_end|>", "<|im_end|>"]
    assert decode(pairs[0]["chosen_ids"]) == "A good answer 0<|im_end|>"
    assert decode(pairs[0]["prompt_ids"]) == "<|im_start|>user\nAsk 0<|im_end|>\n<|im_start|>assistant\n"
    assert [it["p"] for it in pairs] == [0.75, 1.0]
    assert encode_pairs(data, base, 120, soft=False)[0][0]["p"] == 1.0


def test_a_p_below_one_half_is_refused(job: FitJob, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"between 0\.5 and 1"):
        fit_dpo(job, Dpo(), write(tmp_path / "pairs.jsonl", {"p": 0.4}))


def test_settings_without_effect_are_said() -> None:
    assert notes(Dpo()) == []
    assert "neither is here" in notes(Dpo(loss_type=("ipo",)))[0]


@pytest.mark.parametrize("lora_rank", [0, 8])
def test_training_parts_the_answers_and_leaves_a_checkpoint(
    job: FitJob, tmp_path: Path, checkpoint: Path, lora_rank: int
) -> None:
    from transformers import AutoModelForCausalLM

    data = write(tmp_path / "pairs.jsonl", *({"p": 0.9} for _ in range(8)))
    settings = Dpo(learning_rate=1e-3, epochs=4, loss_type=("sigmoid", "sft"), loss_weights=(1.0, 0.1),
                   lora_rank=lora_rank)  # fmt: skip
    counts = fit_dpo(job, settings, data).counts
    assert counts["rows"] == 8
    assert counts["last"]["rewards/margins"] > 0.05
    pair = encode_pairs(data, open_base(job, settings), 500, soft=True)[0][0]
    margins = []
    for folder in (checkpoint, tmp_path / "made"):
        model = AutoModelForCausalLM.from_pretrained(folder)
        said = [log_probability(model, pair["prompt_ids"], pair[name]) for name in ("chosen_ids", "rejected_ids")]
        margins.append(said[0] - said[1])
    assert margins[1] > margins[0] + 0.5
    assert (tmp_path / "made-adapter").exists() == bool(lora_rank)


def test_the_reference_stays_what_the_base_is(job: FitJob, tmp_path: Path) -> None:
    """At the first step the policy is the reference: no margin, and a loss of log 2 whatever the labels."""
    import math

    data: Callable[..., Path] = write
    counts = fit_dpo(job, Dpo(max_steps=1), data(tmp_path / "pairs.jsonl", *({"p": p} for p in PS))).counts
    assert counts["last"]["rewards/margins"] == pytest.approx(0.0, abs=1e-6)
    assert counts["last"]["loss"] == pytest.approx(math.log(2), rel=1e-5)
