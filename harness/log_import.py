"""`bench import`: the answers in a log of lm-eval or Inspect as a file that `--model answers:FILE` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.human_labels import pairs
from harness.records import write_atomically
from tasks.errors import BadInput
from tasks.eval_logs import read_log
from tasks.logged_answers import LoggedAnswers


@dataclass(frozen=True)
class Import:
    """The file that was written, and what was found in the log."""

    file: Path
    found: LoggedAnswers

    def notes(self) -> list[str]:
        """What a reader of the file must know, a sentence each."""
        found = self.found
        whose = f" ({ascii(found.source)[1:-1][:200]})" if found.source else ""
        said = f"{found.replies - found.unanswered} answers to {found.items} questions in this {found.kind} log{whose}"
        return [said, *found.notes()]

    def as_json(self) -> dict[str, Any]:
        found = self.found
        return {
            "log": str(found.path),
            "file": str(self.file),
            "format": found.kind,
            "questions": found.items,
            "answers": found.replies - found.unanswered,
            "missing": found.unanswered,
            "left_out": dict(found.left_out),
            "changed": dict(found.changed),
            "remarks": list(found.remarks),
        }


def import_log(log: Path, out: Path, columns: str | None = None) -> Import:
    """Write the answers of a log to `out`.

    `columns` (`prompt=question,label=type`) names keys of its documents (lm-eval) or metadata (Inspect).

    Raises:
        BadInput: no log, or one without answers; a file that is there already or can not be written.
    """
    if out.exists():
        raise BadInput(f"{out} is there already: choose another --out")
    found = read_log(log, dict(pairs(columns, "--columns", "prompt=question,label=type")) if columns else {})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, ((json.dumps(row) + "\n").encode() for row in found.rows()))
    except OSError as error:
        raise BadInput(f"can not write {out}: {error.strerror or error}; choose another --out") from None
    return Import(out, found)
