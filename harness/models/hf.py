"""The `hf` back end: a transformers checkpoint (with its LoRA adapter) behind a batcher."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.hardware import cache_memory, threads_of_model
from harness.models.checkpoint import Checkpoint, open_checkpoint, short_name
from harness.models.embedded import NAME, embedded_checkpoint
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

if TYPE_CHECKING:
    from harness.models.batcher import Batcher

# GNU OpenMP's threads spin while they wait; with any other busy process each layer then takes many times longer. It is
# read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

CPU_ROWS = 64
"""Conversations at once on a CPU, where memory for their keys and values allows."""
GPU_ROWS = 256
CPU_CACHE_SHARE, GPU_CACHE_SHARE = 0.25, 0.8
"""Of the memory that is free once the weights are loaded, what keys and values may take."""
LINEAGE = "lineage.json"
"""How a checkpoint was made, where its trainer wrote it down."""
TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.06}


class HFModel:
    """Answers with `transformers`, up to `parallel` conversations at once; see `Model` for the interface."""

    def __init__(self, spec: str, chat_template: Path | str | None, say: Callable[[str], None]) -> None:
        """`chat_template` is a file, or the template itself; None leaves the checkpoint its own."""
        self.name = short_name(spec)
        self._spec = spec
        _require("torch", "transformers", "safetensors", "jinja2")
        if spec == NAME:
            _require("gguf")
        self._template = read_template(chat_template)
        self._checkpoint: Checkpoint = Checkpoint(embedded_checkpoint(say)) if spec == NAME else open_checkpoint(spec)
        self._fingerprint = self._checkpoint.fingerprint()
        self._batcher: Batcher | None = None
        self._busy_before = 0.0
        self._runs_on: dict[str, Any] = {}

    @property
    def busy_s(self) -> float:
        return self._busy_before + (self._batcher.busy_s if self._batcher else 0.0)

    @property
    def parallel(self) -> int:
        rows: int = self._runs_on.get("rows", CPU_ROWS)
        return rows

    @property
    def loaded(self) -> tuple[Any, Any]:
        """The transformers model and its tokenizer, for whoever else can run them; after `load`."""
        return self._model, self._tokenizer

    def identity(self) -> dict[str, Any]:
        template = hashlib.sha256(self._template.encode()).hexdigest() if self._template else None
        return {"backend": "hf", "sha256": self._fingerprint, "chat_template_sha256": template}

    def describe(self) -> dict[str, Any]:
        lineage = self._checkpoint.folder / LINEAGE
        return {
            **self.identity(),
            "name": self.name,
            "source": self._spec,
            "adapter": str(self._checkpoint.adapter) if self._checkpoint.adapter else None,
            **({"hub_commits": dict(self._checkpoint.commits)} if self._checkpoint.commits else {}),
            "lineage": lineage.read_text(encoding="utf-8", errors="replace") if lineage.exists() else None,
            **self._runs_on,
        }

    def load(self) -> None:
        if self._batcher:
            return
        start = time.perf_counter()
        import torch
        import transformers

        from harness.models.batcher import Batcher
        from harness.models.decoder import Decoder, slot_error

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = dtype_of(torch, device)
        if device == "cpu":
            torch.set_num_threads(threads_of_model())
        self._tokenizer = load_tokenizer(self._checkpoint.tokenizer_folder, self._template)
        self._model = model = _load_weights(self._checkpoint, dtype).to(device).eval()
        try:
            differs = slot_error(model)
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInput(f"the hf back end can not run {self._spec}: {first_line(error)}") from None
        if differs > TOLERANCE[str(dtype).removeprefix("torch.")]:
            raise BadInput(
                f"the hf back end can not run {self._spec}: its attention needs more than a mask and positions "
                f"(logits differ by {differs:.2g} of their range)"
            )
        stop_ids = stop_ids_of(self._tokenizer, model)
        rows, cache_tokens = batch_limits(model)
        self._embeddings = model.get_input_embeddings().num_embeddings
        self._context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._runs_on = {
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "rows": rows,
            "parameters": model.num_parameters(),
            "stop_tokens": [self._tokenizer.convert_ids_to_tokens(i) for i in sorted(stop_ids)],
            "load_s": round(time.perf_counter() - start, 2),
        }
        self._batcher = Batcher(Decoder(model, stop_ids, rows, cache_tokens))

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        from harness.models.decoder import Row
        from harness.models.steps import token_stats

        self.load()
        assert self._batcher is not None
        prompt, trouble = self._encoded(messages)
        room = self._context - len(prompt) if self._context else settings.max_new_tokens
        if not trouble and room <= 0:
            trouble = f"prompt longer than the model's context of {self._context} tokens"
        if trouble:
            return Completion("", "missing", prompt_tokens=len(prompt), error=trouble)
        row = Row(prompt, settings, limit=min(room, settings.max_new_tokens))
        try:
            await self._batcher.submit(row)
        except Exception as error:
            raise RunStopped(_out_of_order(error)) from error
        assert row.finish is not None
        said = row.tokens[:-1] if row.finish == "stop" else row.tokens
        return Completion(
            text=self._tokenizer.decode(said, skip_special_tokens=True).strip(),
            finish=row.finish,
            prompt_tokens=len(prompt),
            completion_tokens=len(row.tokens),
            token_entropy=row.token_entropy,
            token_stats=token_stats(row.entropies, row.certain),
        )

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> list[float]:
        """Log-probability, in nats, of each continuation where the answer to `messages` has begun with `prefix`.

        Each text is tokenised whole, as the model would read it: "10" may be one token or two, and the first letters of
        a continuation may share a token with the last of the prefix. Summed are the log-probabilities of its tokens
        after those that all these texts, and the prefix alone, have in common. What is left out is thus the same for
        all, and the difference of two sums is the log of the ratio of their texts' probabilities, however they split.

        A continuation that begins another stands for it, too ("1" for "10"): where that is not meant, end each with
        what ends the choice ("1]]").

        Raises:
            ValueError: this can not be put to the model; the message says why.
            RunStopped: no further request can be answered (out of memory, say).
        """
        self.load()
        assert self._batcher is not None
        shared, tails = self._parted(messages, prefix, continuations)
        try:
            return await self._batcher.call(partial(tail_logprobs, self._model, shared, tails))
        except Exception as error:
            raise RunStopped(_out_of_order(error)) from error

    def _parted(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> tuple[list[int], list[list[int]]]:
        """The tokens that all continuations begin with, conversation included, and those of each after them.

        Raises:
            ValueError: this can not be put to the model; the message says why.
        """
        texts = []
        for said in (prefix, *(prefix + continuation for continuation in continuations)):
            tokens, trouble = self._encoded(messages, said)
            if not trouble and self._context and len(tokens) > self._context:
                trouble = f"prompt longer than the model's context of {self._context} tokens"
            if trouble:
                raise ValueError(trouble)
            texts.append(tokens)
        shared = _common_start(texts)
        if not shared:
            raise ValueError("the chat template renders this conversation to nothing")
        return texts[0][:shared], [tokens[shared:] for tokens in texts[1:]]

    def _encoded(self, messages: Sequence[Message], said: str = "") -> tuple[list[int], str | None]:
        """A conversation as tokens, the answer begun with `said`; or why it can never be put to this model."""
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
            prompt: list[int] = self._tokenizer.encode(text + said, add_special_tokens=False)
        except TemplateError as error:
            return [], f"the chat template refuses this conversation: {first_line(error)}"
        except (TypeError, ValueError):
            return [], "the tokenizer can not read this prompt"
        if not prompt:
            return [], "the chat template renders this conversation to nothing"
        if max(prompt) >= self._embeddings:
            return [], "the tokenizer has tokens that the model has not"
        return prompt, None

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Free the weights; a later request loads them again."""
        if not self._batcher:
            return
        import torch

        self._batcher.close()
        self._busy_before = self.busy_s
        self._batcher = self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def tail_logprobs(model: Any, shared: Sequence[int], tails: Sequence[Sequence[int]]) -> list[float]:
    """Log-probability, in nats, of each tail of tokens after the `shared` ones, which are read once.

    The model keeps nothing of it: its keys and values live in a cache of their own, held while this runs.
    """
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        # Made without the model's configuration it keeps every position, also of layers that see a window only.
        cache = DynamicCache()

        def read(tokens: Sequence[int], **options: Any) -> torch.Tensor:
            ids = torch.tensor([list(tokens)], device=model.device)
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True, **options).logits[0]
            return torch.log_softmax(logits.float(), dim=-1)

        first = read(shared, logits_to_keep=1)
        totals = []
        for tail in tails:
            predicted = first
            if len(tail) > 1:
                predicted = torch.cat([first, read(tail[:-1])])
                cache.crop(1 - len(tail))
            said = torch.tensor(list(tail), dtype=torch.long)
            totals.append(predicted[torch.arange(len(tail)), said].double().sum().item())
    return totals


def _common_start(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with alike."""
    places = enumerate(zip(*texts, strict=False))
    return next((place for place, tokens in places if len(set(tokens)) > 1), min(map(len, texts)))


def _require(*libraries: str) -> None:
    """Say what is missing before anything is downloaded."""
    for library in libraries:
        if find_spec(library) is None:
            raise BadInput(f"running a checkpoint needs {library}: pip install 'bench[hf]'")


def read_template(path: Path | str | None) -> str | None:
    if isinstance(path, str):
        return path
    try:
        return path.read_text(encoding="utf-8") if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"can not read the chat template {path}: {error}") from None


def dtype_of(torch: Any, device: str) -> Any:
    """float32 on a CPU: without AVX-512 bfloat16 is a hundred times slower there. Half precision on a GPU."""
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def load_tokenizer(folder: Path, template: str | None) -> Any:
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"can not load the tokenizer of {folder}: {first_line(error)}") from None
    if template:
        tokenizer.chat_template = template
    if not tokenizer.chat_template:
        raise BadInput(
            f"no chat template in {folder}: pass --chat-template FILE, or use an instruction-tuned checkpoint"
        )
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True)
    except (TemplateError, ValueError, TypeError) as error:
        raise BadInput(f"the chat template of {folder} does not render: {first_line(error)}") from None
    return tokenizer


def _load_weights(checkpoint: Checkpoint, dtype: Any) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder, dtype=dtype, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BadInput(f"can not load {checkpoint.folder}: {first_line(error)}") from None
    if missing := sorted(report["missing_keys"]):
        # transformers only warns, and answers with random weights.
        raise BadInput(f"{checkpoint.folder} lacks weights that its architecture needs: {', '.join(missing[:3])} …")
    if checkpoint.adapter:
        _require("peft")
        from peft import PeftModel

        try:
            model = PeftModel.from_pretrained(model, checkpoint.adapter).merge_and_unload()
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise BadInput(f"can not put the adapter {checkpoint.adapter} on its base: {first_line(error)}") from None
    return model


def stop_ids_of(tokenizer: Any, model: Any) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, the generation config's and the chat template's end of turn."""
    ids = {tokenizer.eos_token_id}
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids.update(configured if isinstance(configured, list) else [configured])
    ids.add(end_of_turn(tokenizer))
    return frozenset(i for i in ids if i is not None)


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token with which the chat template closes an assistant's message, or None.

    Checkpoints whose generation config lacks it (Llama 3's <|eot_id|>, say) never stop where they should.
    """
    from jinja2 import TemplateError

    said = "Yes."
    messages = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": said}]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    except TemplateError:
        return None
    _, found, after = rendered.rpartition(said)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    tokens = tokenizer.encode(after, add_special_tokens=False) if found else []
    return next((i for i in tokens if i in special), None)


def batch_limits(model: Any) -> tuple[int, int]:
    """Conversations at once, and tokens of key/value cache, that fit this machine."""
    import torch

    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    if model.device.type == "cpu":
        return CPU_ROWS, cache_memory(CPU_CACHE_SHARE) // token_bytes
    free, _ = torch.cuda.mem_get_info()
    return GPU_ROWS, int(GPU_CACHE_SHARE * free / token_bytes)


def _out_of_order(error: BaseException) -> str:
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return (
            "out of memory while generating: lower --max-new-tokens or use a machine with more; the run can be resumed"
        )
    return f"the model failed while generating: {first_line(error)}; the same command resumes the run"


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
