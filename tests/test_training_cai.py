"""`bench train` from its command line: all stages, nothing twice, mistakes in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mock_server import MockServer

Say = Callable[..., tuple[int, str, str]]
REVISION = "I won't help with that, since somebody could be hurt."


@pytest.fixture
def base(make_checkpoint: Callable[..., Path]) -> Path:
    # Eight tokens of context more than nothing: the few-shot examples are long in bytes.
    return make_checkpoint(max_position_embeddings=8192)


@pytest.fixture
def flags(base: Path, judge_server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A training that takes seconds: a server criticises and revises, the two-layer model is what is trained."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    judge_server.behave(lambda request, call: REVISION)
    settings = {
        "critiques.max_new_tokens": 8, "critiques.few_shot": "false", "sft.helpful_ratio": 0, "sft.max_steps": 2,
        "sft.batch_size": 2, "sft.lora_rank": 2, "preferences.max_new_tokens": 8, "preferences.form": '"revision"',
        "preferences.max_length_ratio": 99, "dpo.max_steps": 1, "dpo.batch_size": 2, "dpo.lora_rank": 2,
        "monitor.every": 1, "monitor.probes": 4, "monitor.max_new_tokens": 4,
    }  # fmt: skip
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [
        "--out", tmp_path / "cai", "--model", base, "--limit", 4, "--critic", "openai:critic", "--base-url",
        judge_server.url, *sets,
    ]  # fmt: skip


def test_all_stages_make_checkpoints_that_run_and_nothing_is_done_twice(
    say: Say, flags: list[object], tmp_path: Path, judge_server: MockServer
) -> None:
    folder = tmp_path / "cai"
    code, out, err = say("train", "cai", *flags, "--json")
    assert code == 0, err
    made = json.loads(out)
    assert [stage["stage"] for stage in made["stages"]] == [
        "critiques",
        "revisions",
        "mix",
        "sft",
        "preferences",
        "dpo",
    ]
    assert made["checkpoints"] == [str(folder / "sft-cai"), str(folder / "dpo-cai")]
    rows = [json.loads(line) for line in (folder / "data/critiques.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all(row["rounds"][0]["revision"]["text"] == REVISION for row in rows)
    trained = [json.loads(line) for line in (folder / "data/sft.jsonl").read_text().splitlines()]
    assert all(row["messages"][-1]["content"] == REVISION for row in trained)

    lineage = json.loads((folder / "dpo-cai/lineage.json").read_text())
    assert lineage["made"] == "dpo-cai"
    assert [stage["stage"] for stage in lineage["stages"]][-1] == "dpo"
    assert lineage["monitor"]["sft"][0]["step"] == 0
    assert "sk-secret" not in "".join(path.read_text() for path in folder.rglob("*.json"))

    asked = len(judge_server.requests)
    before = (folder / "dpo-cai/model.safetensors").stat().st_mtime_ns
    code, _, err = say("train", "cai", "--out", folder)
    assert code == 0, err
    assert err.count("done before") == 6
    assert len(judge_server.requests) == asked
    assert (folder / "dpo-cai/model.safetensors").stat().st_mtime_ns == before

    code, out, err = say(
        "run",
        "--model",
        folder / "dpo-cai",
        "--tasks",
        "asr",
        "--limit",
        2,
        "--max-new-tokens",
        4,
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    assert json.loads(manifest["model"]["lineage"])["made"] == "dpo-cai"
    code, out, err = say("report", tmp_path / "run", "--out", tmp_path / "report", "--format", "markdown,svg")
    assert code == 0, err
    assert "sft" in (tmp_path / "report/trainings.md").read_text()
    assert (tmp_path / "report/training_2.svg").exists()


def test_a_changed_setting_does_again_what_depends_on_it_alone(say: Say, flags: list[object], tmp_path: Path) -> None:
    assert say("train", "cai", *flags)[0] == 0
    code, _, err = say("train", "cai", "--out", tmp_path / "cai", "--set", "dpo.beta=0.2")
    assert code == 0, err
    assert err.count("done before") == 5
    assert "settings.beta: 0.1 → 0.2" in err
    assert (tmp_path / "cai/replaced/1/dpo-cai/model.safetensors").exists()


def test_a_higher_limit_asks_for_the_new_prompts_alone(
    say: Say, flags: list[object], tmp_path: Path, judge_server: MockServer
) -> None:
    assert say("train", "critiques", *flags)[0] == 0
    before = len(judge_server.requests)
    code, _, err = say("train", "critiques", "--out", tmp_path / "cai", "--limit", 6)
    assert code == 0, err
    assert len(judge_server.requests) - before == 2 * 2, "a critique and a revision for each of two"
    assert len((tmp_path / "cai/data/revisions.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dpo", "--out", "{}/new"], "bench train preferences --out"),
        (["sft", "--out", "{}/new"], "bench train critiques --out"),
        (["cai", "--out", "{}/new", "--recipe", "tniy"], "did you mean tiny"),
        (["cai", "--out", "{}/new", "--model", "{}/nothing-there"], "no folder"),
        (["cai", "--out", "{}/new", "--set", "sft.epochs"], "--set takes KEY=VALUE"),
        (["cai", "--out", "{}/new", "--set", "sft.epoch=1"], "unknown key 'sft.epoch'"),
        (["cai", "--out", "{}/new", "--report-to", "mlfow"], "--report-to takes"),
        (["cai", "--out", "{}/new", "--prompts", "{}/empty.jsonl"], "empty.jsonl"),
        (["cai", "--out", "{}/empty.jsonl"], "can not write to"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    say: Say, tmp_path: Path, base: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    given = [argument.format(tmp_path) for argument in arguments]
    code, _, err = say("train", *given, *([] if "--model" in given else ["--model", base]))
    assert code == 2
    assert words in err.splitlines()[-1], err
    assert "Traceback" not in err


def test_a_base_without_a_template_is_refused_before_anything_is_asked(
    say: Say, make_checkpoint: Callable[..., Path], flags: list[object], judge_server: MockServer
) -> None:
    bare = make_checkpoint(template=None)
    code, _, err = say("train", "cai", *flags, "--model", bare)
    assert code == 2
    assert "--chat-template" in err
    assert not judge_server.requests


def test_a_set_of_revisions_of_which_none_is_fit_is_refused_with_the_reasons(
    say: Say, flags: list[object], judge_server: MockServer
) -> None:
    judge_server.behave(lambda request, call: "Have a great day! 😊 😊 😊")
    code, _, err = say("train", "cai", *flags)
    assert code == 2
    assert "4 emoji_run" in err


def test_a_constitution_is_checked_with_line_numbers(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        'name: mine\nversion: "1"\npairs:\n  - id: a\n    critique: Why?\nprinciples:\n  - {id: b, text: "Which?"}\n'
    )
    code, out, _ = say("train", "constitution", "--check", file)
    assert code == 2
    assert f"{file}:4: this entry of pairs lacks 'revision'" in out
