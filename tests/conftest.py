"""What several test files share: a small real checkpoint, and the public data kept beside the repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mock_server import MockServer

import bench
from harness.models import backoff

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets are not beside this repository (shared/data)")
    return folder


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a two-layer random model with a byte tokenizer; keywords change its configuration.

    `architecture` names a transformers model type; `template` None leaves the chat template out.
    """

    def make(architecture: str = "llama", template: str | None = CHATML, seed: int = 0, **config: object) -> Path:
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token="<|endoftext|>",
            pad_token="<|endoftext|>",
            additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        )
        if template:
            fast.chat_template = template
        torch.manual_seed(seed)
        small: dict[str, object] = {
            "vocab_size": len(fast), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096,
            # Larger than usual: a model this small is otherwise undecided, and rounding would choose its words.
            "initializer_range": 0.3, "bos_token_id": None,
            "eos_token_id": fast.eos_token_id, "pad_token_id": fast.pad_token_id,
        }  # fmt: skip
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **{**small, **config}))
        folder = tmp_path_factory.mktemp(architecture)
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """The small model that most tests run."""
    return make_checkpoint()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = bench.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def running_server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def judge_server(running_server: MockServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MockServer:
    """A judge's server without a memory; waits between tries are short, and nothing is cached from before."""
    monkeypatch.setattr(backoff, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    running_server.requests.clear()
    running_server.behave(None)
    running_server.latency_s = 0.0
    return running_server


@pytest.fixture
def peak_memory() -> Callable[[list[str]], int]:
    """Run a command to its end; the most memory it held, in bytes."""

    def run(command: list[str]) -> int:
        process = os.posix_spawn(command[0], command, os.environ)
        _, status, usage = os.wait4(process, 0)
        assert status == 0
        return usage.ru_maxrss * 1024

    return run
