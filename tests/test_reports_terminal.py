"""The table in a terminal: every figure with its interval, n, what was left out, and who judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from harness.results import RunResult
from reports.terminal import run_table


def printed(scores: list[dict[str, Any]], width: int = 80, **result: Any) -> str:
    """What is printed, with every run of white space as one space."""
    defaults = {"group": "all", "low": 0.1, "high": 0.3, "n": 40, "excluded": {}, "judge": "refusal"}
    rows = [{**defaults, **score} for score in scores]
    result = {"notes": [], **result}
    text = run_table(RunResult(Path("runs/x"), "complete", rows, **result), Console(width=width))
    return " ".join(text.split())


def test_a_figure_stands_with_its_interval_n_judge_and_what_was_left_out() -> None:
    excluded = {"degenerate": 3, "judge failed": 1}
    table = printed([{"task": "asr", "metric": "asr_coherent", "value": 0.2, "n": 36, "excluded": excluded}])
    assert "asr, judged by refusal" in table
    assert "asr_coherent 20.0 % [10.0, 30.0] 36 4 a" in table
    assert "a left out: 3 degenerate; 1 judge failed" in table


def test_what_could_not_be_measured_shows_no_number() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    one = {"value": 4.0, "low": None, "high": None, "n": 1}
    table = printed(
        [{"task": "mini_mt", "metric": "turn_1", **nothing}, {"task": "mini_mt", "metric": "turn_2", **one}]
    )
    assert "turn_1 – 0 turn_2" in table
    assert "4.00 n too small 1" in table


def test_a_category_can_not_steer_the_terminal() -> None:
    evil = "[red]x[/red]\x1b]0;owned\x07\u202e"
    metrics = ("asr", "refusal", "degenerate")
    table = printed([{"task": "asr", "metric": name, "value": 0.2, "group": evil} for name in metrics], width=160)
    assert r"[red]x[/red]\x1b]0;owned\x07\u202e" in table


def test_the_ways_in_which_a_run_was_cut_short_are_printed_under_the_table() -> None:
    table = printed(
        [{"task": "asr", "metric": "asr", "value": 0.2}], notes=["asr: answers cut at 64 tokens instead of 512"]
    )
    assert "asr: answers cut at 64 tokens instead of 512" in table
    assert "complete run in runs/x" in table


def test_attacks_have_a_table_of_their_own_that_says_what_asr_over_all_of_them_is() -> None:
    rows = [
        {"task": "asr", "metric": metric, "value": value, "group": group, "n": n}
        for group, value, n in (
            ("all", 0.25, 80),
            ("fraud", 0.2, 80),
            ("attack:none", 0.1, 40),
            ("attack:b64", 0.4, 40),
        )
        for metric in ("asr", "refusal", "degenerate")
    ]
    table = printed(rows)
    by_category, by_attack = table.split("asr by attack, judged by refusal")
    assert "fraud 20 %" in by_category.split("asr by category")[1]
    assert "attack" not in by_category.split("asr by category")[1]
    assert "none 10 % [10, 30]" in by_attack
    assert "b64 40 % [10, 30]" in by_attack
    assert "asr over all answers is the mean over attacks" in by_attack
    uneven = printed([{**row, "n": 41} if row["group"] == "attack:b64" else row for row in rows])
    assert "asr over all answers is not the mean over attacks" in uneven
    assert "by attack" not in printed(rows[:6])
