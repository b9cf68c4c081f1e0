"""Our tasks in lm-eval's hands: the same answers come to the same figures there and in a run of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.lm_eval_tasks import FOLDER, grading

pytest.importorskip("lm_eval", reason="lm-eval is not installed (bench[capability])")

Say = Callable[..., tuple[int, str, str]]
TASKS = {"asr": "bench_asr", "over_refusal": "bench_over_refusal", "mini_mt": "bench_mini_mt_turn_1"}
SAID = (
    "I'm sorry, but I can't help with that.", "", "Sure! First, gather the parts. Then begin with step one.",
    "Have a nice day. " * 60, "```python\ndef add(a, b):\n    return a + b\n```",
    "Dear neighbour, thank you for watering my basil. I am grateful for it. See you soon.",
    "I can't help you break in, but to open your own lock you may call a locksmith.", "42",
)  # fmt: skip


@pytest.fixture(scope="module")
def lm_eval_says() -> Callable[..., dict[str, Any]]:
    """Run our tasks by their tag in lm-eval; its results, with samples."""

    def evaluated(**arguments: Any) -> dict[str, Any]:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=str(FOLDER), include_defaults=False)
        found: dict[str, Any] = simple_evaluate(tasks=["bench"], task_manager=manager, bootstrap_iters=0, **arguments)
        return found

    return evaluated


def written_as_samples(file: Path, samples: list[dict[str, Any]]) -> Path:
    """The file that lm-eval writes with --log_samples."""
    from lm_eval.loggers import EvaluationTracker

    tracker = EvaluationTracker(output_path=str(file))
    tracker.general_config_tracker.model_name_sanitized = "model"
    tracker.date_id = "now"
    tracker.save_results_samples("task", samples)
    return file / "model" / "samples_task_now.jsonl"


def test_lm_eval_and_a_run_of_the_same_answers_give_the_same_figures(
    say: Say, tmp_path: Path, lm_eval_says: Callable[..., dict[str, Any]]
) -> None:
    from lm_eval.api.model import LM

    class Talker(LM):  # type: ignore[misc]
        """Answers with one text after another."""

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return [SAID[place % len(SAID)] for place, _ in enumerate(requests)]

        def loglikelihood(self, requests: list[Any]) -> list[Any]:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    found = lm_eval_says(model=Talker())
    for task, name in TASKS.items():
        log = written_as_samples(tmp_path / task, found["samples"][name])
        out = tmp_path / f"{task}.jsonl"
        assert say("import", log, "--out", out)[0] == 0
        code, printed, err = say(
            "run", "--model", f"answers:{out}", "--tasks", task, "--out", tmp_path / f"run-{task}", "--json", "--quiet"
        )
        assert code == 0, err
        ours = {row["metric"]: row for row in json.loads(printed)["scores"] if row["group"] == "all"}
        theirs = {key.removesuffix(",none"): value for key, value in found["results"][name].items()}
        compared = [key for key in theirs if key in ours and key != "unjudged"]
        assert set(compared) >= {"turn_1"} if task == "mini_mt" else len(compared) >= 2
        for key in compared:
            assert theirs[key] == pytest.approx(ours[key]["value"], abs=1e-12), (task, key)
        assert theirs["unjudged"] == 0
    asr = found["results"]["bench_asr"]
    assert 0 < asr["degenerate,none"] < 1
    assert asr["asr_coherent,none"] > asr["asr,none"] > 0


def test_a_checkpoint_is_asked_our_questions_through_its_chat_template(
    checkpoint: Path, lm_eval_says: Callable[..., dict[str, Any]]
) -> None:
    found = lm_eval_says(
        model="hf", model_args=f"pretrained={checkpoint},dtype=float32,device=cpu", limit=2, apply_chat_template=True,
        gen_kwargs="max_gen_toks=8", batch_size=2,
    )  # fmt: skip
    assert set(found["results"]) == set(TASKS.values())
    (first, _) = found["samples"]["bench_mini_mt_turn_1"]
    context, settings = first["arguments"][0]
    assert context == f"<|im_start|>user\n{first['doc']['prompt']}<|im_end|>\n<|im_start|>assistant\n"
    assert settings["do_sample"] is False
    assert 1 <= found["results"]["bench_mini_mt_turn_1"]["turn_1,none"] <= 10


def test_a_command_prints_the_folder_for_include_path(say: Say) -> None:
    code, out, _ = say("tasks", "--lm-eval")
    assert code == 0
    assert {file.name for file in Path(out.strip()).glob("*.yaml")} == {
        "asr.yaml", "mini_mt_turn_1.yaml", "over_refusal.yaml",
    }  # fmt: skip
    assert json.loads(say("tasks", "--lm-eval", "--json")[1])["folder"] == out.strip()


def test_an_answer_that_can_not_be_graded_counts_in_no_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = grading.mini_mt_items()["test"][0]
    doc["item"] = json.dumps({**json.loads(doc["item"]), "checks": []})
    assert grading.mini_mt_figures(doc, ["Hello"]) == {"unjudged": 1.0}
    assert grading.asr_figures(grading.asr_items()["test"][0], [""]) == {
        "asr": 0.0, "asr_lenient": 0.0, "refusal": 0.0, "degenerate": 1.0, "unjudged": 0.0,
    }  # fmt: skip


def test_grading_works_where_an_event_loop_is_running_as_in_a_notebook() -> None:
    import asyncio

    async def cell() -> dict[str, float]:
        return grading.mini_mt_figures(grading.mini_mt_items()["test"][0], ["Thank you for the basil."])

    assert asyncio.run(cell())["unjudged"] == 0.0
