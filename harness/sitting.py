"""One sitting of a run: the engine at work until it is done or stopped, and the line about it in the manifest."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.engine import Conversation, Engine, Tally
from harness.progress import shown
from harness.store import MANIFEST, RunStore
from tasks.errors import RunStopped


@dataclass
class Sitting:
    """What this process does to a run; `status` is how it ends, for the manifest."""

    store: RunStore
    tally: Tally
    manifest: Mapping[str, Any]
    started: float
    start_up_s: float
    status: str = "incomplete"


@contextlib.contextmanager
def recorded(sitting: Sitting, spent: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Write into the manifest what this sitting did, `spent` included, whichever way it ends."""
    tally, manifest = sitting.tally, sitting.manifest
    try:
        yield
    finally:
        done = {
            "ended": sitting.status,
            "wall_s": round(time.perf_counter() - sitting.started, 2),
            "start_up_s": round(sitting.start_up_s, 2),
            "answers": tally.answers,
            "judgments": tally.judgments,
            "tokens": tally.tokens,
            "failed": tally.failed,
            "device": manifest["model"].get("device"),
            **spent(),
        }
        if tally.answers or tally.judgments or tally.failed or sitting.status != manifest["status"]:
            sittings = [*manifest["sittings"], done]
            # A full disk may be what ended it: the manifest is then an old one, and the records decide anyway.
            with contextlib.suppress(RunStopped):
                sitting.store.write_json(MANIFEST, {**manifest, "status": sitting.status, "sittings": sittings})


def work(
    engine: Engine, planned: Iterable[Conversation], window: int, close: Callable[[], None], *, quiet: bool
) -> None:
    """Run the engine with `window` of the `planned` conversations in flight, and `close` the models whatever happens.

    Raises:
        RunStopped: it was told to stop, or could not go on; what is stored is kept.
    """
    store, tally = engine.store, engine.tally
    try:
        stopped = asyncio.run(_until_done(engine, planned, window, quiet))
    finally:
        close()
    if stopped:
        raise RunStopped(
            f"stopped: {len(store.answered) + tally.answers} answers and {len(store.judged)} judgments are kept in "
            f"{store.directory}; the same command resumes the run"
        )


async def _until_done(engine: Engine, planned: Iterable[Conversation], window: int, quiet: bool) -> bool:
    """Run the engine; True if Ctrl-C or SIGTERM ended it before its time."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main
    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    try:
        async with shown(engine.tally, quiet=quiet):
            await engine.run(planned, window)
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
    return False
