"""Stored judgments: replayed as they stand, never a number where there is none, and none for an answer not judged."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from judges.judgment import Grade
from judges.stored import LEFT_OPEN, NO_JUDGMENT, OTHER_ANSWER, UNREADABLE, StoredJudge, open_stored
from tasks.answer_files import read_answered_items
from tasks.conversation import Answer
from tasks.errors import BadInput
from tasks.item import Item

Row = dict[str, Any]


def fastchat(question: int = 81, turn: float = 1, **other: Any) -> Row:
    """A row as FastChat's gen_judgment.py writes it."""
    row = {
        "question_id": question, "model": "vicuna-7b", "judge": ["gpt-4", "single-v1"], "user_prompt": "…",
        "judgment": "Clear. Rating: [[7]]", "score": 7, "turn": turn, "tstamp": 1686286924.1,
    }  # fmt: skip
    return {**row, **other}


def written(folder: Path, rows: list[Row], name: str = "gpt-4_single.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def graded(
    judge: StoredJudge, item: str, turn: int = 1, *, sample: int = 0, task: str = "mt_bench", text: str = "The Rhine."
) -> Grade:
    """What the judge says of an answer to this turn of a question of two turns."""
    answers = [Answer(task, item, sample, number, text, "stop") for number in range(1, turn + 1)]
    return asyncio.run(judge.grade(Item(item, "x", ("Name a river.", "Another.")), answers))


def test_a_rating_of_fastchat_is_the_grade_of_its_question_and_turn(tmp_path: Path) -> None:
    path = written(tmp_path, [fastchat(), fastchat(turn=2, score=4.5, judgment="Short. [[4.5]]"), fastchat(82)])
    judge = open_stored(f"judgments:{path}")
    assert (judge.name, judge.gives, judge.model) == ("judgments:gpt-4", "score", "vicuna-7b")
    assert graded(judge, "81") == Grade(score=7.0, raw="Clear. Rating: [[7]]")
    assert graded(judge, "81", turn=2) == Grade(score=4.5, raw="Short. [[4.5]]")
    assert judge.describe()["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_answer_that_the_file_does_not_judge_has_a_reason_and_no_score(tmp_path: Path) -> None:
    judge = open_stored(f"judgments:{written(tmp_path, [fastchat()])}")
    for asked in (graded(judge, "82"), graded(judge, "81", turn=2), graded(judge, "81", sample=1)):
        assert asked == Grade(unjudged=NO_JUDGMENT)


def test_fastchats_minus_one_is_no_rating(tmp_path: Path) -> None:
    judge = open_stored(f"judgments:{written(tmp_path, [fastchat(score=-1, judgment='$ERROR$')])}")
    assert graded(judge, "81") == Grade(unjudged=UNREADABLE, raw="$ERROR$")


def test_of_reruns_the_last_counts_and_the_others_are_told(tmp_path: Path) -> None:
    rows = [fastchat(score=3), fastchat(82), fastchat(score=-1), fastchat(score=9)]
    judge = open_stored(f"judgments:{written(tmp_path, rows)}")
    assert graded(judge, "81").score == 9.0
    assert (judge.superseded, judge.describe()["superseded"], judge.describe()["judgments"]) == (2, 2, 2)


def test_the_model_of_a_file_with_several_is_chosen_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, [fastchat(), fastchat(model="llama-13b", score=2), fastchat(model="llama-13b", score=3)])
    with pytest.raises(BadInput, match=r"judges 2 models \(llama-13b, vicuna-7b\): choose one, as in .*#llama-13b"):
        open_stored(f"judgments:{path}")
    with pytest.raises(BadInput, match=r"no judgments of answers of 'llama-7b': did you mean llama-13b"):
        open_stored(f"judgments:{path}#llama-7b")
    vicuna, llama = open_stored(f"judgments:{path}#vicuna-7b"), open_stored(f"judgments:{path}#llama-13b")
    assert (graded(vicuna, "81").score, graded(llama, "81").score) == (7.0, 3.0)
    assert (vicuna.superseded, llama.superseded) == (0, 1)
    assert vicuna.describe() != llama.describe()


def test_a_hash_in_the_name_of_a_file_is_part_of_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, [fastchat()], name="run#3.jsonl")
    assert graded(open_stored(f"judgments:{path}"), "81").score == 7.0


def test_a_judgment_counts_only_for_the_answer_that_its_prompt_shows(tmp_path: Path) -> None:
    prompt = "[Question]\nName a river.\n\n[The Start of Assistant's Answer]\n{}\n[The End of Assistant's Answer]"
    path = written(tmp_path, [fastchat(user_prompt=prompt.format("The Rhine."))])
    judge = open_stored(f"judgments:{path}")
    assert graded(judge, "81").score == 7.0
    assert graded(judge, "81", text="The Danube.") == Grade(unjudged=OTHER_ANSWER)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (fastchat(score=0), "the score 0, which is no number from 1 to 10"),
        (fastchat(score=10.5), "the score 10.5"),
        (fastchat(score=-2), "the score -2"),
        (fastchat(score=True), "the score True"),
        (fastchat(score="7"), "the score '7'"),
        (fastchat(score=None), "the score None"),
        (fastchat(score=float("nan")), "the score nan"),
        (fastchat(turn=0), "'turn' that is no whole number from 1 on"),
        (fastchat(turn=1.5), "'turn' that is no whole number"),
        (fastchat(judge="gpt-4"), "no list of judge and prompt"),
        (fastchat(model=None), "no value for 'model'"),
        (fastchat(question=True), "'question_id' that is not text"),
        ([1], "not a JSON object"),
    ],
)
def test_a_row_that_is_no_judgment_is_refused_with_its_line(tmp_path: Path, row: Any, said: str) -> None:
    path = written(tmp_path, [fastchat(), row])
    with pytest.raises(BadInput, match=rf"{path}:2: the row .*{said}"):
        open_stored(f"judgments:{path}")


def test_pairwise_judgments_are_refused_in_a_sentence(tmp_path: Path) -> None:
    row = {
        "question_id": 81, "model_1": "a", "model_2": "b", "g1_winner": "model_1", "g2_winner": "tie",
        "judge": ["gpt-4", "pair-v2"], "g1_judgment": "[[A]]", "g2_judgment": "[[C]]", "turn": 1, "tstamp": 1.0,
    }  # fmt: skip
    with pytest.raises(BadInput, match=r"holds pairwise judgments.*single-answer ratings are needed"):
        open_stored(f"judgments:{written(tmp_path, [row])}")


def test_the_words_of_two_judges_are_not_mixed(tmp_path: Path) -> None:
    rows = [fastchat(), fastchat(82, judge=["claude-v1", "single-v1"]), fastchat(83, judge=["gpt-4", "single-math-v1"])]
    with pytest.raises(BadInput, match="mixes the judgments of claude-v1 and gpt-4: keep one judge a file"):
        open_stored(f"judgments:{written(tmp_path, rows)}")


def test_labels_of_people_are_of_the_last_turn_unless_they_name_one(tmp_path: Path) -> None:
    judge = open_stored(f"human:{table(tmp_path, 'item,Label', '81,refused', '82, Harmful', '83,')}")
    assert (judge.name, judge.gives) == ("human", "label")
    assert graded(judge, "81", turn=2) == Grade(label="refused")
    assert graded(judge, "81", turn=1) == Grade(unjudged=NO_JUDGMENT)
    assert graded(judge, "82", turn=2).label == "harmful"
    assert graded(judge, "83", turn=2) == Grade(unjudged=LEFT_OPEN)


def test_a_table_may_name_task_sample_turn_and_model(tmp_path: Path) -> None:
    rows = ["a,mt_bench,81,0,1,7", "a,mt_bench,81,1,1,6.5", "a,asr,81,0,1,1", "b,asr,81,0,1,2"]
    judge = open_stored(f"human:{table(tmp_path, 'model,task,id,sample,turn,score', *rows)}#a")
    found = [
        graded(judge, "81"),
        graded(judge, "81", sample=1),
        graded(judge, "81", task="asr"),
        graded(judge, "81", 2),
    ]
    assert [grade.score for grade in found] == [7.0, 6.5, 1.0, None]


def test_a_table_in_json_lines_is_read_alike(tmp_path: Path) -> None:
    rows: list[Row] = [{"item": "81", "turn": 1, "score": 7}, {"item": "81", "turn": 2, "score": None}]
    judge = open_stored(f"judgments:{written(tmp_path, rows, name='mine.jsonl')}")
    assert judge.name == "judgments:mine"
    assert graded(judge, "81").score == 7.0
    assert graded(judge, "81", turn=2) == Grade(unjudged=LEFT_OPEN)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("item,label 81,complied", r":2: the row has the label 'complied', which is none of degenerate, harmful"),
        ("item,score 81,11", r":2: the row has the score 11.0, which is no number from 1 to 10"),
        ("item,score 81,good", r":2: the row has the score 'good'"),
        ("item,turn,score 81,,3", r":2: the row has a value for 'turn' that is no whole number"),
        ("item,score 81,3 82,4 81,5", r":4: the row judges the answer of line 2 again"),
        ("item,score,label 81,3,other", r"a column item \(or id\) and one of score and label"),
        ("item,verdict 81,3", r"this one has item, verdict"),
        ("item,score", r"no judgments in this file"),
        ("", r"this one has none"),
        ("item,score 81", r":2: the row has no 'score'"),
    ],
)
def test_a_table_that_can_not_be_read_is_refused(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        open_stored(f"human:{table(tmp_path, *lines.split())}")


def test_a_judge_without_a_file_is_refused(tmp_path: Path) -> None:
    for name, said in (
        ("human:", "names no file: write human:FILE"),
        (f"judgments:{tmp_path}/none.jsonl", "can not read"),
        (f"judgments:{tmp_path}", "can not read"),
        (f"human:{table(tmp_path, 'item,score', '81,3')}#m", "it names no models, leave out #m"),
    ):
        with pytest.raises(BadInput, match=said):
            open_stored(name)


@pytest.mark.parametrize("kind", ["judgments", "human"])
def test_artifacts_of_jailbreakbench_judge_their_own_answers(shared_data: Path, kind: str) -> None:
    path = shared_data / "jailbreakbench" / "PAIR" / "vicuna-13b-v1.5.json"
    judge = open_stored(f"{kind}:{path}")
    assert (judge.name, judge.gives) == ("judgments:jailbreakbench", "label")
    labels: Counter[str | None] = Counter()
    for item in read_answered_items(path):
        text = item.replies[0][0]
        if text is None:
            continue
        answer = Answer("asr", item.id, 0, 1, text, "unknown")
        grade = asyncio.run(judge.grade(item, [answer]))
        assert (grade.label == "harmful") is item.metadata["jailbroken"]
        labels[grade.label] += 1
        other = Answer("asr", item.id, 0, 1, "Something else.", "stop")
        assert asyncio.run(judge.grade(item, [other])) == Grade(unjudged=OTHER_ANSWER)
    # 18 of the 100 attacks found no prompt, so nothing was answered.
    assert labels == {"harmful": 69, "other": 13}


def test_an_attack_that_nobody_judged_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "artifact.json"
    path.write_text(json.dumps({"parameters": {}, "jailbreaks": [{"index": 3, "jailbroken": None}]}))
    assert graded(open_stored(f"judgments:{path}"), "jbb-3", turn=2) == Grade(unjudged=LEFT_OPEN)
    path.write_text(json.dumps({"parameters": {}, "jailbreaks": [{"index": 3, "jailbroken": 1}]}))
    with pytest.raises(BadInput, match=r"entry 1: the row has a value for 'jailbroken' that is neither true nor false"):
        open_stored(f"judgments:{path}")
