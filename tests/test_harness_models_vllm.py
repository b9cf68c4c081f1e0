"""The vllm back end: greedy text, stops, limits, seeds and adapters as hf has them; what can not run, in one line.

What needs an engine is marked `vllm` and runs in an environment of its own (make test-vllm).
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.config import RunConfig, load_config
from harness.models.hf import HFModel
from harness.models.model import Model
from harness.models.opening import backend_of, open_here
from harness.models.vllm import VllmModel, entropies_of
from harness.models.vllm_arguments import engine_arguments
from harness.models.vllm_log import EngineLog
from harness.models.vllm_memory import GIB, parameters, refuse_beyond, token_bytes
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here (make test-vllm)")
SUBJECTS = (
    "rivers", "cats", "the moon", "tea", "war", "love", "France", "chess", "iron", "bees", "rain", "Plato", "jazz",
    "salt", "maps", "dogs",
)  # fmt: skip


def opened(folder: Path | str, **arguments: str) -> VllmModel:
    return VllmModel(str(folder), None, arguments, say=lambda _: None)


def answers(model: Model, prompts: list[str], settings: Settings) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        asked: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in prompts]
        return await asyncio.gather(*(model.complete(messages, settings) for messages in asked))

    return asyncio.run(all_at_once())


@pytest.fixture(scope="module")
def folder(make_checkpoint: Callable[..., Path]) -> Path:
    """vLLM's attention on processors has no heads of 8."""
    return make_checkpoint(head_dim=32)


@pytest.fixture(scope="module")
def small(folder: Path) -> Iterator[VllmModel]:
    """One engine for all tests of the two-layer model: starting one takes half a minute."""
    model = opened(folder, max_logprobs="-1")
    model.load()
    yield model
    model.close()


@needs_vllm
@pytest.mark.vllm
def test_greedy_answers_are_those_of_hf_with_their_finish_and_tokens(small: VllmModel, folder: Path) -> None:
    ours = HFModel(str(folder), None, say=lambda _: None)
    ours.load()
    wanted = answers(ours, list(SUBJECTS), Settings(200))
    found = answers(small, list(SUBJECTS), Settings(200))
    ours.close()
    assert {answer.finish for answer in wanted} >= {"stop"}
    same = [
        (one.text, one.finish, one.prompt_tokens, one.completion_tokens)
        == (other.text, other.finish, other.prompt_tokens, other.completion_tokens)
        for one, other in zip(wanted, found, strict=True)
    ]
    # Float sums differ in their order, and now and then two tokens are as good as equal.
    assert sum(same) >= 14
    assert small.describe()["stop_tokens"] == ours.describe()["stop_tokens"]
    # Asked for the whole distribution, the entropies are exact.
    for one, other in zip(wanted, found, strict=True):
        if one.text == other.text:
            assert other.token_entropy == pytest.approx(one.token_entropy, abs=1e-3)


@needs_vllm
@pytest.mark.vllm
def test_continuations_are_as_probable_as_under_hf(small: VllmModel, folder: Path) -> None:
    ours = HFModel(str(folder), None, say=lambda _: None)
    asked: list[Message] = [{"role": "user", "content": "Which one?"}]
    continuations = ["A)", "B)", "neither", ""]
    wanted = asyncio.run(ours.continuation_logprobs(asked, "The better answer is (", continuations))
    ours.close()
    assert asyncio.run(small.continuation_logprobs(asked, "The better answer is (", continuations)) == pytest.approx(
        wanted, abs=1e-4
    )
    with pytest.raises(ValueError, match="longer than the model's context"):
        asyncio.run(small.continuation_logprobs(asked, "x" * 20_000, ["A"]))


@needs_vllm
@pytest.mark.vllm
def test_a_sampled_answer_depends_on_its_seed_and_a_limit_is_said(small: VllmModel) -> None:
    first, again, other = (answers(small, ["Hi"], Settings(24, 1.0, seed))[0].text for seed in (7, 7, 8))
    assert first == again != other
    crowd = answers(small, ["Hi", "Something much longer than that", "Third"], Settings(24, 1.0, 7))
    assert crowd[0].text == first
    cut = answers(small, ["Tell me"], Settings(3))[0]
    assert (cut.finish, cut.completion_tokens) == ("length", 3)
    long = answers(small, ["x" * 5000], Settings(8))[0]
    assert (long.finish, long.error) == ("missing", "prompt longer than the model's context of 4096 tokens")


@needs_vllm
@pytest.mark.vllm
def test_a_request_that_nobody_waits_for_leaves_the_engine(small: VllmModel) -> None:
    async def gives_up() -> int:
        # Several, since a random model may end one of them at once.
        asked: list[list[Message]] = [[{"role": "user", "content": subject}] for subject in SUBJECTS]
        asking = [asyncio.create_task(small.complete(messages, Settings(4000, 1.0, seed=1))) for messages in asked]
        await asyncio.sleep(0.2)
        given_up = sum(task.cancel() for task in asking)
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0.5)
        return given_up

    assert asyncio.run(gives_up()) > 0
    assert small._engine.get_num_unfinished_requests() == 0
    assert small.busy_s > 0


@needs_vllm
@pytest.mark.vllm
def test_an_adapter_changes_answers_as_it_does_under_hf(folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path)
    prompts = list(SUBJECTS[:8])
    texts = []
    for model in (
        HFModel(str(tmp_path), None, say=lambda _: None),
        opened(tmp_path),
        HFModel(str(folder), None, print),
    ):
        texts.append([answer.text for answer in answers(model, prompts, Settings(24))])
        model.close()
    merged, applied, bare = texts
    assert sum(one == other for one, other in zip(merged, applied, strict=True)) >= 6
    assert merged != bare


@needs_vllm
@pytest.mark.vllm
@pytest.mark.slow
def test_the_embedded_model_says_most_of_the_time_what_it_says_under_hf() -> None:
    prompts = [f"Tell me about {subject}" for subject in SUBJECTS]
    texts = []
    for model in (HFModel("smollm2", None, print), opened("smollm2")):
        texts.append([answer.text for answer in answers(model, prompts, Settings(48))])
        model.close()
    assert sum(one == other for one, other in zip(*texts, strict=True)) >= 14


@needs_vllm
@pytest.mark.vllm
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tensor_paralel_size": "2"}, "no engine argument 'tensor_paralel_size': did you mean tensor_parallel_size"),
        ({"tokenizer": "other"}, "tokenizer is set by bench itself"),
        ({"max_model_len": "100000"}, "vLLM can not run .*max_model_len"),
    ],
)
def test_engine_arguments_that_can_not_be_are_said_in_one_line(
    folder: Path, arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        opened(folder, **arguments).load()
    assert "\n" not in str(refused.value)


@needs_vllm
@pytest.mark.vllm
def test_where_it_runs_is_no_part_of_what_it_is(folder: Path) -> None:
    plain = opened(folder)
    assert opened(folder, gpu_memory_utilization="0.5", max_num_seqs="8").identity() == plain.identity()
    assert opened(folder, dtype="float16").identity() != plain.identity()
    assert plain.identity()["backend"] == "vllm"
    assert engine_arguments({"max_num_seqs": "8", "enforce_eager": "true", "dtype": "auto"}) == {
        "max_num_seqs": 8, "enforce_eager": True, "dtype": "auto",
    }  # fmt: skip


def test_without_vllm_it_says_how_to_get_it(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.vllm.find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"pip install 'bench\[vllm\]'"):
        open_here(RunConfig(model=str(checkpoint), backend="vllm"), print)


def test_a_checkpoint_is_run_by_hf_where_there_is_no_gpu_or_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for has_vllm, has_gpu, chosen in ((True, True, "vllm"), (True, False, "hf"), (False, True, "hf")):
        monkeypatch.setattr("harness.models.opening.find_spec", lambda _, there=has_vllm: there or None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=has_gpu: there)
        assert backend_of(RunConfig(model="ckpt")) == chosen
    assert backend_of(RunConfig(model="ckpt", backend="hf")) == "hf"
    with pytest.raises(BadInput, match="--backend is one of hf, vllm"):
        backend_of(RunConfig(model="ckpt", backend="tgi"))


def test_model_args_are_pairs_and_belong_to_vllm(checkpoint: Path) -> None:
    given = {"model": str(checkpoint), "model_args": "tensor-parallel-size=2, dtype=bfloat16"}
    config = load_config(None, given)
    assert config.model_args == {"tensor_parallel_size": "2", "dtype": "bfloat16"}
    with pytest.raises(BadInput, match="--model-args are of the vllm engine"):
        open_here(RunConfig(model=str(checkpoint), backend="hf", model_args=config.model_args), print)
    for bad in ("tensor_parallel_size", "=2", ""):
        with pytest.raises(BadInput, match="--model-args takes pairs"):
            load_config(None, {**given, "model_args": bad})


def test_a_model_too_large_is_refused_with_the_memory_it_needs(checkpoint: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint)
    count = parameters(checkpoint)
    assert count == 35168
    # Two layers, keys and values, 2 heads of 8, 2 bytes each.
    assert token_bytes(config, 2) == 2 * 2 * 2 * 8 * 2
    settings = {"dtype": "bfloat16"}
    refuse_beyond("m", checkpoint, config, settings, 2 * count + 128 * 4096)
    with pytest.raises(BadInput, match=r"for one conversation of 4096 tokens.*max_model_len=1024 or less fits"):
        refuse_beyond("m", checkpoint, config, settings, 2 * count + 128 * 2000)
    with pytest.raises(BadInput, match="spread it by --model-args tensor_parallel_size=N"):
        refuse_beyond("m", checkpoint, config, settings, 2 * count - 1)
    with pytest.raises(BadInput, match=rf"needs {2 * count / GIB:.1f} GiB for its weights and 119.2 GiB"):
        refuse_beyond("m", checkpoint, config, {**settings, "max_model_len": 10**9}, GIB)


def test_entropies_of_the_whole_distribution_are_exact_and_of_a_part_are_refused() -> None:
    import math

    half = math.log(0.5)
    flat = SimpleNamespace(
        # Each step begins with the token that was said.
        logprobs=[half, half, half, -math.inf, 0.0, 0.0, -math.inf, -math.inf],
        start_indices=[0, 4],
        end_indices=[4, 8],
    )
    entropies, certain = entropies_of(flat, 3)
    assert entropies == pytest.approx([math.log(2), 0.0])
    assert certain == 1
    with pytest.raises(ValueError, match="log-probabilities of 3 of 4 tokens"):
        entropies_of(flat, 4)


def test_the_first_error_in_the_engines_log_is_the_cause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("VLLM_LOGGING_CONFIG_PATH", "VLLM_LOGGING_LEVEL", "VLLM_CONFIGURE_LOGGING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_CONFIG_PATH", "")
    log = EngineLog()
    assert log.path
    assert log.cause() is None
    log.path.write_text(
        "ERROR WorkerProc hit an exception.\nTraceback (most recent call last):\n  File x\n"
        "RuntimeError: Unsupported CPU attention configuration: head_dim=8\n"
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue\n"
    )
    assert str(log.cause()).startswith("RuntimeError: Unsupported CPU attention configuration: head_dim=8 (vLLM's log")
    assert json.loads((log.path.parent / "logging.json").read_text())["version"] == 1
    log.discard()
    assert log.path.exists()
    untold = EngineLog()
    assert untold.path is None


def test_a_copy_is_the_same_model(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.vllm.find_spec", lambda _: object())
    shutil.copytree(checkpoint, tmp_path / "copy")
    assert opened(checkpoint).identity() == opened(tmp_path / "copy").identity()
