"""Reads the samples of lm-evaluation-harness, which `lm_eval --log_samples --output_path DIR` writes, a line each:

    {"doc_id": 0, "doc": {"question": "…"}, "target": "4", "arguments": {"gen_args_0": {"arg_0": "Q: …\\nA:",
     "arg_1": {"until": ["\\n"]}}}, "resps": [["2 + 2 is 4"]], "filtered_resps": ["4"], "filter": "strict-match", …}

The answer is what the model said (`resps`), not what a filter made of it. Where the text it was given is a list of chat
messages, as API models are given, the prompt is the last one of the user; where the document has a `prompt` that stands
in that text, it is this; else it is the text as it was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.errors import BadInput
from tasks.logged_answers import (
    LARGEST_LOG,
    LARGEST_SAMPLE,
    LoggedAnswers,
    LoggedSample,
    NotUsed,
    named,
    parsed,
    prompt_under,
)
from tasks.tables import open_text

LM_EVAL = "lm-eval"
KEYS = frozenset({"doc_id", "doc", "arguments", "resps"})
"""What every row has that is a sample of lm-eval."""
NO_TEXT = "log-likelihoods of given texts, no answer that the model wrote"
AS_GIVEN = (
    "the prompt is the whole text that the model was given, with examples and chat template if there were any "
    "(--columns prompt=KEY takes it from the document instead)"
)
WITHOUT_EARLIER = "messages before the last one of the user are left out"


def is_sample(row: object) -> bool:
    """Whether a JSON value is a sample of lm-eval."""
    return isinstance(row, dict) and row.keys() >= KEYS


def read_lm_eval(path: Path, columns: Mapping[str, str]) -> LoggedAnswers:
    """The answers in a file of samples. `columns` names keys of their documents.

    Raises:
        BadInput: a line that is no sample, or two evaluations in one file, the line being named; or log-likelihoods
            alone.
    """
    found = LoggedAnswers(path, LM_EVAL)
    seen: dict[str, tuple[int, object]] = {}
    further = 0
    for number, row in _rows(path):
        if not is_sample(row):
            raise BadInput(f"{path}:{number}: no sample of lm-eval (it lacks {', '.join(sorted(KEYS))} or some of it)")
        doc_id, filtered_by = str(row["doc_id"]), row.get("filter")
        if doc_id in seen:
            line, first_filter = seen[doc_id]
            if filtered_by == first_filter:
                raise BadInput(f"{path}:{number}: repeats the doc_id {doc_id} of line {line}: import one log at a time")
            # Each filter has a row of its own for the same answer.
            further += 1
            continue
        seen[doc_id] = (number, filtered_by)
        try:
            for sample in _samples(row, columns, found):
                found.add(sample)
        except NotUsed as reason:
            found.left_out[str(reason)] += 1
    if not found.items and found.left_out.keys() == {NO_TEXT}:
        raise BadInput(f"{path} holds {NO_TEXT}: import the samples of a task that generates")
    if further:
        found.remarks.append(f"rows of further filters, which hold the same answers: {further}")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    with open_text(path) as file:
        number = size = 0
        while line := file.readline(LARGEST_SAMPLE + 1):
            number, size = number + 1, size + len(line)
            if len(line) > LARGEST_SAMPLE or size > LARGEST_LOG:
                raise BadInput(f"{path}:{number}: too large for a log (a sample has up to {LARGEST_SAMPLE:,} letters)")
            if line.strip():
                yield number, parsed(line, f"{path}:{number}")


def _samples(row: Mapping[str, Any], columns: Mapping[str, str], found: LoggedAnswers) -> Iterator[LoggedSample]:
    """One sample for each answer to the row's request, all of the same id and prompt."""
    doc = row["doc"] if isinstance(row["doc"], dict) else {}
    context = _context(row["arguments"])
    replies = _replies(row["resps"])
    prompt, remark = _prompt(doc, context, columns.get("prompt"))
    if not prompt.strip():
        raise NotUsed("without a prompt")
    if remark:
        found.changed[remark] += 1
    for reply in replies:
        yield LoggedSample(
            id=named(doc, columns, "id") or str(row["doc_id"]),
            turns=(prompt,),
            replies=(reply,),
            category=named(doc, columns, "category"),
            label=named(doc, columns, "label"),
        )


def _context(arguments: object) -> Any:
    """What the model was given in the one request of a sample.

    Files have {"gen_args_0": {"arg_0": …}}, and what `simple_evaluate` returns [[…, …]].
    """
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    if not isinstance(requests, list) or not requests:
        raise NotUsed("without the text that the model was given")
    first = requests[0]
    given = list(first.values()) if isinstance(first, dict) else first
    if not isinstance(given, list) or not given:
        raise NotUsed("without the text that the model was given")
    # Text alone is asked to be continued, or scored as it is; only a request with settings asks for an answer.
    if len(given) < 2 or not isinstance(given[1], dict):
        raise NotUsed(NO_TEXT)
    if len(requests) > 1:
        raise NotUsed("several requests for one document")
    return given[0]


def _replies(responses: object) -> list[str]:
    of_request = responses[0] if isinstance(responses, list) and len(responses) == 1 else None
    replies = of_request if isinstance(of_request, list) else [of_request]
    texts = [reply for reply in replies if isinstance(reply, str)]
    if not texts or len(texts) < len(replies):
        raise NotUsed("without a text as the response")
    return texts


def _prompt(doc: Mapping[str, Any], context: Any, chosen: str | None) -> tuple[str, str | None]:
    """What the model was asked, and what a reader must know of it."""
    if chosen:
        return prompt_under(doc, chosen), None
    messages = _messages(context)
    if messages is not None:
        asked = [message["content"] for message in messages if message["role"] == "user"]
        if not asked:
            raise NotUsed("no message of the user")
        return asked[-1], WITHOUT_EARLIER if len(messages) > 1 else None
    if not isinstance(context, str):
        raise NotUsed("without the text that the model was given")
    prompt = doc.get("prompt")
    if isinstance(prompt, str) and prompt.strip() and prompt in context:
        return prompt, None
    return context, AS_GIVEN


def _messages(context: Any) -> list[dict[str, str]] | None:
    """Chat messages, which lm-eval keeps as JSON, alone in a list; None where the context is no such thing."""
    if isinstance(context, list) and len(context) == 1:
        context = context[0]
    if isinstance(context, str) and context.startswith("[{"):
        try:
            context = json.loads(context)
        except (ValueError, RecursionError):
            return None
    if not isinstance(context, list) or not context:
        return None
    plain = all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in context
    )
    return context if plain else None
