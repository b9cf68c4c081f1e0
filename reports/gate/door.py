"""`bench gate`: from paths to a verdict, and the verdict to where CI looks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.records import write_atomically
from harness.stored_run import StoredRun, open_run
from reports.gate.outputs import COMMENT_BYTES, SUMMARY_BYTES, junit, markdown, workflow_commands
from reports.gate.policy import BUILT_IN, read_policy
from reports.gate.verdict import GateResult, gate
from tasks.errors import BadInput
from tasks.paths import user_path

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
IN_GITHUB = "GITHUB_ACTIONS"


def check(
    run: str | None, run_flags: Sequence[str], *, baseline: str | None, policy: str | None, baseline_sha256: str | None
) -> GateResult:
    """Hold a run directory against a policy file (or the built-in one).

    Raises:
        BadInput: no run directory, a baseline that is not the one that was pinned, or a policy that can not be used.
    """
    if run_flags:
        raise BadInput(f"--{run_flags[0].replace('_', '-')} goes with --sequential: leave it out, or add that")
    if run is None:
        raise BadInput("no run named: bench gate RUN, or --sequential with --model M")
    rules = read_policy(user_path(policy)) if policy else BUILT_IN
    against = _pinned(baseline, baseline_sha256)
    if against and against.directory.resolve() == user_path(run).resolve():
        raise BadInput(f"{run} is its own baseline: a run against itself always passes; name another")
    return gate(open_run(user_path(run)), against, rules)


def watch(
    run: str | None,
    flags: Mapping[str, Any],
    *,
    baseline: str | None,
    policy: str | None,
    baseline_sha256: str | None,
    quiet: bool,
) -> GateResult:
    """Run a model, named by `flags`, until a policy is decided.

    Raises:
        BadInput: as `check` and `sequential_gate`.
    """
    from reports.gate.sequential import BUILT_IN_SEQUENTIAL, sequential_gate

    if run is not None:
        raise BadInput(f"a sequential gate makes its run: name the model (--model M) in place of {run}")
    if not flags.get("model"):
        raise BadInput("a sequential gate runs a model: name it (--model M)")
    against = _pinned(baseline, baseline_sha256)
    if not against:
        raise BadInput("a sequential gate runs a model as its baseline was run: name that (--baseline RUN0)")
    rules = read_policy(user_path(policy)) if policy else BUILT_IN_SEQUENTIAL
    return sequential_gate(flags, against, rules, quiet=quiet)


def _pinned(baseline: str | None, sha256: str | None) -> StoredRun | None:
    """The baseline, if one is named; the one of this hash, if it is pinned."""
    if baseline is None:
        if sha256:
            raise BadInput("--baseline-sha256 pins a baseline: give it (--baseline RUN0)")
        return None
    found = open_run(user_path(baseline))
    if sha256:
        _refuse_another(found, sha256)
    return found


def _refuse_another(baseline: StoredRun, pinned: str) -> None:
    found = baseline.records_sha256
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
