"""What the collapse monitor saw, as a report shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reports.figures.training_curves import training_curves
from reports.training_of_runs import CLOSER, DEGENERATE, training_table, trainings_of_runs


def look(step: int, degenerate: float = 0.0, **changes: Any) -> dict[str, Any]:
    rates = {name: {"value": 0.5, "low": 0.3, "high": 0.7} for name in ("loop", "eos", "no_eos")}
    return {
        "step": step, "rates": {"degenerate": {"value": degenerate, "low": 0.0, "high": 1.0}, **rates},
        "entropy": 1.5, "tokens": 80.0, "closer": {"text": "so long", "share": 0.1}, "logged": {}, "state": "ok",
        "kept": False, "stopped": False, **changes,
    }  # fmt: skip


def model(**stages: Any) -> dict[str, Any]:
    return {"name": "m", "lineage": json.dumps({"stages": [], "monitor": stages})}


SFT = [
    look(0, 0.125, kept=True),
    look(10, 0.125, logged={"step": 9, "loss": 1.25}, kept=True),
    look(20, 0.75, logged={"step": 19, "loss": 0.5}, state="collapsed", stopped=True),
]


def test_every_training_is_drawn_with_its_limits_and_where_it_was_stopped() -> None:
    found = trainings_of_runs({"sft-cai": model(sft=SFT), "base": {"name": "base", "lineage": None}})
    assert list(found) == ["sft-cai: sft"]
    training = found["sft-cai: sft"]
    assert training.panels["loss"] == {"training batches": [(0, None), (9, 1.25), (19, 0.5)]}
    assert training.panels[DEGENERATE]["probes"] == [(0, 12.5), (10, 12.5), (20, 75.0)]
    assert training.limits == {DEGENERATE: pytest.approx(17.5), CLOSER: pytest.approx(30)}
    assert (training.kept, training.stopped) == (10, 20)
    assert "log-probability of the chosen" not in training.panels
    figure = training_curves(training, width_in=6.9)
    assert len([axes for axes in figure.axes if axes.axison]) == len(training.panels) == 6


def test_a_training_that_two_models_share_comes_once() -> None:
    later = [look(0), look(5, logged={"step": 5, "logps/chosen": -80.0, "rewards/margins": 0.1})]
    found = trainings_of_runs({"sft-cai": model(sft=SFT), "dpo-cai": model(sft=SFT, dpo=later)})
    assert list(found) == ["sft-cai: sft", "dpo-cai: dpo"]
    assert found["dpo-cai: dpo"].panels["log-probability of the chosen"]["training batches"][-1] == (5, -80.0)
    assert found["dpo-cai: dpo"].kept is None


def test_the_table_says_what_changed_and_what_was_kept() -> None:
    table = training_table({"sft-cai": model(sft=SFT)})
    assert table is not None
    row = dict(zip((column.heading for column in table.columns), table.rows[0], strict=True))
    assert row["degenerate"].whole == "12 → 75 [0, 100]"
    assert row["entropy"].whole == "1.50 → 1.50"
    assert (row["last state"].text, row["stopped at"].text, row["kept"].text) == ("collapsed", "20", "10")
    assert training_table({"base": {"name": "base"}}) is None


@pytest.mark.parametrize(
    "lineage",
    [
        "not JSON", "[]", '{"monitor": 3}', '{"monitor": {"sft": 3}}', '{"monitor": {"sft": [3, {"step": "x"}]}}',
        '{"monitor": {"sft": [{"step": 1, "rates": [], "entropy": "x", "tokens": NaN}]}}',
        '{"monitor": {"sft": [{"step": 1' + "0" * 400 + '}]}}', '{"monitor": {"sft": []}}',
    ],
)  # fmt: skip
def test_a_lineage_of_somebody_else_draws_nothing(lineage: str) -> None:
    assert trainings_of_runs({"m": {"lineage": lineage}}) == {}
