"""Reads logs of Inspect (UK AISI): `.eval`, a zip archive with a JSON file a sample, or `.json`, all in one value.

    header.json                   {"version": 2, "status": "success", "eval": {"task": "…", "model": "…", …}, …}
    samples/ID_epoch_1.json       {"id": "ID", "epoch": 1, "input": "…", "messages": [{"role": "user", "content": "…",
                                   "source": "input"}, {"role": "assistant", …}], "output": {…}, "metadata": {…}, …}

Members are compressed by deflate or, in recent versions, by zstd, for which the package zstandard is needed.
Prompts are the user's messages as the model was given them; replies are the texts of its own, without reasoning.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

INSPECT = "inspect"
ZIPPED = b"PK\x03\x04"
"""The first bytes of a zip archive."""
ZSTD = 93
"""The number of the compression in a zip archive (APPNOTE.TXT 6.3.8)."""
HEADER = "header.json"
STARTED = "_journal/start.json"
"""What a log has of its evaluation from the beginning; the header is written at its end."""
SAMPLE = re.compile(r"samples/(?P<id>.*)_epoch_(?P<epoch>\d+)\.json", re.DOTALL)
CHUNKED = re.compile(r"samples/.*_epoch_\d+/sample\.json", re.DOTALL)
ATTACHED = "attachment://"
"""How a text begins that stands in the sample's `attachments` instead."""
WITHOUT_SYSTEM = "a system message is left out"
WITHOUT_EARLIER = "a conversation that was given with the question is left out, but for its last message"
WITHOUT_REASONING = "the model's reasoning is left out"


def read_inspect_value(path: Path, log: Mapping[str, Any], columns: Mapping[str, str]) -> LoggedAnswers:
    """The answers in the value of a `.json` log. `columns` names keys of the samples' metadata.

    Raises:
        BadInput: no log of Inspect.
    """
    found = LoggedAnswers(path, INSPECT)
    _describe(log, found)
    samples = log.get("samples")
    return _all(samples if isinstance(samples, list) else (), columns, found)


def read_inspect_archive(path: Path, columns: Mapping[str, str]) -> LoggedAnswers:
    """The answers in a `.eval` log, likewise.

    Raises:
        BadInput: no log of Inspect, a damaged one, or one that is too large.
    """
    found = LoggedAnswers(path, INSPECT)
    return _all(_zipped(path, found), columns, found)


def _all(samples: Iterable[Any], columns: Mapping[str, str], found: LoggedAnswers) -> LoggedAnswers:
    for sample in samples:
        try:
            found.add(_conversation(sample, columns, found))
        except NotUsed as reason:
            found.left_out[str(reason)] += 1
    return found


# --- the archive ---


def _zipped(path: Path, found: LoggedAnswers) -> Iterator[Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            # Of two members of one name the later counts.
            members = {member.filename: member for member in archive.infolist()}
            if HEADER not in members and STARTED not in members:
                raise BadInput(f"{path} is a zip archive but no log of Inspect: it has no {HEADER}")
            if sum(member.file_size for member in members.values()) > LARGEST_LOG:
                raise BadInput(f"{path} is too large for a log: it unpacks to more than {LARGEST_LOG:,} bytes")
            _describe(_member(archive, members.get(HEADER) or members[STARTED], path), found)
            if HEADER not in members:
                found.remarks.append("the log has no header: its evaluation did not end")
            found.left_out.update("a very long transcript, kept in pieces" for name in members if CHUNKED.match(name))
            for name in sorted((name for name in members if SAMPLE.fullmatch(name)), key=_place):
                yield _member(archive, members[name], path)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadInput(f"{path} is damaged or no log of Inspect ({reason[:200]}): fetch it again") from None


def _place(name: str) -> tuple[bool, int, str, int]:
    """Samples in the order of their ids, numbers by their value, then of their epochs."""
    found = SAMPLE.fullmatch(name)
    assert found
    number = int(found["id"]) if re.fullmatch(r"[0-9]{1,18}", found["id"]) else None
    return number is None, number or 0, found["id"], int(found["epoch"][:18])


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Any:
    """A JSON file of the archive."""
    if member.file_size > LARGEST_SAMPLE:
        raise BadInput(f"{path}: {_shown(member)} is too large for a sample ({member.file_size:,} bytes unpacked)")
    if member.compress_type == ZSTD:
        text = _unpacked(archive, member, path)
    else:
        with archive.open(member) as file:
            text = file.read(LARGEST_SAMPLE + 1)
    return parsed(text, f"{path}, {_shown(member)}")


def _shown(member: zipfile.ZipInfo) -> str:
    return ascii(member.filename)[1:-1][:100]


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    """A member that zstd has compressed, which `zipfile` finds and can not read."""
    try:
        import zstandard
    except ImportError:
        raise BadInput(f"{path} is compressed with zstd: pip install 'bench[inspect]'") from None
    packed = _packed(archive, member)
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True) as file:
            text: bytes = file.read(member.file_size + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise zipfile.BadZipFile(f"{_shown(member)}: {error}") from None
    if len(text) != member.file_size or zlib.crc32(text) != member.CRC:
        raise zipfile.BadZipFile(f"{_shown(member)} is not what the archive says of it")
    return text


def _packed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The compressed bytes of a member: behind its local header, whose name and extra field have lengths of their own.

    A header has 30 bytes; the two lengths are its last four (APPNOTE.TXT 4.3.7).
    """
    file = archive.fp
    assert file
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(ZIPPED) or member.flag_bits & 1:
        raise zipfile.BadZipFile(f"{_shown(member)} is encrypted or not where the archive says")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), io.SEEK_CUR)
    if member.compress_size > LARGEST_SAMPLE:
        raise zipfile.BadZipFile(f"{_shown(member)} is too large")
    return file.read(member.compress_size)


def _describe(log: Any, found: LoggedAnswers) -> None:
    """What the log says of its evaluation: of which model, what, and whether it came to its end."""
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise BadInput(f"{found.path} is no log of Inspect: its header has no 'eval'")
    model, task = (value if isinstance(value := log["eval"].get(key), str) else "?" for key in ("model", "task"))
    found.source = f"{model}, task {task}"
    status = log.get("status")
    if isinstance(status, str) and status not in ("success", "started"):
        found.remarks.append(f"the log says that its evaluation ended as: {status[:40]}")


# --- one sample ---


def _conversation(sample: Any, columns: Mapping[str, str], found: LoggedAnswers) -> LoggedSample:
    if not isinstance(sample, dict):
        raise NotUsed("no object")
    metadata = sample["metadata"] if isinstance(sample.get("metadata"), dict) else {}
    name = named(metadata if "id" in columns else sample, columns, "id")
    if name is None:
        raise NotUsed("without an id")
    turns, replies, changed = _turns(sample)
    if chosen := columns.get("prompt"):
        if len(turns) > 1:
            raise NotUsed(f"several turns, of which {chosen!r} can not be the prompt")
        turns = [prompt_under(metadata, chosen)]
    if not all(turn.strip() for turn in turns):
        raise NotUsed("without a prompt")
    found.changed.update(changed)
    return LoggedSample(
        id=name,
        turns=tuple(turns),
        replies=tuple(replies),
        category=named(metadata, columns, "category"),
        label=named(metadata, columns, "label"),
    )


def _turns(sample: Mapping[str, Any]) -> tuple[list[str], list[str | None], list[str]]:
    """What the user said and what the model replied, and what of the sample is not in it."""
    messages = sample.get("messages") or _asked(sample)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise NotUsed("no list of messages")
    given = sample.get("input")
    said: list[tuple[str, str | None]] = []
    changed: list[str] = []
    n_given = sum(_role(message) == "assistant" for message in given) if isinstance(given, list) else 0
    for message in messages:
        role = _role(message)
        if role == "tool" or message.get("tool_calls"):
            raise NotUsed("with calls of tools")
        if role == "system":
            changed.append(WITHOUT_SYSTEM)
            continue
        text, reasoned = _text(message.get("content"), sample)
        changed += [WITHOUT_REASONING] if reasoned else []
        if role == "assistant" and (message.get("source") == "input" or n_given > 0):
            n_given -= 1
            changed.append(WITHOUT_EARLIER)
            said.clear()
            continue
        said.append((role, text))
    if said and said[-1][0] == "user":
        said.append(("assistant", _output(sample)))
    roles = [role for role, _ in said]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise NotUsed("no conversation in which user and model take turns")
    replies = [text for role, text in said if role == "assistant"]
    return [text or "" for role, text in said if role == "user"], replies, sorted(set(changed))


def _asked(sample: Mapping[str, Any]) -> Any:
    """The messages of a sample that kept none: its input."""
    given = sample.get("input")
    return [{"role": "user", "content": given, "source": "input"}] if isinstance(given, str) else given


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant", "tool"):
        raise NotUsed("a message of nobody known")
    return str(role)


def _output(sample: Mapping[str, Any]) -> str | None:
    """What the model said last, where the messages do not have it; None where it said nothing."""
    output = sample.get("output")
    choices = output.get("choices") if isinstance(output, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return None
    if message.get("tool_calls"):
        raise NotUsed("with calls of tools")
    return _text(message.get("content"), sample)[0]


def _text(content: Any, sample: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of a message, and whether there was reasoning beside it."""
    if isinstance(content, str):
        return _resolved(content, sample), False
    parts: Sequence[Any] = content if isinstance(content, list) else [None]
    texts = []
    reasoned = False
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "reasoning":
            reasoned = True
        elif kind == "text" and isinstance(part.get("text"), str):
            texts.append(_resolved(part["text"], sample))
        else:
            raise NotUsed("with content that is no text")
    return "\n".join(texts), reasoned


def _resolved(text: str, sample: Mapping[str, Any]) -> str:
    """A text, or the attachment that it names."""
    if not text.startswith(ATTACHED):
        return text
    attachments = sample.get("attachments")
    attached = attachments.get(text.removeprefix(ATTACHED)) if isinstance(attachments, dict) else None
    # A text that only looks like a reference is one.
    return attached if isinstance(attached, str) else text
