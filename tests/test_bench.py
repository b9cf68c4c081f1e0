"""The command line: quick to answer, exact in its JSON, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).parents[1]


def test_help_and_every_light_command_load_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "openai", "scipy.stats", "matplotlib", "pandas", "numpy", "vllm", "trl", "rich")
    for command in (["--help"], ["run", "--help"], ["inspect", "--help"], ["tasks"], ["judges"], ["data", "list"]):
        code = (
            "import sys, bench\n"
            f"try: bench.main({command!r})\n"
            "except SystemExit: pass\n"
            f"sys.exit(' '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr


def test_a_foreign_package_in_front_of_a_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "bench", "tasks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert f"the package 'tasks' comes from {tmp_path}/tasks, not from this installation ({ROOT})" in done.stderr


def test_stored_answers_are_scored_and_json_is_all_of_stdout(
    say: Callable[..., tuple[int, str, str]], shared_data: Path, tmp_path: Path
) -> None:
    artifact = shared_data / "jailbreakbench" / "PAIR" / "vicuna-13b-v1.5.json"
    code, out, _ = say("run", "--model", f"answers:{artifact}", "--out", tmp_path / "run", "--json")
    assert code == 0
    printed = json.loads(out)
    assert printed == json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (printed["schema_version"], printed["status"]) == (1, "complete")
    scores = {(s["task"], s["group"], s["metric"]): s for s in printed["scores"]}
    asr = scores["asr", "all", "asr"]
    assert set(asr) == {"task", "group", "metric", "value", "low", "high", "n", "excluded", "judge"}
    # The attack found no prompt for 18 goals: they stay in the denominator and are named, not dropped.
    assert (asr["n"], asr["judge"]) == (100, "refusal")
    assert scores["asr", "all", "unjudged"]["value"] == 0.18
    assert scores["asr", "all", "asr_coherent"]["excluded"] == {"no reply in the file": 18}
    assert ("collapse", "all", "degenerate") in scores
    code, again, _ = say("show", tmp_path / "run", "--json")
    assert (code, json.loads(again)) == (0, printed)


def test_fastchat_answers_join_the_questions_they_belong_to(
    say: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"question_id": "math-01", "choices": [{"index": 0, "turns": ["One.", "Two."]}]}) + "\n")
    code, out, _ = say("run", "--model", f"answers:{file}", "--tasks", "mini_mt", "--out", tmp_path / "run", "--json")
    assert code == 0
    average = next(s for s in json.loads(out)["scores"] if (s["metric"], s["group"]) == ("average", "all"))
    assert (average["n"], average["excluded"]) == (1, {"no reply in the file": 47})


def test_rows_of_the_other_kind_are_left_out_and_the_table_says_so(
    say: Callable[..., tuple[int, str, str]], shared_data: Path, tmp_path: Path
) -> None:
    file = shared_data / "xstest" / "xstest_v2_completions_gpt4.csv"
    columns = "prompt=prompt,response=completion"
    run = tmp_path / "run"
    code, out, _ = say(
        "run", "--model", f"answers:{file}", "--columns", columns, "--tasks", "over_refusal", "--out", run
    )
    assert code == 0
    assert "over_refusal: 250 items asked, 200 rows not labelled safe left out" in out
    assert "judge" in out


def test_collapse_reads_every_row_whatever_its_label(
    say: Callable[..., tuple[int, str, str]], shared_data: Path, tmp_path: Path
) -> None:
    file = shared_data / "xstest" / "xstest_v2_completions_gpt4.csv"
    columns = "prompt=prompt,response=completion"
    code, out, _ = say("run", "--model", f"answers:{file}", "--columns", columns, "--out", tmp_path / "run", "--json")
    assert code == 0
    assert {score["n"] for score in json.loads(out)["scores"] if score["metric"] == "degenerate"} == {450}


def test_a_model_that_can_not_be_used_leaves_no_run_behind(
    say: Callable[..., tuple[int, str, str]], make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_checkpoint(template=None)
    code, _, err = say("run", "--model", folder, "--tasks", "asr", "--out", tmp_path / "run")
    assert code == 2
    assert "no chat template" in err
    assert not (tmp_path / "run").exists()


def test_a_category_of_one_turn_items_is_shown_beside_the_others(
    say: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    check = [{"kind": "contains_any", "words": ["yes"]}]
    rows = [
        {"id": "a", "category": "two turns", "turns": ["Hi", "Again"], "checks": [check, check]},
        {"id": "b", "category": "one turn", "turns": ["Hi"], "checks": [check]},
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = say(
        "run", "--model", checkpoint, "--tasks", "mini_mt", "--data", tmp_path / "items.jsonl",
        "--max-new-tokens", 8, "--samples", 2, "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0
    assert "one turn" in out


@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_goes_away_does_not_change_the_exit_code(shared_data: Path, tmp_path: Path, reader: str) -> None:
    artifact = shared_data / "jailbreakbench" / "PAIR" / "gpt-4-0125-preview.json"
    command = f"{sys.executable} {ROOT}/bench.py run --model answers:{artifact} --out {tmp_path}/run"
    piped = f"{command} 2>&1 | {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], check=False, capture_output=True)
    assert done.returncode == 0
    assert (tmp_path / "run" / "scores.json").exists()


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_stops_no_run(shared_data: Path, tmp_path: Path, stderr: str) -> None:
    artifact = shared_data / "jailbreakbench" / "PAIR" / "gpt-4-0125-preview.json"
    command = f"{sys.executable} {ROOT}/bench.py run --model answers:{artifact} --out {tmp_path}/run --json {stderr}"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "complete"


def test_a_limit_is_spread_over_all_categories(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    from tasks.task import TaskOptions, load_task

    for name, categories in (("mini_mt", 8), ("asr", 10), ("over_refusal", 10)):
        task = load_task(name, TaskOptions(limit=20))
        asked = list(task.items())
        assert len(asked) == task.count == 20
        assert len({item.category for item in asked}) == categories


def test_flags_win_over_the_config_file(tmp_path: Path) -> None:
    from harness.config import load_config

    file = tmp_path / "run.toml"
    file.write_text('model = "ckpt"\ntasks = ["asr"]\nmax-new-tokens = 64\nlimit = 5\n')
    config = load_config(str(file), {"limit": 7, "tasks": "mini_mt, collapse"})
    assert (config.model, config.max_new_tokens, config.limit, config.tasks) == ("ckpt", 64, 7, ("mini_mt", "collapse"))


FILES = {
    "good.csv": "prompt,response\nHi,Hello\n",
    "empty.csv": "",
    "header.csv": "prompt,response\n",
    "short.jsonl": '{"prompt": "a", "response": "b"}\n{"prompt": "c"}\n',
    "items.jsonl": '{"id": "a", "category": "x", "turns": ["hello"]}\n{"id": "b", "category": "x"}\n',
    "unchecked.jsonl": '{"id": "a", "category": "x", "turns": ["hello", "again"]}\n',
    "column.toml": 'model = "answers:good.csv"\n[columns]\nprompt = 1\n',
    "misspelt.toml": 'modle = "x"\n',
    "broken.toml": "model = \n",
    "probe.toml": 'model = "x"\nprobe = "yes"\n',
    "typed.toml": 'model = "x"\nlimit = "ten"\n',
}
ANSWERS = "run --model answers:good.csv"
MISTAKES = {
    "no model": ("run", "--model CKPT"),
    "missing folder": ("run --model ./no/such/ckpt", "no folder ./no/such/ckpt"),
    "folder without config": ("run --model .", "no config.json"),
    "file as model": ("run --model good.csv", "--model answers:good.csv"),
    "missing answers": ("run --model answers:no.json", "no.json"),
    "empty answers": ("run --model answers:empty.csv", "empty.csv"),
    "no rows": ("run --model answers:header.csv", "header.csv"),
    "row without response": ("run --model answers:short.jsonl", "short.jsonl:2"),
    "unknown task": (f"{ANSWERS} --tasks asrr", "did you mean asr"),
    "unknown judge": (f"{ANSWERS} --tasks asr --judge refusl", "did you mean refusal"),
    "judge of nothing": (f"{ANSWERS} --tasks asr --judge rubric", "can grade none of asr"),
    "unknown column": (f"{ANSWERS} --columns prompt=prompt,response=repsonse", "repsonse"),
    "half a pair": (f"{ANSWERS} --columns prompt", "--columns takes pairs"),
    "columns for a model": ("run --model ckpt --columns prompt=a", "--model answers:FILE"),
    "out under a file": (f"{ANSWERS} --out good.csv/run", "choose another --out"),
    "bad data row": ("run --model ckpt --tasks mini_mt --data items.jsonl", "items.jsonl:2"),
    "data for which task": ("run --model ckpt --data good.csv", "which task is it for"),
    "data for no task": ("run --model ckpt --tasks asr --data mini_mt=x", "not among the tasks"),
    "collapse of nothing": ("run --model ckpt --tasks collapse", "answers of other tasks"),
    "probes of stored answers": (f"{ANSWERS} --probe", "--probe has no effect on stored answers"),
    "probes named for stored answers": (f"{ANSWERS} --tasks probe,collapse", "have no stored answers"),
    "probes without collapse": ("run --model ckpt --tasks asr --probe", "add collapse to --tasks"),
    "probe of no truth": ("run --config probe.toml", "probe is true or false"),
    "inspect nothing": ("inspect .", "not a run directory"),
    "zero limit": (f"{ANSWERS} --limit 0", "--limit takes a whole number from 1"),
    "misspelt key": ("run --config misspelt.toml", "did you mean 'model'"),
    "broken config": ("run --config broken.toml", "broken.toml"),
    "ill-typed key": ("run --config typed.toml", "--limit takes a whole number"),
    "samples of stored answers": (f"{ANSWERS} --samples 3", "no effect on stored answers"),
    "a folder of plug-ins that is none": (f"{ANSWERS} --include plugins", "plugins: no such folder"),
    "protocol without a judge model": (f"{ANSWERS} --protocol fastchat", "goes with --judge openai:NAME or hf:CKPT"),
    "seed of stored answers": (f"{ANSWERS} --seed 3", "no effect on stored answers"),
    "data for stored answers": (f"{ANSWERS} --tasks asr --data good.csv", "no effect on asr"),
    "ratings without checks": ("run --model ckpt --tasks mini_mt --data unchecked.jsonl", "2 turns have no checks"),
    "endless model name": ("run --model " + "x" * 300, "is no usable path"),
    "nobody's home": ("run --model ~nosuchperson/x", "is no usable path"),
    "column of a number": ("run --config column.toml", "--columns takes names of columns"),
    "no run": ("show .", "not a run directory"),
}


@pytest.mark.parametrize(("command", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(
    say: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content)
    code, out, err = say(*command.split())
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert expected in err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == set(FILES), "something half-written was left behind"


def test_a_misspelt_flag_is_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["run", "--modle", "x"])
    assert ended.value.code == 2
