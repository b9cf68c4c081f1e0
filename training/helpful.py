"""What supervised fine-tuning reads: revisions, and helpful conversations so that the model stays of use.

    DIR/data/helpful.jsonl  {"id": "explain-3", "messages": [{"role": "user", …}, {"role": "assistant", …}],
                             "reason": null}
    DIR/data/sft.jsonl      {"id": "red-17", "source": "revision", "messages": [… ends with assistant]}

The embedded helpful prompts are answered by the base model itself, so that what is mixed in changes nothing but what
the revisions change (Bai et al. 2022, section 3.2, sample theirs from a helpful model likewise). One that was cut off
at its token limit goes in up to its last whole sentence. One that is degenerate, or has no whole sentence to speak of,
stays in helpful.jsonl with its reason and is not trained on, and the next prompt takes its place.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.models.model import Model
from harness.records import RecordFile
from tasks.conversation import Completion, Settings
from tasks.errors import BadInput, RunStopped
from training.hygiene import degenerate_reason
from training.prompts import Prompt, helpful_prompts, read_conversations
from training.recipe import EMBEDDED, Sft
from training.replies import Request, replies, seed_of
from training.rows import Row, append_row, rows_of, write_rows
from training.sentences import whole_sentences

TRUNCATED, UNANSWERED = "truncated", "unanswered"


def make_helpful(settings: Sft, seed: int, model: Model, data: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write helpful.jsonl in `data`, as many conversations as the kept rows of its revisions.jsonl call for.

    Returns what to count. Prompts of our own are answered in an order that the seed decides, until there are enough.

    Raises:
        BadInput: a file of conversations that can not be used.
        RunStopped: the model or the disk gave up; the same command goes on.
    """
    wanted = _wanted(settings, sum(row["kept"] for row in rows_of(data / "revisions.jsonl")))
    path = data / "helpful.jsonl"
    if settings.helpful != EMBEDDED:
        read = read_conversations(settings.helpful, wanted, seed) if wanted else None
        rows = [{"id": it.id, "messages": list(it.messages), "reason": None} for it in (read.prompts if read else ())]
        for note in read.notes if read else ():
            say(note)
        write_rows(path, rows)
        return {"helpful_conversations": len(rows)}
    if wanted:
        model.load()
    rows = asyncio.run(_answered(wanted, settings, seed, model, path, say))
    left_out = Counter(row["reason"] for row in rows if row["reason"])
    return {"helpful_answered": len(rows), "helpful_left_out": dict(left_out.most_common())}


async def _answered(
    wanted: int, settings: Sft, seed: int, model: Model, path: Path, say: Callable[[str], None]
) -> list[Row]:
    prompts = sorted(helpful_prompts(), key=lambda prompt: seed_of(seed, "helpful", prompt.id))
    records = RecordFile(path)
    try:
        asked = {prompt.id: list(prompt.messages) for prompt in prompts}
        rows = {row["id"]: row for row in rows_of(path) if asked.get(row["id"]) == row["messages"][:-1]}
        failed: list[str] = []
        while to_ask := _next(prompts, rows, wanted):
            by_id = {prompt.id: prompt for prompt in to_ask}

            def done(key: Any, reply: Completion, by_id: dict[str, Prompt] = by_id) -> None:
                if reply.finish == "error":
                    failed.append(reply.error or "no answer")
                    return
                rows[key] = row = _row(by_id[key], reply)
                append_row(records, row)

            requests = [
                Request(
                    prompt.id,
                    prompt.messages,
                    Settings(
                        settings.helpful_max_new_tokens,
                        settings.helpful_temperature,
                        seed_of(seed, "helpful answer", prompt.id),
                    ),
                )
                for prompt in to_ask
            ]
            say(f"helpful: {len(requests)} conversations to answer")
            await replies(model, requests, done, model.parallel, "helpful: answers")
            if failed:
                raise RunStopped(
                    f"{len(failed)} helpful answers could not be had ({failed[0]}); the same command asks again"
                )
    finally:
        records.close()
    return list(rows.values())


def _next(prompts: Sequence[Prompt], rows: dict[str, Row], wanted: int) -> list[Prompt]:
    """The prompts that are still to be asked: the first in order, as many as are lacking."""
    lacking = wanted - sum(row["reason"] is None for row in rows.values())
    return [prompt for prompt in prompts if prompt.id not in rows][: max(0, lacking)]


def _row(prompt: Prompt, reply: Completion) -> Row:
    reason = degenerate_reason(reply.text, "stop")
    text = whole_sentences(reply.text) if reply.finish == "length" else reply.text
    if reply.finish in ("missing", "filtered"):
        reason = UNANSWERED
    elif text is None:
        reason = reason or TRUNCATED
    said = {"role": "assistant", "content": reply.text if reason else text}
    return {"id": prompt.id, "messages": [*prompt.messages, said], "reason": reason}


def make_mix(settings: Sft, seed: int, data: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write sft.jsonl in `data`: every kept revision, and round(`helpful_ratio` × as many) helpful conversations.

    Those are drawn by the seed, and all rows shuffled by it. If there are too few helpful ones all go in, and the true
    ratio is told. Returns what to count.

    Raises:
        BadInput: no revision was kept.
        RunStopped: the disk takes no more.
    """
    revisions = [
        {
            "id": row["id"],
            "source": "revision",
            "messages": [*row["messages"], {"role": "assistant", "content": row["revision"]}],
        }
        for row in rows_of(data / "revisions.jsonl")
        if row["kept"]
    ]
    if not revisions:
        raise BadInput(f"{data / 'revisions.jsonl'} has no kept revision to train on: look at its reasons")
    wanted = _wanted(settings, len(revisions))
    helpful = sorted(
        (row for row in rows_of(data / "helpful.jsonl") if not row.get("reason")),
        key=lambda row: seed_of(seed, "helpful", row["id"]),
    )[:wanted]
    ratio = len(helpful) / len(revisions)
    if len(helpful) < wanted:
        say(
            f"sft: {len(helpful)} helpful conversations for {len(revisions)} revisions, {ratio:.2f} instead of "
            f"{settings.helpful_ratio:g} for each: there are no more"
        )
    rows = revisions + [{"id": row["id"], "source": "helpful", "messages": row["messages"]} for row in helpful]
    random.Random(seed).shuffle(rows)
    write_rows(data / "sft.jsonl", rows)
    return {"revisions": len(revisions), "helpful": len(helpful), "helpful_ratio": ratio}


def _wanted(settings: Sft, revisions: int) -> int:
    return round(settings.helpful_ratio * revisions)
