"""How far a run is, while it runs: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator

from harness.engine import Tally
from harness.printing import say

PLAIN_EVERY_S = 10.0
LIVE_EVERY_S = 0.5


def progress_line(tally: Tally) -> str:
    """For example `answers 112/160 · judgments 108/160 · 83 tokens/s · 1:05 left`."""
    answers = tally.stored_answers + tally.answers
    judgments = tally.stored_judgments + tally.judgments
    elapsed = time.perf_counter() - tally.started
    parts = [f"answers {answers}/{tally.answers_wanted}", f"judgments {judgments}/{tally.judgments_wanted}"]
    if tally.tokens and elapsed > 0:
        parts.append(f"{tally.tokens / elapsed:.0f} tokens/s")
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if tally.answers and (left := tally.answers_wanted - answers):
        seconds = int(left * elapsed / tally.answers)
        parts.append(f"{seconds // 60}:{seconds % 60:02d} left")
    return " · ".join(parts)


@contextlib.asynccontextmanager
async def shown(tally: Tally, *, quiet: bool) -> AsyncIterator[None]:
    """Show progress on stderr while the block runs."""
    if quiet or sys.stderr is None:
        yield
        return
    showing = asyncio.create_task(_show_live(tally) if sys.stderr.isatty() else _show_plain(tally))
    try:
        yield
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


async def _show_plain(tally: Tally) -> None:
    try:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            say(progress_line(tally))
    finally:
        say(progress_line(tally))


async def _show_live(tally: Tally) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(BarColumn(40), TextColumn("{task.description}"), console=Console(stderr=True), auto_refresh=False)
    with bar:
        row = bar.add_task("", total=tally.answers_wanted + tally.judgments_wanted)

        def advance() -> None:
            done = tally.stored_answers + tally.answers + tally.stored_judgments + tally.judgments
            bar.update(row, completed=done, description=progress_line(tally), refresh=True)

        try:
            while True:
                advance()
                await asyncio.sleep(LIVE_EVERY_S)
        finally:
            advance()
