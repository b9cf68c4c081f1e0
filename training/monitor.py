"""The collapse monitor: while a model is trained it answers fixed prompts, and what becomes of its answers is watched.

>>> monitor = CollapseMonitor(recipe.monitor, work / "monitor.jsonl", work / "healthy", tokenizer, stop_ids, say)
>>> trainer.add_callback(monitor)
>>> trainer.train()
>>> monitor.stopped, monitor.kept_step
("loop: 17 of 32 probes have become degenerate …", 30)

It looks at step 0, every `every` steps, and at the end. Looks are left out where all of them, that of step 0 too, would
take more than 4 % of the time of training; but never at its quarters, so that a training of minutes pays more. How many
were left out is written in the look that follows (`skipped`). With `stop_on_collapse` the step of a stop thus depends
on how fast the machine is; the training itself does not: with the monitor and without it the weights are the same.

Several processes (DDP): the first one answers, the others wait for its decision. A model whose weights are sharded over
processes (FSDP, DeepSpeed ZeRO-3) is refused: every process would have to take part in every token.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from harness.models.hf import first_line
from tasks.collapse.thresholds import VERDICTS, VERSION
from tasks.errors import BadInput
from training.alarm import Alarm, Change, Confirmation, Sign, displacement, endless, judged, least_rise, with_warnings
from training.looks import (
    Answer,
    Look,
    alarm_of,
    append_look,
    commonest_closer,
    latest_logged,
    measured,
    read_answers,
    read_monitor,
    truncate_monitor,
    with_alarm,
)
from training.probes import HARMFUL, encoded, fingerprint, probe_sets, spoken
from training.recipe import Monitor

__all__ = ["CollapseMonitor", "read_monitor"]

SHARE = 0.04
"""Of the time of training, what looks may take."""
QUARTERS = 4
KEPT = "kept.json"
"""Beside the weights in the folder of the last healthy ones: of which step they are."""


class CollapseMonitor(TrainerCallback):  # type: ignore[misc]
    """Watches one training. `keep` is where the last healthy weights go if training is to stop on collapse.

    They are what `model.save_pretrained` writes: the adapter of a LoRA, or all weights.

    `stopped` is why the monitor ended training, `kept_step` the step of the weights in `keep`; `last` is the latest
    look, `failed` counts those that broke off.

    Raises:
        BadInput: more probes than there are, or a tokenizer without a chat template.
    """

    def __init__(
        self,
        settings: Monitor,
        file: Path,
        keep: Path,
        tokenizer: Any,
        stop_ids: frozenset[int],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._file, self._keep, self._tokenizer = settings, file, keep, tokenizer
        self._stop_ids, self._say = stop_ids, say
        watched, confirming = probe_sets(settings.probes)
        self._probes, self._watched = watched + confirming, len(watched)
        self._prompts = encoded(self._probes, tokenizer)
        self._made_with = fingerprint(self._probes, settings.max_new_tokens, VERSION)
        self.stopped: str | None = None
        self.kept_step: int | None = None
        self.last: Look | None = None
        self.failed = 0
        self._reference: Look | None = None
        self._alarm = Alarm()
        self._spent = self._expected = 0.0
        self._skipped = 0
        self._begun = time.perf_counter()

    # --- what the trainer calls ---

    def on_train_begin(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not self._settings.every:
            return
        if is_sharded():
            raise BadInput(
                "the collapse monitor can not look into a model that FSDP or DeepSpeed ZeRO-3 spread over processes: "
                "set monitor.every = 0, or train with DDP"
            )
        if state.is_world_process_zero:
            self._resume(state.global_step)
            if self._reference is None:
                self._say_what_it_can_see()
                self._timed_look(model, state)
                # Fewer are asked from now on.
                self._expected *= self._watched / len(self._probes)
                self._say_what_is_cut()
            elif self._settings.stop_on_collapse and self.kept_step is None and self._alarm.is_healthy:
                self._guarded(lambda: self._put_aside(model, state.global_step), state.global_step)
        self._agree(control)
        self._begun = time.perf_counter() - self._spent

    def on_step_end(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not self._settings.every:
            return
        if state.global_step % self._settings.every == 0:
            if state.is_world_process_zero and not self.stopped:
                if self._is_due(state):
                    self._timed_look(model, state)
                else:
                    self._skipped += 1
            self._agree(control)
        elif self.stopped:
            control.should_training_stop = True

    def on_train_end(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not self._settings.every:
            return
        seen = self.last is not None and self.last.step == state.global_step
        if state.is_world_process_zero and not seen and not self.stopped:
            self._look(model, state)
        self._agree(control)

    # --- when ---

    def _is_due(self, state: Any) -> bool:
        training = time.perf_counter() - self._begun - self._spent
        return state.global_step in self._quarters(state.max_steps) or (
            self._spent + self._expected <= SHARE * training
        )

    def _quarters(self, steps: int) -> set[int]:
        every = self._settings.every
        return {steps * part // QUARTERS // every * every for part in range(1, QUARTERS + 1)}

    def _timed_look(self, model: Any, state: Any) -> None:
        started = time.perf_counter()
        self._look(model, state)
        self._expected = time.perf_counter() - started
        self._spent += self._expected

    # --- a look ---

    def _look(self, model: Any, state: Any) -> None:
        self._guarded(lambda: self._looked(model, state), state.global_step)

    def _guarded(self, work: Callable[[], None], step: int) -> None:
        """Watching must not end what is watched: whatever goes wrong is said and counted, and training goes on."""
        before = self.failed
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a training of days is worth more than any look
            self.failed += 1
            reason = first_line(error)[:200]
            remedy = ""
            if "out of memory" in reason.lower() or isinstance(error, MemoryError):
                remedy = "; lower monitor.probes or monitor.max_new_tokens"
            self._say(f"monitor, step {step}: this look broke off ({reason}); training goes on{remedy}")
        if self.failed > before:
            # Only now are the frames gone that held the tensors.
            release_memory()

    def _looked(self, model: Any, state: Any) -> None:
        started = time.perf_counter()
        step = int(state.global_step)
        reference = self._reference
        count = len(self._probes) if reference is None else self._watched
        said = self._spoken(model, 0, count)
        read = read_answers(self._probes[:count], said)
        answers = [answer for answer, _ in read]
        confirmation: Confirmation | None = None

        def confirm() -> Mapping[Sign, Change]:
            assert reference is not None
            said.extend(self._spoken(model, self._watched, len(self._probes)))
            read.extend(read_answers(self._probes[self._watched :], said[self._watched :]))
            later = [answer for answer, _ in read[self._watched :]]
            return changes(reference.answers[self._watched :], later, commonest_closer(answers)[0])

        if reference is None:
            alarm = first_alarm(answers)
        else:
            before = reference.answers[: self._watched]
            watched = changes(before, answers, commonest_closer(answers)[0])
            alarm, confirmation = judged(watched, confirm, self._alarm)
            unended = Change.of([it.unended for it in before], [it.unended for it in answers])
            alarm = with_warnings(alarm, endless(unended), displacement(logged_pairs(state.log_history)))
        look = with_alarm(
            measured(
                self._probes[: len(said)],
                said,
                read,
                self._watched,
                step=step,
                epoch=state.epoch,
                seconds=round(time.perf_counter() - started, 3),
                logged=latest_logged(state.log_history),
                state="ok",
                reasons=(),
                confirmations=0,
                proven=(),
                suspects=(),
                confirmation=confirmation_as_json(confirmation, len(said) - self._watched),
                skipped=self._skipped,
                kept=False,
                stopped=False,
                made_with=self._made_with,
            ),
            alarm,
        )
        stops = self._settings.stop_on_collapse and alarm.state == "collapsed"
        keeps = self._settings.stop_on_collapse and not stops and (alarm.is_healthy or reference is None)
        if keeps:
            self._put_aside(model, step)
        look = with_alarm(look, alarm, kept=keeps, stopped=stops)
        append_look(self._file, look)
        self._alarm, self.last, self._skipped = alarm, look, 0
        self._reference = reference or look
        self._say(look.told())
        if stops:
            self.stopped = f"collapse at step {step}: {'; '.join(alarm.reasons)}"

    def _spoken(self, model: Any, start: int, end: int) -> list[Any]:
        prompts = self._prompts[start:end]
        return spoken(model, self._tokenizer, prompts, self._stop_ids, self._settings.max_new_tokens)

    def _put_aside(self, model: Any, step: int) -> None:
        """Save the weights as the last healthy ones; those kept before are removed once the new ones are whole."""
        made, old = (self._keep.with_name(f".{self._keep.name}.{word}") for word in ("new", "old"))
        for left_over in (made, old):
            shutil.rmtree(left_over, ignore_errors=True)
        self._keep.parent.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(made)
        (made / KEPT).write_text(json.dumps({"step": step}), encoding="utf-8")
        if self._keep.exists():
            self._keep.rename(old)
        made.rename(self._keep)
        shutil.rmtree(old, ignore_errors=True)
        self.kept_step = step

    # --- going on ---

    def _resume(self, step: int) -> None:
        """Take over the looks up to this step; training repeats the others."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        looks = [look for look in read_monitor(self._file) if step and look.step <= step]
        if looks and looks[0].made_with != self._made_with:
            self._say(f"monitor: looks of other probes or limits are dropped; what counts as before is step {step}")
            looks = []
        truncate_monitor(self._file, looks)
        if not looks:
            return
        self._reference, self.last, self._alarm = looks[0], looks[-1], alarm_of(looks[-1])
        self.kept_step = self._kept_up_to(step)
        if looks[-1].stopped and self._settings.stop_on_collapse:
            self.stopped = f"collapse at step {looks[-1].step}: {'; '.join(looks[-1].reasons)}"

    def _kept_up_to(self, step: int) -> int | None:
        old = self._keep.with_name(f".{self._keep.name}.old")
        if old.exists() and not self._keep.exists():
            old.rename(self._keep)
        try:
            kept = int(json.loads((self._keep / KEPT).read_bytes())["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if kept <= step else None

    def _say_what_it_can_see(self) -> None:
        confirming = len(self._probes) - self._watched
        least = least_rise("loop", confirming)
        if least is None:
            self._say(
                f"monitor: {self._watched} probes are too few to confirm a collapse, so it will only warn: "
                "raise monitor.probes"
            )
        else:
            self._say(
                f"monitor: {self._watched} probes are watched, {confirming} more confirm; "
                f"it rings from {least} of those newly degenerate on"
            )

    def _say_what_is_cut(self) -> None:
        """Endless closers come at the end of an answer: where that is never reached, they are never seen."""
        answers = self.last.answers if self.last else ()
        cut = sum(it.unended for it in answers)
        if 2 * cut > len(answers):
            self._say(
                f"monitor: {cut} of {len(answers)} answers are cut at {self._settings.max_new_tokens} tokens; what "
                "comes later is not seen: with monitor.max_new_tokens as large as the answers that are trained, it is"
            )

    def _agree(self, control: Any) -> None:
        """All processes do what the first one found."""
        import torch.distributed as processes

        if processes.is_available() and processes.is_initialized() and processes.get_world_size() > 1:
            found: list[Any] = [self.stopped, self.kept_step]
            processes.broadcast_object_list(found, src=0)
            self.stopped, self.kept_step = found
        if self.stopped:
            control.should_training_stop = True


def changes(before: tuple[Answer, ...], after: list[Answer], closer: str) -> dict[Sign, Change]:
    """What has become of the same probes. Whether answers end alike is asked of those to harmless prompts."""
    pairs = [(then, now) for then, now in zip(before, after, strict=True) if now.category != HARMFUL]
    return {
        "loop": Change.of([it.degenerate for it in before], [it.degenerate for it in after]),
        "boilerplate": Change.of(
            [then.ends_with(closer) for then, _ in pairs], [now.ends_with(closer) for _, now in pairs]
        ),
    }


def first_alarm(answers: list[Answer]) -> Alarm:
    """A model that is degenerate before training does not ring; but then less can be seen, and that is said."""
    bad = sum(it.degenerate for it in answers)
    if bad <= VERDICTS.degenerate * len(answers):
        return Alarm()
    return Alarm(
        "warning",
        (f"{bad} of {len(answers)} probes are degenerate before training: only what becomes worse will ring",),
    )


def logged_pairs(history: list[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """logps/chosen and rewards/margins of every log that has both."""
    keys = ("logps/chosen", "rewards/margins")
    return [(float(it[keys[0]]), float(it[keys[1]])) for it in history if all(key in it for key in keys)]


def confirmation_as_json(confirmation: Confirmation | None, asked: int) -> dict[str, Any] | None:
    if confirmation is None:
        return None
    found = {
        sign: {"gained": it.gained, "lost": it.lost, "n": it.n} for sign, it in confirmation.changes.items()
    }  # fmt: skip
    return {"number": confirmation.number, "probes": asked, "changes": found}


def is_sharded() -> bool:
    """Whether this process holds but a part of the weights."""
    from accelerate.state import AcceleratorState, is_initialized
    from accelerate.utils import DistributedType
    from transformers.integrations import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        return True
    sharding = (DistributedType.FSDP, DistributedType.MEGATRON_LM)
    return bool(is_initialized() and AcceleratorState().distributed_type in sharding)


def release_memory() -> None:
    """Give back what a broken look had of the GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
