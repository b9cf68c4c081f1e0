"""`bench run`: from a configuration to a run directory with answers, judgments and scores."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from harness.capability_run import evaluate, not_done
from harness.config import RunConfig
from harness.engine import Engine, Schedule, Tally, conversations
from harness.environment import environment
from harness.plan import Plan, make_plan
from harness.printing import say, say_nothing
from harness.results import RunResult, read_result
from harness.sitting import Sitting, recorded, work
from harness.store import JUDGES_ADDED, MANIFEST, SCHEMA_VERSION, SCORES, RunStore, read_manifest
from tasks.errors import BadInput
from tasks.task import CAPABILITY


def run(config: RunConfig, *, quiet: bool = False, schedule: Schedule | None = None) -> RunResult:
    """Do what is missing of a run, score it, and say how it stands.

    A `schedule` may begin conversations in another order than that of the data, and leave some of them out.

    Raises:
        BadInput: the run can not begin; nothing is left behind.
        RunStopped: it began and could not finish; the same command resumes it.
    """
    started = time.perf_counter()
    if schedule and (whole := [name for name in config.tasks if name.startswith(CAPABILITY)]):
        raise BadInput(f"--sequential can not watch {whole[0]}, which lm-eval runs as a whole: gate a finished run")
    plan = make_plan(config, say_nothing if quiet else say)
    with RunStore.open(plan.directory, plan.identity) as store:
        if store.dropped_bytes:
            say(f"dropped {store.dropped_bytes} bytes of records that were cut short when a sitting was killed")
        tally = Tally(sum(a.answers for a in plan.assignments), sum(a.judgments for a in plan.assignments))
        pending = not_done(plan.capability, store)
        try:
            manifest = _begin(plan, config, store, tally, lm_eval_is_done=not pending)
        except BaseException:
            store.discard_if_empty()
            raise
        start_up = time.perf_counter() - started
        if not quiet:
            wanted = f"{tally.answers_wanted} answers, {tally.judgments_wanted} judgments"
            if plan.capability:
                wanted += f"; {sum(task.count for task in plan.capability_tasks)} documents of lm-eval's tasks"
            say(f"{plan.model.name} → {plan.directory}: {wanted}")
        sitting = Sitting(store, tally, manifest, started, start_up)
        lm_eval_s = 0.0
        with recorded(sitting, lambda: {"model_s": round(plan.model.busy_s + lm_eval_s, 2), "usage": plan.usage()}):
            # A number of conversations in flight is what --concurrency means to a model that has no requests.
            window = config.concurrency if config.concurrency and plan.is_local else plan.window
            if schedule:
                # What may end at any moment keeps little in flight, since that is still done.
                window = max(1, window // 4)
            engine = Engine(plan.model, store, tally, config.seed)
            planned = schedule(plan.directory, plan.assignments) if schedule else conversations(plan.assignments)
            try:
                if plan.assignments:
                    work(engine, planned, window, plan.judge_models.close, quiet=quiet)
                if pending:
                    lm_eval_s = evaluate(pending, plan.model, store, tally, quiet=quiet)
            finally:
                plan.close()
            result = replace(read_result(plan.directory), failure=tally.failure)
            store.write_json(SCORES, result.as_json())
            sitting.status = result.status
        timing = {
            "wall_s": time.perf_counter() - started,
            "start_up_s": start_up,
            "model_s": plan.model.busy_s + lm_eval_s,
        }
        return replace(result, timing=timing)


def _begin(plan: Plan, config: RunConfig, store: RunStore, tally: Tally, *, lm_eval_is_done: bool) -> dict[str, Any]:
    """Load what is needed for what is missing, and write the manifest."""
    earlier = read_manifest(plan.directory)
    judges = {(a.task.name, judge.name) for a in plan.assignments for judge in a.judges}
    done = sum((key[0], key[4]) in judges for key in store.judged)
    if done < tally.judgments_wanted:
        plan.judge_models.load()
    ours = {task.name for task in plan.tasks}
    answered = sum(key[0] in ours for key in store.answered)
    if earlier and lm_eval_is_done and answered >= tally.answers_wanted:
        store.write_items(plan.item_records(), plan.asked)
        return earlier
    plan.model.load()
    model = plan.model.describe()
    if earlier and earlier["model"].get("dtype") != model.get("dtype"):
        raise BadInput(
            f"{plan.directory} was made in {earlier['model'].get('dtype')}, this machine would go on in "
            f"{model.get('dtype')}: resume it where it began, or choose another --out"
        )
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "config": asdict(config),
        "identity": plan.identity,
        "model": model,
        "sources": plan.sources,
        "judge_prompts": {task.name: str(file.resolve()) for task in plan.tasks if (file := task.judge_prompts)},
        "environment": environment(),
        "sittings": earlier["sittings"] if earlier else [],
        **({JUDGES_ADDED: earlier[JUDGES_ADDED]} if earlier and JUDGES_ADDED in earlier else {}),
    }
    # The manifest first: items without one are not a run's, and are never written into.
    store.write_json(MANIFEST, manifest)
    store.write_items(plan.item_records(), plan.asked)
    return manifest
