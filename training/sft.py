"""Supervised fine-tuning on revisions and helpful conversations (SL-CAI, Bai et al. 2022, section 3), with TRL.

Only what the assistant says is trained. Of a revision that is the last message: the earlier answers of a red-team
dialogue are those of the model that was provoked, and nobody revised them. Of a helpful conversation it is every
answer. TRL's own way (`assistant_only_loss`) needs {% generation %} marks in the chat template, which most lack, and
trains the line break behind the end of turn too; so rows are tokenised here and TRL takes them as they are.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from training.encoding import (
    IGNORED,
    TOO_LONG,
    LeftOutError,
    check_first_batch,
    conversations_of,
    refuse_none,
)
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
from training.hardware_choice import FLASH, Hardware
from training.recipe import Sft

REVISION = "revision"


def fit_sft(job: FitJob, settings: Sft, rows: Path) -> FitResult:
    """Train `job.base` on the conversations of `rows` ({"id", "source", "messages"}, ending with an answer).

    Raises:
        BadInput: no checkpoint, no template, nothing to train on, or settings that this hardware can not serve.
        RunStopped: see `training.fit.fit`.
    """
    base = open_base(job, settings)
    encoded, left_out = encode_rows(rows, base, row_limit(base, settings))
    refuse_none(encoded, left_out, rows, f"sft.max_length is {settings.max_length} tokens")

    def make(hardware: Hardware) -> Any:
        from datasets import Dataset
        from trl import SFTConfig

        from training.sft_trainer import QuietSFTTrainer

        packing = settings.packing and hardware.attention == FLASH
        if settings.packing and not packing:
            job.say("sft: packing needs a GPU with flash-attention, so that rows do not read each other: not packed")
        arguments = trainer_arguments(job, settings, hardware)
        if packing:
            arguments |= {"packing": True, "max_length": row_limit(base, settings)}
        configured = SFTConfig(**arguments)
        return QuietSFTTrainer(
            load_model(base, settings, hardware), args=configured, train_dataset=Dataset.from_list(encoded),
            processing_class=base.speech.tokenizer, peft_config=adapter_config(settings),
        )  # fmt: skip

    def check(trainer: Any) -> None:
        check_sft_batch(trainer, base, settings.batch_size)

    return fit(job, settings, base, make, check, {"rows": len(encoded), "left_out": dict(left_out)})


def encode_rows(rows: Path, base: Base, limit: int) -> tuple[list[dict[str, list[int]]], Counter[str]]:
    """Rows as ids and labels, and how many were left out for which reason. A row is never cut: its end is the point."""
    made, left_out = [], Counter[str]()
    for row in conversations_of(rows, ["messages"], ["messages"]):
        try:
            encoded = base.speech.encode(row["messages"], every_turn=row.get("source") != REVISION)
        except LeftOutError as reason:
            left_out[str(reason)] += 1
            continue
        if len(encoded.ids) > limit:
            left_out[TOO_LONG] += 1
            continue
        made.append({"input_ids": encoded.ids, "labels": encoded.labels()})
    return made, left_out


def check_sft_batch(trainer: Any, base: Base, size: int) -> None:
    """Raises BadInput for what would teach the model not to stop; see `check_first_batch`."""
    count = min(size, len(trainer.train_dataset))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(count)])
    ids, labels = batch["input_ids"], batch["labels"]
    if "cu_seq_lens_q" in batch:  # packed: rows lie end to end
        edges = batch["cu_seq_lens_q"].tolist()
        pieces = [slice(start, end) for start, end in itertools.pairwise(edges)]
        rows = [(ids[0, it].tolist(), (labels[0, it] != IGNORED).tolist()) for it in pieces]
    else:
        read = batch["attention_mask"].bool()
        rows = [
            (ids[i, read[i]].tolist(), (labels[i, read[i]] != IGNORED).tolist()) for i in range(len(ids))
        ]  # fmt: skip
    check_first_batch(rows, base.speech, trainer.model.get_input_embeddings().num_embeddings)
