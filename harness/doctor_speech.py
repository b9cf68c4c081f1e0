"""How a checkpoint's tokenizer and chat template write a conversation: whether it begins once, and whether it ends.

What is wrong here looks like a collapsed model: a text that starts twice is answered badly, and a model that was never
shown the token at which generation stops, or is not stopped at the one it was shown, goes on for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.findings import Finding, ok, problem, warning
from harness.models.hf import end_of_turn, first_line

QUESTION, ANSWER, AGAIN = "Which number comes after seven?", "Eight comes after seven.", "And after that one?"
ASKED = [{"role": "user", "content": QUESTION}]
ANSWERED = [*ASKED, {"role": "assistant", "content": ANSWER}]
TWO_TURNS = [*ANSWERED, {"role": "user", "content": AGAIN}]


def speech_findings(tokenizer: Any, folder: Path | None) -> list[Finding]:
    """On a tokenizer with a chat template, and the folder whose configuration says where generation stops, if known."""
    try:
        rendered, asked = _render(tokenizer, ANSWERED), _render(tokenizer, ASKED, ask=True)
        unasked, turns = _render(tokenizer, ASKED), _render(tokenizer, TWO_TURNS, ask=True)
    except Exception as error:  # noqa: BLE001 - a template is a program, and fails in any way it likes
        says = f"does not render: {first_line(error)}"
        return [problem("chat template", says, "mend it, or pass --chat-template FILE")]
    of_template = list(_template(asked, unasked, rendered, turns))
    if any(finding.status == "problem" for finding in of_template):
        return of_template
    return [
        *of_template,
        *_beginning(tokenizer, asked),
        *(_stops(tokenizer, folder) if folder else ()),
        *_trained_end(tokenizer, rendered, turns),
        *_padding(tokenizer),
    ]


def tokens_in_use(tokenizer: Any) -> set[int]:
    """The ids of tokens that a conversation is written with, and those of BOS, EOS and padding."""
    try:
        text = _render(tokenizer, ANSWERED)
    except Exception:  # noqa: BLE001 - as above; `speech_findings` says so
        text = QUESTION
    own = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return {*tokenizer.encode(text), *(i for i in own if i is not None)}


def _render(tokenizer: Any, messages: list[dict[str, str]], *, ask: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=ask, tokenize=False)
    return text


def _template(asked: str, unasked: str, rendered: str, turns: str) -> Iterator[Finding]:
    subject, remedy = "chat template", "pass the template that the model was trained with: --chat-template FILE"
    if QUESTION not in asked or ANSWER not in rendered:
        what = "question" if QUESTION not in asked else "answer"
        yield problem(subject, f"leaves the {what} out, or changes it", remedy)
    elif QUESTION not in turns or ANSWER not in turns:
        yield warning(subject, "forgets what was said before the last question", remedy)
    elif not rendered.startswith(asked):
        left = asked[len(_common_start(asked, rendered)) :]
        says = f"puts {left[:80]!r} at the end of a prompt, and not before an answer that it writes"
        yield warning(subject, says, "train and ask with one prompt: let the template write both alike")
    elif asked == unasked and (before := rendered[len(asked) :].partition(ANSWER)[0].strip()):
        says = f"writes {before[:80]!r} before an answer, and not at the end of a prompt: the model is to begin with it"
        yield warning(subject, says, "let the template write it where add_generation_prompt is set")
    else:
        yield ok(subject, f"renders; a prompt ends with {asked[-30:]!r}")


def _common_start(first: str, second: str) -> str:
    pairs = zip(first, second, strict=False)
    return first[: next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))]


def _beginning(tokenizer: Any, asked: str) -> Iterator[Finding]:
    """bench, vLLM and TRL tokenise what the template wrote as it is; by default a tokenizer adds its BOS to it."""
    bos = tokenizer.bos_token_id
    begins = _leading(tokenizer.encode(asked, add_special_tokens=False), bos)
    adds = _leading(tokenizer.encode(QUESTION), bos)
    name = tokenizer.bos_token
    if bos is None or not (begins or adds):
        yield ok("BOS", "the tokenizer has none" if bos is None else "none: neither tokenizer nor template write one")
    elif begins > 1:
        yield problem("BOS", f"the template begins a conversation with {name!r} twice", "take one out of the template")
    elif not begins:
        yield warning(
            "BOS",
            f"the tokenizer begins a text with {name!r}, the template does not: the model is asked without it",
            "put {{ bos_token }} at the start of the template, unless the model was trained without it",
        )
    else:
        also = "; the tokenizer would add another to rendered text: add_special_tokens=False in code of your own"
        yield ok("BOS", f"{name!r} once{also if adds else ''}")


def _leading(ids: list[int], token: int | None) -> int:
    return next((place for place, found in enumerate(ids) if found != token), len(ids))


def _stops(tokenizer: Any, folder: Path) -> Iterator[Finding]:
    def name(i: int) -> str:
        return str(tokenizer.convert_ids_to_tokens(i)) if i in known else "no token"

    known = set(tokenizer.get_vocab().values())
    end, eos = end_of_turn(tokenizer), tokenizer.eos_token_id
    file, configured = _configured_stops(folder)
    wanted = sorted(configured | {i for i in (end, eos) if i is not None})
    remedy = f'set "eos_token_id": {json.dumps(wanted)} in {file}'
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    stops = ", ".join(f"{name(i)} ({i})" for i in sorted(configured)) or "nothing"
    if ordinary := sorted(i for i in configured if i not in special):
        first = ordinary[0]
        what = f"{name(first)!r} ({first}), an ordinary token: answers end where that is said"
        says = f"{file} stops at {what if first in known else f'{first}, which no token has'}"
        keep = json.dumps([i for i in wanted if i not in ordinary])
        yield problem("stop ids", says, f'set "eos_token_id": {keep} in {file}')
    elif end is not None and end not in configured | {eos}:
        says = (
            f"the template ends an answer with {name(end)} ({end}), generation stops at {stops}: bench stops at both, "
            "other engines go on for ever"
        )
        yield problem("stop ids", says, remedy)
    elif end is not None and end not in configured:
        says = f"the template ends an answer with {name(end)} ({end}), {file} stops at {stops}: model.generate goes on"
        yield warning("stop ids", says, remedy)
    elif not configured and eos is None:
        yield problem("stop ids", "nothing ends an answer: no EOS in tokenizer or configuration", remedy)
    else:
        yield ok("stop ids", stops if configured else f"{name(eos)} ({eos}), the tokenizer's")


def _trained_end(tokenizer: Any, rendered: str, turns: str) -> Iterator[Finding]:
    subject, end = "trained end", end_of_turn(tokenizer)
    remedy = "put the end-of-turn or EOS token behind each answer: --chat-template FILE"
    after, between = rendered.rpartition(ANSWER)[2], turns.partition(ANSWER)[2].partition(AGAIN)[0]
    if end is None:
        says = f"the template ends an answer with {after[:40]!r}, no token that stops generation: none would be trained"
        yield problem(subject, says, remedy)
        return
    name = tokenizer.convert_ids_to_tokens(end)
    if ANSWER not in turns or end in tokenizer.encode(between, add_special_tokens=False):
        yield ok(subject, f"the last supervised token of an answer is {name}")
    else:
        says = f"the template ends the last answer with {name}, and one before a further question with {between[:40]!r}"
        yield warning(subject, says, remedy)


def _configured_stops(folder: Path) -> tuple[str, set[int]]:
    """Where generation of this checkpoint stops, and the file that says so: as transformers and vLLM read it."""
    for name in ("generation_config.json", "config.json"):
        try:
            value = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(value, dict) and (name == "config.json" or "eos_token_id" in value):
            stops = value.get("eos_token_id")
            listed = stops if isinstance(stops, list) else [stops]
            return name, {i for i in listed if type(i) is int}
    return "generation_config.json", set()


def _padding(tokenizer: Any) -> Iterator[Finding]:
    pad = tokenizer.pad_token_id
    if pad is None:
        yield ok("padding", "no token of its own")
    elif pad in (tokenizer.eos_token_id, end_of_turn(tokenizer)):
        says = (
            f"{tokenizer.pad_token} also ends an answer: bench and TRL from 1.0 on mask padding by its place, trainers "
        )
        yield ok("padding", f"{says}that mask it by its id never teach the model to stop")
    else:
        yield ok("padding", tokenizer.pad_token)
