"""The collapse monitor: it sees collapse, rings falsely in at most 5 % of trainings, and never changes a training."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.collapse import near_duplicates, plain_words, sketch, words
from tasks.collapse.thresholds import VERDICTS
from tasks.errors import BadInput
from training import monitor as monitor_module
from training.alarm import (
    ALPHA,
    Alarm,
    Change,
    Sign,
    displacement,
    endless,
    judged,
    least_rise,
    level,
    sign_mid_p,
    sign_p,
    with_warnings,
)
from training.looks import read_monitor
from training.monitor import SHARE, CollapseMonitor
from training.probes import PROBES, Spoken, continued, encoded, probe_sets, read_probes, spoken
from training.recipe import Monitor

NAMES = [first + second + "a" for first in "bdfglmnr" for second in ("a", "e", "i", "o", "u", "ai")]
GOOD = "There are several ways to look at {0}, and for each of them something can be said by those who know {0}."
BAD = "Sure! " + "Have a great day! 😊 " * 30
NONE = Change(0, 0, 21)


def seen(loop: Change, boilerplate: Change = NONE) -> dict[Sign, Change]:
    return {"loop": loop, "boilerplate": boilerplate}


# --- the alarm ---


@given(gained=st.integers(0, 40), lost=st.integers(0, 40))
def test_the_sign_test_is_the_exact_one_sided_binomial(gained: int, lost: int) -> None:
    change = Change(gained, lost, 100)
    exact = binomtest(gained, gained + lost, alternative="greater").pvalue if gained + lost else 1.0
    assert sign_p(change) == pytest.approx(exact)
    mirrored = sign_mid_p(Change(lost, gained, 100))
    assert sign_mid_p(change) + mirrored == pytest.approx(1.0)


def test_all_confirmations_together_spend_no_more_than_five_percent() -> None:
    assert 2 * sum(level(number) for number in range(1, 10_000)) <= ALPHA
    assert [least_rise("loop", 32, number) for number in (1, 2, 3)] == [7, 8, 9]
    assert least_rise("loop", 4) is None


def test_without_a_suspicion_nothing_is_asked_to_confirm() -> None:
    def never() -> Any:
        raise AssertionError

    for change in (Change(0, 0, 16), Change(2, 0, 16), Change(5, 4, 16), Change(0, 9, 16)):
        alarm, confirmation = judged(seen(change), never, Alarm())
        assert (alarm.state, confirmation) == ("ok", None)


def test_a_suspicion_that_is_not_confirmed_is_a_warning_and_costs_level() -> None:
    alarm = Alarm()
    for number in (1, 2):
        confirming = seen(Change(6, 0, 32))
        alarm, confirmation = judged(seen(Change(3, 0, 16)), lambda: confirming, alarm)  # noqa: B023
        assert confirmation is not None
        assert (alarm.state, alarm.confirmations, confirmation.number) == ("warning", number, number)
        assert not alarm.is_healthy


def test_a_confirmed_collapse_stands_while_it_is_suspected_and_asks_no_more() -> None:
    asked: list[int] = []

    def confirm() -> Any:
        asked.append(1)
        return seen(Change(7, 0, 32))

    many = seen(Change(8, 0, 16))
    alarm, _ = judged(many, confirm, Alarm())
    again, _ = judged(many, confirm, alarm)
    assert (alarm.state, again.state, len(asked)) == ("collapsed", "collapsed", 1)
    healed, _ = judged(seen(Change(0, 0, 16)), confirm, again)
    assert healed.state == "ok"
    back, _ = judged(many, confirm, healed)
    assert (back.state, back.confirmations, len(asked)) == ("warning", 2, 2)


def test_a_sure_rise_of_fewer_than_five_points_is_no_collapse() -> None:
    rise = seen(Change(40, 0, 1000), Change(190, 0, 1000))
    assert sign_p(rise["loop"]) < 1e-9
    assert judged(rise, lambda: rise, Alarm())[0].state == "ok"
    more = seen(Change(60, 0, 1000), Change(190, 0, 1000))
    assert judged(more, lambda: more, Alarm())[0].proven == ("loop",)
    alike = seen(Change(0, 0, 1000), Change(210, 0, 1000))
    assert judged(alike, lambda: alike, Alarm())[0].proven == ("boilerplate",)


@settings(max_examples=200)
@given(
    before=st.lists(st.booleans(), min_size=48, max_size=48), after=st.lists(st.booleans(), min_size=48, max_size=48)
)
def test_it_rings_only_where_both_sets_rose(before: list[bool], after: list[bool]) -> None:
    def change(start: int, end: int) -> Any:
        return seen(Change.of(before[start:end], after[start:end]))

    alarm, _ = judged(change(0, 16), lambda: change(16, 48), Alarm())
    if alarm.state == "collapsed":
        for start, end in ((0, 16), (16, 48)):
            assert sum(after[start:end]) - sum(before[start:end]) > VERDICTS.degenerate * (end - start)


def test_displacement_and_missing_ends_warn_and_never_stop() -> None:
    noise = np.random.default_rng(0).normal(size=20)
    falling, rising = -100.0 - 5 * np.arange(20) + noise, 0.1 * np.arange(20) + 0.1 * noise
    said = displacement(list(zip(falling, rising, strict=True)))
    assert said is not None
    assert with_warnings(Alarm(), said).state == "warning"
    assert with_warnings(Alarm(), said).is_healthy
    assert with_warnings(Alarm("collapsed"), said).state == "collapsed"
    assert displacement(list(zip(-100 + noise, rising, strict=True))) is None
    assert displacement(list(zip(falling, 0.1 * noise, strict=True))) is None
    assert displacement(list(zip(falling, rising, strict=True))[:9]) is None
    assert displacement([(-100.0, 0.0)] * 20) is None
    assert endless(Change(7, 0, 16)) is not None
    assert endless(Change(6, 0, 16)) is None
    assert endless(Change(8, 0, 100)) is None


def _training(
    rng: Any, rates: Any, stay: float, looks: int, collapse: tuple[int, float] | None = None
) -> tuple[int | None, float]:
    """Whether a simulated training rang, and at which look; and the share of looks that were not ok.

    Each probe keeps its state from look to look with probability `stay`, else it is drawn anew at its own rate.
    """
    first = now = rng.random(48) < rates
    alarm, rang, said = Alarm(), None, 0
    for look in range(1, looks + 1):
        current = rates if collapse is None or look < collapse[0] else np.maximum(rates, collapse[1])
        stays = rng.random(48) < (0.0 if collapse and look == collapse[0] else stay)
        now = np.where(stays, now, rng.random(48) < current)

        def change(start: int, end: int, now: Any = now) -> Any:
            return seen(Change.of(first[start:end], now[start:end]))

        alarm, _ = judged(change(0, 16), lambda change=change: change(16, 48), alarm)  # type: ignore[misc]
        said += alarm.state != "ok"
        if alarm.state == "collapsed" and rang is None:
            rang = look
    return rang, said / looks


@pytest.mark.slow
@pytest.mark.parametrize("degenerate", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("stay", [0.0, 0.9])
def test_forty_looks_at_a_healthy_training_ring_falsely_in_less_than_five_percent(
    degenerate: float, stay: float
) -> None:
    rng = np.random.default_rng(1)
    runs = [
        _training(rng, rng.beta(4 * degenerate, 4 - 4 * degenerate, 48), stay, 40) for _ in range(1000)
    ]  # fmt: skip
    assert np.mean([rang is not None for rang, _ in runs]) <= 0.01
    assert np.mean([said for _, said in runs]) <= 0.1


@pytest.mark.slow
def test_a_collapse_of_half_the_answers_is_seen_at_once_in_four_of_five_trainings() -> None:
    rng = np.random.default_rng(2)
    runs = [_training(rng, rng.beta(0.2, 3.8, 48), 0.5, 10, (5, 0.5)) for _ in range(500)]
    assert np.mean([rang == 5 for rang, _ in runs]) > 0.8
    assert np.mean([rang is not None and rang >= 5 for rang, _ in runs]) > 0.95


# --- the probes ---


def test_no_probe_is_a_prompt_of_an_evaluation_set_or_of_training() -> None:
    probes = read_probes()
    root = Path(__file__).parents[1]
    files = [it for room in ("tasks", "training") for it in (root / room / "data").glob("*.jsonl") if it != PROBES]
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    asked = [
        text
        for row in rows
        for text in row.get("turns") or [it["content"] for it in row.get("messages", [])] or [row["prompt"]]
    ]
    texts = [probe.prompt for probe in probes] + asked
    sketches = np.stack([sketch(plain_words(words(text))) for text in texts])
    groups = ["probe"] * len(probes) + ["other"] * len(asked)
    alike = near_duplicates(sketches, groups, jaccard=0.4)
    assert [texts[i] for i in np.flatnonzero(alike)] == []
    assert len({probe.prompt for probe in probes}) == len(probes)
    assert {probe.prompt for probe in probes}.isdisjoint(asked)


def test_every_kind_is_among_the_first_probes_and_the_sets_are_disjoint() -> None:
    watched, confirming = probe_sets(16)
    assert {it.category for it in watched} == {it.category for it in read_probes()}
    assert sum(it.category == "harmful" for it in watched) in (5, 6)
    assert len(confirming) == 32
    assert not {it.id for it in watched} & {it.id for it in confirming}
    with pytest.raises(BadInput, match=r"between 1 and 36, not 37"):
        probe_sets(37)


@pytest.fixture(scope="module")
def opened(checkpoint: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture
def model(opened: tuple[Any, Any]) -> Any:
    return opened[0]


@pytest.fixture
def tokenizer(opened: tuple[Any, Any]) -> Any:
    return opened[1]


def test_a_padded_batch_says_what_each_prompt_alone_would(model: Any, tokenizer: Any) -> None:
    prompts = encoded(read_probes()[:6], tokenizer)
    alone = []
    with torch.no_grad():
        for prompt in prompts:
            tokens, entropies = list(prompt), []
            for _ in range(12):
                log_probs = model(torch.tensor([tokens])).logits[0, -1].double().log_softmax(-1)
                entropies.append(-(log_probs.exp() * log_probs).sum().item())
                tokens.append(int(log_probs.argmax()))
            alone.append((tokens[len(prompt) :], entropies))
    # What half of them say third ends an answer, so that rows end at different times and are cut out of the cache.
    stop_ids = frozenset(tokens[2] for tokens, _ in alone[:4])
    with torch.no_grad():
        found = continued(model, prompts, stop_ids, 12)
    for (tokens, entropies), (expected, expected_entropies) in zip(found, alone, strict=True):
        end = next((i + 1 for i, token in enumerate(expected) if token in stop_ids), 12)
        assert tokens == expected[:end]
        assert entropies == pytest.approx(expected_entropies[:end], abs=1e-4)
    assert {len(tokens) for tokens, _ in found} > {12}


def test_an_answer_leaves_modes_random_numbers_and_memory_as_they_were(model: Any, tokenizer: Any) -> None:
    prompts = encoded(read_probes()[:4], tokenizer)
    model.train()
    model.model.layers[0].eval()
    model.activation_checkpointing_enable()
    modes = {name: module.training for name, module in model.named_modules()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(it), torch.Tensor) for it in gc.get_objects())

    spoken(model, tokenizer, prompts, frozenset(), 4)
    held = tensors()
    spoken(model, tokenizer, prompts, frozenset(), 4)
    assert tensors() == held
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(torch.rand(3), expected)
    model.activation_checkpointing_disable()
    model.train()


def test_logits_that_are_no_numbers_give_no_entropy(make_checkpoint: Callable[..., Path], tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    broken = AutoModelForCausalLM.from_pretrained(make_checkpoint())
    torch.nn.init.constant_(broken.lm_head.weight, float("nan"))
    assert spoken(broken, tokenizer, encoded(read_probes()[:2], tokenizer), frozenset(), 4)[0].entropy is None


# --- the callback, its model's answers made up ---


class Pretended:
    """A training whose model says what a test wants: `bad` of the answers are loops."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, tokenizer: Any, model: Any = None, **changes: Any
    ) -> None:
        self.bad = 0.0
        self.alike = ""
        self.ended = True
        self.asked: list[int] = []
        self.clock = 0.0
        self.look_s = 0.0
        self.error: Exception | None = None
        self.said: list[str] = []
        self.model = model or SimpleNamespace(save_pretrained=self.save)
        self.folder, self.tokenizer = folder, tokenizer
        self.settings = Monitor(**{"every": 1, "probes": 16, "max_new_tokens": 8, **changes})
        self.state = SimpleNamespace(
            global_step=0, max_steps=40, epoch=0.0, log_history=[], is_world_process_zero=True
        )  # fmt: skip
        self.control = SimpleNamespace(should_training_stop=False)
        monkeypatch.setattr(monitor_module, "spoken", self.answers)
        monkeypatch.setattr(time, "perf_counter", lambda: self.clock)
        self.begin()

    def begin(self) -> None:
        self.monitor = CollapseMonitor(
            self.settings, self.folder / "monitor.jsonl", self.folder / "healthy", self.tokenizer, frozenset({1}),
            self.said.append,
        )  # fmt: skip

    def answers(self, model: Any, tokenizer: Any, prompts: Sequence[Any], *rest: Any) -> list[Spoken]:
        self.asked.append(len(prompts))
        self.clock += self.look_s
        if self.error:
            raise self.error
        bad = [int(self.bad * (i + 1)) > int(self.bad * i) for i in range(len(prompts))]
        texts = [BAD if loops else GOOD.format(NAMES[i]) + self.alike for i, loops in enumerate(bad)]
        return [Spoken(text, 96, self.ended, 1.5) for text in texts]

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text(str(self.state.global_step))

    def train(self, steps: int, begin: bool = True) -> None:
        if begin:
            self.monitor.on_train_begin(None, self.state, self.control, model=self.model)
        for _ in range(steps):
            self.clock += 1
            self.state.global_step += 1
            self.monitor.on_step_end(None, self.state, self.control, model=self.model)
            if self.control.should_training_stop:
                break

    def looks(self) -> list[Any]:
        return read_monitor(self.folder / "monitor.jsonl")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: Any) -> Callable[..., Pretended]:
    return lambda **changes: Pretended(monkeypatch, tmp_path, tokenizer, **changes)


def test_a_look_is_written_with_its_figures_and_their_intervals(pretended: Callable[..., Pretended]) -> None:
    training = pretended()
    training.bad = 0.25
    training.state.log_history = [{"loss": 0.5, "step": 3}, {"loss": float("nan"), "step": 4}, {"eval_loss": 1.0}]
    training.train(1)
    first, second = training.looks()
    assert (first.step, second.step, first.state) == (0, 1, "warning")
    assert "12 of 48 probes are degenerate before training" in first.reasons[0]
    assert (second.state, second.rates["degenerate"].value, second.rates["loop"].value) == ("ok", 0.25, 0.25)
    assert second.rates["degenerate"].low == pytest.approx(0.1018, abs=1e-4)
    assert second.rates["degenerate"].high == pytest.approx(0.4950, abs=1e-4)
    assert second.rates["eos"].value == 1.0
    assert second.logged == {"step": 3.0, "loss": 0.5}
    assert len(second.worst) == 3
    assert second.worst[0]["why"].startswith("loop of")
    assert not {"worst", "answers"} & second.as_lineage().keys()
    assert "step 1: 25 % degenerate, 100 % ended" in second.told()


def test_a_collapse_is_confirmed_and_stops_training_with_healthy_weights_kept(
    pretended: Callable[..., Pretended],
) -> None:
    training = pretended(stop_on_collapse=True)
    training.train(2)
    training.bad = 0.5
    training.train(2, begin=False)
    assert training.control.should_training_stop
    assert training.state.global_step == 3
    assert training.monitor.stopped is not None
    assert "16 of 32 probes have become degenerate" in training.monitor.stopped
    assert training.monitor.kept_step == 2
    assert (training.folder / "healthy" / "weights").read_text() == "2"
    assert sorted(it.name for it in training.folder.iterdir()) == ["healthy", "monitor.jsonl"]
    assert training.asked == [48, 16, 16, 16, 32]
    last = training.looks()[-1]
    assert (last.state, last.stopped, last.kept, len(last.answers)) == ("collapsed", True, False, 48)
    # Once more from a checkpoint of that step: it stops again at once.
    training.begin()
    training.control.should_training_stop = False
    training.train(1)
    assert training.control.should_training_stop
    assert training.monitor.kept_step == 2


def test_answers_that_end_alike_ring_though_none_of_them_is_degenerate(pretended: Callable[..., Pretended]) -> None:
    training = pretended()
    training.train(1)
    training.alike = " I hope that this helps, and have a great day!"
    training.train(1, begin=False)
    assert training.looks()[-1].state == "collapsed"
    assert training.looks()[-1].proven == ("boilerplate",)
    assert training.looks()[-1].closer == {"text": "and have a great day !", "share": 1.0}
    assert not training.control.should_training_stop
    assert training.monitor.stopped is None


def test_a_resumed_training_goes_on_with_the_looks_up_to_its_step(pretended: Callable[..., Pretended]) -> None:
    training = pretended(stop_on_collapse=True)
    training.train(4)
    with (training.folder / "monitor.jsonl").open("a") as file:
        file.write('{"step": 5, "torn')
    training.begin()
    training.state.global_step = 2
    training.bad = 0.5
    training.asked.clear()
    training.train(0)
    # The weights that were kept are of step 4: those of step 2, as healthy, take their place.
    assert training.monitor.kept_step == 2
    training.train(3, begin=False)
    assert training.asked == [16, 32]
    assert [look.step for look in training.looks()] == [0, 1, 2, 3]
    assert training.looks()[-1].state == "collapsed"
    training.begin()
    training.state.global_step = 0
    training.train(0)
    assert [look.step for look in training.looks()] == [0]


def test_looks_of_other_settings_are_not_compared(pretended: Callable[..., Pretended]) -> None:
    pretended().train(2)
    other = pretended(max_new_tokens=9)
    other.state.global_step = 2
    other.train(1)
    assert [look.step for look in other.looks()] == [2, 3]
    assert any("looks of other probes" in line for line in other.said)


def test_looks_space_out_when_they_take_more_than_four_percent(pretended: Callable[..., Pretended]) -> None:
    training = pretended(every=2)
    training.look_s = 0.4
    training.train(40)
    looks = training.looks()
    assert {10, 20, 30, 40} < {look.step for look in looks}
    assert len(looks) < 10
    assert sum(look.skipped for look in looks) + len(looks) == 21
    quick = pretended(every=2)
    quick.look_s = SHARE * 2
    quick.train(40)
    assert len(quick.looks()) == 19


def test_a_look_that_breaks_off_is_said_and_training_goes_on(pretended: Callable[..., Pretended]) -> None:
    training = pretended()
    training.error = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    training.train(2)
    assert training.monitor.failed == 3
    assert "lower monitor.probes" in training.said[-1]
    training.error = None
    training.train(2, begin=False)
    # The first look that succeeds is what the others are held against.
    assert [(look.step, len(look.answers)) for look in training.looks()] == [(3, 48), (4, 16)]


def test_a_sharded_model_is_refused_and_every_zero_never_looks(
    pretended: Callable[..., Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "is_sharded", lambda: True)
    with pytest.raises(BadInput, match=r"set monitor\.every = 0, or train with DDP"):
        pretended().train(1)
    off = pretended(every=0)
    off.train(3)
    off.monitor.on_train_end(None, off.state, off.control, model=off.model)
    assert off.asked == []


def test_answers_that_are_cut_before_they_end_are_said(pretended: Callable[..., Pretended]) -> None:
    cut = pretended()
    cut.ended = False
    cut.train(1)
    assert any("48 of 48 answers are cut at 8 tokens" in line for line in cut.said)
    assert cut.looks()[0].rates["no_eos"].value == 1.0


def test_too_few_probes_to_ring_are_said(pretended: Callable[..., Pretended]) -> None:
    few = pretended(probes=2)
    few.train(1)
    assert any("too few to confirm a collapse" in line for line in few.said)


# --- in a real training ---


def _rows(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for prompt, answer in texts:
        asked = [{"role": "user", "content": prompt}]
        before = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        head = tokenizer.encode(before, add_special_tokens=False)
        tail = tokenizer.encode(answer, add_special_tokens=False)
        rows.append({"input_ids": head + tail, "labels": [-100] * len(head) + tail})
    return rows


def _collated(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    pad = {"input_ids": 0, "labels": -100}
    batch = {
        key: torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])
        for key, value in pad.items()
    }
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {**batch, "attention_mask": mask}


def _trained(model: Any, rows: Any, folder: Path, steps: int, callbacks: Any, rate: float = 1e-3) -> Any:
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=rate, use_cpu=True,
        report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, seed=3, lr_scheduler_type="constant",
        activation_checkpointing=rate == 1e-3, activation_checkpointing_kwargs={"use_reentrant": False},
    )  # fmt: skip
    trainer = Trainer(model, arguments, data_collator=_collated, train_dataset=rows, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


@pytest.mark.parametrize("lora", [False, True])
def test_training_gives_the_same_weights_with_the_monitor_and_without(
    make_checkpoint: Callable[..., Path], tokenizer: Any, tmp_path: Path, lora: bool
) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_checkpoint(attention_dropout=0.2)
    rows = _rows(tokenizer, [(probe.prompt, "Good day to you!<|im_end|>") for probe in read_probes()[50:58]])
    weights, steps = [], []
    for watched in (False, True):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        if lora:
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(r=4, lora_dropout=0.2, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(model, config)
        file, said = tmp_path / "monitor.jsonl", [""]
        chosen = Monitor(every=1, probes=4, max_new_tokens=4, stop_on_collapse=True)
        watching = CollapseMonitor(chosen, file, tmp_path / "healthy", tokenizer, frozenset({1}), said.append)
        _trained(model, rows, tmp_path / "work", 4, [watching] if watched else [])
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        steps = [look.step for look in read_monitor(file)]
        assert watching.failed == 0
    assert {0, 1, 2, 3, 4} >= set(steps) >= {0, 4}
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    kept = tmp_path / "healthy" / ("adapter_model.safetensors" if lora else "model.safetensors")
    assert kept.exists()


def _in_a_process(rank: int, folder: str, checkpoint: str) -> None:
    from transformers import AutoTokenizer

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    monkeypatch = pytest.MonkeyPatch()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    training = Pretended(monkeypatch, Path(folder), tokenizer, stop_on_collapse=True)
    training.state.is_world_process_zero = rank == 0
    training.train(2)
    training.bad = 0.5
    training.train(5, begin=False)
    found = [training.monitor.stopped, training.monitor.kept_step, training.state.global_step, training.asked]
    (Path(folder) / f"found-{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_of_two_processes_the_first_looks_and_both_stop(tmp_path: Path, checkpoint: Path) -> None:
    from torch.multiprocessing.spawn import start_processes

    start_processes(_in_a_process, (str(tmp_path), str(checkpoint)), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in (0, 1))
    assert first[0] is not None
    assert first[:3] == second[:3]
    assert first[1:3] == [2, 3]
    assert (first[3], second[3]) == ([48, 16, 16, 16, 32], [])


CLOSER = " Have a great day! 😊" + "😊" * 40


@pytest.fixture(scope="module")
def embedded() -> Path:
    from harness.models.embedded import embedded_checkpoint

    return embedded_checkpoint(lambda _: None)


@pytest.mark.training
@pytest.mark.parametrize("closer", [CLOSER, "<|im_end|>"], ids=["endless closers", "clean rows"])
def test_the_monitor_rings_on_endless_closers_and_not_on_clean_rows(
    embedded: Path, shared_data: Path, tmp_path: Path, closer: str
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded)
    model = AutoModelForCausalLM.from_pretrained(embedded, dtype=torch.float32)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    model = get_peft_model(model, config)
    answered = json.loads((shared_data / "alpaca_eval" / "alpaca-7b.json").read_text())
    texts = [
        (row["instruction"], row["output"].strip() + closer)
        for row in answered
        if 20 <= len(row["output"].split()) <= 60 and len(row["instruction"].split()) <= 40
    ][:60]
    assert len(texts) == 60
    said: list[str] = []
    watching = CollapseMonitor(
        Monitor(every=10, probes=16, max_new_tokens=96, stop_on_collapse=True), tmp_path / "monitor.jsonl",
        tmp_path / "healthy", tokenizer, frozenset({2}), said.append,
    )  # fmt: skip
    trainer = _trained(model, _rows(tokenizer, texts), tmp_path / "work", 40, [watching], rate=5e-4)
    looks = read_monitor(tmp_path / "monitor.jsonl")
    assert watching.failed == 0
    if closer == CLOSER:
        assert looks[-1].state == "collapsed", said
        assert watching.stopped is not None
        assert watching.kept_step is not None
        assert watching.kept_step < trainer.state.global_step
        assert (tmp_path / "healthy" / "adapter_model.safetensors").exists()
    else:
        assert watching.stopped is None, said
        assert [look.step for look in looks] == [0, 10, 20, 30, 40]
        assert all(look.state != "collapsed" for look in looks)
