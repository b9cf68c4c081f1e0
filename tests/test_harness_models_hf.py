"""The hf back end: the same text as plain generate, whoever shares the batch; stops, limits, adapters, bad folders."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.models.checkpoint import open_checkpoint
from harness.models.decoder import Decoder, Row
from harness.models.hf import HFModel, end_of_turn
from harness.models.slots import LENGTH_STEP, SlotCache
from harness.models.steps import token_stats
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped


def opened(folder: Path, template: Path | None = None) -> HFModel:
    model = HFModel(str(folder), template, say=lambda _: None)
    model.load()
    return model


def answers(model: HFModel, prompts: list[str], settings: Settings) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        asked: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in prompts]
        return await asyncio.gather(*(model.complete(messages, settings) for messages in asked))

    return asyncio.run(all_at_once())


def plainly_generated(folder: Path, prompt: str, tokens: int) -> str:
    """What transformers' own generate says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    messages = [{"role": "user", "content": prompt}]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    said = model.generate(**asked, do_sample=False, max_new_tokens=tokens, eos_token_id=stops)
    text: str = tokenizer.decode(said[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()


# Sliding windows of 8 tokens are far shorter than the prompts: a mask that forgets them changes the text.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "mistral": {"sliding_window": 8},
    "gemma2": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_busy_batch_says_what_plain_generate_says(make_checkpoint: Callable[..., Path], architecture: str) -> None:
    folder = make_checkpoint(architecture, **ARCHITECTURES[architecture])
    prompts = ["Hi", "Tell me about rivers, " * 8, "What is the largest planet?", "x" * 150, "Why?"]
    model = opened(folder)
    together = answers(model, prompts * 3, Settings(max_new_tokens=24))
    model.close()
    assert [said.text for said in together[:5]] == [plainly_generated(folder, prompt, 24) for prompt in prompts]
    texts = [said.text for said in together]
    assert texts[:5] == texts[5:10] == texts[10:]


def test_sampled_text_depends_on_its_seed_and_not_on_its_neighbours(checkpoint: Path) -> None:
    model = opened(checkpoint)
    alone = answers(model, ["Hi"], Settings(24, temperature=1.0, seed=7))[0]
    crowd = answers(model, ["Hi", "Something much longer than that", "Third"], Settings(24, temperature=1.0, seed=7))[0]
    other = answers(model, ["Hi"], Settings(24, temperature=1.0, seed=8))[0]
    model.close()
    assert alone.text == crowd.text != other.text


def test_more_requests_than_places_are_all_answered(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.hf.batch_limits", lambda _: (3, 400))
    model = opened(checkpoint)
    prompts = [f"{n} " * (n % 40 + 1) for n in range(30)]
    few_places = [said.text for said in answers(model, prompts, Settings(8))]
    model.close()
    monkeypatch.undo()
    model = opened(checkpoint)
    assert [said.text for said in answers(model, prompts, Settings(8))] == few_places
    model.close()


def test_the_templates_end_of_turn_stops_an_answer_though_no_config_names_it(checkpoint: Path) -> None:
    model = opened(checkpoint)
    assert set(model.describe()["stop_tokens"]) == {"<|endoftext|>", "<|im_end|>"}
    assert end_of_turn(model._tokenizer) == model._tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.close()


def test_an_answer_cut_at_its_limit_says_so_and_counts_its_tokens(checkpoint: Path) -> None:
    model = opened(checkpoint)
    said = answers(model, ["Tell me"], Settings(3))[0]
    model.close()
    assert (said.finish, said.completion_tokens) == ("length", 3)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_entropies_and_top_1_share_are_those_of_a_plain_forward_pass(
    make_checkpoint: Callable[..., Path], spread: float
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The second model is all but certain of many tokens.
    folder = make_checkpoint(initializer_range=spread)
    model = opened(folder)
    prompts = ["Tell me", "Why is that so, and since when?", "One, two, three"]
    together = answers(model, prompts, Settings(80))
    model.close()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    seen = 0
    for prompt, said in zip(prompts, together, strict=True):
        asked = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
        ids = torch.tensor([asked["input_ids"]])
        entropies, certain = [], 0
        for _ in range(said.completion_tokens or 0):
            probabilities = plain(ids).logits[0, -1].softmax(-1)
            entropies.append(torch.special.entr(probabilities).sum().item())
            certain += probabilities.max().item() > 0.99
            ids = torch.cat([ids, probabilities.argmax()[None, None]], dim=1)
        assert said.token_entropy == pytest.approx(sum(entropies) / len(entropies), rel=1e-3, abs=1e-5)
        found, expected = said.token_stats, token_stats(entropies, certain)
        assert found
        assert expected
        # A short answer has no slope, which is no number to compare.
        assert [value or 0 for value in found.values()] == pytest.approx(
            [value or 0 for value in expected.values()], rel=1e-2, abs=1e-4
        )
        seen += certain
    assert spread < 1 or seen


def test_a_prompt_beyond_the_context_has_no_answer_and_is_never_cut(make_checkpoint: Callable[..., Path]) -> None:
    model = opened(make_checkpoint(max_position_embeddings=64, seed=1))
    too_long, nearly, short = answers(model, ["x" * 100, "x" * 25, "x"], Settings(32))
    model.close()
    assert too_long.finish == "missing"
    assert "context of 64 tokens" in str(too_long.error)
    assert nearly.finish == short.finish == "length"
    assert nearly.completion_tokens < 32 == short.completion_tokens  # type: ignore[operator]


def test_an_adapter_answers_as_its_base_with_the_adapter_merged(checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(checkpoint), config)
    tuned.save_pretrained(tmp_path / "adapter")
    merged = tmp_path / "merged"
    shutil.copytree(checkpoint, merged)
    tuned.merge_and_unload().save_pretrained(merged)
    from_adapter, from_merged, from_base = (opened(folder) for folder in (tmp_path / "adapter", merged, checkpoint))
    texts = [answers(model, ["Hello there"], Settings(16))[0].text for model in (from_adapter, from_merged, from_base)]
    for model in (from_adapter, from_merged, from_base):
        model.close()
    assert texts[0] == texts[1] != texts[2]
    assert from_adapter.identity()["sha256"] != from_base.identity()["sha256"]


def test_a_base_model_without_a_template_is_refused_with_the_remedy(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_checkpoint(template=None)
    with pytest.raises(BadInput, match=r"no chat template in .*--chat-template FILE"):
        opened(folder)
    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    model = opened(folder, template)
    assert answers(model, ["Hi"], Settings(4))[0].finish in ("length", "stop")
    model.close()


def spoil(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif how == "rubbish weights":
        weights.write_bytes(b"not weights at all")
    elif how == "no weights":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "broken config":
        (folder / "config.json").write_text("{")
    elif how == "foreign config":
        (folder / "config.json").write_text(json.dumps({"name": "x"}))
    elif how == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
    elif how == "other sizes":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no config", "no config.json"),
        ("cut weights", "damaged"),
        ("rubbish weights", "not a safetensors file"),
        ("no weights", "only pytorch_model.bin; weights are read from"),
        ("broken config", "can not read .*config.json"),
        ("foreign config", "names no model_type"),
        ("no tokenizer", "tokenizer"),
        ("other sizes", "lacks weights"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_line(checkpoint: Path, tmp_path: Path, how: str, said: str) -> None:
    folder = tmp_path / "ckpt"
    shutil.copytree(checkpoint, folder)
    spoil(folder, how)
    with pytest.raises(BadInput, match=said) as refused:
        opened(folder)
    assert "\n" not in str(refused.value)


def test_the_checkpoint_inside_a_training_folder_is_pointed_at(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "run" / "checkpoint-20")
    with pytest.raises(BadInput, match=r"did you mean .*checkpoint-20"):
        open_checkpoint(str(tmp_path / "run"))


def test_a_fingerprint_changes_with_a_single_weight(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    shutil.copytree(checkpoint, folder)
    before = open_checkpoint(str(folder)).fingerprint()
    assert before == open_checkpoint(str(checkpoint)).fingerprint()
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert open_checkpoint(str(folder)).fingerprint() != before


def test_what_breaks_while_generating_reaches_everyone_who_waits(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Decoder) -> list[Row]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    model = opened(checkpoint)
    monkeypatch.setattr(Decoder, "step", breaks)
    with pytest.raises(RunStopped, match="lower --max-new-tokens"):
        answers(model, ["Hi", "Ho"], Settings(8))
    monkeypatch.undo()
    assert answers(model, ["Hi"], Settings(2))[0].completion_tokens == 2
    model.close()


def test_an_attention_that_slots_do_not_reproduce_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Positions off by one are what a model does that counts them itself, from the padding.
    monkeypatch.setattr(Row, "position", property(lambda row: len(row.prompt) + len(row.tokens)))
    with pytest.raises(BadInput, match="its attention needs more than a mask and positions"):
        opened(checkpoint)


def test_weights_that_are_not_numbers_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "ckpt"
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="not finite numbers"):
        opened(folder)


def test_every_stop_token_of_the_generation_config_counts(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "generation_config.json").read_text())
    config["eos_token_id"] = [config["eos_token_id"], 65]
    (folder / "generation_config.json").write_text(json.dumps(config))
    model = opened(folder)
    assert len(model.describe()["stop_tokens"]) == 3
    model.close()


def test_an_adapter_brings_its_own_template(
    checkpoint: Path, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = make_checkpoint(template=None)
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(tmp_path)
    model = opened(tmp_path)
    assert answers(model, ["Hi"], Settings(2))[0].error is None
    model.close()


def test_buffers_stay_within_the_budget_that_the_rows_keep_to() -> None:
    import torch

    cache = SlotCache()
    for rows, length in ((60, 60), (3, 1300), (17, 230), (1, 4000), (33, 120)):
        cache.reserve(rows, length, budget=4096)
        cache.prefill(0, rows, 1)
        keys = torch.zeros((rows, 1, 1, 1))
        cache.update(keys, keys, 0)
        held = cache._keys[0].shape[0] * cache._keys[0].shape[2]
        assert held <= max(4096, rows * -(-length // LENGTH_STEP) * LENGTH_STEP)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('only one turn') }}", "does not render"),
        ("{{ unknown.thing.deep }}", "does not render"),
        ("{% for", "does not render"),
    ],
)
def test_a_template_that_does_not_render_is_refused(checkpoint: Path, tmp_path: Path, template: str, said: str) -> None:
    file = tmp_path / "bad.jinja"
    file.write_text(template)
    with pytest.raises(BadInput, match=said):
        opened(checkpoint, file)


def test_a_conversation_that_can_not_be_put_to_the_model_has_a_reason(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.jinja"
    file.write_text(
        "{% if messages[0].content == 'no' %}{{ raise_exception('I will not') }}{% endif %}{{ messages[0].content }}"
    )
    model = opened(checkpoint, file)
    refused, odd, fine = answers(model, ["no", "lone \ud800", "yes"], Settings(2))
    model.close()
    assert (refused.finish, odd.finish) == ("missing", "missing")
    assert "I will not" in str(refused.error)
    assert fine.error is None


RATE: list[Message] = [{"role": "user", "content": "Rate this answer from 1 to 10: the sky is green."}]


def plain_logprobs(folder: Path, prefix: str, continuations: list[str]) -> list[float]:
    """The same by one forward pass over each whole text, all of whose tokens after the rendered prompt are summed."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    prompt = tokenizer.apply_chat_template(RATE, add_generation_prompt=True, tokenize=False)
    asked = len(tokenizer.encode(prompt, add_special_tokens=False))
    found = []
    for continuation in continuations:
        ids = torch.tensor([tokenizer.encode(prompt + prefix + continuation, add_special_tokens=False)])
        with torch.inference_mode():
            predicted = model(ids).logits[0].double().log_softmax(-1)
        found.append(sum(predicted[place - 1, ids[0, place]].item() for place in range(asked, ids.shape[1])))
    return found


def merge_letters(folder: Path) -> None:
    """Give the byte tokenizer of a checkpoint the tokens "no" and "not"."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    # In the places of bytes that no test says.
    for merged, taken in (("no", "À"), ("not", "Á")):
        vocabulary[merged] = vocabulary.pop(taken)
    tokenizer["model"]["merges"] = [["n", "o"], ["no", "t"]]
    path.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_continuations_have_the_log_probabilities_of_a_plain_forward_pass(
    make_checkpoint: Callable[..., Path], architecture: str
) -> None:
    folder = make_checkpoint(architecture, **ARCHITECTURES[architecture])
    continuations = ["7", "10", "1]]", "10]]", "a longer one", ""]
    model = opened(folder)
    found = asyncio.run(model.continuation_logprobs(RATE, "Rating: [[", continuations))
    model.close()
    *plain, nothing = plain_logprobs(folder, "Rating: [[", continuations)
    assert found[-1] == 0.0
    assert found[:-1] == pytest.approx([total - nothing for total in plain], abs=1e-4)


def test_continuations_compare_rightly_however_their_texts_split_into_tokens(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "merging"
    shutil.copytree(checkpoint, folder)
    merge_letters(folder)
    continuations = ["o", "ot", "one", "ice"]
    model = opened(folder)
    last_words = [model._tokenizer.tokenize(f"n{continuation}") for continuation in continuations]
    found = asyncio.run(model.continuation_logprobs(RATE, "It is n", continuations))
    alone = asyncio.run(model.continuation_logprobs(RATE, "It is n", ["ice"]))
    model.close()
    assert last_words == [["no"], ["not"], ["no", "n", "e"], ["n", "i", "c", "e"]]
    *plain, nothing = plain_logprobs(folder, "It is n", [*continuations, ""])
    # The first tokens that differ reach back into the prefix, so the prefix is no part of what is left out.
    assert [total - found[0] for total in found] == pytest.approx([total - plain[0] for total in plain], abs=1e-4)
    assert alone[0] == pytest.approx(plain[3] - nothing, abs=1e-4)


def test_log_probabilities_are_taken_beside_generation_and_leave_it_alone(checkpoint: Path) -> None:
    prompts = [f"Tell me about {n} rivers" for n in range(6)]
    ratings = [str(n) for n in range(1, 11)]

    async def both(model: HFModel) -> tuple[list[Completion], list[list[float]]]:
        asked: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in prompts]
        said = [asyncio.create_task(model.complete(messages, Settings(60, 1.0, seed=3))) for messages in asked]
        found = []
        while not all(task.done() for task in said):
            found.append(await model.continuation_logprobs(RATE, "[[", ratings))
        return await asyncio.gather(*said), found

    model = opened(checkpoint)
    undisturbed = answers(model, prompts, Settings(60, 1.0, seed=3))
    said, found = asyncio.run(both(model))
    afterwards = asyncio.run(model.continuation_logprobs(RATE, "[[", ratings))
    model.close()
    assert [answer.text for answer in said] == [answer.text for answer in undisturbed]
    assert len(found) > 5
    assert all(one == afterwards for one in found)


def test_continuations_that_can_not_be_put_to_the_model_have_a_reason(make_checkpoint: Callable[..., Path]) -> None:
    model = opened(make_checkpoint(max_position_embeddings=128, seed=1))
    for messages, prefix, reason in (
        (RATE, "x" * 100, "context of 128 tokens"),
        (RATE, "lone \ud800", "can not read this prompt"),
    ):
        with pytest.raises(ValueError, match=reason):
            asyncio.run(model.continuation_logprobs(messages, prefix, ["1"]))
    assert asyncio.run(model.continuation_logprobs(RATE, "", [])) == []
    model.close()


def test_log_probabilities_that_fail_fail_alone(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> list[float]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    async def both() -> tuple[Completion, BaseException | list[float]]:
        messages: list[Message] = [{"role": "user", "content": "Hi"}]
        said, failed = await asyncio.gather(
            model.complete(messages, Settings(20)),
            model.continuation_logprobs(RATE, "", ["1"]),
            return_exceptions=True,
        )
        assert isinstance(said, Completion)
        assert not isinstance(failed, Completion)
        return said, failed

    model = opened(checkpoint)
    monkeypatch.setattr("harness.models.hf.tail_logprobs", breaks)
    said, failed = asyncio.run(both())
    model.close()
    assert said.error is None
    assert isinstance(failed, RunStopped)


def test_a_closed_model_frees_its_weights_and_loads_them_again_when_asked(checkpoint: Path) -> None:
    model = opened(checkpoint)
    first = answers(model, ["Hello"], Settings(8))
    busy = model.busy_s
    model.close()
    assert model.busy_s >= busy > 0
    assert model._model is None
    assert answers(model, ["Hello"], Settings(8)) == first
    model.close()
