"""The rubric judge: rates a turn by the checks its item carries. No model is needed.

    >>> asyncio.run(RubricJudge().grade(item, [answer]))
    Grade(score=5.5, explanation='1 of 2 passed. Failed: words: the reply has 3 words (40–60 wanted). Passed: …')

score = 1 + 9 × (weight of the checks passed) / (weight of all), from 1 to 10. Checks that only ask for less, or for
none of a kind (a forbidden word, a greatest length), count only where the reply passes a check that asks for something:
a reply that says little avoids everything, and that is no merit. A reply that says nothing rates 1, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from judges.judgment import Grade
from judges.sandbox import Limits, SandboxUnavailable, run_python
from tasks.checks import Check, Finding, Said, decide
from tasks.conversation import Answer
from tasks.item import Item

VERSION = "1"


@dataclass(frozen=True)
class RubricJudge:
    """Grades the last answer by its turn's checks; code that it holds is run in a sandbox, within `limits`."""

    limits: Limits = Limits()

    @property
    def name(self) -> str:
        return "rubric"

    def describe(self) -> dict[str, Any]:
        return {"version": VERSION, "seconds": self.limits.seconds, "memory": self.limits.memory}

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:  # noqa: ARG002 - always alike
        """Rate the last of `answers`; the others are what was said before it."""
        answer = answers[-1]
        if answer.finish == "error":
            return Grade(error=f"no answer to grade: {answer.error or 'generation failed'}")
        checks = item.checks[answer.turn - 1] if answer.turn <= len(item.checks) else ()
        if not checks:
            return Grade(error=f"item {item.id!r} has no checks for turn {answer.turn}")
        earlier = [earlier.text for earlier in answers[:-1]]
        said = Said.of(answer.text, earlier, item.turns[: answer.turn])
        try:
            findings = [await self._decide(check, said) for check in checks]
        except SandboxUnavailable as error:
            return Grade(error=str(error))
        credited = with_credit(checks, findings)
        return Grade(score=score(checks, credited), explanation=explanation(checks, credited))

    async def _decide(self, check: Check, said: Said) -> Finding:
        if check.kind != "python" or said.nothing:
            return decide(check, said)
        code = said.reply.python(check.args["name"])
        outcome = await run_python(code, check.args["tests"], limits=self.limits)
        return Finding(outcome.passed, f"has code: {outcome.reason}")


def with_credit(checks: Sequence[Check], findings: Sequence[Finding]) -> list[Finding]:
    """The findings as they count: where nothing asked for is there, avoiding something counts for nothing."""
    asked = [finding.passed for check, finding in zip(checks, findings, strict=True) if check.asks]
    if not asked or any(asked):
        return list(findings)
    return [
        Finding(False, f"{finding.reason}, but nothing that was asked for") if finding.passed else finding
        for finding in findings
    ]


def score(checks: Sequence[Check], findings: Sequence[Finding]) -> float:
    """1 + 9 × weighted share of checks passed."""
    passed = sum(check.weight for check, finding in zip(checks, findings, strict=True) if finding.passed)
    return 1 + 9 * passed / sum(check.weight for check in checks)


def explanation(checks: Sequence[Check], findings: Sequence[Finding]) -> str:
    """What failed and what passed, failures first, as one line of printable text."""
    described = [
        (finding.passed, f"{check.kind}: {finding.reason}") for check, finding in zip(checks, findings, strict=True)
    ]
    failed = "; ".join(text for passed, text in described if not passed)
    passed = "; ".join(text for passed, text in described if passed)
    text = f"{sum(finding.passed for finding in findings)} of {len(findings)} passed."
    text += f" Failed: {failed}." * bool(failed) + f" Passed: {passed}." * bool(passed)
    return " ".join(text.encode("utf-8", "replace").decode().split())
