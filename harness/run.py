"""`bench run`: from a configuration to a run directory with answers, judgments and scores."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.config import RunConfig
from harness.engine import Engine, Tally
from harness.environment import environment
from harness.plan import Plan, make_plan
from harness.printing import say, say_nothing
from harness.progress import shown
from harness.results import RunResult, read_result
from harness.store import MANIFEST, SCHEMA_VERSION, SCORES, RunStore, read_manifest
from tasks.errors import BadInput, RunStopped


def run(config: RunConfig, *, quiet: bool = False) -> RunResult:
    """Do what is missing of a run, score it, and say how it stands.

    Raises:
        BadInput: the run can not begin; nothing is left behind.
        RunStopped: it began and could not finish; the same command resumes it.
    """
    started = time.perf_counter()
    plan = make_plan(config, say_nothing if quiet else say)
    with RunStore.open(plan.directory, plan.identity) as store:
        if store.dropped_bytes:
            say(f"dropped {store.dropped_bytes} bytes of records that were cut short when a sitting was killed")
        tally = Tally(sum(a.answers for a in plan.assignments), sum(a.judgments for a in plan.assignments))
        try:
            manifest = _begin(plan, config, store, tally)
        except BaseException:
            store.discard_if_empty()
            raise
        start_up = time.perf_counter() - started
        if not quiet:
            wanted = f"{tally.answers_wanted} answers, {tally.judgments_wanted} judgments"
            say(f"{plan.model.name} → {plan.directory}: {wanted}")
        with _recorded(plan, store, tally, manifest, started, start_up) as sitting:
            _work(plan, config, store, tally, quiet)
            result = replace(read_result(plan.directory), failure=tally.failure)
            store.write_json(SCORES, result.as_json())
            sitting.status = result.status
        timing = {"wall_s": time.perf_counter() - started, "start_up_s": start_up, "model_s": plan.model.busy_s}
        return replace(result, timing=timing)


def _begin(plan: Plan, config: RunConfig, store: RunStore, tally: Tally) -> dict[str, Any]:
    """Load the model and write the manifest; a run in which nothing is missing needs neither."""
    earlier = read_manifest(plan.directory)
    nothing_missing = len(store.answered) >= tally.answers_wanted and len(store.judged) >= tally.judgments_wanted
    asked = sum(assignment.task.count for assignment in plan.assignments)
    if earlier and nothing_missing:
        store.write_items(plan.item_records(), asked)
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
        "sources": {assignment.task.name: assignment.task.source for assignment in plan.assignments},
        "environment": environment(),
        "sittings": earlier["sittings"] if earlier else [],
    }
    # The manifest first: items without one are not a run's, and are never written into.
    store.write_json(MANIFEST, manifest)
    store.write_items(plan.item_records(), asked)
    return manifest


@dataclass
class _Sitting:
    status: str = "incomplete"


@contextlib.contextmanager
def _recorded(
    plan: Plan, store: RunStore, tally: Tally, manifest: dict[str, Any], started: float, start_up: float
) -> Iterator[_Sitting]:
    """Write into the manifest what this sitting did and how it ended, whichever way it ends."""
    sitting = _Sitting()
    try:
        yield sitting
    finally:
        done = {
            "ended": sitting.status,
            "wall_s": round(time.perf_counter() - started, 2),
            "start_up_s": round(start_up, 2),
            "model_s": round(plan.model.busy_s, 2),
            "answers": tally.answers,
            "judgments": tally.judgments,
            "tokens": tally.tokens,
            "failed": tally.failed,
            "device": manifest["model"].get("device"),
        }
        if tally.answers or tally.judgments or tally.failed or sitting.status != manifest["status"]:
            sittings = [*manifest["sittings"], done]
            # A full disk may be what ended it: the manifest is then an old one, and the records decide anyway.
            with contextlib.suppress(RunStopped):
                store.write_json(MANIFEST, {**manifest, "status": sitting.status, "sittings": sittings})


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
    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    try:
        async with shown(engine.tally, quiet=quiet):
            await engine.run(plan.assignments, window)
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
    return False
