"""bench inspect: the worst answers of each kind with their evidence, shared endings counted, harmful texts withheld."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.frames import read_frames
from harness.inspect_run import KINDS, inspect_run
from reports.inspection import excerpt, inspection_text
from tasks.collapse import words

Command = Callable[..., tuple[int, str, str]]
VOCABULARY = words(
    "river hill sea field way rose water morning light noon word night cut back March outward bud feed twice end June"
)
CLOSER = "Have a great and joyful day :)"


def prose(seed: int, length: int = 40) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=length))


def run_of(say: Command, folder: Path, texts: dict[str, str], task: str = "collapse") -> Path:
    """A run on stored answers: each text under its id."""
    file = folder / "answers.jsonl"
    rows = [{"id": name, "prompt": f"Ask {name}\nand more", "response": said} for name, said in texts.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = "id=id,prompt=prompt,response=response"
    flags = ("--columns", columns, "--tasks", task, "--out", folder / "run", "--quiet")
    assert say("run", "--model", f"answers:{file}", *flags)[0] == 0
    return folder / "run"


def found_in(say: Command, run: Path, *flags: object) -> dict[str, Any]:
    code, out, _ = say("inspect", run, "--json", *flags)
    assert code == 0
    printed: dict[str, Any] = json.loads(out)
    assert printed["schema_version"] == 1
    return printed


LOOPS = {f"loop-{n}": f"{prose(n)} " + "Have a nice day! " * (n + 20) for n in range(5)}
STEPS = " ".join(f"Then you take the {word} and put it down beside the door." for word in prose(7, 60).split())


def test_every_kind_is_found_and_the_worst_comes_first(say: Command, tmp_path: Path) -> None:
    texts = {
        **LOOPS, "empty": " \n", "signs": "?!" * 20, "steps": STEPS, **{f"fine-{n}": prose(100 + n) for n in range(9)},
    }  # fmt: skip
    printed = found_in(say, run_of(say, tmp_path, texts))
    assert printed["answers"] == len(texts)
    assert {kind: n for kind, n in printed["counts"].items() if n} == {"loop": 5, "rep": 1, "empty": 1, "unreadable": 1}
    by_kind: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for one in printed["found"]:
        by_kind[one["kind"]].append(one)
    assert [one["item"] for one in by_kind["loop"]] == ["loop-4", "loop-3", "loop-2"]
    worst = by_kind["loop"][0]
    start, end = worst["span"]
    assert worst["text"][start:end] == ("Have a nice day! " * 24).strip()
    assert worst["evidence"] == "loop of 5 words × 24 from word 41"
    assert worst["onset"] == pytest.approx(len(prose(4)) / len(LOOPS["loop-4"]), rel=0.01)
    assert worst["prompt"] == "Ask loop-4\nand more"
    assert "of all runs of four words repeat an earlier one" in by_kind["rep"][0]["evidence"]
    assert [(one["item"], one["span"]) for one in by_kind["empty"]] == [("empty", None)]


def test_an_answer_that_is_its_prompt_over_again_is_found_and_measured(say: Command, tmp_path: Path) -> None:
    # The prompts of this run are "Ask NAME\nand more".
    names = {"short": "a b c", "long": prose(1), "quoting": "a story", "fine": "the time"}
    texts = {name: f"Ask {name} and more" for name in names.values()}
    texts["a story"] = f"Ask a story and more, they said. {prose(2)}"
    texts["the time"] = prose(3)
    run = run_of(say, tmp_path, texts)
    printed = found_in(say, run, "--kind", "copy")
    assert printed["counts"] == {"copy": 2}
    assert [one["item"] for one in printed["found"]] == [names["long"], names["short"]]
    worst = printed["found"][0]
    assert worst["evidence"] == "43 words, nothing but a copy of the prompt"
    assert worst["span"] == [0, len(worst["text"])]
    answers = read_frames(run).texts.set_index("item")
    assert answers.copied.astype(bool).to_dict() == {name: name in (names["long"], names["short"]) for name in texts}
    assert answers.degenerate.astype(bool).to_dict() == {name: name == names["long"] for name in texts}
    assert answers.prompt_copy[names["quoting"]] == pytest.approx(5 / 47)
    assert answers.prompt_copy[names["fine"]] == 0.0


def test_kinds_number_and_task_choose_what_is_listed(say: Command, tmp_path: Path) -> None:
    run = run_of(say, tmp_path, {**LOOPS, "empty": ""})
    assert [one["item"] for one in found_in(say, run, "--kind", "loop", "--top", 1)["found"]] == ["loop-4"]
    assert len(found_in(say, run, "--kind", "loop,empty", "--top", 9)["found"]) == 6
    assert len(found_in(say, run, "--kind", "loop", "--kind", "empty", "--task", "collapse")["found"]) == 4
    for flags, said in (
        (("--kind", "lop"), "did you mean loop"),
        (("--task", "asr"), "known tasks of this run: collapse"),
        (("--top", 0), "--top takes a whole number from 1"),
    ):
        code, out, err = say("inspect", run, *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_a_closer_is_counted_once_for_each_prompt(say: Command, tmp_path: Path) -> None:
    texts = {f"i{n}": f"{prose(n)}. {CLOSER if n < 6 else ''}" for n in range(20)}
    texts |= {f"short-{n}": "No." for n in range(3)}
    printed = found_in(say, run_of(say, tmp_path, texts), "--kind", "boilerplate", "--top", 2)
    shared = {(one["what"], one["text"]): (one["prompts"], one["of"], one["item"]) for one in printed["shared"]}
    # Six words, marks being words, too. Short answers have no closer, but may be alike as a whole.
    assert shared == {("whole answer", "No."): (3, 23, "short-0"), ("closer", "great and joyful day :)"): (6, 20, "i0")}
    assert printed["found"] == []


def test_samples_of_one_prompt_share_nothing(say: Command, checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--tasks", "mini_mt", "--samples", 4, "--limit", 2, "--max-new-tokens", 6, "--quiet")
    assert say("run", "--model", checkpoint, *flags, "--out", tmp_path / "run")[0] == 0
    assert found_in(say, tmp_path / "run")["shared"] == []


def test_texts_of_answers_to_harmful_requests_are_withheld_until_they_are_asked_for(
    say: Command, tmp_path: Path
) -> None:
    secret = "Mix the powder with the acid. "
    run = run_of(say, tmp_path, {f"i{n}": secret * 30 for n in range(4)}, "asr,collapse")
    code, out, _ = say("inspect", run)
    assert code == 0
    assert "(withheld)" in out
    assert secret.strip() not in out
    assert "3 answers to harmful requests are withheld: --show-harmful prints them" in out
    assert secret.strip() not in json.dumps([one["text"] for one in found_in(say, run)["found"]])
    code, out, _ = say("inspect", run, "--show-harmful")
    assert secret.strip() in " ".join(out.split())
    assert "withheld" not in out


def test_an_answer_that_two_tasks_read_is_listed_once_and_withheld_if_one_of_them_is_harmful(
    say: Command, tmp_path: Path
) -> None:
    run = run_of(say, tmp_path, LOOPS, "over_refusal,asr,collapse")
    printed = found_in(say, run, "--top", 9, "--kind", "loop")
    assert printed["counts"] == {"loop": 5}
    assert {(one["task"], one["text"]) for one in printed["found"]} == {("over_refusal", None)}


def test_verdicts_stand_beside_the_answer_and_what_has_none_is_a_kind(say: Command, tmp_path: Path) -> None:
    texts = {"refused": "I'm sorry, but I can't help with that.", "loop": "I am a fox. " * 40, "fine": prose(1)}
    run = run_of(say, tmp_path, texts, "over_refusal,collapse")
    lines = (run / "judgments.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    last = next(row for row in rows if row["item"] == "fine")
    # The same grade again: the newest record counts.
    rows.append(last | {"label": None, "score": None, "unjudged": "the judge \x1b[31mrefused"})
    (run / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = found_in(say, run)
    verdicts = {(one["kind"], one["item"]): one["verdicts"] for one in printed["found"]}
    assert verdicts["refused", "refused"] == {"refusal": "refused"}
    assert verdicts["loop", "loop"] == {"refusal": "degenerate"}
    assert verdicts["unjudged", "fine"] == {"refusal": "unjudged: the judge \x1b[31mrefused"}
    _, out, _ = say("inspect", run)
    assert r"refusal: unjudged: the judge \x1b[31mrefused" in " ".join(out.split())
    assert "\x1b" not in out


def printed_in(console: Console, run: Path) -> str:
    return inspection_text(inspect_run(run), console)


def test_what_repeats_is_highlighted_and_without_colours_marked(say: Command, tmp_path: Path) -> None:
    run = run_of(say, tmp_path, {"loop": "Here you go. " + "Have a great day! :) " * 40})
    marked = "Here you go. >>>Have a great day! :) Have a great"
    assert marked in " ".join(printed_in(Console(width=80), run).split())
    assert marked in " ".join(printed_in(Console(width=80, force_terminal=True, no_color=True), run).split())
    lit = printed_in(Console(width=80, force_terminal=True, color_system="standard"), run)
    assert "\x1b[7mHave a great day! :)" in lit
    assert ">>>" not in lit


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_steers_it(say: Command, tmp_path: Path, width: int) -> None:
    evil = "\x1b]0;owned\x07 \u202e [red]x[/red] \ud800 \r\n "
    texts = {"a": evil + "day " * 90, "b": evil * 30, "c": "x" * 3000 + " y" * 90, "字" * 40: "好的。" * 60}
    run = run_of(say, tmp_path, texts)
    out = printed_in(Console(width=width), run)
    assert all(len(line) <= width for line in out.splitlines())
    assert r"\x1b]0;owned\x07 \u202e [red]x[/red] \ud800 ⏎" in " ".join(out.split())
    assert not {"\x1b", "\x07", "\u202e", "\ud800", "\r"} & set(out)


def test_an_excerpt_keeps_the_onset_and_the_end_of_a_long_span() -> None:
    text = "a" * 500 + "b" * 5000 + "c"
    parts = list(excerpt(text, (500, 5500), 120))
    assert [repeats for _, repeats in parts] == [False, True, False]
    assert parts[0][0] == "… " + "a" * 40
    assert parts[1][0].startswith("bbb")
    assert "characters) … bbb" in parts[1][0]
    assert sum(len(part) for part, _ in parts) < 160
    assert list(excerpt("short", None, 120)) == [("short", False)]


def test_an_empty_run_lists_nothing(say: Command, tmp_path: Path) -> None:
    run = run_of(say, tmp_path, {"a": "Yes."})
    (run / "answers.jsonl").write_text("")
    code, out, _ = say("inspect", run)
    assert code == 0
    assert "none of 0 answers: loop, rep" in out
