"""The `lm-eval:` back end: whatever lm-evaluation-harness can load, asked through its `generate_until`.

    lm-eval:hf,pretrained=ckpt/dpo-cai,dtype=float32          TYPE, and the arguments that --model_args would hold

Its interface takes texts and gives texts. How an answer ended is therefore "unknown", its tokens are not counted, and a
sampled answer has no seed of its own: greedy answers can be had again, sampled ones can not.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from harness.models.checkpoint import Checkpoint, open_checkpoint
from harness.models.hf import end_of_turn, first_line, read_template
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped, suggestion
from tasks.paths import user_path

ROWS = 32
"""`batch_size`, where the arguments name none: lm-eval's own default is one row."""
PARALLEL = 128
"""Requests handed over at once, which lm-eval sorts by length and batches."""
GATHER_S = 0.02
"""How long the first request of a batch waits for others."""
SECRET = re.compile(r"api_?key|secret|password|^(hf_|auth_)?token$", re.I)
PATHS = ("pretrained", "peft", "delta", "tokenizer")
"""Arguments that may name a folder: what is in it decides answers, not where it lies."""

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Request:
    """A rendered conversation (a text, or what an API's type takes for one) and the coroutine that waits for it."""

    context: Any
    settings: Settings
    done: asyncio.Future[str]


class LmEvalModel:
    """Answers with a model type of lm-evaluation-harness; see `Model` for the interface."""

    parallel = PARALLEL

    def __init__(self, spec: str, chat_template: Path | str | None, say: Callable[[str], None]) -> None:
        """`spec` is `TYPE,key=value,…`; `chat_template` a file, or the template itself, instead of the type's own.

        Raises:
            BadInput: lm-eval is not installed or knows no such type, or the arguments can not be used.
        """
        self._type, _, written = spec.partition(",")
        self._arguments = _arguments(written)
        if find_spec("lm_eval") is None:
            raise BadInput("lm-eval: models need lm-eval: pip install 'bench[capability]'")
        self._class = _model_class(self._type)
        self._template = read_template(chat_template)
        named = self._arguments.get("pretrained") or self._arguments.get("model") or self._type
        self.name = Path(named).name or named
        self._identity = {
            "backend": f"lm-eval:{self._type}",
            "arguments": {key: _fingerprint(key, value) for key, value in sorted(self._arguments.items())},
            "chat_template_sha256": hashlib.sha256(self._template.encode()).hexdigest() if self._template else None,
        }
        self._spec = spec
        self._say = say
        self._lm: Any = None
        self._tokenizer: Any = None
        self._until: list[str] = []
        self._ends: tuple[Any] | None = None
        self._load_s = 0.0
        self._busy_s = 0.0
        self._line: list[Request] = []
        self._pump: asyncio.Task[None] | None = None
        self._warned = False

    @property
    def busy_s(self) -> float:
        return self._busy_s

    def identity(self) -> dict[str, Any]:
        return self._identity

    def describe(self) -> dict[str, Any]:
        device = getattr(self._lm, "device", None)
        return {
            **self._identity,
            "name": self.name,
            "source": f"lm-eval:{self._spec}",
            "device": None if device is None else str(device),
            "seeds": "of the whole process: lm-eval takes none for a request",
            "stop_texts": self._until,
            "load_s": round(self._load_s, 2),
        }

    def load(self) -> None:
        if self._lm is not None:
            return
        start = time.perf_counter()
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        defaults = {} if "batch_size" in self._arguments else {"batch_size": ROWS}
        written = ",".join(f"{key}={value}" for key, value in self._arguments.items())
        try:
            self._lm = self._class.create_from_arg_string(written, defaults)
        except Exception as error:  # noqa: BLE001 - every type raises its own; each means that it can not be had
            raise BadInput(
                f"lm-eval can not load {self._type} with {written or 'no arguments'}: {_said(error)}"
            ) from None
        self._tokenizer = _tokenizer(self._lm)
        if self._template and self._tokenizer is not None:
            self._tokenizer.chat_template = self._template
        try:
            self._rendered([{"role": "user", "content": "Hello"}])
        except Exception as error:  # noqa: BLE001 - as above
            self._lm = None
            raise BadInput(
                f"lm-eval's {self._type} applies no chat template ({_said(error)}): pass --chat-template FILE, or use "
                "a type that has one, such as hf or local-chat-completions"
            ) from None
        self._stop_at_end_of_turn()
        self._load_s = time.perf_counter() - start

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        self.load()
        if settings.temperature > 0 and not self._warned:
            self._warned = True
            self._say("lm-eval takes no seed for a request: sampled answers can not be had again")
        try:
            context = self._rendered(messages)
        except Exception as error:  # noqa: BLE001 - a template may raise anything about one conversation
            return Completion("", "missing", error=f"the chat template refuses this conversation: {_said(error)}")
        request = Request(context, settings, asyncio.get_running_loop().create_future())
        self._line.append(request)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._answer_all())
        return Completion((await request.done).strip(), "unknown")

    def as_lm_eval_has_it(self) -> Any:
        """lm-eval's own model, stopping where lm-eval lets it stop; a later `complete` needs a new `load`."""
        self.load()
        lm, self._lm = self._lm, None
        if self._ends is not None:
            lm.model.generation_config.eos_token_id = self._ends[0]
        return lm

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Free the model; a later request loads it again."""
        self._lm = self._tokenizer = None

    def _stop_at_end_of_turn(self) -> None:
        """lm-eval stops at the tokenizer's end of text alone, which chat models may never say."""
        has_template = getattr(self._tokenizer, "chat_template", None)
        if not has_template or (token := end_of_turn(self._tokenizer)) is None:
            return
        self._until = [self._tokenizer.convert_ids_to_tokens(token)]
        # Of a batch, rows go on until the last has ended, and a special token is not found in the decoded text: only
        # what transformers itself counts as an end is cut off there.
        config = getattr(getattr(self._lm, "model", None), "generation_config", None)
        if config is not None:
            ends = config.eos_token_id
            self._ends = (ends,)
            known = ends if isinstance(ends, list) else [ends, self._tokenizer.eos_token_id]
            config.eos_token_id = sorted({token, *(end for end in known if end is not None)})

    def _rendered(self, messages: Sequence[Message]) -> Any:
        if self._template is None:
            return self._lm.apply_chat_template([dict(message) for message in messages], add_generation_prompt=True)
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, _ = render_jinja_template(
            conversations=[list(messages)], chat_template=self._template, add_generation_prompt=True,
            **(getattr(self._tokenizer, "special_tokens_map", None) or {}),
        )  # fmt: skip
        return texts[0]

    async def _answer_all(self) -> None:
        """Hand what waits to lm-eval, batch after batch: it takes no newcomers before one is done."""
        while self._line:
            await asyncio.sleep(GATHER_S)
            batch, self._line = self._line[:PARALLEL], self._line[PARALLEL:]
            batch = [request for request in batch if not request.done.cancelled()]
            try:
                texts = await in_thread(partial(self._generated, batch))
            except Exception as error:  # noqa: BLE001 - handed to everyone who waits
                failure = RunStopped(
                    f"lm-eval failed while generating: {_said(error)}; the same command resumes the run"
                )
                waiting, self._line = [*batch, *self._line], []
                for request in waiting:
                    if not request.done.done():
                        request.done.set_exception(failure)
                return
            for request, text in zip(batch, texts, strict=True):
                if not request.done.done():
                    request.done.set_result(text)

    def _generated(self, batch: Sequence[Request]) -> list[str]:
        from lm_eval.api.instance import Instance

        start = time.perf_counter()
        # Not a word on stdout or of a progress bar, where the type's method knows how.
        quiet = {"disable_tqdm": True} if _takes(self._lm.generate_until, "disable_tqdm") else {}
        asked = [
            Instance("generate_until", {}, (request.context, self._generation(request.settings)), idx)
            for idx, request in enumerate(batch)
        ]
        texts = self._lm.generate_until(asked, **quiet)
        self._busy_s += time.perf_counter() - start
        if len(texts) != len(batch):
            raise ValueError(f"{self._type} gave {len(texts)} texts for {len(batch)} requests")
        return [text if isinstance(text, str) else "" for text in texts]

    def _generation(self, settings: Settings) -> dict[str, Any]:
        sampled = settings.temperature > 0
        return {
            "until": list(self._until), "max_gen_toks": settings.max_new_tokens, "do_sample": sampled,
            # A greedy request must not hold a temperature that a type would read as sampling.
            "temperature": settings.temperature if sampled else 0.0,
        }  # fmt: skip


async def in_thread(work: Callable[[], Result]) -> Result:
    """Do `work` in a thread that nobody waits for when the program is told to stop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not done.cancelled():
            set_it()

    def run() -> None:
        try:
            outcome = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            outcome = partial(done.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="lm-eval", daemon=True).start()
    return await done


def _arguments(written: str) -> dict[str, str]:
    """`key=value,…` as a mapping; keys for APIs are refused, because arguments are kept in the manifest."""
    arguments = {}
    for part in filter(None, (part.strip() for part in written.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise BadInput(f"lm-eval:TYPE takes arguments such as pretrained=CKPT,dtype=float32, not {part!r}")
        if SECRET.search(key):
            raise BadInput(f"{key} does not belong into a command, which is kept: set it in the environment instead")
        arguments[key] = value
    return arguments


def _model_class(name: str) -> Any:
    import lm_eval.models
    from lm_eval.api.registry import get_model

    if name not in lm_eval.models.MODEL_MAPPING:
        raise BadInput(f"lm-eval has no model type {name!r}: {suggestion(name, lm_eval.models.MODEL_MAPPING, 'types')}")
    try:
        return get_model(name)
    except Exception as error:  # noqa: BLE001 - types import what they need, and that may be missing or broken
        raise BadInput(f"lm-eval's model type {name} can not be used here: {_said(error)}") from None


def _tokenizer(lm: Any) -> Any:
    """The transformers tokenizer of a model, or None; some types fetch theirs when it is asked for, and can fail."""
    from transformers import PreTrainedTokenizerBase

    try:
        found = getattr(lm, "tokenizer", None)
    except Exception:  # noqa: BLE001 - without one a template may still be given
        return None
    return found if isinstance(found, PreTrainedTokenizerBase) else None


def _fingerprint(key: str, value: str) -> str:
    """An argument, or the fingerprint of the folder that it names."""
    if key not in PATHS or not (folder := user_path(value)).is_dir():
        return value
    checkpoint = open_checkpoint(str(folder)) if key == "pretrained" else Checkpoint(folder)
    return f"sha256:{checkpoint.fingerprint()}"


def _takes(function: Callable[..., object], name: str) -> bool:
    parameters: Mapping[str, object] = inspect.signature(function).parameters
    return name in parameters


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}" if not isinstance(error, ValueError) else first_line(error)
