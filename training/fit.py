"""What supervised and preference training have in common: a base is loaded, trained, stopped and resumed, and what
comes of it is written as a checkpoint that `bench run --model` takes.

    work/checkpoint-50/   the trainer's own, from which a stopped training goes on
    work/monitor.jsonl    the looks of the collapse monitor; work/healthy/ the last healthy weights
    out/                  the merged checkpoint;  out-adapter/ the LoRA adapter

One process trains, or several under `accelerate launch`; the first of them alone writes and speaks.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.hardware import usable_cpus
from harness.models.checkpoint import Checkpoint, open_checkpoint
from harness.models.hf import end_of_turn, first_line, load_tokenizer, read_template
from tasks.errors import BadInput, BenchError, RunStopped
from tasks.paths import user_path
from training.encoding import Speech, reasons
from training.hardware_choice import Hardware, four_bits, hardware_here
from training.recipe import Dpo, Fit, Monitor, Sft
from training.stage import rank

if TYPE_CHECKING:
    from training.monitor import CollapseMonitor

WAIT_S = 6 * 3600
"""How long the processes of a training wait for the first one: merging a large model takes a while."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
KEPT_CHECKPOINTS = 2
LAST = ("loss", "mean_token_accuracy", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")
"""What of the last step's figures goes into the counts of a stage."""


@dataclass(frozen=True)
class FitJob:
    """What to train and where. `base` is a checkpoint folder or a hub id, `chat_template` a file in place of its own.

    `work` is scratch space that a resumed training goes on in; `out` is made at the end. `report_to` names trackers.
    """

    base: Path
    chat_template: str | None
    work: Path
    out: Path
    seed: int
    report_to: tuple[str, ...]
    monitor: Monitor
    say: Callable[[str], None]

    @property
    def adapter(self) -> Path:
        return self.out.with_name(f"{self.out.name}-adapter")


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    `counts`: rows trained on and left out by reason, steps, tokens read, seconds of this run, the step it was
    `resumed_from`, why the monitor `stopped` it and the step whose weights were `kept_step`, the last step's figures.
    """

    counts: dict[str, Any]


@dataclass(frozen=True)
class Base:
    """A checked base: where it lies, how conversations are written for it, and how many tokens it can read at once."""

    checkpoint: Checkpoint
    speech: Speech
    context: int | None

    @property
    def folder(self) -> Path:
        return self.checkpoint.folder


def open_base(job: FitJob, settings: Fit) -> Base:
    """Check all that can be checked before the weights are loaded.

    Raises:
        BadInput: no checkpoint, no chat template, or settings that can not be.
    """
    from transformers import AutoConfig, GenerationConfig

    _silence()
    checkpoint = open_checkpoint(str(job.base))
    if checkpoint.adapter:
        raise BadInput(f"{job.base} is an adapter: merge it into its base (peft's merge_and_unload) and train on that")
    template = read_template(user_path(job.chat_template) if job.chat_template else None)
    tokenizer = load_tokenizer(checkpoint.tokenizer_folder, template)
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"can not read the configuration of {checkpoint.folder}: {first_line(error)}") from None
    try:
        generation = GenerationConfig.from_pretrained(checkpoint.folder)
    except OSError:
        generation = GenerationConfig.from_model_config(config)
    ends = generation.eos_token_id
    ids = {tokenizer.eos_token_id, end_of_turn(tokenizer), *(ends if isinstance(ends, list) else [ends])}
    stop_ids = frozenset(it for it in ids if it is not None)
    if not stop_ids:
        raise BadInput(f"{checkpoint.folder} has no token that ends an answer: give its tokenizer an EOS token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(min(stop_ids))
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if settings.quantized:
        if not settings.lora_rank:
            raise BadInput("quantized weights can not be trained, only an adapter on them: set lora_rank above 0")
        four_bits(hardware_here())
    speech = Speech(tokenizer, stop_ids)
    if not rank() and (left_over := speech.prompt_left_over()):
        job.say(
            f"{stage_of(settings)}: the chat template ends a prompt with {left_over!r} and begins no answer with it: "
            "the model is trained behind another prompt than it is asked with"
        )
    return Base(checkpoint, speech, context)


def row_limit(base: Base, settings: Fit) -> int:
    """The longest row that is trained on, in tokens."""
    return min(settings.max_length, base.context or settings.max_length)


def trainer_arguments(job: FitJob, settings: Fit, hardware: Hardware) -> dict[str, Any]:
    """What SFTConfig and DPOConfig have in common. They are made before the weights are loaded, for ZeRO-3's sake."""
    from transformers import SchedulerType

    known = [it.value for it in SchedulerType]
    if settings.schedule not in known:
        raise BadInput(f"no learning rate schedule {settings.schedule!r}: one of {', '.join(known)}")
    return {
        "output_dir": str(job.work),
        "seed": job.seed,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        # From 1 on it would be a number of steps.
        "warmup_steps": min(settings.warmup_share, 0.9999),
        "weight_decay": settings.weight_decay,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if settings.gradient_checkpointing else None,
        "bf16": hardware.half == "bfloat16",
        "fp16": hardware.half == "float16",
        "use_cpu": hardware.device == "cpu",
        "dataloader_pin_memory": hardware.device != "cpu",
        "max_length": None,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": KEPT_CHECKPOINTS,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": list(job.report_to) or "none",
        "run_name": f"{job.out.parent.name}-{job.out.name}",
        "disable_tqdm": True,
        "log_level": "error",
        "ddp_timeout": WAIT_S,
        "ddp_find_unused_parameters": False,
    }


def load_model(base: Base, settings: Fit, hardware: Hardware) -> Any:
    """The weights to train, or the frozen base of an adapter; raises BadInput where they can not be loaded."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if hardware.device == "cpu" and not _several():
        torch.set_num_threads(usable_cpus())
    options: dict[str, Any] = {}
    if hardware.attention:
        options["attn_implementation"] = hardware.attention
    if settings.quantized:
        options["quantization_config"] = four_bits(hardware)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            base.folder, dtype=hardware.weights(trained=not settings.lora_rank), use_safetensors=True,
            trust_remote_code=False, output_loading_info=True, **options,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise BadInput(f"can not load {base.folder}: {first_line(error)}") from None
    if missing := sorted(report["missing_keys"]):
        raise BadInput(f"{base.folder} lacks weights that its architecture needs: {', '.join(missing[:3])} …")
    return model


def adapter_config(settings: Fit) -> Any:
    """LoRA on every linear layer but the last (Hu et al. 2021; on all of them: Dettmers et al. 2023); None for none."""
    if not settings.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout, bias="none",
        target_modules="all-linear", task_type="CAUSAL_LM",
    )  # fmt: skip


def fit(
    job: FitJob,
    settings: Sft | Dpo,
    base: Base,
    make_trainer: Callable[[Hardware], Any],
    check: Callable[[Any], None],
    counts: Mapping[str, Any],
) -> FitResult:
    """Train, and write the checkpoint. `make_trainer` loads the weights, `check` looks at the trainer's first batch.

    Raises:
        BadInput: what was given can not be trained.
        RunStopped: it began and could not finish: out of memory, a full disk, a loss that is no number. What was saved
            is kept, and the same command goes on from it.
    """
    stage = stage_of(settings)
    if counts["left_out"] and not rank():
        job.say(f"{stage}: {counts['rows']} rows; left out: {reasons(counts['left_out'])}")
    with _explained(stage, settings, job.work), warnings.catch_warnings():
        # What the libraries will do one day is nothing that a person who trains can act on.
        warnings.simplefilter("ignore", FutureWarning)
        trained = _fitted(job, settings, base, make_trainer, check)
    _release()
    return FitResult({**counts, **trained})


def stage_of(settings: Fit) -> str:
    return "sft" if isinstance(settings, Sft) else "dpo"


def _fitted(
    job: FitJob,
    settings: Fit,
    base: Base,
    make_trainer: Callable[[Hardware], Any],
    check: Callable[[Any], None],
) -> dict[str, Any]:
    from transformers import PrinterCallback

    from training.callbacks import Progress, WholeCheckpoints, remove_torn, step_of, whole_checkpoints
    from training.merging import keep_adapter, merge

    hardware = hardware_here()
    job.work.mkdir(parents=True, exist_ok=True)
    found = whole_checkpoints(job.work)
    trainer = make_trainer(hardware)
    check(trainer)
    everyone, first = trainer.accelerator.wait_for_everyone, trainer.is_world_process_zero()
    say = job.say if first else _say_nothing
    everyone()  # before any is removed, all have chosen the same
    if first:
        remove_torn(job.work)
    monitor = _monitor(job, base, say)
    progress = Progress(
        stage_of(settings), say, lambda: monitor.last.state if monitor and monitor.last else None,
        check_gradient=hardware.half != "float16",
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    for callback in (progress, *([monitor] if monitor else []), WholeCheckpoints()):
        trainer.add_callback(callback)
    if found:
        say(f"{stage_of(settings)}: goes on from step {step_of(found[-1])}")
    trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)
    stopped = monitor.stopped if monitor else None
    if monitor and stopped and monitor.kept_step is None:
        raise RunStopped(f"{stopped}; no healthy weights were kept, so there is no checkpoint to make")
    trained = job.work / ("healthy" if stopped else "trained")
    if not stopped:
        trainer.save_model(str(trained))
    everyone()
    if first:
        if settings.lora_rank:
            keep_adapter(base.folder, trained, base.speech.tokenizer, job.adapter)
        _leave_zero3()
        merge(base.folder, trained, base.speech.tokenizer, base.speech.stop_ids, job.out)
    everyone()
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "tokens": progress.tokens,
        "seconds": round(progress.seconds, 1),
        "resumed_from": step_of(found[-1]) if found else None,
        "stopped": stopped,
        "kept_step": monitor.kept_step if monitor and stopped else None,
        "broken_looks": monitor.failed if monitor else 0,
        "last": {name: history[-1][name] for name in LAST if name in history[-1]} if history else {},
        "processes": trainer.accelerator.num_processes,
        "hardware": asdict(hardware),
    }


def _monitor(job: FitJob, base: Base, say: Callable[[str], None]) -> CollapseMonitor | None:
    if not job.monitor.every:
        return None
    from training.monitor import CollapseMonitor

    speech = base.speech
    return CollapseMonitor(
        job.monitor, job.work / "monitor.jsonl", job.work / "healthy", speech.tokenizer, speech.stop_ids, say
    )


@contextlib.contextmanager
def _explained(stage: str, settings: Fit, work: Path) -> Iterator[None]:
    """What went wrong, in words that say what to do."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        if told := explanation(error, stage, settings, work):
            raise told from error
        raise


def explanation(error: BaseException, stage: str, settings: Fit, work: Path) -> BenchError | None:
    """What to tell a person of an error while training; None for one that only a programmer can mend."""
    text = str(error)
    lower = text.lower()
    if isinstance(error, MemoryError) or "out of memory" in lower or "can't allocate memory" in lower:
        return RunStopped(f"{stage}: out of memory while training: {_savings(stage, settings)}")
    no_room = "no space left" in lower or "disk quota" in lower or "file too large" in lower
    # torch hides why it could not write.
    if no_room or "inline_container" in text or (isinstance(error, OSError) and error.errno in FULL_DISK):
        return RunStopped(f"{stage}: no room to write in {work}: make room; the same command goes on where it stopped")
    if isinstance(error, PermissionError):
        return BadInput(f"{stage}: can not write {error.filename}: choose another --out")
    return None


def _savings(stage: str, settings: Fit) -> str:
    """The settings that save memory, those that change nothing of what is learnt first."""
    saving = []
    if settings.batch_size > 1:
        saving.append(f"lower {stage}.batch_size ({settings.batch_size}) and raise {stage}.accumulation by as much")
    if not settings.gradient_checkpointing:
        saving.append(f"set {stage}.gradient_checkpointing = true")
    if settings.lora_rank == 0:
        saving.append(f"set {stage}.lora_rank = 16")
    elif not settings.quantized:
        saving.append(f"set {stage}.quantized = true (GPU)")
    saving.append(f"lower {stage}.max_length ({settings.max_length})")
    if settings.lora_rank > 1:
        saving.append(f"lower {stage}.lora_rank ({settings.lora_rank})")
    return ", or ".join(saving)


def _silence() -> None:
    """The libraries' own bars and remarks would mix with ours."""
    import logging

    import datasets
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name in ("trl", "accelerate", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _release() -> None:
    """A trainer holds itself in a circle: without a sweep the next stage would find its memory taken."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _leave_zero3() -> None:
    """While DeepSpeed's ZeRO-3 is on, transformers loads weights with all processes together; the first merges alone.

    The next training turns it on again.
    """
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def _several() -> bool:
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def _say_nothing(_message: str) -> None:
    pass
