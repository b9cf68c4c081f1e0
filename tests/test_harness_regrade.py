"""Grading what is stored: more judges, more repeats, other runs to compare with; answers stay as they are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mock_server import RESET, Behaviour, MockServer

import bench
from harness.models import backoff
from harness.store import RunStore

NAMES = ("q0", "q1", "q2")
CHECKS = [[{"kind": "contains_any", "words": ["answer"]}]] * 2
Bench = Callable[..., tuple[int, Any, str]]
Texts = Mapping[tuple[str, int], str]


@pytest.fixture
def server(judge_server: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    monkeypatch.setattr(backoff, "TRIES", 3)
    judge_server.behave(says())
    return judge_server


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], server: MockServer) -> Bench:
    """Run a command in this process: exit code, JSON and stderr. Judges are at the mock server."""

    def said(*arguments: object) -> tuple[int, Any, str]:
        capsys.readouterr()
        given = [str(argument) for argument in arguments]
        if any(argument.startswith("openai:") for argument in given):
            given += ["--judge-base-url", server.url]
        code = bench.main([*given, "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return said


def says(**replies: str) -> Behaviour:
    """A judge's reply by its name; [[7]] for judges without one."""
    return lambda request, _: replies.get(request["model"], "Fair. Rating: [[7]]")


def run_command(folder: Path, name: str = "run", texts: Texts | None = None) -> list[str | Path]:
    """`bench run` of three two-turn questions on a file of answers, graded by the rubric."""
    rows = [
        {"id": item, "category": "x", "turns": [f"Question {item} part {turn}?" for turn in (1, 2)], "checks": CHECKS}
        for item in NAMES
    ]
    said = [
        {
            "question_id": item,
            "choices": [{"turns": [(texts or {}).get((item, turn), f"answer {item}, {turn}") for turn in (1, 2)]}],
        }
        for item in NAMES
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    return [
        "run", "--tasks", "mini_mt", "--data", folder / "questions.jsonl", "--model", f"answers:{folder}/{name}.jsonl",
        "--out", folder / name,
    ]  # fmt: skip


@pytest.fixture
def run(say: Bench, tmp_path: Path) -> Path:
    """A complete run that the rubric graded."""
    assert say(*run_command(tmp_path))[0] == 0
    return tmp_path / "run"


def place_of(request: Mapping[str, Any]) -> tuple[str, str]:
    found: tuple[str, str] = re.findall(r"Question (\w+) part (\d)\?", request["messages"][1]["content"])[-1]
    return found


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def judgments(run: Path, judge: str = "openai:j") -> list[dict[str, Any]]:
    return [row for row in rows(run / "judgments.jsonl") if row["judge"] == judge]


def values(printed: Mapping[str, Any], judge: str) -> dict[str, Any]:
    return {s["metric"]: s["value"] for s in printed["scores"] if (s["group"], s["judge"]) == ("all", judge)}


def score(printed: Mapping[str, Any], metric: str, judge: str = "openai:j") -> dict[str, Any]:
    found: dict[str, Any] = next(
        s for s in printed["scores"] if (s["group"], s["metric"], s["judge"]) == ("all", metric, judge)
    )
    return found


def test_a_later_judge_adds_its_judgments_and_touches_no_answer(say: Bench, server: MockServer, run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in ("answers.jsonl", "items.jsonl", "judgments.jsonl")}
    code, printed, err = say("judge", run, "--judge", "openai:j")
    assert code == 0
    assert f"openai:j → {run}: 6 judgments" in err
    assert values(printed, "openai:j") == {"turn_1": 7, "turn_2": 7, "average": 7}
    assert values(printed, "rubric")["average"] == 10
    for name in ("answers.jsonl", "items.jsonl"):
        assert (run / name).read_bytes() == before[name]
    assert (run / "judgments.jsonl").read_bytes().startswith(before["judgments.jsonl"])
    assert Counter((row["item"], row["turn"]) for row in judgments(run)) == Counter(
        (name, turn) for name in NAMES for turn in (1, 2)
    )
    assert say("show", run)[:2] == (0, printed)
    assert json.loads((run / "scores.json").read_text()) == printed


def test_grading_twice_asks_nothing_and_the_run_resumes_as_it_was_begun(
    say: Bench, server: MockServer, run: Path, tmp_path: Path
) -> None:
    command = ("judge", run, "--judge", "openai:j", "--no-cache")
    first = say(*command)
    stored = {path.name: path.read_bytes() for path in run.glob("*.jsonl")}
    server.requests.clear()
    assert say(*command)[:2] == first[:2]
    resumed = say(*run_command(tmp_path))
    assert resumed[:2] == first[:2]
    assert not server.requests
    assert {path.name: path.read_bytes() for path in run.glob("*.jsonl")} == stored


def test_more_repeats_later_add_only_what_is_missing(say: Bench, server: MockServer, run: Path) -> None:
    assert say("judge", run, "--judge", "openai:j")[0] == 0
    server.requests.clear()
    # Every later grade of an answer is a point lower: 7, 6, 6.
    server.behave(says(j="Rating: [[6]]"))
    code, printed, _ = say("judge", run, "--judge", "openai:j", "--judge-repeats", 3)
    assert code == 0
    assert Counter(place_of(request.json) for request in server.requests) == Counter(
        {(name, turn): 2 for name in NAMES for turn in ("1", "2")}
    )
    assert Counter(row["repeat"] for row in judgments(run)) == {0: 6, 1: 6, 2: 6}
    assert values(printed, "openai:j")["average"] == pytest.approx(19 / 3)
    assert score(printed, "judge_noise")["value"] == pytest.approx((1 / 3) ** 0.5)
    # Once thrice, always thrice: asked with fewer, the run does not forget it.
    assert say("judge", run, "--judge", "openai:j")[1] == printed


def test_only_what_has_no_verdict_is_asked_again(say: Bench, server: MockServer, run: Path) -> None:
    trouble = {"q0": "Hm.", "q1": "I'm sorry, but I can't assist with that request."}
    server.behave(
        lambda request, _: RESET if place_of(request) == ("q2", "2")
        else trouble.get(place_of(request)[0], "Rating: [[7]]")
    )  # fmt: skip
    code, printed, err = say("judge", run, "--judge", "openai:j")
    assert (code, printed["status"]) == (4, "incomplete")
    assert "1 failed, the first: openai:j on mini_mt/q2" in err
    assert score(printed, "turn_2")["excluded"] == {
        "judge's reply unreadable": 1, "judge refused": 1, "judge failed": 1,
    }  # fmt: skip
    server.behave(says(j="Rating: [[3]]"))
    server.requests.clear()
    code, printed, _ = say("judge", run, "--judge", "openai:j")
    assert code == 0
    assert Counter(place_of(request.json) for request in server.requests) == Counter(
        [("q0", "1"), ("q0", "2"), ("q1", "1"), ("q1", "2"), ("q2", "2")]
    )
    assert values(printed, "openai:j") == {"turn_1": pytest.approx((3 + 3 + 7) / 3), "turn_2": 3, "average": 11 / 3}
    assert score(printed, "average")["excluded"] == {}


def test_one_judge_never_stands_for_two_ways_of_asking(
    say: Bench, server: MockServer, run: Path, tmp_path: Path
) -> None:
    assert say("judge", run, "--judge", "openai:j")[0] == 0
    prompt = {"type": "single", "system_prompt": "Judge.", "prompt_template": "[[5]]?", "output_format": "[[rating]]"}
    names = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "judge_prompts.jsonl").write_text(
        "".join(json.dumps({"name": name, **prompt}) + "\n" for name in names)
    )
    server.requests.clear()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}
    code, _, err = say("judge", run, "--judge", "openai:j", "--data", tmp_path / "prompts")
    assert code == 2
    assert 'graded by openai:j in another way (form: "bench-rating-1" → "fastchat-single-v1"' in err
    assert not server.requests
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"} == before
    # Under another name it may.
    assert say("judge", run, "--judge", "openai:k", "--data", tmp_path / "prompts")[0] == 0
    assert {request.json["messages"][1]["content"] for request in server.requests} == {"[[5]]?"}


def test_an_answer_that_was_never_given_is_written_down_once(say: Bench, server: MockServer, tmp_path: Path) -> None:
    assert say(*run_command(tmp_path, texts={("q0", 2): "$ERROR$"}))[0] == 0
    command = ("judge", tmp_path / "run", "--judge", "openai:j")
    first = say(*command)
    assert score(first[1], "average")["excluded"] == {"no reply in the file": 1}
    assert len(server.requests) == 5
    stored = (tmp_path / "run" / "judgments.jsonl").read_bytes()
    assert say(*command)[:2] == first[:2]
    assert len(server.requests) == 5
    assert (tmp_path / "run" / "judgments.jsonl").read_bytes() == stored


def test_an_answer_whose_second_grading_failed_is_tried_again_by_either_command(
    say: Bench, server: MockServer, tmp_path: Path
) -> None:
    command = (*run_command(tmp_path), "--judge", "openai:j", "--no-cache")
    server.behave(lambda request, _: "Hm." if place_of(request) == ("q0", "1") else "Rating: [[7]]")
    assert say(*command)[0] == 0
    server.behave(lambda request, _: RESET)
    assert say("judge", tmp_path / "run", "--judge", "openai:j", "--no-cache")[0] == 4
    server.behave(says(j="Rating: [[1]]"))
    server.requests.clear()
    code, printed, _ = say(*command)
    assert (code, printed["status"]) == (0, "complete")
    assert [place_of(request.json) for request in server.requests] == [("q0", "1")]
    assert values(printed, "openai:j")["turn_1"] == 5


def test_a_judge_that_came_before_the_run_was_complete_is_still_known_when_it_is(
    say: Bench, server: MockServer, tmp_path: Path
) -> None:
    def behave(request: dict[str, Any], _: int) -> Any:
        if request["model"] == "j":
            return "Rating: [[7]]"
        return RESET if "q2" in request["messages"][0]["content"] else "An answer."

    server.behave(behave)
    command = list(run_command(tmp_path))
    command[command.index("--model") + 1] = "openai:m"
    begun = (*command, "--base-url", server.url, "--judge", "rubric")
    assert bench.main([*map(str, begun), "--quiet"]) == 4
    run = tmp_path / "run"
    code, printed, _ = say("judge", run, "--judge", "openai:j")
    assert code == 4
    assert score(printed, "average")["excluded"] == {"generation failed": 1}
    server.behave(says(m="An answer."))
    assert bench.main([*map(str, begun), "--quiet"]) == 4
    code, printed, _ = say("show", run)
    assert score(printed, "average")["excluded"] == {"not judged": 1}
    assert values(printed, "rubric")["average"] == 10
    code, printed, _ = say("judge", run, "--judge", "openai:j")
    assert (code, printed["status"]) == (0, "complete")
    assert (score(printed, "average")["value"], score(printed, "average")["n"]) == (7, 3)


def test_the_same_answers_are_judged_once_whatever_run_they_stand_in(
    say: Bench, server: MockServer, tmp_path: Path
) -> None:
    command = (*run_command(tmp_path)[:-1], tmp_path / "other", "--judge", "openai:j")
    first = say(*run_command(tmp_path), "--judge", "openai:j")
    assert len(server.requests) == 6
    again = say(*command)
    assert again[1]["scores"] == first[1]["scores"]
    assert len(server.requests) == 6
    assert {row["usage"]["cached"] for row in judgments(tmp_path / "other")} == {1}
    command = (*run_command(tmp_path)[:-1], tmp_path / "anew", "--judge", "openai:j", "--no-cache")
    assert say(*command)[0] == 0
    assert len(server.requests) == 12


def test_judges_have_a_key_of_their_own_and_no_file_holds_it(
    say: Bench, server: MockServer, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"OPENAI_API_KEY": "models-0123456789abcdef", "BENCH_JUDGE_API_KEY": "judges-0123456789abcdef"}
    for name, key in keys.items():
        monkeypatch.setenv(name, key)
    assert say("judge", run, "--judge", "openai:j")[0] == 0
    assert {request.headers["Authorization"] for request in server.requests} == {"Bearer judges-0123456789abcdef"}
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [content for content in written if b"0123456789abcdef" in content]


def test_two_judges_are_a_jury_and_how_far_they_lie_apart_is_its_noise(
    say: Bench, server: MockServer, tmp_path: Path
) -> None:
    server.behave(says(low="Rating: [[4]]", high="Rating: [[8]]"))
    run = tmp_path / "run"
    judges = ("--judge", "openai:low", "--judge", "openai:high")
    code, printed, _ = say(*run_command(tmp_path), *judges)
    assert code == 0
    assert (values(printed, "openai:low")["average"], values(printed, "openai:high")["average"]) == (4, 8)
    assert values(printed, "jury") == {
        "turn_1": 6, "turn_2": 6, "average": 6, "judge_noise": pytest.approx(8**0.5),
    }  # fmt: skip
    assert score(printed, "judge_noise", "jury")["n"] == 6
    # A judge that joins later sits in the jury as well.
    code, printed, _ = say("judge", run, "--judge", "openai:third")
    assert code == 0
    assert values(printed, "jury")["average"] == pytest.approx(19 / 3)
    server.requests.clear()
    # Without --judge, the run's own judges: all of them, and nothing is missing.
    assert say("judge", run, "--judge-base-url", server.url)[:2] == (0, printed)
    assert not server.requests


@pytest.mark.parametrize(
    ("make", "says_what"),
    [
        (lambda run: None, "so it is not a run directory"),
        (lambda run: run.mkdir(), "so it is not a run directory"),
        (lambda run: (run.mkdir(), (run / "run.json").write_text("{")), "can not read"),
        (lambda run: (run.mkdir(), (run / "run.json").write_text("{}")), "is no manifest of a run"),
        (lambda run: run.write_text("a file"), "can not read"),
    ],
)
@pytest.mark.parametrize("against", [False, True])
def test_what_is_no_run_is_refused_in_one_line(
    say: Bench, run: Path, tmp_path: Path, make: Callable[[Path], object], says_what: str, against: bool
) -> None:
    other = tmp_path / "other"
    make(other)
    before = sorted(other.iterdir()) if other.is_dir() else None
    places = (run, "--against", other) if against else (other,)
    code, printed, err = say("judge", *places, "--judge", "openai:j")
    assert (code, printed, err.count("\n")) == (2, None, 1)
    assert says_what in err
    assert (sorted(other.iterdir()) if other.is_dir() else None) == before


@pytest.mark.parametrize(
    ("flags", "says_what"),
    [
        (("--judge", "refusal"), "the judge refusal can grade none of mini_mt"),
        (("--judge", "openai:"), "lacks what follows the colon"),
        (("--judge", "opnai:j"), "no judge 'opnai:j'"),
        (("--judge", "openai:j", "--protocol", "fastchat"), "no judge_prompts.jsonl came with the data"),
        (("--judge", "openai:j", "--judge-by", "logprobs"), "does not tell its log-probabilities"),
        (("--judge", "rubric", "--protocol", "bench"), "--protocol goes with --judge openai:NAME"),
    ],
)
def test_a_judge_that_can_not_grade_a_run_is_refused_in_one_line(
    say: Bench, server: MockServer, run: Path, flags: Sequence[str], says_what: str
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}
    code, printed, err = say("judge", run, *flags)
    assert (code, printed, err.count("\n")) == (2, None, 1)
    assert says_what in err
    assert not server.requests
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"} == before


def test_a_run_that_another_process_writes_is_refused(say: Bench, server: MockServer, run: Path) -> None:
    with RunStore.open_to_judge(run):
        code, printed, err = say("judge", run, "--judge", "openai:j")
    assert (code, printed, err.count("\n")) == (2, None, 1)
    assert "is in use by pid" in err
    assert not server.requests


# --- against another run ---


def prefers_longer(request: dict[str, Any], _: int) -> str:
    shown = dict(re.findall(r"assistant ([AB]), turn \d\n(.*?)\n----", request["messages"][1]["content"], re.DOTALL))
    longer = "C" if len(shown["A"]) == len(shown["B"]) else max(shown, key=lambda place: len(shown[place]))
    return f"So it is.\nVerdict: [[{longer}]]"


@pytest.fixture
def baseline(say: Bench, tmp_path: Path) -> Path:
    """Its second answers differ: shorter for q0 (a win), longer for q1 (a loss), as long for q2 (a tie)."""
    texts = {("q0", 2): "answer", ("q1", 2): "a much longer answer"}
    assert say(*run_command(tmp_path, "base", texts))[0] == 0
    return tmp_path / "base"


def test_two_runs_are_compared_pair_by_pair_in_a_folder_of_the_candidate(
    say: Bench, server: MockServer, run: Path, baseline: Path
) -> None:
    before = {path: path.read_bytes() for place in (run, baseline) for path in place.glob("*.json*")}
    server.behave(prefers_longer)
    command = ("judge", run, "--against", baseline, "--judge", "openai:j", "--no-cache")
    code, printed, err = say(*command)
    assert code == 0
    folder = Path(printed["run"])
    assert folder.parent == run / "against"
    assert folder.name.startswith("base-")
    assert f"{run} against {baseline} → {folder}: 6 pairs in both orders" in err
    assert {(row["item"], row["turn"]): row["label"] for row in judgments(folder)} == {
        ("q0", 1): "tie", ("q0", 2): "win", ("q1", 1): "tie", ("q1", 2): "loss", ("q2", 1): "tie", ("q2", 2): "tie",
    }  # fmt: skip
    assert values(printed, "openai:j") == {
        "win": pytest.approx(1 / 6), "loss": pytest.approx(1 / 6), "tie": pytest.approx(4 / 6), "orders_disagree": 0,
        "prefers_first": 0, "prefers_second": 0, "win_rate": 0.5, "position_bias": 0,
    }  # fmt: skip
    assert len(server.requests) == 12
    server.requests.clear()
    stored = {path: path.read_bytes() for path in folder.glob("*.jsonl")}
    assert say(*command)[:2] == (0, printed)
    assert say("show", folder)[:2] == (0, printed)
    assert {path: path.read_bytes() for path in folder.glob("*.jsonl")} == stored
    assert not server.requests
    assert {path: path.read_bytes() for path in before} == before
    # The run itself still resumes and shows as before.
    assert say("show", run)[0] == 0


def test_a_judge_that_prefers_a_place_wins_nobody_anything(
    say: Bench, server: MockServer, run: Path, baseline: Path
) -> None:
    server.behave(says(j="Verdict: [[A]]"))
    code, printed, _ = say("judge", run, "--against", baseline, "--judge", "openai:j")
    assert code == 0
    assert {row["label"] for row in judgments(Path(printed["run"]))} == {"first"}
    found = values(printed, "openai:j")
    assert (found["win"], found["loss"], found["win_rate"]) == (0, 0, 0.5)
    assert (found["orders_disagree"], found["position_bias"]) == (1, 1)


def test_a_comparison_that_was_cut_off_goes_on_where_it_was(
    say: Bench, server: MockServer, run: Path, baseline: Path
) -> None:
    server.behave(lambda request, n: RESET if place_of(request)[0] == "q1" else prefers_longer(request, n))
    command = ("judge", run, "--against", baseline, "--judge", "openai:j", "--no-cache")
    code, printed, _ = say(*command)
    assert (code, printed["status"]) == (4, "incomplete")
    assert score(printed, "win_rate")["excluded"] == {"judge failed": 2}
    server.behave(prefers_longer)
    server.requests.clear()
    assert say(*command)[0] == 0
    assert Counter(place_of(request.json) for request in server.requests) == {("q1", "1"): 2, ("q1", "2"): 2}


def test_an_answer_that_one_run_lacks_is_left_out_and_counted(
    say: Bench, server: MockServer, run: Path, tmp_path: Path
) -> None:
    assert say(*run_command(tmp_path, "gaps", {("q0", 1): "$ERROR$", ("q2", 2): "$ERROR$"}))[0] == 0
    server.behave(prefers_longer)
    code, printed, _ = say("judge", run, "--against", tmp_path / "gaps", "--judge", "openai:j")
    assert code == 0
    assert (score(printed, "win_rate")["n"], score(printed, "win_rate")["excluded"]) == (3, {"no baseline answer": 3})
    code, printed, _ = say("judge", tmp_path / "gaps", "--against", run, "--judge", "openai:j")
    assert code == 0
    assert score(printed, "win_rate")["excluded"] == {"no answer of the candidate": 3}


def test_only_what_both_runs_were_asked_in_the_same_words_is_compared(
    say: Bench, server: MockServer, run: Path, tmp_path: Path
) -> None:
    command = run_command(tmp_path, "base")
    questions = tmp_path / "questions.jsonl"
    other = [{**row, "turns": [row["turns"][0], "And?"]} if row["id"] == "q1" else row for row in rows(questions)[:2]]
    questions.write_text("".join(json.dumps(row) + "\n" for row in other))
    assert say(*command)[0] == 0
    server.behave(prefers_longer)
    code, printed, _ = say("judge", run, "--against", tmp_path / "base", "--judge", "openai:j")
    assert code == 0
    folder = Path(printed["run"])
    assert {row["item"] for row in judgments(folder)} == {"q0"}
    # q2 and q1 of the candidate, q1 of the baseline.
    left_out = json.loads((folder / "run.json").read_text())["identity"]["tasks"]["mini_mt"]["left_out"]
    assert left_out == {"that only one of the two runs was asked": 3}


def test_runs_that_share_nothing_and_judges_that_do_not_compare_are_refused(
    say: Bench, server: MockServer, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.csv").write_text("id,prompt,response\na,How?,No.\n")
    other = tmp_path / "other"
    assert say("run", "--model", f"answers:{tmp_path}/other.csv", "--tasks", "asr", "--out", other)[0] == 0
    for flags, says_what in (
        ((run, "--against", other, "--judge", "openai:j"), "share no rated questions"),
        ((other, "--against", run, "--judge", "openai:j"), "share no rated questions"),
        ((run, "--against", run), "--against has a chat model compare"),
        ((run, "--against", run, "--judge", "rubric"), "--against has a chat model compare"),
        ((run, "--against", run, "--judge", "openai:j", "--protocol", "fastchat"), "no judge_prompts.jsonl"),
        ((run, "--against", run, "--judge", "openai:j", "--judge-by", "logprobs"), "--judge-by logprobs"),
    ):
        code, printed, err = say("judge", *flags)
        assert (code, printed, err.count("\n")) == (2, None, 1), flags
        assert says_what in err
    assert not server.requests
    assert not (run / "against").exists()
