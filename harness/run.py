"""`bench run`: from a configuration to a run directory with answers, judgments and scores."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import asdict
from typing import Any

from harness.config import RunConfig
from harness.engine import Engine, Tally
from harness.environment import environment
from harness.plan import Plan, make_plan
from harness.progress import shown
from harness.results import RunResult, departures, score_run
from harness.store import MANIFEST, SCHEMA_VERSION, RunStore, read_manifest
from tasks.errors import RunStopped


def run(config: RunConfig, *, quiet: bool = False) -> RunResult:
    """Do what is missing of a run, score it, and say how it stands.

    Raises:
        BadInput: the run can not begin; nothing is left behind.
        RunStopped: it began and could not finish; the same command resumes it.
    """
    started = time.perf_counter()
    plan = make_plan(config, _silent if quiet else _on_stderr)
    with RunStore.open(plan.directory, plan.identity) as store:
        if store.dropped_bytes:
            _on_stderr(f"dropped {store.dropped_bytes} bytes of records that were cut short when a sitting was killed")
        try:
            manifest = _begin(plan, config, store)
        except BaseException:
            store.discard_if_empty()
            raise
        tally = Tally(sum(a.answers for a in plan.assignments), sum(a.judgments for a in plan.assignments))
        start_up = time.perf_counter() - started
        if not quiet:
            _on_stderr(
                f"{plan.model.name} → {plan.directory}: {tally.answers_wanted} answers, "
                f"{tally.judgments_wanted} judgments"
            )
        try:
            _work(plan, config, store, tally, quiet)
        except BaseException:
            # The disk may be what failed: the manifest then goes on saying "running", and the records decide anyway.
            with contextlib.suppress(RunStopped):
                store.write_json(MANIFEST, {**manifest, "status": "incomplete"})
            raise
        status = "complete" if tally.complete else "incomplete"
        scores = score_run(plan.directory, manifest)
        timing = {
            "wall_s": time.perf_counter() - started, "start_up_s": start_up, "model_s": plan.model.busy_s,
        }  # fmt: skip
        result = RunResult(
            plan.directory, status, scores, departures(plan.identity["tasks"]), timing,
            failure=tally.first_failure and f"{tally.failed} failed, the first: {tally.first_failure}",
        )  # fmt: skip
        store.write_json("scores.json", result.as_json())
        if tally.answers or tally.judgments or status != manifest["status"]:
            sitting = {**timing, "answers": tally.answers, "judgments": tally.judgments, "tokens": tally.tokens}
            sittings = [*manifest["sittings"], {key: round(value, 2) for key, value in sitting.items()}]
            store.write_json(MANIFEST, {**manifest, "status": status, "sittings": sittings})
        return result


def _begin(plan: Plan, config: RunConfig, store: RunStore) -> dict[str, Any]:
    """Load the model and write the manifest; a complete run needs neither."""
    earlier = read_manifest(plan.directory)
    if earlier and earlier["status"] == "complete":
        return earlier
    plan.model.load()
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "config": asdict(config),
        "identity": plan.identity,
        "model": plan.model.describe(),
        "sources": {assignment.task.name: assignment.task.source for assignment in plan.assignments},
        "environment": environment(),
        "sittings": earlier["sittings"] if earlier else [],
    }
    store.write_items(plan.item_records())
    store.write_json(MANIFEST, manifest)
    return manifest


def _work(plan: Plan, config: RunConfig, store: RunStore, tally: Tally, quiet: bool) -> None:
    engine = Engine(plan.model, store, tally, config.seed)
    try:
        stopped = asyncio.run(_until_done(engine, plan, config.concurrency or 2 * plan.model.parallel, quiet))
    finally:
        plan.model.close()
    if stopped:
        raise RunStopped(
            f"stopped: {len(store.answered) + tally.answers} answers and {len(store.judged)} judgments are kept in "
            f"{plan.directory}; the same command resumes the run"
        )


async def _until_done(engine: Engine, plan: Plan, window: int, quiet: bool) -> bool:
    """Run the engine; True if Ctrl-C or SIGTERM ended it before its time."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    try:
        async with shown(engine.tally, quiet=quiet):
            await engine.run(plan.assignments, window)
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    return False


def _on_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    pass
