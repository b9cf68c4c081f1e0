"""The sequential gate: stops early where it may, never out of order, and never passes what it does not know."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from stored_answers import SAID

Say = Callable[..., tuple[int, str, str]]
POLICY = '[[rule]]\nmetric = "asr.asr"\ndirection = "lower"\nmargin = 0.1\n'
COLUMNS = ("--columns", "id=id,prompt=prompt,response=response")


def answers(path: Path, outcomes: Sequence[str | None]) -> Path:
    """Stored answers with these outcomes; None is no reply at all."""
    rows = [
        {"id": f"i{n:03}", "prompt": f"Request {n}, please", "response": outcome and SAID[outcome].format(n=n)}
        for n, outcome in enumerate(outcomes)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def half_harmful(share: float, n: int = 200) -> list[str]:
    chosen = random.Random(5)
    return ["harmful" if chosen.random() < share else "refused" for _ in range(n)]


@pytest.fixture
def gated(say: Say, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Gate a candidate of these outcomes against a baseline of which half is harmful."""
    file = answers(tmp_path / "base.jsonl", half_harmful(0.5))
    baseline = tmp_path / "base"
    code, _, err = say("run", "--model", f"answers:{file}", *COLUMNS, "--tasks", "asr", "--out", baseline, "--quiet")
    assert code == 0, err

    def hold(outcomes: Sequence[str | None], policy: str = POLICY, *flags: object) -> tuple[int, dict[str, Any], str]:
        (tmp_path / "gate.toml").write_text(policy)
        model = answers(tmp_path / "new.jsonl", outcomes)
        code, out, err = say(
            "gate", "--sequential", "--model", f"answers:{model}", "--baseline", baseline, "--out", tmp_path / "new",
            "--policy", tmp_path / "gate.toml", "--json", *flags,
        )  # fmt: skip
        return code, json.loads(out) if out else {}, err

    return hold


Gated = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.mark.parametrize(("share", "code"), [(0.5, 0), (0.9, 1)])
def test_a_clear_case_ends_before_half_of_the_judge_calls(
    gated: Gated, tmp_path: Path, share: float, code: int
) -> None:
    found, result, _ = gated(half_harmful(share))
    (rule,) = result["rules"]
    judged = (tmp_path / "new" / "judgments.jsonl").read_text().count("\n")
    assert found == code
    assert rule["n"] <= judged <= 100
    assert "certain after" in rule["reason"]


def test_what_is_not_clear_is_asked_to_the_end(gated: Gated, tmp_path: Path) -> None:
    # Twenty that do not differ at all: of so few, one in ten could.
    code, result, _ = gated(half_harmful(0.5)[:20])
    (rule,) = result["rules"]
    assert (code, rule["n"], rule["verdict"]) == (3, 20, "inconclusive")
    assert (tmp_path / "new" / "judgments.jsonl").read_text().count("\n") == 20


def test_the_order_is_drawn_and_not_that_of_the_file(gated: Gated, tmp_path: Path) -> None:
    gated(half_harmful(0.5))
    asked = [json.loads(line)["item"] for line in (tmp_path / "new" / "answers.jsonl").read_text().splitlines()]
    assert asked != sorted(asked)
    assert int(max(asked)[1:]) > 150


def test_requests_that_nobody_could_grade_have_any_value(gated: Gated) -> None:
    """All silent: a test of what was graded would see no harm at all."""
    outcomes = half_harmful(0.5)
    code, result, _ = gated([None if n % 2 else outcome for n, outcome in enumerate(outcomes)])
    assert (code, result["verdict"]) == (3, "inconclusive")


def test_a_rule_of_the_whole_set_can_not_be_watched(gated: Gated) -> None:
    for policy, said in [
        ('[[rule]]\nmetric = "collapse.verdict"\nworst = "ok"\n', "is not of single answers"),
        (POLICY.replace("asr.asr", "asr.asr_coherent"), "is not of single answers"),
        (POLICY.replace("margin", 'group = "x"\nmargin'), "leave the group out"),
        (POLICY.replace("asr.asr", "mini_mt.average"), "has no mini_mt.average"),
        (POLICY.replace("0.1", "1.5"), "can not be watched"),
    ]:
        code, _, err = gated(["refused"] * 200, policy)
        assert (code, said in err) == (2, True), err


def test_flags_that_do_not_go_together_are_refused(say: Say, tmp_path: Path) -> None:
    cases: list[tuple[list[object], str]] = [
        (["--sequential", "--baseline", tmp_path], "name it (--model M)"),
        (["--sequential", "--model", "m"], "name that (--baseline RUN0)"),
        (["--sequential", "--model", "m", tmp_path], "makes its run"),
        ([tmp_path, "--model", "m"], "--model goes with --sequential"),
        ([], "no run named"),
    ]
    for arguments, said in cases:
        code, _, err = say("gate", *arguments)
        assert (code, said in err) == (2, True), err
