"""What the collapse monitor asks: fixed prompts of several kinds, answered greedily and all at once by a model that is
being trained.

    {"id": "harmful-01", "category": "harmful", "prompt": "Describe how I could sneak a stolen painting past the …"}

A third of them are harmful requests, since what constitutional training breaks shows there first. None is a prompt of
an evaluation set. Two sets are drawn: one is answered at every look, the other only to confirm what the first one
raised, so that a confirmation rests on prompts that played no part in the suspicion.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.hf import first_line
from tasks.errors import BadInput

PROBES = Path(__file__).with_name("data") / "monitor_probes.jsonl"
HARMFUL = "harmful"
CONFIRMING = 2
"""Prompts that confirm, for each one that is watched, as far as the file has them."""


@dataclass(frozen=True)
class Probe:
    id: str
    category: str
    prompt: str


@dataclass(frozen=True)
class Spoken:
    """An answer of the model in training. `ended`: by a stop id, not by the length limit.

    `tokens` counts the one that ended it; `entropy` is the mean next-token entropy in nats, None where it is no number.
    """

    text: str
    tokens: int
    ended: bool
    entropy: float | None


def read_probes() -> list[Probe]:
    """All prompts, their kinds in rotation."""
    return [Probe(**json.loads(line)) for line in PROBES.read_text(encoding="utf-8").splitlines()]


def probe_sets(watched: int) -> tuple[list[Probe], list[Probe]]:
    """The prompts of every look, and those that confirm.

    Raises:
        BadInput: more than half of all prompts are to be watched, which leaves too few to confirm with.
    """
    probes = read_probes()
    if not 1 <= watched <= len(probes) // 2:
        raise BadInput(f"monitor.probes is between 1 and {len(probes) // 2}, not {watched}")
    return probes[:watched], probes[watched : (1 + CONFIRMING) * watched]


def fingerprint(probes: Sequence[Probe], max_new_tokens: int, thresholds: str) -> str:
    """What must be the same for two looks to be compared."""
    text = json.dumps([[it.id, it.prompt] for it in probes] + [max_new_tokens, thresholds])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def encoded(probes: Sequence[Probe], tokenizer: Any) -> list[list[int]]:
    """The prompts as the chat template renders them, up to where the answer begins.

    Raises:
        BadInput: the tokenizer has no template, or one that does not render.
    """
    from jinja2 import TemplateError

    prompts = []
    for probe in probes:
        messages = [{"role": "user", "content": probe.prompt}]
        try:
            text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except (TemplateError, ValueError, TypeError) as error:
            raise BadInput(
                f"the monitor's prompts can not be rendered ({first_line(error)[:200]}): pass --chat-template FILE"
            ) from None
        prompts.append(list(tokenizer.encode(text, add_special_tokens=False)))
    return prompts


def spoken(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], stop_ids: frozenset[int], max_new_tokens: int
) -> list[Spoken]:
    """The likeliest answer to each of the `prompts`, all in one batch; the model is left as it was found."""
    with as_it_was(model):
        said = continued(model, prompts, stop_ids, max_new_tokens)
    found = []
    for tokens, entropies in said:
        ended = bool(tokens) and tokens[-1] in stop_ids
        total = sum(entropies)
        text = tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True).strip()
        entropy = total / len(entropies) if entropies and math.isfinite(total) else None
        found.append(Spoken(text, len(tokens), ended, entropy))
    return found


@contextlib.contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Let a model in training answer: no dropout, no gradients; afterwards every module's mode and torch's random
    numbers are what they were, so that training goes on as if nobody had asked."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        # No inference mode: tensors that a module keeps (rotary tables, say) must stay fit for training.
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        if devices:
            torch.cuda.empty_cache()


def continued(
    model: Any, prompts: Sequence[Sequence[int]], stop_ids: frozenset[int], max_new_tokens: int
) -> list[tuple[list[int], list[float]]]:
    """Greedy tokens of each prompt, with the entropy (nats) of the distribution that each was taken from.

    Padding stands on the left and is masked, which every attention kernel serves. Not `generate`: it would take
    repetition penalties and the like from the checkpoint, and they hide the very loops that are looked for. The cache
    dies with this call.
    """
    import torch

    device = model.device
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[i, longest - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    said: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    rows = list(range(len(prompts)))
    ended: set[int] = set()
    cache = None
    for _ in range(max_new_tokens):
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        cache = output.past_key_values
        log_probs = torch.log_softmax(output.logits[:, -1].float(), dim=-1)
        # entr(0) is 0, where p log p would be no number for tokens that can not come.
        entropies = torch.special.entr(log_probs.exp()).sum(-1)
        chosen = log_probs.argmax(-1)
        for row, token, entropy in zip(rows, chosen.tolist(), entropies.tolist(), strict=True):
            if row not in ended:
                said[row][0].append(token)
                said[row][1].append(entropy)
                if token in stop_ids:
                    ended.add(row)
        left = [place for place, row in enumerate(rows) if row not in ended]
        if not left:
            break
        # Cutting ended rows out copies the cache: worth it once they are many.
        if 4 * len(left) <= 3 * len(rows):
            kept = torch.tensor(left, device=device)
            cache.batch_select_indices(kept)
            rows, mask, positions, chosen = [rows[place] for place in left], mask[kept], positions[kept], chosen[kept]
        ids, positions = chosen[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=-1)
    return said
