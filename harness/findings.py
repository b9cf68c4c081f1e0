"""What `bench doctor` found: each thing it looked at, whether that is as it should be, and what to do if not."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.printing import printable, takes_colour

Status = Literal["ok", "warning", "problem"]
COLOURS: dict[Status, int] = {"ok": 32, "warning": 33, "problem": 31}
SUBJECT_WIDTH = 18


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy`, a command or a sentence, goes with all that is not ok."""

    subject: str
    status: Status
    says: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.status != "ok" and not self.remedy:
            raise ValueError(f"a {self.status} about {self.subject} has no remedy")


def ok(subject: str, says: str) -> Finding:
    return Finding(subject, "ok", says)


def warning(subject: str, says: str, remedy: str) -> Finding:
    """Something that may do harm, or that limits what can be done here."""
    return Finding(subject, "warning", says, remedy)


def problem(subject: str, says: str, remedy: str) -> Finding:
    """Something that stops bench, or makes a model's answers wrong."""
    return Finding(subject, "problem", says, remedy)


@dataclass(frozen=True)
class Examination:
    """All findings: of the machine, and of a checkpoint where one was named."""

    machine: Sequence[Finding]
    checkpoint: Sequence[Finding]
    environment: dict[str, Any]
    named: str | None = None

    @property
    def problems(self) -> int:
        return self._count("problem")

    def _count(self, status: Status) -> int:
        return sum(finding.status == status for finding in (*self.machine, *self.checkpoint))

    def as_json(self) -> dict[str, Any]:
        rows = [
            {"about": about, **asdict(finding)}
            for about, findings in (("machine", self.machine), ("checkpoint", self.checkpoint))
            for finding in findings
        ]
        return {
            "schema_version": 1,
            "problems": self.problems,
            "warnings": self._count("warning"),
            "checkpoint": self.named,
            "findings": rows,
            "environment": self.environment,
        }

    def in_words(self) -> str:
        """A line a finding, as wide as the terminal that stdout is; in a file or a pipe no line is broken."""
        blocks = ["this machine", *map(_in_words, self.machine)]
        if self.named:
            blocks += ["", printable(self.named), *map(_in_words, self.checkpoint)]
        problems, warnings = self.problems, self._count("warning")
        return "\n".join([*blocks, "", f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}"])


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _in_words(finding: Finding) -> str:
    status = f"{finding.status:8}"
    if takes_colour(sys.stdout):
        status = f"\x1b[{COLOURS[finding.status]}m{status}\x1b[0m"
    subject = f"{finding.subject:{SUBJECT_WIDTH}}"
    lines = _wrapped(printable(finding.says))
    if finding.remedy:
        lines += _wrapped(f"→ {printable(finding.remedy)}")
    indent = "\n" + " " * (2 + 8 + SUBJECT_WIDTH)
    return f"  {status}{subject}{indent.join(lines)}"


def _wrapped(text: str) -> list[str]:
    if sys.stdout is None or not sys.stdout.isatty():
        return [text]
    room = max(30, shutil.get_terminal_size().columns - 2 - 8 - SUBJECT_WIDTH)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
