"""Preferences: several answers a prompt, of which a judge prefers one by the constitution (Bai et al. 2022, section 4).

    DIR/data/samples.jsonl      {"id": "red-17", "messages": […], "samples": [{"text": "…", "finish": "stop"}, …]}
    DIR/data/preferences.jsonl  {"id": "red-17/0-1", "form": "judged", "prompt": […],
                                 "chosen": [{"role": "assistant", "content": "…"}], "rejected": […],
                                 "p": 0.82, "principles": ["harm", "tone"], "kept": true, "reason": null}

Of k answers to a prompt all pairs are judged where k is at most 4, else 6 that are drawn, and the one of the largest
margin that passes the filters is kept. Chosen for its margin its p is higher than it would be by itself; k = 2 has one
pair and no choice.

Degenerate text is only ever *rejected*. Beside a readable answer it needs no judge: p is 1, `principles` empty. With
k > 2 a prompt gives at most one such pair beside its judged one, against the answer that was chosen there. An answer
that was cut off at its token limit is judged and trained on up to its last whole sentence; one that has none to speak
of is never chosen, since to train on it would teach to stop within a sentence. samples.jsonl has them as they came.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.models.model import Model
from harness.records import RecordFile
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped
from training.constitution import Constitution
from training.feedback import Pair, drawn_principles, judge_of, judge_pairs, mean_p, position_bias
from training.hygiene import degenerate_reason
from training.pair_filters import Reason, reasons_of, refuse_if_empty, unfit
from training.prompts import PromptSet
from training.recipe import Preferences
from training.replies import Request, replies, seed_of
from training.rows import Row, append_row, rows_for, rows_of, write_rows
from training.sentences import whole_sentences

ALL_PAIRS = 4
"""Up to so many readable answers all pairs are judged."""
MOST_PAIRS = 6
NO_ANSWER = ("missing", "error", "filtered")
"""An answer that ended so is nobody's words."""
COUNTED = ("samples", "unanswered", "degenerate", "shortened", "truncated")


def make_preferences(
    settings: Preferences,
    seed: int,
    constitution: Constitution,
    prompts: PromptSet,
    model: Model,
    judge: Model,
    data: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write preferences.jsonl in `data`, and on the way samples.jsonl and feedback.jsonl; returns what to count.

    `data` must hold revisions.jsonl for the forms "revision" and "both".

    Raises:
        BadInput: no principles, or no pair is left by the filters (the count of every reason is told).
        RunStopped: a model or the disk gave up; the same command goes on.
    """
    rows: list[Row] = []
    counts: dict[str, Any] = {}
    if settings.form != "revision":
        if not constitution.principles:
            raise BadInput(
                f"the constitution {constitution.name} has no principles to compare by: add some, or set "
                'preferences.form = "revision"'
            )
        model.load()
        rows, counts = asyncio.run(_judged(settings, seed, constitution, prompts, model, judge, data, say))
    if settings.form != "judged":
        rows += _revised(settings, data)
    write_rows(data / "preferences.jsonl", rows)
    kept = [row for row in rows if row["kept"]]
    counts |= {
        "pairs": len(rows),
        "kept": len(kept),
        "kept_judged": sum(bool(row["principles"]) for row in kept),
        "kept_against_degenerate": sum(row["form"] == "judged" and not row["principles"] for row in kept),
        "kept_revisions": sum(row["form"] == "revision" for row in kept),
        "left_out": reasons_of(rows),
    }
    refuse_if_empty(rows)
    return counts


async def _judged(
    settings: Preferences,
    seed: int,
    constitution: Constitution,
    prompts: PromptSet,
    model: Model,
    judge: Model,
    data: Path,
    say: Callable[[str], None],
) -> tuple[list[Row], dict[str, Any]]:
    """Pairs of sampled answers, of every prompt in its order; and what to count of samples and comparisons."""
    sampled = await sample_answers(settings, seed, prompts, model, data / "samples.jsonl")
    answered = [_Answers(seed, row) for prompt in prompts.prompts if (row := sampled.get(prompt.id))]
    pairs = [pair for answers in answered for pair in answers.to_judge()]
    judge.load()

    def principles(pair: str) -> Sequence[Any]:
        return drawn_principles(constitution.principles, settings.principles, seed, pair)

    feedback = await judge_pairs(
        pairs, judge_of(judge, seed), principles, data / "feedback.jsonl", max(1, judge.parallel), say
    )
    rows = [row for answers in answered for row in answers.rows(feedback, settings)]
    counts = Counter[str]()
    for answers in answered:
        counts += answers.counts()
    return rows, {
        "prompts": len(prompts.prompts),
        **{name: counts[name] for name in COUNTED},
        "judged": sum(row["error"] is None for row in feedback.values()),
        "unjudged": dict(Counter(row["error"] for row in feedback.values() if row["error"])),
        **position_bias(feedback.values()),
    }


async def sample_answers(
    settings: Preferences, seed: int, prompts: PromptSet, model: Model, file: Path
) -> dict[str, Row]:
    """`settings.samples` answers to each prompt, those in `file` first; a prompt's row is appended when it is whole.

    Raises:
        RunStopped: the model or the disk gave up, or an answer could not be had; what is there is kept.
    """
    records = RecordFile(file)
    try:
        wanted = {prompt.id: prompt for prompt in prompts.prompts}
        rows = rows_for(file, prompts.asked)
        missing = [prompt for prompt in prompts.prompts if prompt.id not in rows]
        open_rows: dict[str, dict[int, Completion]] = {prompt.id: {} for prompt in missing}
        failed: list[str] = []

        def done(key: Any, reply: Completion) -> None:
            prompt, sample = key
            if reply.finish == "error":
                failed.append(reply.error or "no answer")
                return
            got = open_rows[prompt]
            got[sample] = reply
            if len(got) < settings.samples:
                return
            samples = [{"text": got[i].text, "finish": got[i].finish} for i in range(settings.samples)]
            row = {"id": prompt, "messages": list(wanted[prompt].messages), "samples": samples}
            append_row(records, row)
            rows[prompt] = row
            del open_rows[prompt]

        asked = (
            Request(
                (prompt.id, sample),
                prompt.messages,
                Settings(settings.max_new_tokens, settings.temperature, seed_of(seed, "samples", prompt.id, sample)),
            )
            for prompt in missing
            for sample in range(settings.samples)
        )
        await replies(model, asked, done, model.parallel, "preferences: answers")
    finally:
        records.close()
    if failed:
        raise RunStopped(f"{len(failed)} answers could not be had ({failed[0]}); the same command asks again")
    return rows


class _Answers:
    """The answers to one prompt and the pairs of them."""

    def __init__(self, seed: int, row: Row) -> None:
        self.id: str = row["id"]
        self.messages: list[Message] = row["messages"]
        self.samples: list[dict[str, str]] = row["samples"]
        answered = [i for i, it in enumerate(self.samples) if it["finish"] not in NO_ANSWER]
        self.degenerate = [i for i in answered if is_degenerate(self.samples[i])]
        self.readable = [i for i in answered if i not in self.degenerate]
        limited = [i for i in self.readable if self.samples[i]["finish"] == "length"]
        shortened = {i: whole_sentences(self.samples[i]["text"]) for i in limited}
        self.cut = [i for i, text in shortened.items() if text is None]
        self.texts = [shortened.get(i) or it["text"] for i, it in enumerate(self.samples)]
        self.shortened = len(limited) - len(self.cut)
        pairs = list(combinations(self.readable, 2))
        if len(self.readable) > ALL_PAIRS:
            pairs.sort(key=lambda pair: hashlib.sha256(json.dumps([seed, self.id, pair]).encode()).digest())
        self.pairs = sorted(pairs[:MOST_PAIRS])

    def counts(self) -> Counter[str]:
        return Counter(
            samples=len(self.samples),
            unanswered=len(self.samples) - len(self.readable) - len(self.degenerate),
            degenerate=len(self.degenerate),
            shortened=self.shortened,
            truncated=len(self.cut),
        )

    def to_judge(self) -> list[Pair]:
        """The pairs of which each answer may be the better one, by all that can be told without a judge."""
        return [
            Pair(self._name(i, j), self.messages, self.texts[i], self.texts[j])
            for i, j in self.pairs
            if not self._needs_no_judge(i, j)
        ]

    def rows(self, feedback: Mapping[str, Row], settings: Preferences) -> list[Row]:
        """The rows of this prompt; of those that a judge decided one at most is kept."""
        rows = [self._row(i, j, feedback, settings) for i, j in self.pairs]
        fit = [row for row in rows if row["kept"]]
        best = max(fit, key=lambda row: row["p"], default=None)  # the first of equals
        for row in fit:
            if row is not best:
                row |= {"kept": False, "reason": "smaller_margin"}
        if self.degenerate:
            rows += self._against_degenerate(best)
        return rows

    def _row(self, i: int, j: int, feedback: Mapping[str, Row], settings: Preferences) -> Row:
        if reason := self._needs_no_judge(i, j):
            return self._made(i, j, 0.5, reason=reason)
        judged = feedback[self._name(i, j)]
        if judged["error"]:
            return self._made(i, j, 0.5, reason="unjudged")
        p = mean_p(judged)
        chosen, rejected = (i, j) if p >= 0.5 else (j, i)
        p = max(p, 1 - p)
        unfit_for = unfit(
            self.texts[chosen], self.texts[rejected], p, settings.min_margin, settings.max_length_ratio
        ) or ("truncated" if chosen in self.cut else None)
        principles = [it["id"] for it in judged["principles"]]
        return {**self._made(chosen, rejected, p, reason=unfit_for, principles=principles), "id": self._name(i, j)}

    def _against_degenerate(self, best: Row | None) -> list[Row]:
        whole = [i for i in self.readable if i not in self.cut]
        if not self.readable:
            pair = self.degenerate[:2]
            return [self._made(pair[0], pair[1], 0.5, reason="both_degenerate")] if len(pair) == 2 else []
        if best:
            chosen = next(i for i in self.readable if self.texts[i] == best["chosen"][0]["content"])
        else:
            chosen = (whole or self.readable)[0]
        reason: Reason | None = "truncated" if chosen in self.cut else None
        return [self._made(chosen, self.degenerate[0], 1.0, reason=reason)]

    def _made(
        self, chosen: int, rejected: int, p: float, *, reason: Reason | None, principles: Sequence[str] = ()
    ) -> Row:
        name = self._name(*sorted((chosen, rejected)))
        return preference(
            name, "judged", self.messages, self.texts[chosen], self.texts[rejected], p, principles, reason
        )

    def _needs_no_judge(self, i: int, j: int) -> Reason | None:
        if self.texts[i].split() == self.texts[j].split():
            return "equal"
        return "truncated" if i in self.cut and j in self.cut else None

    def _name(self, i: int, j: int) -> str:
        return f"{self.id}/{i}-{j}"


def is_degenerate(sample: Mapping[str, str]) -> bool:
    """Whether a sample is no answer that anybody can read: loops, noise, nothing. One that was only cut off is none."""
    return degenerate_reason(sample["text"], "stop") is not None


def _revised(settings: Preferences, data: Path) -> list[Row]:
    """Each kept revision before the answer that it revised, p = 1: nobody was asked."""
    rows = []
    for row in rows_of(data / "revisions.jsonl"):
        if not row["kept"]:
            continue
        revision, initial = row["revision"], row["initial"]
        reason: Reason | None = None
        if degenerate_reason(revision, "stop"):
            reason = "degenerate_chosen"
        elif revision.split() == initial.split():
            reason = "equal"
        elif not degenerate_reason(initial, "stop"):
            reason = unfit(revision, initial, 1.0, settings.min_margin, settings.max_length_ratio)
        rows.append(
            preference(f"{row['id']}/revision", "revision", row["messages"], revision, initial, 1.0, (), reason)
        )
    return rows


def preference(
    name: str,
    form: str,
    prompt: Sequence[Message],
    chosen: str,
    rejected: str,
    p: float,
    principles: Sequence[str],
    reason: Reason | None,
) -> Row:
    """A row of preferences.jsonl; kept where there is no reason against it."""
    return {
        "id": name,
        "form": form,
        "prompt": list(prompt),
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "p": p,
        "principles": list(principles),
        "kept": reason is None,
        "reason": reason,
    }
