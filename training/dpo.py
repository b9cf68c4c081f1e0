"""Direct preference optimisation (Rafailov et al. 2023) against the SFT-CAI model, with TRL.

With LoRA the reference is the base without the adapter, since the base is the merged SFT-CAI model; when every weight
is trained it is a second copy. Both answers of a pair end with the token that ends a turn and with nothing behind it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tasks.errors import BadInput
from training.encoding import TOO_LONG, LeftOutError, check_first_batch, common_start, conversations_of, refuse_none
from training.fit import (
    Base,
    FitJob,
    FitResult,
    adapter_config,
    fit,
    load_model,
    open_base,
    row_limit,
    trainer_arguments,
)
from training.hardware_choice import Hardware
from training.recipe import Dpo

SAME = "same_answers"
SOFT = ("sigmoid", "sigmoid_norm")
"""The losses that take a p."""


def fit_dpo(job: FitJob, settings: Dpo, rows: Path) -> FitResult:
    """Train `job.base` on the pairs of `rows` that are `kept` ({"prompt", "chosen", "rejected", "p"}).

    Raises:
        BadInput: no checkpoint, no template, nothing to train on, or settings that this hardware can not serve.
        RunStopped: see `training.fit.fit`.
    """
    base = open_base(job, settings)
    pairs, left_out = encode_pairs(rows, base, row_limit(base, settings), soft=settings.soft_labels)
    refuse_none(pairs, left_out, rows, f"dpo.max_length is {settings.max_length} tokens")

    def make(hardware: Hardware) -> Any:
        from datasets import Dataset
        from trl import DPOConfig

        from training.soft_labels import SoftCollator, SoftLabelDPOTrainer

        for note in notes(settings):
            job.say(f"dpo: {note}")
        configured = DPOConfig(
            **trainer_arguments(job, settings, hardware), beta=settings.beta, loss_type=list(settings.loss_type),
            loss_weights=list(settings.loss_weights), label_smoothing=settings.label_smoothing,
        )  # fmt: skip
        model = load_model(base, settings, hardware)
        return SoftLabelDPOTrainer(
            model, ref_model=None if settings.lora_rank else load_model(base, settings, hardware), args=configured,
            data_collator=SoftCollator(pad_token_id=base.speech.tokenizer.pad_token_id),
            train_dataset=Dataset.from_list(pairs), processing_class=base.speech.tokenizer,
            peft_config=adapter_config(settings),
        )  # fmt: skip

    def check(trainer: Any) -> None:
        check_dpo_batch(trainer, base, settings.batch_size)

    return fit(job, settings, base, make, check, {"rows": len(pairs), "left_out": dict(left_out)})


def notes(settings: Dpo) -> list[str]:
    """Settings that have no effect, each with the reason."""
    said = []
    if settings.soft_labels and not set(SOFT) & set(settings.loss_type):
        said.append(f"soft_labels act in the losses {' and '.join(SOFT)} alone, and neither is here")
    if settings.lora_dropout:
        said.append("dropout is off, since the reference is to be the same model: lora_dropout has no effect")
    return said


def encode_pairs(rows: Path, base: Base, limit: int, *, soft: bool) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Kept pairs in tokens, and how many of them were left out for which reason. No answer is ever cut."""
    made, left_out = [], Counter[str]()
    for row in conversations_of(rows, ["prompt", "chosen", "rejected"], ["chosen", "rejected"]):
        p = row.get("p", 1.0)
        if not isinstance(p, int | float) or not 0.5 <= p <= 1:
            raise BadInput(f"{rows}: p of the pair {row.get('id')!r} is between 0.5 and 1, not {p!r}")
        try:
            pair = encode_pair(base, row)
        except LeftOutError as reason:
            left_out[str(reason)] += 1
            continue
        if len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) > limit:
            left_out[TOO_LONG] += 1
        elif pair["chosen_ids"] == pair["rejected_ids"]:
            left_out[SAME] += 1
        else:
            made.append({**pair, "p": float(p) if soft else 1.0})
    return made, left_out


def encode_pair(base: Base, row: dict[str, Any]) -> dict[str, list[int]]:
    """A prompt and two answers in tokens, each answer from where its rendering leaves that of the prompt alone."""
    speech, prompt = base.speech, row["prompt"]
    asked = speech.tokens(prompt, ask=True)
    chosen = speech.encode([*prompt, *row["chosen"]]).ids
    # That a model answers with nothing is well worth rejecting.
    rejected = speech.encode([*prompt, *row["rejected"]], empty=True).ids
    start = min(common_start(asked, chosen), common_start(asked, rejected))
    return {"prompt_ids": asked[:start], "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}


def check_dpo_batch(trainer: Any, base: Base, size: int) -> None:
    """Raises BadInput for what would teach the model not to stop; see `check_first_batch`."""
    count = min(size, len(trainer.train_dataset))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(count)])
    read = batch["attention_mask"].bool()
    rows = [
        (ids[there].tolist(), mask[there].bool().tolist())
        for ids, there, mask in zip(batch["input_ids"], read, batch["completion_mask"], strict=True)
    ]
    check_first_batch(rows, base.speech, trainer.model.get_input_embeddings().num_embeddings)
