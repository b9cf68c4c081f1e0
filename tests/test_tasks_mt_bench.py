"""MT-Bench in FastChat's layout: its 80 questions, the references that 30 of them are graded by, its judge prompts."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tasks.errors import BadInput
from tasks.mt_bench import NEEDS_REFERENCE, judge_prompts_file, read_judge_prompts, read_mt_bench
from tasks.sources import SOURCES
from tasks.task import Task, TaskOptions, load_task

MATH = {"question_id": 1, "category": "math", "turns": ["One and one?", "And one?"], "reference": ["two", ""]}
CHAT = {"question_id": 2, "category": "writing", "turns": ["A word.", "Another."]}
ANSWERS = {"question_id": 1, "choices": [{"index": 0, "turns": ["It is 2.", "It is 3."]}]}


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Path:
    return shared_data / "mt_bench"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two questions with a reference for the one that needs it."""
    place = tmp_path / "mt_bench"
    write(place / "question.jsonl", MATH, CHAT)
    write(place / "reference_answer" / "gpt-4.jsonl", ANSWERS)
    return place


def write(file: Path, *rows: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        list(read_mt_bench(path))
    return str(caught.value)


def test_the_real_questions_are_ten_in_each_of_eight_categories_and_thirty_have_references(real: Path) -> None:
    items = list(read_mt_bench(real))
    assert list(Counter(item.category for item in items).values()) == [10] * 8
    assert [item.id for item in items] == [str(number) for number in range(81, 161)]
    assert all(len(item.turns) == 2 for item in items)
    with_reference = [item for item in items if item.reference]
    assert len(with_reference) == 30
    assert {item.category for item in with_reference} == NEEDS_REFERENCE


def test_questions_and_references_are_those_of_the_files_character_by_character(real: Path) -> None:
    rows = [json.loads(line) for line in (real / "question.jsonl").read_text().splitlines()]
    answers = {
        str(row["question_id"]): row["choices"][0]["turns"]
        for row in map(json.loads, (real / "reference_answer" / "gpt-4.jsonl").read_text().splitlines())
    }
    for item, row in zip(read_mt_bench(real / "question.jsonl"), rows, strict=True):
        assert list(item.turns) == row["turns"]
        assert list(item.reference) == answers.get(item.id, [])


def test_the_short_hint_of_a_question_is_no_reference(folder: Path) -> None:
    math, chat = read_mt_bench(folder)
    assert math.reference == ("It is 2.", "It is 3.")
    assert math.metadata == {"source": "fastchat"}
    assert chat.reference == ()


def test_a_question_that_needs_a_reference_is_refused_without_one_and_the_file_is_named(folder: Path) -> None:
    answers = folder / "reference_answer" / "gpt-4.jsonl"
    answers.unlink()
    message = refused(folder)
    assert message.startswith(f"{folder}/question.jsonl:1: the row asks about math")
    assert message.endswith(f"{answers} must hold one for '1'")
    write(answers, {**ANSWERS, "question_id": 7})
    assert refused(folder) == message


def test_the_only_file_of_references_is_taken_and_one_among_several_must_be_named(folder: Path) -> None:
    answers = folder / "reference_answer" / "gpt-4.jsonl"
    other = answers.rename(answers.with_name("gpt-4-turbo.jsonl"))
    assert next(read_mt_bench(folder)).reference == ("It is 2.", "It is 3.")
    shutil.copy(other, answers.with_name("me.jsonl"))
    assert refused(folder).endswith(
        "holds gpt-4-turbo.jsonl, me.jsonl: call the one that is to be the reference gpt-4.jsonl"
    )


@pytest.mark.parametrize("turns", [["It is 2."], ["It is 2.", "$ERROR$"]])
def test_a_reference_must_answer_every_turn(folder: Path, turns: list[str]) -> None:
    write(folder / "reference_answer" / "gpt-4.jsonl", {**ANSWERS, "choices": [{"index": 0, "turns": turns}]})
    assert "the row has 2 turns but 1 reference answers in" in refused(folder)


def test_references_in_another_layout_are_refused(folder: Path) -> None:
    write(folder / "reference_answer" / "gpt-4.jsonl", {"id": 1, "answer": "It is 2."})
    assert "holds no answers in FastChat's layout" in refused(folder)


def test_own_rows_bring_their_references(tmp_path: Path) -> None:
    own = {"id": "a", "category": "coding", "turns": ["Sort.", "Faster."], "reference": ["sorted(x)", "x.sort()"]}
    file = write(tmp_path / "mine.jsonl", own, {"id": "b", "category": "poetry", "turns": ["Sing."]})
    assert [item.reference for item in read_mt_bench(file)] == [("sorted(x)", "x.sort()"), ()]
    write(file, {**own, "reference": None})
    assert "the row asks about coding" in refused(file)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**CHAT, "question_id": None}, "has no value for 'question_id'"),
        ({"question_id": 2, "category": "writing"}, "has no 'turns'"),
        ({"question_id": 2, "turns": ["A word."]}, "has no 'category'"),
        ({"category": "writing", "turns": ["A word."]}, "has no 'id'"),
    ],
)
def test_a_bad_question_is_refused_with_its_place(folder: Path, row: object, reason: str) -> None:
    write(folder / "question.jsonl", MATH, row)
    assert refused(folder) == f"{folder}/question.jsonl:2: the row {reason}"


def test_a_folder_without_questions_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"can not read {tmp_path}/question.jsonl: No such file or directory"


# --- judge prompts ---


def test_the_real_judge_prompts_are_read_byte_for_byte(real: Path) -> None:
    file = judge_prompts_file(real)
    assert file == judge_prompts_file(real / "question.jsonl") == real / "judge_prompts.jsonl"
    prompts = read_judge_prompts(file)
    assert list(prompts) == [
        *("pair-v2", "pair-v2-multi-turn", "pair-math-v1", "pair-math-v1-multi-turn"),
        *("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn"),
    ]
    for line in file.read_text().splitlines():
        row = json.loads(line)
        prompt = prompts[row["name"]]
        assert vars(prompt) == {key: row[key] for key in vars(prompt)}


def test_judge_prompts_one_folder_above_are_found_as_in_the_tree_of_fastchat(folder: Path) -> None:
    assert judge_prompts_file(folder) is None
    above = write(folder.parent / "judge_prompts.jsonl", {})
    assert judge_prompts_file(folder) == judge_prompts_file(folder / "question.jsonl") == above
    beside = write(folder / "judge_prompts.jsonl", {})
    assert judge_prompts_file(folder) == beside


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "triple"}, "has the type 'triple', which is none of single, pairwise"),
        ({"name": "one"}, "repeats the name 'one'"),
        ({"prompt_template": ""}, "has no value for 'prompt_template'"),
        ({"output_format": 1}, "has a value for 'output_format' that is not text"),
    ],
)
def test_a_bad_judge_prompt_is_refused_with_its_place(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    good = {"name": "one", "type": "single", "system_prompt": "Judge.", "prompt_template": "{question}"}
    good["output_format"] = "[[rating]]"
    file = write(tmp_path / "judge_prompts.jsonl", good, {**good, "name": "two", **change})
    with pytest.raises(BadInput) as caught:
        read_judge_prompts(file)
    assert str(caught.value) == f"{file}:2: the row {reason}"


def test_a_file_without_judge_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no judge prompts"):
        read_judge_prompts(write(tmp_path / "judge_prompts.jsonl"))


# --- the task ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache of our own, empty."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def settings(task: Task) -> dict[str, float]:
    return {item.category: task.temperature(item) for item in task.items()}


def test_the_task_follows_the_protocol(real: Path) -> None:
    task = load_task("mt_bench", TaskOptions(data=real))
    assert (task.count, task.answers, task.graded, task.longest, task.max_new_tokens) == (80, 160, 160, 2, 1024)
    freely = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
    assert settings(task) == freely | dict.fromkeys(("math", "reasoning", "coding", "extraction"), 0)
    assert task.kind.judge is None
    assert (task.source, task.judge_prompts) == (str(real), real / "judge_prompts.jsonl")


def test_without_data_the_task_says_how_to_get_them(cache: Path) -> None:
    with pytest.raises(BadInput, match="its questions are not here: bench data pull mt_bench, or --data mt_bench=PATH"):
        load_task("mt_bench", TaskOptions())


def test_a_pulled_set_is_asked_with_its_judge_prompts_which_other_questions_do_not_borrow(
    cache: Path, real: Path, tmp_path: Path
) -> None:
    pulled = SOURCES["mt_bench"].folder
    shutil.copytree(real, pulled)
    task = load_task("mt_bench", TaskOptions())
    terms = "the set mt_bench, licence: Apache-2.0 (FastChat, Zheng et al. 2023)"
    assert (task.count, task.source) == (80, f"{pulled / 'question.jsonl'}, {terms}")
    assert task.sha256 == load_task("mt_bench", TaskOptions(data=real)).sha256
    mine = write(tmp_path / "mine" / "questions.jsonl", CHAT)
    assert task.judge_prompts == pulled / "judge_prompts.jsonl"
    assert load_task("mt_bench", TaskOptions(data=mine)).judge_prompts is None
    assert load_task("mini_mt", TaskOptions()).judge_prompts is None


def test_a_limit_keeps_references_with_their_questions(real: Path) -> None:
    task = load_task("mt_bench", TaskOptions(data=real, limit=8))
    items = list(task.items())
    assert len({item.category for item in items}) == 8
    assert {item.category for item in items if item.reference} == NEEDS_REFERENCE


def test_another_reference_makes_another_task(folder: Path) -> None:
    before = load_task("mt_bench", TaskOptions(data=folder)).sha256
    changed = {**ANSWERS, "choices": [{"index": 0, "turns": ["It is 2.", "It is three."]}]}
    write(folder / "reference_answer" / "gpt-4.jsonl", changed)
    assert load_task("mt_bench", TaskOptions(data=folder)).sha256 != before


def test_stored_answers_of_fastchat_join_the_real_questions(real: Path, tmp_path: Path) -> None:
    rows = [
        {"question_id": number, "model_id": "parrot", "choices": [{"index": 0, "turns": [f"{number}", "again"]}]}
        for number in (81, 101, 999)
    ]
    answers = write(tmp_path / "parrot.jsonl", *rows)
    task = load_task("mt_bench", TaskOptions(data=real, answers=answers))
    items = {item.id: item for item in task.items()}
    assert (task.count, dict(task.left_out)) == (80, {"of the file that answer none of its questions": 1})
    assert items["101"].replies == (("101", "again"),)
    assert len(items["101"].reference) == 2
    assert items["82"].replies == ((None, None),)
    assert task.source == f"{answers}, answers to the questions of {real}"
    assert task.judge_prompts == real / "judge_prompts.jsonl"
