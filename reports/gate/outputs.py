"""What a gate leaves for machines and for readers of a pull request: JSON, JUnit XML, Markdown, annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from reports.escaping import markdown as escaped
from reports.gate.verdict import GateResult, RuleVerdict, Verdict
from reports.gate.words import figure, headline, interval, told

SCHEMA_VERSION = 1
COMMENT_BYTES = 60_000
"""Of a comment file: GitHub takes 65,536 characters."""
SUMMARY_BYTES = 1_000_000
"""Of all job summaries of one step: GitHub drops a longer one."""
ANNOTATIONS = 10
"""GitHub shows so many of a kind per step."""
MARKS: Mapping[Verdict, str] = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "incomplete": "⚠️"}


def as_json(found: GateResult) -> dict[str, Any]:
    """The result for scripts."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": found.verdict,
        "run": str(found.run.directory),
        "baseline": str(found.baseline.directory) if found.baseline else None,
        "baseline_sha256": found.baseline.records_sha256 if found.baseline else None,
        "policy": found.policy.source,
        "rules": [_rule(it) for it in found.rules],
        "notes": list(found.notes),
    }


def _rule(it: RuleVerdict) -> dict[str, Any]:
    limits = {key: getattr(it.rule, key) for key in ("margin", "max", "min", "worst", "direction", "alpha", "group")}
    return {
        "metric": it.rule.metric, "verdict": it.verdict, "reason": it.reason, "judge": it.judge,
        "value": it.value, "baseline_value": it.baseline_value, "difference": it.difference,
        "low": it.low, "high": it.high, "n": it.n, "n_needed": it.n_needed, **limits,
    }  # fmt: skip


def junit(found: GateResult, *, inconclusive_fails: bool) -> bytes:
    """One test case a rule. What is not decided is skipped, or failed where the command fails by it."""
    bad: dict[Verdict, str] = {"fail": "failure", "incomplete": "error", "inconclusive": "skipped"}
    if inconclusive_fails:
        bad["inconclusive"] = "failure"
    kinds = [bad.get(it.verdict) for it in found.rules]
    suite = ElementTree.Element(
        "testsuite", name="bench gate", tests=str(len(kinds)), failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")), skipped=str(kinds.count("skipped")),
    )  # fmt: skip
    for it, kind in zip(found.rules, kinds, strict=True):
        case = ElementTree.SubElement(
            suite, "testcase", classname="bench.gate", name=_xml(f"{it.rule.metric}: {it.rule.wants}")
        )
        if kind:
            ElementTree.SubElement(case, kind, message=_xml(f"{it.verdict}: {told(it)}"))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(told(it))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 can not hold."""
    return "".join(
        letter if letter in "\t\n\r" or " " <= letter <= "\ud7ff" or letter >= "\ue000" else "?" for letter in text
    )


def markdown(found: GateResult, most_bytes: int = COMMENT_BYTES) -> str:
    """A summary for a pull request, within so many bytes: rules that do not fit are counted."""
    against = f" against `{_code(str(found.baseline.directory))}`" if found.baseline else ""
    head = [
        f"### {MARKS[found.verdict]} bench gate: {found.verdict}", "",
        f"`{_code(str(found.run.directory))}`{against}, policy: {_cell(found.policy.source)}", "",
        "| | rule | figures | decides | n | |", "|---|---|---|---|---:|---|",
    ]  # fmt: skip
    rows = [
        f"| {MARKS[it.verdict]} {it.verdict} | `{_code(it.rule.metric)}` {_cell(it.rule.wants)} | {_cell(figure(it))} "
        f"| {_cell(interval(it))} | {it.n} | {_cell(told(it))} |"
        for it in found.rules
    ]
    foot = ["", *(f"- {_cell(note)}" for note in found.notes)]
    if found.baseline:
        foot += ["", f"baseline sha256 `{found.baseline.records_sha256}`"]
    return _within(head, rows, foot, most_bytes)


def _within(head: Sequence[str], rows: Sequence[str], foot: Sequence[str], most_bytes: int) -> str:
    for kept in range(len(rows), -1, -1):
        left_out = [] if kept == len(rows) else [f"| | {len(rows) - kept} more rules do not fit here | | | | |"]
        text = "\n".join([*head, *rows[:kept], *left_out, *foot]) + "\n"
        if len(text.encode()) <= most_bytes or not kept:
            return text
    raise AssertionError("the loop ends at 0")


def _cell(text: str) -> str:
    """Text in a table of Markdown: names of groups come from data files."""
    return escaped(" ".join(text.split()))


def _code(text: str) -> str:
    return " ".join(text.encode("utf-8", "backslashreplace").decode().replace("`", "'").replace("|", "\\|").split())


def workflow_commands(found: GateResult) -> list[str]:
    """Workflow commands of GitHub, one a rule that does not pass; the last says how many more there are."""
    lines = [
        f"::{'error' if it.verdict in ('fail', 'incomplete') else 'warning'} "
        f"title={_property(f'bench gate: {it.rule.metric} {it.verdict}')}::{_message(told(it))}"
        for it in found.rules
        if it.verdict != "pass"
    ]
    if len(lines) <= ANNOTATIONS:
        return lines
    return [
        *lines[: ANNOTATIONS - 1],
        f"::error title=bench gate::{len(lines) - ANNOTATIONS + 1} more rules: see {headline(found)}",
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
