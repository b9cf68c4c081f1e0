"""`bench gate`: from paths to a verdict, and the verdict to where CI looks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness.records import write_atomically
from harness.stored_run import StoredRun, open_run
from reports.gate.outputs import COMMENT_BYTES, SUMMARY_BYTES, junit, markdown, workflow_commands
from reports.gate.policy import BUILT_IN, read_policy
from reports.gate.verdict import GateResult, gate
from tasks.errors import BadInput
from tasks.paths import user_path

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
IN_GITHUB = "GITHUB_ACTIONS"


def check(run: Path, baseline: Path | None, policy: Path | None, baseline_sha256: str | None = None) -> GateResult:
    """Hold a run directory against a policy file (or the built-in one).

    Raises:
        BadInput: no run directory, a baseline that is not the one that was pinned, or a policy that can not be used.
    """
    rules = read_policy(policy) if policy else BUILT_IN
    if baseline_sha256 and not baseline:
        raise BadInput("--baseline-sha256 pins a baseline: give it (--baseline RUN0)")
    candidate = open_run(run)
    if baseline is None:
        return gate(candidate, None, rules)
    if baseline.resolve() == run.resolve():
        raise BadInput(f"{run} is its own baseline: a run against itself always passes; name another")
    against = open_run(baseline)
    if baseline_sha256:
        _refuse_another(against, baseline_sha256)
    return gate(candidate, against, rules)


def _refuse_another(baseline: StoredRun, pinned: str) -> None:
    found = baseline.records_sha256()
    if found != pinned.strip().lower():
        raise BadInput(
            f"{baseline.directory} is not the pinned baseline: its records hash to {found}, not {pinned}; "
            "restore it, or pin the new one on purpose"
        )


def publish(
    found: GateResult, junit_file: str | None, markdown_file: str | None, inconclusive: Literal["pass", "fail"] | None
) -> Iterator[str]:
    """Write the files that were asked for and GitHub's summary; yields what is to be said on stderr.

    Raises:
        BadInput: a file can not be written.
    """
    if junit_file:
        _write(user_path(junit_file), junit(found, inconclusive_fails=inconclusive == "fail"))
    if markdown_file:
        _write(user_path(markdown_file), markdown(found, COMMENT_BYTES).encode())
    if summary := os.environ.get(STEP_SUMMARY):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown(found, SUMMARY_BYTES))
        except OSError as error:
            raise BadInput(f"can not write ${STEP_SUMMARY} {summary}: {error.strerror or error}") from None
    if os.environ.get(IN_GITHUB) == "true":
        yield from workflow_commands(found)


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, [content])
    except OSError as error:
        raise BadInput(f"can not write {path}: {error.strerror or error}") from None
