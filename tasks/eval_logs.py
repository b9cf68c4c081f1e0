"""Logs of other harnesses that hold answers: lm-eval's samples and Inspect's logs, told apart by what is in them.

>>> found = read_log(Path("samples_ifeval_2026-01-31.jsonl"), {})
>>> found.kind, found.items, found.left_out
('lm-eval', 541, Counter())
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import BadInput
from tasks.inspect_logs import ZIPPED, read_inspect_archive, read_inspect_value
from tasks.lm_eval_samples import is_sample, read_lm_eval
from tasks.logged_answers import LARGEST_SAMPLE, LoggedAnswers, check_columns, parsed
from tasks.tables import open_text

LARGEST_VALUE = 512 * 2**20
"""Characters of a log that is one JSON value, which is read whole."""
HINT = "samples_….jsonl of lm_eval --log_samples, or a log of inspect eval (.eval or .json)"


def read_log(path: Path, columns: Mapping[str, str]) -> LoggedAnswers:
    """The answers in a log. `columns` names keys of a sample's document (lm-eval) or metadata (Inspect).

    Raises:
        BadInput: no log that is known, a damaged or too large one, or one that holds no answers.
    """
    check_columns(columns)
    if path.is_dir():
        raise BadInput(f"{path} is a folder: name one log in it ({HINT})")
    try:
        found = _read(path, columns)
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror or error}") from None
    except MemoryError:
        raise BadInput(f"{path} is too large to be read here") from None
    if found.unanswered < found.replies:
        return found
    reasons = [f"{number} {reason}" for reason, number in found.left_out.items()]
    reasons += [f"{found.samples} without an answer"] if found.samples else []
    raise BadInput(f"{path} holds no answer to import ({'; '.join(reasons) or 'no samples'})")


def _read(path: Path, columns: Mapping[str, str]) -> LoggedAnswers:
    with path.open("rb") as file:
        if file.read(len(ZIPPED)) == ZIPPED:
            return read_inspect_archive(path, columns)
    first = _first_line(path)
    try:
        row = parsed(first, str(path))
    except BadInput:
        row = None
    if is_sample(row):
        return read_lm_eval(path, columns)
    if row is None and first.lstrip().startswith("{"):
        row = _whole(path)
    return _read_value(path, row, columns)


def _read_value(path: Path, value: Any, columns: Mapping[str, str]) -> LoggedAnswers:
    if isinstance(value, dict) and isinstance(value.get("eval"), dict):
        return read_inspect_value(path, value, columns)
    if isinstance(value, dict) and {"results", "configs"} <= value.keys():
        raise BadInput(f"{path} holds lm-eval's figures and not its samples: import samples_….jsonl beside it")
    raise BadInput(f"{path} is no log that is known: {HINT}")


def _first_line(path: Path) -> str:
    """The first line that is not blank, of a log in one JSON value often but its bracket."""
    with open_text(path) as file:
        while line := file.readline(LARGEST_SAMPLE):
            if line.strip():
                return line
    return ""


def _whole(path: Path) -> Any:
    with open_text(path) as file:
        text = file.read(LARGEST_VALUE + 1)
    if len(text) > LARGEST_VALUE:
        raise BadInput(f"{path} is too large for one JSON value: inspect log convert --to eval makes an archive of it")
    return parsed(text, str(path))
