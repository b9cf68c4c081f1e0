"""lm-eval's tasks as records of a run: its figures to the last digit, our intervals and tests, and resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import capability, capability_run
from harness.capability_figures import LM_EVAL_FIGURES

pytest.importorskip("lm_eval", reason="lm-eval is not installed (bench[capability])")

Say = Callable[..., tuple[int, str, str]]
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo", "Japan": "Tokyo", "Egypt": "Cairo",
    "Peru": "Lima", "Cuba": "Havana", "Kenya": "Nairobi", "Greece": "Athens", "Chile": "Santiago", "Poland": "Warsaw",
}  # fmt: skip
YAML = {
    "capitals": """
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: answer
num_fewshot: 2
fewshot_split: test
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 1.0}
""",
    "sums": """
output_type: generate_until
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 12}
filter_list:
  - name: first-letter
    filter: [{function: regex, regex_pattern: "([a-z])"}, {function: take_first}]
  - name: whole
    filter: [{function: take_first}]
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 2.0}
""",
    "texts": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
    "odd": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
process_results: !function odd.process_results
metric_list:
  - {metric: halves, aggregation: mean, higher_is_better: true}
  - {metric: rare, aggregation: mean, higher_is_better: true}
  - {metric: pairs, aggregation: !function odd.first_of_all, higher_is_better: true}
""",
    "late": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: !function odd.named_late, aggregation: !function odd.largest, higher_is_better: true}]
""",
    "unspoken": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
process_results: !function odd.unspoken
metric_list:
  - {metric: spoilt, aggregation: mean, higher_is_better: true}
  - {metric: never, aggregation: mean, higher_is_better: true}
  - {metric: list, aggregation: !function odd.largest, higher_is_better: true}
  - {metric: bypass}
""",
    "one": """
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: " {{answer}}"
metric_list: [{metric: acc}, {metric: perplexity}]
""",
    "broken": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
process_results: !function odd.fail
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
}
ODD = """
def process_results(doc, results):
    number = int(doc["answer"])
    return {"halves": number / 30, "pairs": (number, 1)} | ({"rare": 1.0} if number > 10 else {})

def named_late(references, predictions):
    return {"best": float(references[0]) / 30}

def largest(items):
    return max(items)

def unspoken(doc, results):
    number = int(doc["answer"])
    spoilt = float("nan") if number > 20 else 1.0
    return {"spoilt": spoilt, "never": float("nan"), "list": [number], "bypass": None}

def first_of_all(items):
    return sum(first for first, _ in items) / 7

def fail(doc, results):
    raise KeyError("this task is broken")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of lm-eval's YAML files, with their data."""
    made = tmp_path_factory.mktemp("tasks")
    cities = list(CAPITALS.values())
    choices = [[city, cities[place - 3], cities[place - 5]] for place, city in enumerate(cities)]
    rows = [
        {"question": f"What is the capital of {land}?", "choices": three[place % 3 :] + three[: place % 3],
         "answer": -(place % 3) % 3}
        for place, (land, three) in enumerate(zip(CAPITALS, choices, strict=True))
    ]  # fmt: skip
    sums = [{"question": f"What is {n} and {n + 2}?", "answer": str(2 * n + 2)} for n in range(12)]
    # One document twice.
    for name, written in (("capitals", rows), ("sums", [*sums, sums[0]])):
        (made / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    (made / "odd.py").write_text(ODD)
    for name, text in YAML.items():
        data = made / ("capitals.jsonl" if name == "capitals" else "sums.jsonl")
        where = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test"
        (made / f"{name}.yaml").write_text(where + text)
    return made


@pytest.fixture(scope="module")
def run_of(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a run of some of these tasks, once for each model."""
    made: dict[tuple[str, str], Path] = {}

    def make(model: Path | str, tasks: str = "capitals,sums,texts") -> Path:
        import bench

        if (key := (str(model), tasks)) not in made:
            out = made[key] = tmp_path_factory.mktemp("runs") / "run"
            names = ",".join(f"capability:{name}" for name in tasks.split(","))
            command = ["run", "--model", str(model), "--tasks", names, "--include", str(folder), "--out", str(out)]
            assert bench.main([*command, "--quiet"]) == 0
        return made[key]

    return make


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def records(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


def lm_evals_own(model: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    """What simple_evaluate finds on a model that nobody else has touched."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(model)
    lm = HFLM(pretrained=loaded, tokenizer=AutoTokenizer.from_pretrained(model), batch_size=capability_run.CPU_ROWS)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found: dict[str, Any] = simple_evaluate(model=lm, tasks=names, task_manager=manager)
    return found


def test_figures_are_those_of_simple_evaluate_to_the_last_digit(
    run_of: Callable[..., Path], checkpoint: Path, folder: Path
) -> None:
    result = read(run_of(checkpoint) / "scores.json")
    own = lm_evals_own(checkpoint, folder, ["capitals", "sums", "texts"])
    for name, theirs in own["results"].items():
        ours = result["lm_eval"][f"capability:{name}"]
        assert ours == {key: value for key, value in theirs.items() if "," in key}
    rows = {(row["task"], row["metric"]): row for row in result["scores"]}
    assert list(rows) == [
        ("capability:capitals", "acc"), ("capability:capitals", "acc_norm"),
        ("capability:sums", "exact_match,first-letter"), ("capability:sums", "exact_match,whole"),
        ("capability:texts", "word_perplexity"), ("capability:texts", "bits_per_byte"),
    ]  # fmt: skip
    accuracy = rows["capability:capitals", "acc"]
    assert accuracy["value"] == own["results"]["capitals"]["acc,none"] > 0
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert (accuracy["n"], accuracy["group"], accuracy["judge"], accuracy["excluded"]) == (12, "all", "lm-eval", {})
    # A perplexity is no mean over documents: no document has a value of its own.
    perplexity = rows["capability:texts", "word_perplexity"]
    assert perplexity["value"] == own["results"]["texts"]["word_perplexity,none"]
    assert (perplexity["low"], perplexity["n"]) == (None, 13)


def test_every_document_is_an_item_with_its_prompt_and_every_metric_a_judgment(
    run_of: Callable[..., Path], checkpoint: Path, folder: Path
) -> None:
    run = run_of(checkpoint)
    items = [it for it in records(run, "items") if it["task"] == "capability:capitals"]
    logged = lm_evals_own(checkpoint, folder, ["capitals"])["samples"]["capitals"]
    assert [it["turns"] for it in items] == [[sample["arguments"][0][0]] for sample in logged]
    assert [it["metadata"]["doc_hash"] for it in items] == [sample["doc_hash"] for sample in logged]
    assert items[0]["reference"] == ["Paris"]
    assert items[0]["turns"][0].count("Question:") == 3  # two examples before its own
    said = {it["item"]: it["text"] for it in records(run, "answers") if it["task"] == "capability:capitals"}
    judged = {(it["item"], it["judge"]): it for it in records(run, "judgments") if it["task"] == "capability:capitals"}
    assert len(judged) == 24
    for item in items:
        verdict = judged[item["item"], "lm-eval:acc"]
        assert verdict["score"] == float(said[item["item"]] == item["reference"][0])
        assert len(json.loads(verdict["raw"])) == 3
    # The same document twice is two items.
    assert len({it["item"] for it in records(run, "items") if it["task"] == "capability:sums"}) == 13


def test_what_decides_the_figures_is_in_the_identity(run_of: Callable[..., Path], checkpoint: Path) -> None:
    import lm_eval

    task = read(run_of(checkpoint) / "run.json")["identity"]["tasks"]["capability:capitals"]
    assert (task["version"], task["num_fewshot"], task["chat_template"]) == ("1.0", 2, False)
    assert (task["lm_eval"], task["items"], task["seeds"]) == (lm_eval.__version__, 12, capability.SEEDS)
    assert len(task["config_sha256"]) == len(task["sha256"]) == 64


def test_beside_other_tasks_it_is_no_part_of_collapse(say: Say, checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ("--limit", 4, "--max-new-tokens", 8, "--out", run)
    code, out, _ = say(
        "run", "--model", checkpoint, "--tasks", "over_refusal,collapse,capability:sums", "--include", folder, *flags
    )
    assert code == 0
    rows = {(row["task"], row["metric"]): row for row in read(run / "scores.json")["scores"] if row["group"] == "all"}
    assert rows["collapse", "degenerate"]["n"] == rows["capability:sums", "exact_match,whole"]["n"] == 4
    assert "4 answers to lm-eval's tasks are left out" in " ".join(out.split())
    assert "capability:sums: 4 items asked, 9 rows beyond --limit left out" in " ".join(out.split())
    assert [it["metadata"]["doc_id"] for it in records(run, "items") if "doc_id" in it["metadata"]] == [0, 1, 2, 3]
    assert "lm-eval" not in json.dumps(read(run / "run.json")["identity"]["judges"]["over_refusal"])


def test_documents_without_a_value_are_counted_and_what_is_no_mean_is_lm_evals(
    run_of: Callable[..., Path], checkpoint: Path
) -> None:
    run = run_of(checkpoint, "odd")
    rows = {row["metric"]: row for row in read(run / "scores.json")["scores"]}
    assert rows["halves"]["value"] == pytest.approx(sum([*range(2, 26, 2), 2]) / 30 / 13)
    assert (rows["rare"]["value"], rows["rare"]["n"]) == (1.0, 7)
    assert rows["rare"]["excluded"] == {"lm-eval gave no value": 6}
    assert (rows["pairs"]["value"], rows["pairs"]["low"]) == (sum([*range(2, 26, 2), 2]) / 7, None)
    labels = [it["label"] for it in records(run, "judgments") if it["judge"] == "lm-eval:pairs"]
    assert labels[:2] == ["[2, 1]", "[4, 1]"]


def test_a_metric_named_late_is_a_mean_only_where_lm_evals_figure_is_one(
    run_of: Callable[..., Path], checkpoint: Path
) -> None:
    result = read(run_of(checkpoint, "late") / "scores.json")
    row = next(row for row in result["scores"] if row["metric"] == "best")
    assert row["value"] == result["lm_eval"]["capability:late"]["best,none"] == 24 / 30
    assert (row["low"], row["n"]) == (None, 13)


def test_what_lm_eval_gives_no_number_for_is_said_and_999_is_no_figure(
    say: Say, run_of: Callable[..., Path], checkpoint: Path
) -> None:
    run = run_of(checkpoint, "unspoken")
    rows = {row["metric"]: row for row in read(run / "scores.json")["scores"]}
    assert (rows["spoilt"]["value"], rows["spoilt"]["n"]) == (1.0, 11)
    assert rows["spoilt"]["excluded"] == {"lm-eval's value is nan": 2}
    assert (rows["never"]["value"], rows["never"]["excluded"]) == (None, {"lm-eval's value is nan": 13})
    assert set(rows) == {"spoilt", "never"}
    assert "lm-eval's list is no number" in " ".join(say("show", run)[1].split())


def test_lm_evals_scores_on_a_scale_of_100_are_no_shares() -> None:
    from reports.terminal import is_rate

    def is_share(metric: str) -> bool:
        return is_rate({"task": "capability:any", "metric": metric, "value": 0.9})

    assert not any(map(is_share, ("bleu", "chrf", "ter", "rouge1_max", "bleu_diff", "brier_score", "word_perplexity")))
    assert all(map(is_share, ("acc", "f1", "bleu_acc", "rougeL_acc", "exact_match,filter")))


def test_a_text_that_was_scored_alone_is_no_answer(run_of: Callable[..., Path], checkpoint: Path) -> None:
    assert {it["text"] for it in records(run_of(checkpoint, "one"), "answers")} == {""}


def test_a_judgment_that_came_out_otherwise_replaces_the_one_of_an_earlier_sitting(
    say: Say, run_of: Callable[..., Path], checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of(checkpoint, "capitals"), run)
    figures = (run / LM_EVAL_FIGURES).read_text()
    (run / LM_EVAL_FIGURES).unlink()
    first, *others = records(run, "judgments")
    changed = {**first, "score": 1 - first["score"]}
    (run / "judgments.jsonl").write_text("".join(json.dumps(it) + "\n" for it in (changed, *others)))
    command = ("run", "--model", checkpoint, "--tasks", "capability:capitals", "--include", folder, "--out", run)
    assert say(*command, "--quiet")[0] == 0
    assert records(run, "judgments") == [changed, *others, first]
    # A record that was lost after the figures were written is made again, too.
    (run / LM_EVAL_FIGURES).write_text(figures)
    (run / "judgments.jsonl").write_text("".join(json.dumps(it) + "\n" for it in (first, *others[:-1])))
    assert say("show", run)[0] == 4
    assert say(*command, "--quiet")[0] == 0
    assert records(run, "judgments") == [first, *others]


@pytest.mark.parametrize("moment", ["while it runs", "before its figures"])
def test_a_unit_that_was_interrupted_is_done_again_and_nothing_is_there_twice(
    moment: str, say: Say, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ("run", "--model", checkpoint, "--include", folder, "--tasks", "capability:capitals,capability:sums")
    where = "_found" if moment == "while it runs" else "add_figures"
    plain: Callable[..., Any] = getattr(capability_run, where)

    def killed_in_the_second(*given: Any, **options: Any) -> Any:
        if any(getattr(it, "name", "") == "capability:sums" for it in given):
            raise KeyboardInterrupt
        return plain(*given, **options)

    monkeypatch.setattr(capability_run, where, killed_in_the_second)
    code, _, err = say(*command, "--out", run, "--quiet")
    assert code == 4
    assert "Traceback" not in err
    assert read(run / "run.json")["status"] == "incomplete"
    code, out, _ = say("show", run)
    assert code == 4
    assert "capability:sums: lm-eval has not run it to its end" in out
    before = {name: (run / f"{name}.jsonl").read_bytes() for name in ("answers", "judgments")}
    monkeypatch.setattr(capability_run, where, plain)
    code, _, err = say(*command, "--out", run)
    assert code == 0
    assert "capability:capitals: lm-eval asks" not in err
    for name, keys in (("answers", ("task", "item")), ("judgments", ("task", "item", "judge"))):
        assert (run / f"{name}.jsonl").read_bytes().startswith(before[name])
        there = [tuple(it[key] for key in keys) for it in records(run, name)]
        assert len(there) == len(set(there)) == (25 if name == "answers" else 50)
    assert read(run / "run.json")["status"] == "complete"


def test_a_complete_run_is_left_alone(say: Say, run_of: Callable[..., Path], checkpoint: Path, folder: Path) -> None:
    run = run_of(checkpoint)
    there = {path.name: path.read_bytes() for path in run.iterdir() if path.suffix == ".jsonl" or "eval" in path.name}
    names = "capability:capitals,capability:sums,capability:texts"
    code, _, err = say("run", "--model", checkpoint, "--tasks", names, "--include", folder, "--out", run)
    assert code == 0
    assert "lm-eval asks" not in err
    assert {name: (run / name).read_bytes() for name in there} == there


def test_a_task_that_fails_takes_no_other_along(say: Say, checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    tasks = "capability:broken,capability:capitals"
    code, out, err = say(
        "run", "--model", checkpoint, "--tasks", tasks, "--include", folder, "--out", tmp_path / "run", "--json"
    )
    assert code == 4
    assert "capability:broken: KeyError: 'this task is broken'" in err
    found = json.loads(out)
    assert found["status"] == "incomplete"
    assert {row["task"] for row in found["scores"]} == {"capability:capitals"}


def test_alignment_tax_is_tested_pair_by_pair_and_can_be_gated(
    say: Say, run_of: Callable[..., Path], checkpoint: Path, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    before, after = run_of(checkpoint), run_of(make_checkpoint(seed=1))
    code, out, _ = say("compare", before, after, "--json")
    assert code == 0
    rows = {(row["task"], row["metric"]): row for row in json.loads(out)["comparisons"]}
    row = rows["capability:capitals", "acc"]
    assert (row["n"], row["test"], row["judge"], row["group"]) == (12, "McNemar mid-p", "lm-eval", "all")
    values = [
        next(it["value"] for it in read(run / "scores.json")["scores"] if it["metric"] == "acc")
        for run in (before, after)
    ]
    assert row["difference"] == pytest.approx(values[1] - values[0])
    assert ("capability:texts", "word_perplexity") not in rows
    code, out, _ = say("compare", before, after, "--metrics", "capability:sums.exact_match,whole,acc")
    assert code == 0
    assert "exact_match,whole" in out
    assert "acc_norm" not in out
    policy = tmp_path / "gate.toml"
    policy.write_text('[[rule]]\nmetric = "capability:capitals.acc"\nmin = 0.999\n')
    assert say("gate", after, "--policy", policy)[0] == 1
    policy.write_text('[[rule]]\nmetric = "capability:gsm8k.exact_match"\nmin = 0.2\n')
    assert say("gate", after, "--policy", policy)[0] == 4
    policy.write_text('[[rule]]\nmetric = "capability:texts.word_perplexity"\nmax = 20.0\n')
    code, out, _ = say("gate", after, "--policy", policy)
    assert code == 4
    assert "without values of documents to decide by" in " ".join(out.split())
    code, _, err = say("report", before, after, "--out", tmp_path / "report", "--format", "markdown")
    assert (code, err) == (0, "")
    assert "| capitals | acc |" in (tmp_path / "report" / "capability.md").read_text()


def test_another_task_under_the_same_name_is_not_compared(
    say: Say, run_of: Callable[..., Path], checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "tasks"
    shutil.copytree(folder, changed)
    flags = ("--include", changed, "--out", tmp_path / "elsewhere", "--quiet")
    assert say("run", "--model", checkpoint, "--tasks", "capability:capitals", *flags)[0] == 0
    # The same task in another folder is the same task.
    assert say("compare", run_of(checkpoint), tmp_path / "elsewhere", "--metrics", "acc")[0] == 0
    path = changed / "capitals.yaml"
    path.write_text(path.read_text().replace("metric: acc_norm", "metric: acc_bytes"))
    flags = ("--include", changed, "--out", tmp_path / "run", "--quiet")
    assert say("run", "--model", checkpoint, "--tasks", "capability:capitals", *flags)[0] == 0
    code, out, _ = say("compare", run_of(checkpoint), tmp_path / "run")
    assert code == 2
    assert "lm-eval is not the same judge in both" in " ".join(out.split())


def test_a_model_of_lm_evals_own_gives_the_same_figures(run_of: Callable[..., Path], checkpoint: Path) -> None:
    spec = f"lm-eval:hf,pretrained={checkpoint},dtype=float32,device=cpu,batch_size={capability_run.CPU_ROWS}"
    theirs, ours = (read(run_of(model) / "scores.json")["lm_eval"] for model in (spec, checkpoint))
    assert theirs == ours


def test_a_group_is_its_tasks_and_lm_evals_sum_of_them(
    monkeypatch: pytest.MonkeyPatch, run_of: Callable[..., Path], checkpoint: Path, folder: Path
) -> None:
    from lm_eval.tasks import TaskManager

    (folder / "both.yaml").write_text(
        "group: both\ntask: [capitals, sums]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: true, filter_list: none}]\n"
    )
    own_alone = TaskManager(include_path=str(folder), include_defaults=False)
    monkeypatch.setattr(capability, "_manager", lambda *_: own_alone)
    result = read(run_of(checkpoint, "both") / "scores.json")
    assert list(dict.fromkeys(row["task"] for row in result["scores"])) == [
        "capability:capitals", "capability:sums", "capability:both",
    ]  # fmt: skip
    group = next(row for row in result["scores"] if row["task"] == "capability:both")
    assert group["value"] == result["lm_eval"]["capability:capitals"]["acc,none"]
    assert group["low"] < group["value"] < group["high"]
    # Of its 25 documents 12 are asked for this metric.
    assert group["n"] == 12


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--tasks", "capability:capitals", "--samples", 3), "--samples has no effect on capability:capitals"),
        (("--tasks", "capability:capitals", "--judge", "rubric"), "--judge has no effect"),
        (("--tasks", "capability:capitals,collapse"), "collapse reads the answers of other tasks"),
        (("--tasks", "capability:nodata"), "capability:nodata: lm-eval can not load it: FileNotFoundError"),
        (("--tasks", "capability:unsafe"), "executes code that the model wrote"),
    ],
)
def test_what_can_not_be_run_is_refused_in_one_line_and_leaves_nothing(
    flags: tuple[str | int, ...], told: str, say: Say, checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    plain = (folder / "sums.yaml").read_text()
    (folder / "nodata.yaml").write_text(plain.replace("task: sums", "task: nodata").replace("sums.jsonl", "no.jsonl"))
    (folder / "unsafe.yaml").write_text(plain.replace("task: sums", "task: unsafe") + "unsafe_code: true\n")
    run = tmp_path / "run"
    code, out, err = say("run", "--model", checkpoint, "--include", folder, "--out", run, "--quiet", *flags)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
    assert not run.exists()


def test_models_that_lm_eval_can_not_be_given_are_refused(
    say: Say, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    answers = tmp_path / "answers.csv"
    answers.write_text("prompt,response\nWhy?,Because.\n")
    for model, told in ((f"answers:{answers}", "can not be asked"), ("openai:gpt", "lm-eval:local-completions")):
        code, _, err = say(
            "run", "--model", model, "--tasks", "capability:sums", "--include", folder, "--out", tmp_path / "run"
        )
        assert code == 2
        assert told in err


def test_without_lm_eval_the_line_says_how_to_get_it(
    say: Say, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(capability, "find_spec", lambda _: None)
    code, _, err = say("run", "--model", checkpoint, "--tasks", "capability:gsm8k", "--out", tmp_path / "run")
    assert code == 2
    assert "pip install 'bench[capability]'" in err


def test_damaged_figures_are_told_and_can_be_had_again(
    say: Say, run_of: Callable[..., Path], checkpoint: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of(checkpoint), run)
    (run / LM_EVAL_FIGURES).write_text('{"units": [1]}')
    code, _, err = say("show", run)
    assert code == 2
    assert f"{LM_EVAL_FIGURES} is damaged: remove it" in err


@pytest.mark.slow
def test_a_task_that_lm_eval_does_not_know_is_refused_with_near_ones(
    say: Say, checkpoint: Path, tmp_path: Path
) -> None:
    code, _, err = say("run", "--model", checkpoint, "--tasks", "capability:gsm8", "--out", tmp_path / "run")
    assert code == 2
    assert "did you mean gsm8k" in err
