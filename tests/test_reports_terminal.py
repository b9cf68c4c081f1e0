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


def test_the_name_of_a_judge_folds_and_the_figures_stay_whole() -> None:
    table = printed([{"task": "asr", "metric": "asr", "value": 0.2, "judge": "hf:" + "a/long/path/" * 12}])
    assert "20.0 % [10.0, 30.0] 40" in table


def test_two_judges_stand_label_by_label_under_the_scores_with_what_they_agree_on() -> None:
    row = {
        "task": "asr", "judges": ["refusal", "human\x1b[2J"], "n": 10, "excluded": {"without a label of both": 2},
        "accuracy": 0.8, "accuracy_low": 0.49, "accuracy_high": 0.943, "kappa": 0.583, "kappa_low": -0.1,
        "kappa_high": 0.9,
        "confusion": {"degenerate": {"degenerate": 6, "other": 1}, "other": {"degenerate": 1, "other": 2}},
    }  # fmt: skip
    scores = [{"task": "asr", "metric": "asr", "value": 0.2}]
    table = printed(scores, agreement=[row], width=120)
    assert r"asr: labels of refusal (rows) by those of human\x1b[2J (columns)" in table
    assert table.index("judged by refusal") < table.index("labels of refusal")
    assert "degenerate 6 1" in table
    assert "other 1 2" in table
    assert (
        "same label 80.0 % [49.0, 94.3], Cohen's kappa 0.58 [-0.10, 0.90], n 10, 2 without a label of both left out"
        in table
    )
    assert "found by one program for all judges but people" in table
    alike = {**row, "kappa": None, "kappa_low": None, "kappa_high": None, "confusion": {"other": {"other": 10}}}
    assert "Cohen's kappa undefined (one label only)" in printed(scores, agreement=[alike])
    nobody = {**row, "n": 0, "accuracy": None, "kappa": None, "confusion": {}}
    assert "n 0, 2 without a label of both left out" in printed(scores, agreement=[nobody])


def test_a_strongreject_score_is_no_percentage_and_its_scale_is_said() -> None:
    table = printed([{"task": "asr", "metric": "strongreject", "value": 0.25, "judge": "openai:j"}])
    assert "strongreject 0.25 [0.10, 0.30] 40" in table
    assert "from 0 to 1 as in Souly et al. 2024" in table
    assert "Souly" not in printed([{"task": "asr", "metric": "asr", "value": 0.25}])
