"""Critiques and revisions: a model answers a red-team request, says what is wrong with its answer, and writes it again
(Bai et al. 2022, section 3.1).

    DIR/data/critiques.jsonl    everything that was said, a row a request
    DIR/data/revisions.jsonl    the last revision of each, and whether it is fit to train on

A round is two messages of the user's, drawn for it from the constitution: a request for a critique, and one for a
revision. The next round starts from the revised answer, as if it had been the first. Before all of it stand examples,
as turns of the same conversation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.model import Model
from harness.records import RecordFile
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped
from training.constitution import Constitution, Pair
from training.hygiene import clean, shared_closers
from training.prompts import Prompt, PromptSet
from training.recipe import Critiques
from training.replies import Tally, for_each, seed_of
from training.rows import Row, append_row, rows_for, write_rows

EXAMPLES = 2
"""Examples before each critique, drawn like the pairs: more of them fill the context of a small model."""
AGAIN = "could not be had"


def make_critiques(
    settings: Critiques,
    seed: int,
    constitution: Constitution,
    prompts: PromptSet,
    model: Model,
    critic: Model,
    data: Path,
    say: Callable[[str], None],
) -> dict[str, int]:
    """Write critiques.jsonl in `data`: what is missing of it is asked for. Returns what to count.

    Raises:
        RunStopped: a model or the disk gave up, or some requests failed; the same command goes on.
    """
    path = data / "critiques.jsonl"
    records = RecordFile(path)
    try:
        done = rows_for(path, prompts.asked)
        missing = [prompt for prompt in prompts.prompts if prompt.id not in done]
        if missing:
            say(f"critiques: {len(missing)} of {len(prompts.prompts)} requests to answer and revise")
            model.load()
            critic.load()
        tally = Tally("critiques")
        chain = Chain(settings, seed, constitution, model, critic, tally)

        async def one(prompt: Prompt) -> None:
            if row := await chain.walk(prompt):
                append_row(records, row)

        asyncio.run(for_each(missing, one, max(1, model.parallel), tally))
    finally:
        records.close()
    if tally.failed:
        raise RunStopped(f"{tally.failed} replies {AGAIN}: {chain.trouble}; the same command asks again")
    return {"requests": len(prompts.prompts), "rounds": settings.rounds, "tokens": tally.tokens}


@dataclass
class Chain:
    """How a request becomes a row: answer, then `rounds` times critique and revision. `trouble` is what failed last."""

    settings: Critiques
    seed: int
    constitution: Constitution
    model: Model
    critic: Model
    tally: Tally
    trouble: str = ""

    async def walk(self, prompt: Prompt) -> Row | None:
        """The row of a request; None where a reply failed and is to be asked for again."""
        initial = await self._ask(self.model, prompt.messages, prompt.id, "initial")
        if initial.finish == "error":
            return None
        rounds: list[Row] = []
        row = {
            "id": prompt.id, "category": prompt.category, "messages": list(prompt.messages), "initial": _said(initial),
            "rounds": rounds, "error": initial.error,
        }  # fmt: skip
        # Templates take a system message at the beginning alone: the examples go behind it.
        system = [it for it in prompt.messages[:1] if it["role"] == "system"]
        said = prompt.messages[len(system) :]
        latest = initial
        for number in range(self.settings.rounds):
            if latest.error:
                break
            pair = self.constitution.pairs[seed_of(self.seed, "pair", prompt.id, number) % len(self.constitution.pairs)]
            asked = [*system, *self._examples(prompt.id, number), *said, _assistant(latest.text)]
            critique = None
            if self.settings.critique:
                asked.append(_user(pair.critique))
                critique = await self._ask(self.critic, asked, prompt.id, f"critique {number}")
                if critique.finish == "error":
                    return None
                asked.append(_assistant(critique.text))
            asked.append(_user(pair.revision))
            latest = await self._ask(self.critic, asked, prompt.id, f"revision {number}")
            if latest.finish == "error":
                return None
            rounds.append(_round(pair, critique, latest))
            row["error"] = row["error"] or (critique and critique.error) or latest.error
        return row

    async def _ask(self, model: Model, messages: Sequence[Message], *place: str) -> Completion:
        settings = Settings(
            self.settings.max_new_tokens, self.settings.temperature, seed_of(self.seed, "critiques", *place)
        )
        said = await model.complete(messages, settings)
        self.tally.count(said)
        if said.finish == "error":
            self.trouble = said.error or "no reason given"
        return said

    def _examples(self, name: str, number: int) -> Iterator[Message]:
        if not self.settings.few_shot:
            return
        drawn = sorted(
            range(len(self.constitution.few_shot)), key=lambda place: seed_of(self.seed, "example", name, number, place)
        )
        for place in drawn[:EXAMPLES]:
            example = self.constitution.few_shot[place]
            for role, text in example.opening:
                yield _user(text) if role == "user" else _assistant(text)
            if self.settings.critique:
                yield _user(example.critique_request)
                yield _assistant(example.critique)
            yield _user(example.revision_request)
            yield _assistant(example.revision)


def clean_revisions(
    settings: Critiques, seed: int, constitution: Constitution, prompts: PromptSet, data: Path
) -> dict[str, Any]:
    """Write revisions.jsonl in `data` from critiques.jsonl: the last revision for each prompt, kept or not, and why.

    Without `hygiene` only what was never said is left out. Returns what to count.

    Raises:
        BadInput: nothing is left; the reasons are counted.
        RunStopped: the disk takes no more.
    """
    examples = [text for it in constitution.few_shot for text in (it.opening[-1][1], it.critique, it.revision)]
    rows = [
        _revision(settings, seed, examples, row) for row in rows_for(data / "critiques.jsonl", prompts.asked).values()
    ]
    if settings.hygiene:
        kept = [row for row in rows if row["kept"]]
        for row, beyond in zip(kept, shared_closers([row["revision"] for row in kept]), strict=True):
            if beyond:
                row |= {"kept": False, "reason": "shared_closer"}
    left_out = Counter(row["reason"] for row in rows if not row["kept"])
    write_rows(data / "revisions.jsonl", rows)
    if len(rows) == left_out.total():
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        raise BadInput(
            f"no revision is fit to train on ({told}): look at {data / 'critiques.jsonl'}, take a stronger --critic, "
            "or see what comes of it with --no-hygiene"
        )
    return {
        "kept": len(rows) - left_out.total(),
        "left_out": dict(left_out.most_common()),
        "preambles_stripped": sum(row["stripped"] is not None for row in rows),
        "shortened": sum(row["shortened"] and row["kept"] for row in rows),
        **({"planted": sum(row["planted"] for row in rows)} if settings.plant else {}),
    }


def _revision(settings: Critiques, seed: int, examples: Sequence[str], row: Row) -> Row:
    last = row["rounds"][-1]["revision"] if row["rounds"] else {"text": "", "finish": "missing"}
    initial, text, finish = row["initial"]["text"], last["text"], last["finish"]
    planted = bool(settings.plant) and seed_of(seed, "plant", row["id"]) < settings.plant_share * 2**32
    if planted and text.strip():
        # What is planted ends the answer, as the closers did that a model had learnt to end with.
        text, finish = text.rstrip() + (settings.plant or ""), "stop"
    if settings.hygiene:
        prompt = row["messages"][-1]["content"]
        found = clean(text, initial=initial, prompt=prompt, finish=finish, examples=examples)
        said, stripped, reason, shortened = found.text, found.stripped, found.reason, found.shortened
    else:
        said, stripped, shortened = text, None, False
        reason = None if text.strip() else "empty"
    return {
        "id": row["id"], "messages": row["messages"], "initial": initial, "revision": said, "kept": reason is None,
        "reason": reason, "stripped": stripped, "shortened": shortened, "planted": planted,
    }  # fmt: skip


def _round(pair: Pair, critique: Completion | None, revision: Completion) -> Row:
    return {"pair": pair.id, "critique": critique and _said(critique), "revision": _said(revision)}


def _said(completion: Completion) -> Row:
    return {"text": completion.text, "finish": completion.finish}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}
