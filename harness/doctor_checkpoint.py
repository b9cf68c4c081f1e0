"""`bench doctor CKPT`: what of a checkpoint is missing, contradicts itself, or does not fit this machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from math import prod
from operator import index
from pathlib import Path
from typing import Any

from harness.doctor_speech import QUESTION, speech_findings, tokens_in_use
from harness.findings import Finding, ok, problem, warning
from harness.hardware import available_memory
from harness.models.checkpoint import WEIGHTS, Checkpoint, open_checkpoint
from harness.models.embedded import NAME, embedded_checkpoint
from harness.models.hf import HFModel, dtype_of, first_line, read_template
from harness.printing import say, say_nothing
from tasks.conversation import Settings
from tasks.errors import BadInput, BenchError
from tasks.paths import user_path

TOKENS = 5
"""Said to see whether it can speak at all."""
CACHE_SHARE = 1.2
"""Memory that a model needs, over that of its weights: keys, values and activations of a few conversations."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
NOT_A_CHECKPOINT = ("openai:", "answers:", "lm-eval:", "hf:")
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names that safetensors has for types, and torch's."""
REMEDY_STARTS = ("pass", "save", "copy", "merge", "restore", "use", "pip", "did you mean")
FETCH = (
    "let the hub be asked (no --offline, no HF_HUB_OFFLINE), or set base_model_name_or_path in adapter_config.json "
    "to a folder that holds it"
)
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def checkpoint_findings(spec: str, template: str | None, *, generate: bool) -> list[Finding]:
    """Everything about a checkpoint that can be seen without its weights, and five tokens with them.

    Raises:
        BadInput: `spec` names no folder, hub id or embedded model, or the template can not be read.
    """
    if (kind := next((kind for kind in NOT_A_CHECKPOINT if spec.startswith(kind)), None)) is not None:
        raise BadInput(f"bench doctor examines checkpoints, not {kind} models: pass a folder, a hub id or smollm2")
    given = read_template(user_path(template) if template else None)
    if lacking := [name for name in ("torch", "transformers", "safetensors", "jinja2") if find_spec(name) is None]:
        return [problem("libraries", f"a checkpoint needs {', '.join(lacking)}", "pip install 'bench[hf]'")]
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    checkpoint, findings = _opened(spec)
    # Of an adapter without its base there is a tokenizer, and neither weights that mean anything nor a configuration.
    lost_base = not checkpoint.adapter and (checkpoint.folder / "adapter_config.json").exists()
    tensors = {} if lost_base else _tensors(checkpoint.folder)
    config = _json(checkpoint.folder / "config.json")
    findings += [*_other_weights(checkpoint), *_dtype(config, tensors), *_memory(tensors)]
    tokenizer, of_tokenizer = _tokenizer(checkpoint, given)
    findings += of_tokenizer
    if tokenizer is not None:
        findings += _vocabulary(checkpoint, config, tensors, tokenizer)
        if tokenizer.chat_template:
            findings += speech_findings(tokenizer, None if lost_base else checkpoint.folder)
    if generate:
        findings += _smoke(spec, template, findings)
    return findings


def _opened(spec: str) -> tuple[Checkpoint, list[Finding]]:
    """The checkpoint, as far as there is one, and what is wrong with its files."""
    try:
        checkpoint = Checkpoint(embedded_checkpoint(say)) if spec == NAME else open_checkpoint(spec)
    except BadInput as error:
        folder = user_path(spec)
        if not folder.is_dir():
            raise
        # An adapter without its base still has a tokenizer, and a folder of pickled weights a template.
        says, _, remedy = str(error).rpartition(": ")
        if not remedy.startswith(REMEDY_STARTS):
            says, remedy = str(error), FETCH if "from the hub" in says else "copy or save the checkpoint again"
        return Checkpoint(folder), [problem("files", says, remedy)]
    kind = _json(checkpoint.folder / "config.json").get("model_type")
    says = f"{kind}, {len(list(checkpoint.folder.glob(WEIGHTS)))} safetensors file(s), whole"
    findings = [ok("files", says)]
    if checkpoint.adapter:
        says = f"{checkpoint.adapter} on {checkpoint.folder}"
        if find_spec("peft") is None:
            findings.append(problem("adapter", f"{says}, and peft is not installed", "pip install 'bench[hf]'"))
        else:
            findings.append(ok("adapter", says))
    return checkpoint, findings


def _other_weights(checkpoint: Checkpoint) -> Iterator[Finding]:
    if not list(checkpoint.folder.glob(WEIGHTS)):
        return
    others = sorted(path.name for pattern in PICKLES for path in checkpoint.folder.glob(pattern))
    if weights := [name for name in others if name not in ("training_args.bin", "optimizer.pt", "scheduler.pt")]:
        says = f"{', '.join(weights[:3])} beside safetensors: never read here, and other programs may prefer it"
        yield warning("other weights", says, "remove what is not safetensors: pickled files run code when loaded")


def _dtype(config: Mapping[str, Any], tensors: Tensors) -> Iterator[Finding]:
    import torch

    if not tensors:
        return
    sizes: Counter[str] = Counter()
    for dtype, shape in tensors.values():
        sizes[DTYPES.get(dtype, dtype)] += prod(shape)
    stored = sizes.most_common(1)[0][0]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    runs = str(dtype_of(torch, device)).removeprefix("torch.")
    count = f"{sum(sizes.values()) / 1e6:,.1f} M parameters"
    stated = str(config.get("dtype") or config.get("torch_dtype") or stored).removeprefix("torch.")
    if quantized := config.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        says = f"quantized ({method}): it runs only with that method's library, and often only on a GPU"
        yield warning("dtype", says, "evaluate the unquantized checkpoint, too: quantization alone can cause loops")
    elif stated != stored:
        says = f"config.json says {stated}, the weights are {stored}: engines that believe the file convert them"
        yield warning("dtype", f"{count}; {says}", f'set "dtype": "{stored}" in config.json, or save the weights anew')
    else:
        mixed = f" ({', '.join(sizes)})" if len(sizes) > 1 else ""
        yield ok("dtype", f"{count} in {stored}{mixed}, run here in {runs}")


def _memory(tensors: Tensors) -> Iterator[Finding]:
    import torch

    if not tensors:
        return
    on_gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else available_memory()
    size = dtype_of(torch, "cuda" if on_gpu else "cpu").itemsize
    needed = int(CACHE_SHARE * size * sum(prod(shape) for _, shape in tensors.values()))
    where = "GPU" if on_gpu else "processor"
    says = f"needs about {needed / 2**30:.1f} GiB on the {where}, {free / 2**30:.1f} GiB are free"
    if needed > free:
        more = "more GPUs (--backend vllm --model-args tensor_parallel_size=N)" if on_gpu else "a GPU, or more memory"
        yield problem("memory", says, f"end other programs, or use {more}")
    else:
        yield ok("memory", says)


def _tokenizer(checkpoint: Checkpoint, given: str | None) -> tuple[Any, list[Finding]]:
    """The tokenizer with the template that a run would use, or None; and what is wrong with either."""
    from transformers import AutoTokenizer

    folder = checkpoint.tokenizer_folder
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        remedy = "save the tokenizer beside the model: tokenizer.save_pretrained(FOLDER)"
        return None, [problem("tokenizer", f"none in {folder}", remedy)]
    try:
        # Code of the checkpoint's own is not run; left open, transformers would ask whether to.
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - files of others, read by a library that raises what it likes
        remedy = "save it again with the transformers that is installed here, or copy the base's tokenizer files"
        return None, [problem("tokenizer", f"can not be loaded: {first_line(error)}", remedy)]
    if given:
        tokenizer.chat_template = given
    if not tokenizer.chat_template:
        remedy = "pass --chat-template FILE, or use an instruction-tuned checkpoint"
        return tokenizer, [problem("chat template", f"none in {folder}", remedy)]
    return tokenizer, []


def _vocabulary(
    checkpoint: Checkpoint, config: Mapping[str, Any], tensors: Tensors, tokenizer: Any
) -> Iterator[Finding]:
    text_config = config.get("text_config")
    stated = (text_config if isinstance(text_config, dict) else config).get("vocab_size")
    rows = _embedding_rows(checkpoint, tensors) or stated
    vocabulary = set(tokenizer.get_vocab().values())
    highest = max(vocabulary, default=-1)
    if not isinstance(rows, int):
        return
    if isinstance(stated, int) and stated != rows and not checkpoint.adapter:
        says = f"config.json says {stated} tokens, the weights have rows for {rows}"
        yield problem("vocabulary", says, f'set "vocab_size": {rows} in config.json')
    elif highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        says = f"the tokenizer goes up to {highest} ({token}), the model has rows for {rows}: it can not read them"
        remedy = "use the base's tokenizer, or train with model.resize_token_embeddings(len(tokenizer)) and save again"
        words = vocabulary - set(tokenizer.added_tokens_decoder) | tokens_in_use(tokenizer)
        # A token for pictures in a model of text, say, that no conversation is written with.
        yield (problem if max(words, default=-1) >= rows else warning)("vocabulary", says, remedy)
    else:
        yield ok("vocabulary", f"{highest + 1} tokens, {rows} rows")


def _embedding_rows(checkpoint: Checkpoint, tensors: Tensors) -> int | None:
    """Rows of the embedding in the weights, or None where it is not found by the name that its architecture gives."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        weight = model.get_input_embeddings().weight
    except Exception:  # noqa: BLE001 - what can not be built is reported when it is loaded
        return None
    name = next((name for name, parameter in model.named_parameters() if parameter is weight), "")
    short = name.removeprefix(f"{model.base_model_prefix}.")
    rows = next((shape[0] for each in (name, short) if (shape := tensors.get(each, ("", ()))[1])), None)
    if checkpoint.adapter:
        trained = [
            shape[0]
            for each, (_, shape) in _tensors(checkpoint.adapter).items()
            if short and short.removesuffix(".weight") in each and "lora" not in each and len(shape) == 2
        ]
        rows = max([*trained, *([rows] if rows else [])], default=None)
    return rows


def _smoke(spec: str, template: str | None, findings: list[Finding]) -> Iterator[Finding]:
    """Ask it something, by the very path that a run takes."""
    hopeless = {"files", "adapter", "tokenizer", "chat template", "memory"}
    if blocking := next((f.subject for f in findings if f.status == "problem" and f.subject in hopeless), None):
        yield warning("generation", "not tried", f"solve the problem with {blocking} first")
        return
    started = time.perf_counter()
    try:
        model = HFModel(spec, user_path(template) if template else None, say_nothing)
        try:
            said = asyncio.run(model.complete([{"role": "user", "content": QUESTION}], Settings(max_new_tokens=TOKENS)))
        finally:
            model.close()
    except (BenchError, RuntimeError, MemoryError) as error:
        remedy = "copy or save the checkpoint again; bench run --debug shows where it failed"
        yield problem("generation", first_line(error), remedy)
        return
    took = f"in {time.perf_counter() - started:.1f} s, loading included"
    if said.error:
        yield problem("generation", said.error, "mend the chat template or the tokenizer")
    elif not said.text:
        says = f"{QUESTION!r} is answered by nothing ({said.completion_tokens} tokens)"
        yield warning("generation", says, "ask it more (bench run --limit 5); see that it is asked as it was trained")
    else:
        yield ok("generation", f"{QUESTION!r} → {said.text!r}, {said.completion_tokens} tokens {took}")


def _tensors(folder: Path) -> Tensors:
    """Type and shape of each tensor of a checkpoint, by the headers of its files. What can not be read is left out."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in _weight_files(folder):
        try:
            with path.open("rb") as file:
                header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), path.stat().st_size)))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            found |= {name: (str(entry["dtype"]), tuple(map(index, entry["shape"]))) for name, entry in entries.items()}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            continue
    return found


def _weight_files(folder: Path) -> list[Path]:
    """What transformers reads: model.safetensors, else the files of the index. Others beside them are copies."""
    whole = folder / "model.safetensors"
    if whole.exists():
        return [whole]
    shards = _json(folder / "model.safetensors.index.json").get("weight_map")
    if isinstance(shards, dict):
        return sorted({folder / str(name) for name in shards.values()})
    return sorted(folder.glob(WEIGHTS))


def _json(path: Path) -> Mapping[str, Any]:
    """A JSON object, or an empty one where there is none; `open_checkpoint` says what is wrong with a file it needs."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
