"""`bench doctor`: a healthy checkpoint passes, and each fault, made one at a time, is found and has a remedy."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mock_server import MockServer

from harness import doctor, reach, requirements

Say = Callable[..., tuple[int, str, str]]
Found = dict[str, tuple[str, str, str | None]]
END, EOS = "<|im_end|>", "<|endoftext|>"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that the tests run on decides what is found."""
    for name in (*doctor.HUB_TOKENS, "OPENAI_API_KEY", "BENCH_JUDGE_API_KEY", "OPENAI_BASE_URL", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(requirements, "_packages", dict)


@pytest.fixture(scope="session")
def healthy(make_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint whose every part says that an answer ends with <|im_end|>."""
    folder = make_checkpoint()
    edit(folder / "tokenizer_config.json", eos_token=END)
    stop = token_id(folder, END)
    edit(folder / "config.json", eos_token_id=stop)
    edit(folder / "generation_config.json", eos_token_id=stop)
    return folder


@pytest.fixture
def ckpt(healthy: Path, tmp_path: Path) -> Path:
    """A copy of it, to break."""
    return Path(shutil.copytree(healthy, tmp_path / "ckpt"))


def edit(file: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes one."""
    value = {**json.loads(file.read_text()), **changes} if file.exists() else dict(changes)
    file.write_text(json.dumps({key: each for key, each in value.items() if each is not None}))


def token_id(folder: Path, token: str) -> int:
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return next(int(entry["id"]) for entry in added if entry["content"] == token)


def template_of(folder: Path) -> str:
    return (folder / "chat_template.jinja").read_text()


def set_template(folder: Path, text: str) -> None:
    (folder / "chat_template.jinja").write_text(text)


def doctored(say: Say, *arguments: object) -> tuple[int, Found]:
    """The exit code, and the worst finding of each subject: its status, what it says, its remedy."""
    code, out, _ = say("doctor", *arguments, "--offline", "--json")
    found: Found = {}
    for row in json.loads(out)["findings"]:
        subject, rank = row["subject"], ("ok", "warning", "problem")
        if subject not in found or rank.index(row["status"]) >= rank.index(found[subject][0]):
            found[subject] = (row["status"], row["says"], row["remedy"])
    return code, found


def test_a_healthy_checkpoint_has_no_finding_and_says_five_tokens(say: Say, ckpt: Path) -> None:
    code, out, _ = say("doctor", ckpt, "--offline", "--json")
    found = json.loads(out)
    of_checkpoint = [row for row in found["findings"] if row["about"] == "checkpoint"]
    assert (code, found["problems"], found["schema_version"]) == (0, 0, 1)
    assert [row for row in of_checkpoint if row["status"] != "ok"] == []
    subjects = {row["subject"] for row in of_checkpoint}
    assert {"files", "dtype", "memory", "vocabulary", "chat template", "BOS", "stop ids", "trained end"} <= subjects
    assert "generation" in subjects
    code, out, _ = say("doctor", ckpt, "--offline", "--no-generate")
    assert code == 0
    assert "generation" not in out
    assert out.rstrip().endswith("no problems, no warnings")


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def pickled_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def not_numbers(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(tensor, float("nan")) for name, tensor in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip


def half_precision(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip


def fewer_rows(folder: Path) -> None:
    """A tokenizer that was given tokens after the model was made, as when resize_token_embeddings was forgotten."""
    file = folder / "tokenizer.json"
    value = json.loads(file.read_text())
    last = max(entry["id"] for entry in value["added_tokens"])
    value["added_tokens"].append({**value["added_tokens"][-1], "id": last + 1, "content": "<|tool|>"})
    file.write_text(json.dumps(value))


def fewer_rows_in_use(folder: Path) -> None:
    fewer_rows(folder)
    set_template(folder, "<|tool|>" + template_of(folder))


def own_code(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}, tokenizer_class="Own")
    (folder / "own.py").write_text("raise SystemExit('this code was run')\n")


def with_bos(folder: Path, *, template: str) -> None:
    edit(folder / "tokenizer_config.json", bos_token=EOS)
    set_template(folder, template + template_of(folder))


def bos_of_the_tokenizer(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", bos_token=EOS)
    file = folder / "tokenizer.json"
    value = json.loads(file.read_text())
    bos = {"SpecialToken": {"id": EOS, "type_id": 0}}
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {EOS: {"id": EOS, "ids": [token_id(folder, EOS)], "tokens": [EOS]}},
    }
    file.write_text(json.dumps(value))


def stops(folder: Path, value: object, eos: str = END) -> None:
    edit(folder / "generation_config.json", eos_token_id=value)
    edit(folder / "tokenizer_config.json", eos_token=eos)


FAULTS: Mapping[str, tuple[Callable[[Path], object], str, str, str, str]] = {
    # fault: how it is made, subject, status, what it says, what it advises
    "no template": (no_template, "chat template", "problem", "none in", "--chat-template FILE"),
    "broken template": (
        lambda f: set_template(f, "{% for m in %}"), "chat template", "problem", "does not render", "--chat-template",
    ),
    "failing template": (
        lambda f: set_template(f, "{{ 1 / 0 }}"), "chat template", "problem", "does not render", "--chat-template",
    ),
    "deaf template": (
        lambda f: set_template(f, "hello" + END), "chat template", "problem", "leaves the question out", "trained with",
    ),
    "forgetful template": (
        lambda f: set_template(f, template_of(f).replace("in messages", "in messages[-2:]")),
        "chat template", "warning", "forgets what was said", "trained with",
    ),
    "another prompt": (
        lambda f: set_template(f, template_of(f).replace("<|im_start|>assistant\n{% endif", "Assistant: {% endif")),
        "chat template", "warning", "'Assistant: '", "alike",
    ),
    "BOS twice": (lambda f: with_bos(f, template=2 * EOS), "BOS", "problem", "twice", "take one out"),
    "no BOS in the template": (bos_of_the_tokenizer, "BOS", "warning", "asked without it", "{{ bos_token }}"),
    "stops elsewhere": (
        lambda f: stops(f, 256, EOS), "stop ids", "problem", "go on for ever", '"eos_token_id": [256, 258]',
    ),
    "only the tokenizer stops": (
        lambda f: stops(f, 256), "stop ids", "warning", "model.generate goes on", "[256, 258]",
    ),
    "stops at a word": (
        lambda f: stops(f, [65, 258]), "stop ids", "problem", "ordinary token", '"eos_token_id": [258]',
    ),
    "stops at no token": (
        lambda f: stops(f, [-1, 258]), "stop ids", "problem", "-1, which no token has", '"eos_token_id": [258]',
    ),
    "no prompt to answer": (
        lambda f: set_template(f, template_of(f).replace("if add_generation_prompt", "if false")),
        "chat template", "warning", "'<|im_start|>assistant' before an answer", "add_generation_prompt",
    ),
    "an end for the last answer alone": (
        lambda f: set_template(f, template_of(f).replace(
            END, "{% if loop.last or m.role == 'user' %}" + END + "{% endif %}")),
        "trained end", "warning", "before a further question", "behind each",
    ),
    "answers without an end": (
        lambda f: set_template(f, template_of(f).replace(END, "\n### ")),
        "trained end", "problem", "'\\n### \\n'", "behind each",
    ),
    "more tokens than rows": (
        fewer_rows_in_use, "vocabulary", "problem", "<|tool|>", "resize_token_embeddings",
    ),
    "a token without a row that nothing writes": (fewer_rows, "vocabulary", "warning", "<|tool|>", "the base's"),
    "wrong vocab_size": (
        lambda f: edit(f / "config.json", vocab_size=300), "vocabulary", "problem", "says 300", '"vocab_size": 259',
    ),
    "pickled": (pickled_only, "files", "problem", "pytorch_model.bin", "save it with safetensors"),
    "pickled beside": (
        lambda f: (f / "pytorch_model.bin").write_bytes(b"x"),
        "other weights", "warning", "pytorch_model.bin", "remove",
    ),
    "torn": (torn, "files", "problem", "is damaged", "copy or save"),
    "wrong dtype": (half_precision, "dtype", "warning", "says float32, the weights are float16", '"dtype": "float16"'),
    "no tokenizer": (
        lambda f: list(map(Path.unlink, f.glob("tokenizer*"))), "tokenizer", "problem", "none in", "save_pretrained",
    ),
    "broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer", "problem", "can not be loaded", "save it again",
    ),
    "a tokenizer of its own code": (own_code, "tokenizer", "problem", "custom code", "save it again"),
    "unknown architecture": (
        lambda f: edit(f / "config.json", model_type="x"), "generation", "problem", "`x`", "copy or save",
    ),
    "no numbers": (not_numbers, "generation", "problem", "finite", "copy or save"),
    "quantized": (
        lambda f: edit(f / "config.json", quantization_config={"quant_method": "gptq"}),
        "dtype", "warning", "gptq", "unquantized",
    ),
}  # fmt: skip
SEEN_BY_RUNNING = ("unknown architecture", "no numbers")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_has_its_remedy(say: Say, ckpt: Path, fault: str) -> None:
    make, subject, status, says, remedy = FAULTS[fault]
    make(ckpt)
    code, found = doctored(say, ckpt, *([] if fault in SEEN_BY_RUNNING else ["--no-generate"]))
    assert found[subject][0] == status, found
    assert says in found[subject][1]
    assert remedy in str(found[subject][2])
    others = {name: each for name, each in found.items() if each[0] == "problem" and name != subject}
    if fault not in ("unknown architecture", "answers without an end"):
        assert not others, "one fault is one problem"
    assert code == (2 if status == "problem" or others else 0)


def test_a_given_template_heals_a_checkpoint_without_one(say: Say, ckpt: Path, tmp_path: Path) -> None:
    file = tmp_path / "chatml.jinja"
    file.write_text(template_of(ckpt))
    no_template(ckpt)
    code, found = doctored(say, ckpt, "--chat-template", file)
    assert code == 0
    assert found["generation"][0] == "ok"


def test_a_problem_that_stops_it_from_speaking_leaves_the_generation_out(say: Say, ckpt: Path) -> None:
    no_template(ckpt)
    _, found = doctored(say, ckpt)
    assert found["generation"][:2] == ("warning", "not tried")


def test_an_adapter_names_its_base_and_a_lost_base_is_a_problem(say: Say, ckpt: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapter = tmp_path / "adapter"
    model = AutoModelForCausalLM.from_pretrained(ckpt)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    edit(adapter / "adapter_config.json", base_model_name_or_path="../ckpt")
    code, found = doctored(say, adapter)
    assert code == 0, found
    assert str(ckpt) in str(Path(found["adapter"][1].split(" on ")[1]).resolve())
    assert found["generation"][0] == "ok"
    edit(adapter / "adapter_config.json", base_model_name_or_path="../gone")
    code, found = doctored(say, adapter, "--no-generate")
    assert (code, found["files"][0]) == (2, "problem")
    assert "../gone" in found["files"][1]
    edit(adapter / "adapter_config.json", base_model_name_or_path="nobody/gone")
    for file in (*ckpt.glob("tokenizer*"), ckpt / "chat_template.jinja"):
        shutil.copy(file, adapter)
    _, found = doctored(say, adapter, "--no-generate")
    assert "let the hub be asked" in str(found["files"][2])
    assert not {"stop ids", "dtype"} & set(found), "which only the base could tell"


def test_a_model_too_large_for_this_machine_is_a_problem(say: Say, ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.doctor_checkpoint.available_memory", lambda: 1000)
    code, found = doctored(say, ckpt)
    assert (code, found["memory"][0], found["generation"][1]) == (2, "problem", "not tried")


@pytest.mark.parametrize("spec", ["nowhere", "openai:gpt-4o", "answers:x.csv", "./nowhere/at/all"])
def test_what_is_no_checkpoint_is_a_mistake_of_one_line(say: Say, spec: str) -> None:
    code, out, err = say("doctor", spec, "--offline")
    assert (code, out, err.count("\n")) == (2, "", 1), err


def test_a_folder_of_garbage_is_examined_without_a_traceback(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "garbage"
    folder.mkdir()
    assert doctored(say, folder)[1]["files"][0] == "problem"
    for name in (
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "generation_config.json",
        "chat_template.jinja",
    ):
        (folder / name).write_bytes(b"\xff\x00[" * 99)
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    code, found = doctored(say, folder)
    assert (code, found["files"][0], found["tokenizer"][0]) == (2, "problem", "problem")


def test_keys_are_named_and_never_shown(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    monkeypatch.setenv("HF_TOKEN", "'hf_quoted'")
    monkeypatch.setenv("BENCH_JUDGE_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:hidden@127.0.0.1:9/v1")
    for flags in ([], ["--json"]):
        code, out, err = say("doctor", *flags)
        assert code == 2
        assert "OPENAI_API_KEY" in out
        assert "BENCH_JUDGE_API_KEY is set and empty" in out
        assert "HF_TOKEN has quotes" in out
        assert not [secret for secret in ("sk-", "secret", "hf_", "hidden", "me:") if secret in out + err]


def test_places_on_the_network_are_asked_once_and_their_silence_is_a_warning(
    say: Say, judge_server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(reach, "TIMEOUT_S", 3.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", judge_server.url)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        code, out, _ = say("doctor", "--json")
        rows = {row["subject"]: row for row in json.loads(out)["findings"]}
        assert [rows[place]["status"] for place in (reach.HUB, reach.INDEX, reach.API)] == ["ok", "warning", "warning"]
        assert "no answer within" in rows[reach.INDEX]["says"]
        assert "refused" in rows[reach.API]["says"]
        assert code == 0, "what is cached works without a network"
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        _, out, _ = say("doctor", "--json")
        rows = {row["subject"]: row for row in json.loads(out)["findings"]}
        assert rows[reach.HUB]["says"].startswith("not asked: HF_HUB_OFFLINE")


class FakeCuda:
    """As much of torch.cuda as is asked about a card."""

    def __init__(self, capability: tuple[int, int]) -> None:
        self.capability = capability

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers = {
            "is_available": True, "device_count": 1, "mem_get_info": (10 << 30, 16 << 30),
            "get_device_capability": self.capability, "get_device_name": "Card",
        }  # fmt: skip
        return lambda *_: answers[name]


@pytest.mark.parametrize(("capability", "status"), [((7, 5), "warning"), ((8, 0), "ok")])
def test_a_card_without_bfloat16_in_hardware_is_named(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], status: str
) -> None:
    import torch

    monkeypatch.setattr(torch, "cuda", FakeCuda(capability))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    (found,) = doctor._gpu()
    assert found.status == status
    assert "10.0 GiB of 16.0 GiB free" in found.says


def test_a_full_disk_and_an_active_wait_policy_are_found(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    code, found = doctored(say)
    assert (code, found["runs"][0], found["OMP_WAIT_POLICY"][0]) == (2, "problem", "warning")
    assert "BENCH_CACHE" in str(found["bench's cache"][2])
