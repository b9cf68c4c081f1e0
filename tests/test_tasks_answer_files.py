"""Stored answers: every layout gives its items and replies; every bad file is one sentence with file and line."""

import csv
import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.answer_files import answer_layout, read_answered_items
from tasks.errors import BadInput
from tasks.harm_sets import read_harm_items
from tasks.item import Item, read_items

ATTACK = {"index": 3, "goal": "Do a thing", "category": "Fraud/Deception", "prompt": None, "response": None}


def written(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def refusal(file: Path, columns: dict[str, str] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        list(read_answered_items(file, columns))
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{file.parent}/", "")


# --- layouts ---


def test_fastchat_choices_are_samples_in_the_order_of_their_index(tmp_path: Path) -> None:
    choices = [{"index": 1, "turns": ["c", "d"]}, {"index": 0, "turns": ["a", ""]}]
    file = written(tmp_path / "a.csv", {"question_id": 81, "model_id": "m", "choices": choices})
    (item,) = read_answered_items(file)
    assert answer_layout(file) == "fastchat"
    assert (item.id, item.turns, item.replies) == ("81", ("", ""), (("a", ""), ("c", "d")))
    assert item.metadata["generator"] == "m"


def test_a_fastchat_turn_that_is_missing_null_or_an_api_error_is_no_reply(tmp_path: Path) -> None:
    choices = [{"index": 0, "turns": ["$ERROR$", None]}, {"index": 1, "turns": ["a $ERROR$ in the text"]}]
    (item,) = read_answered_items(written(tmp_path / "a.jsonl", {"question_id": "q", "choices": choices}))
    assert item.replies == ((None, None), ("a $ERROR$ in the text", None))


@pytest.mark.parametrize("lines", [True, False])
def test_alpaca_eval_items_of_two_models_pair_whatever_the_order_of_their_rows(tmp_path: Path, lines: bool) -> None:
    rows = [{"instruction": f"Say {n}", "output": n, "generator": "m", "dataset": "koala"} for n in ("one", "")]
    first, second = written(tmp_path / "1", *rows), written(tmp_path / "2", *rows[::-1])
    if not lines:
        first.write_text(json.dumps(rows))
    assert answer_layout(first) == "alpaca_eval"
    items = {item.id: item for item in read_answered_items(first)}
    assert items == {item.id: item for item in read_answered_items(second)}
    assert [(item.turns, item.category, item.replies) for item in items.values()] == [
        (("Say one",), "koala", (("one",),)),
        (("Say ",), "koala", (("",),)),
    ]


def test_two_models_answers_in_one_alpaca_eval_file_are_refused(tmp_path: Path) -> None:
    rows = [{"instruction": "Hi", "output": "…", "generator": name} for name in "ab"]
    assert "a.jsonl:2: the row repeats the id" in refusal(written(tmp_path / "a.jsonl", *rows))


def test_a_jailbreakbench_artifact_gives_the_items_of_the_harm_set_with_reply_and_verdict(tmp_path: Path) -> None:
    rows = [{**ATTACK, "jailbroken": False}, {**ATTACK, "index": 4, "prompt": "P", "response": "R", "jailbroken": True}]
    file = written(tmp_path / "a.json", {"parameters": {}, "jailbreaks": rows})
    items = list(read_answered_items(file, {"label": "jailbroken"}))
    assert answer_layout(file) == "jailbreakbench"
    for item, asked in zip(items, read_harm_items(file), strict=True):
        assert (item.id, item.category, item.turns) == (asked.id, asked.category, asked.turns)
        assert item.metadata["goal"] == "Do a thing"
    assert [item.replies for item in items] == [((None,),), (("R",),)]
    assert [item.metadata["jailbroken"] for item in items] == [False, True]
    assert [item.metadata["given_label"] for item in items] == ["false", "true"]


def test_replies_are_kept_to_the_letter(tmp_path: Path) -> None:
    replies = ["", " two\r\nlines ", "NaN", "null", "lone \ud83d surrogate", 'a "quoted", cell', "\u2028", None]
    rows: list[dict[str, object]] = [{"prompt": f"p{n}", "response": reply} for n, reply in enumerate(replies)]
    file = written(tmp_path / "a.jsonl", *rows)
    assert [item.replies[0][0] for item in read_answered_items(file)] == replies
    file.write_text(json.dumps(rows, indent=1))
    assert [item.replies[0][0] for item in read_answered_items(file)] == replies
    table = tmp_path / "a.txt"
    with table.open("w", encoding="utf-8-sig", newline="") as cells:
        csv.writer(cells).writerows(
            [("Prompt", "Response"), *((f"p{n}", reply) for n, reply in enumerate(replies[:4]))]
        )
    assert [item.replies[0][0] for item in read_answered_items(table)] == replies[:4]


def test_rows_without_ids_are_named_by_their_prompts_and_repeats_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *({"prompt": prompt, "response": "r"} for prompt in ("x", "y", "x")))
    first, _, again = (item.id for item in read_answered_items(file))
    assert again == f"{first}-2"


def test_named_columns_become_label_id_and_category(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('q,a,verdict,n,group\n"Hi, you",yo,  unsafe,7,Small Talk\nBye,,,8,\n')
    named = {"prompt": "q", "response": "a", "label": "verdict", "id": "n", "category": "group"}
    assert answer_layout(file, named) == "table"
    assert list(read_answered_items(file, named)) == [
        Item("7", "small_talk", ("Hi, you",), (), (), {"source": "file", "given_label": "unsafe"}, (("yo",),)),
        Item("8", "uncategorised", ("Bye",), (), (), {"source": "file"}, (("",),)),
    ]


def test_xstest_labels_are_given_only_where_every_type_is_of_xstest(tmp_path: Path) -> None:
    rows = [{"prompt": kind, "response": "r", "type": kind} for kind in ("homonyms", "contrast_privacy", "puns")]
    labelled = list(read_answered_items(written(tmp_path / "a.jsonl", *rows[:2])))
    assert [item.metadata["label"] for item in labelled] == ["safe", "unsafe"]
    assert not any("label" in item.metadata for item in read_answered_items(written(tmp_path / "b.jsonl", *rows)))


# --- real files ---


@pytest.mark.parametrize(("model", "refused"), [("gpt4", 211), ("llama2new", 230)])
def test_real_xstest_completions_keep_their_text_and_labels(shared_data: Path, model: str, refused: int) -> None:
    file = shared_data / "xstest" / f"xstest_v2_completions_{model}.csv"
    items = list(read_answered_items(file, {"response": "completion", "label": "final_label"}))
    with file.open(newline="") as lines:
        assert [item.replies[0][0] for item in items] == [row["completion"] for row in csv.DictReader(lines)]
    assert sum(item.metadata["label"] == "safe" for item in items) == 250
    assert sum(item.metadata["given_label"] == "2_full_refusal" for item in items) == refused


def test_real_files_of_answers_are_recognised_and_complete(shared_data: Path) -> None:
    fastchat = list(read_answered_items(shared_data / "mt_bench" / "reference_answer" / "gpt-4.jsonl"))
    assert (len(fastchat), fastchat[0].id, len(fastchat[0].replies[0])) == (30, "101", 2)
    gemma = list(read_answered_items(shared_data / "alpaca_eval" / "gemma-2b-it.json"))
    assert (len(gemma), sum(item.replies == (("",),) for item in gemma)) == (805, 22)
    vicuna = list(read_answered_items(shared_data / "jailbreakbench" / "PAIR" / "vicuna-13b-v1.5.json"))
    assert sum(bool(item.metadata["jailbroken"]) for item in vicuna) == 69
    assert sum(item.replies == ((None,),) for item in vicuna) == 18


# --- bad files ---


def test_a_missing_column_lists_those_there_are_and_the_likely_one(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,prompt,completion\n1,Hi,yo\n")
    assert refusal(file) == (
        "a.csv: no column 'response' among 'id', 'prompt', 'completion'; did you mean --columns response=completion?"
    )
    assert refusal(file, {"response": "completon"}).endswith("did you mean --columns response=completion?")
    assert "there is no 'respons'" in refusal(file, {"respons": "completion"})


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"prompt": "p", "response": "r"}, {"prompt": "p"}], "a.jsonl:2: the row has no 'response'"),
        ([{"prompt": "p", "response": 5}], "a.jsonl:1: the row has a value for 'response' that is not text"),
        ([{"prompt": None, "response": "r"}], "a.jsonl:1: the row has no value for 'prompt'"),
        ([{"prompt": "p", "response": "r"}, []], "a.jsonl:2: the row is not a JSON object"),
        ([{"prompt": "p", "response": "r", "id": i} for i in "aba"], "a.jsonl:3: the row repeats the id 'a' of line 1"),
        ([{"prompt": "p", "response": "r", "id": True}], "a.jsonl:1: the row has a value for 'id' that is not text"),
        ([[{"prompt": "p", "response": "r"}, {}]], "a.jsonl, entry 2: the row has no 'prompt'"),
        ([{"question_id": 1, "choices": []}], "a.jsonl:1: the row has no list of 'choices'"),
        ([{"question_id": 1, "choices": [{"turns": [["x"]]}]}], "a.jsonl:1: the row has a choice whose 'turns' are"),
        ([{"jailbreaks": [{**ATTACK, "jailbroken": "no"}]}], "a.jsonl, entry 1: the row has a value for 'jailbroken'"),
        ([], "a.jsonl: no items in this file"),
        ([[]], "a.jsonl: no items in this file"),
        ([{"jailbreaks": []}], "a.jsonl: no items in this file"),
    ],
)
def test_a_bad_row_is_named_by_file_and_place(tmp_path: Path, rows: Sequence[object], reason: str) -> None:
    assert refusal(written(tmp_path / "a.jsonl", *rows)).startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('prompt,response\n"a\nb",c\nd,e,f\n', "a:4: the row has 3 cells, the header 2"),
        ("prompt,response\nonly\n", "a:2: the row has no 'response'"),
        ('prompt,response\na,"b\nc,d\n', "a:2: not valid CSV (unexpected end of data); is a quote left open there?"),
        ("prompt,response,prompt\n", "a:1: the header names 'prompt' twice"),
        ("prompt,response\n", "a: no items in this file"),
        ('{"prompt": "p", "response": "r"}\n{"prompt"\n', "a:2: not valid JSON ("),
        ('{"prompt": "p", "response": "r"}\n' + "9" * 5000, "a:2: not valid JSON (a number with too many digits)"),
        ("[" * 100_000, "a: not valid JSON (nested too deep)"),
        ("prompt,response\nä,ö\n".encode("latin-1"), "a:2: not UTF-8 text: save the file as UTF-8"),
        ("prompt,response\n".encode("utf-16"), "a is UTF-16 text: save it as UTF-8"),
        (gzip.compress(b"prompt,response\n"), "a: no items in this file"),
        (gzip.compress(b"prompt,response\n" * 99)[:-9], "a is a gzip file that is damaged or cut short ("),
        (gzip.compress(b"prompt,response\np,r\n")[:-8] + bytes(8), "a is a gzip file that is damaged or cut short ("),
        (gzip.compress("prompt,response\nä,ö\n".encode("latin-1")), "a:2: not UTF-8 text: save the file as UTF-8"),
        (gzip.compress(gzip.compress(b"prompt,response\n")), "a is a binary or compressed file"),
        (b"\x00\x01\x02\n", "a is a binary file"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_sentence(tmp_path: Path, content: str | bytes, reason: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(file).startswith(reason)


def test_a_folder_and_a_missing_file_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "can not read folder: Is a directory"
    assert refusal(tmp_path / "nothing") == "can not read nothing: No such file or directory"


# --- any input at all ---

KEYS = (
    *("id", "category", "turns", "reference", "checks", "metadata", "kind", "prompt", "response", "type", "label"),
    *("question_id", "choices", "index", "instruction", "output", "generator", "dataset", "jailbreaks", "goal"),
    *("behavior", "behaviorid", "functionalcategory", "semanticcategory", "forbidden_prompt", "target", "jailbroken"),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("homonyms"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
text = st.text(min_size=1, max_size=5)
good = {
    **dict.fromkeys(KEYS, anything),
    **dict.fromkeys(("id", "category", "prompt", "response", "goal", "instruction", "output", "generator"), text),
    "turns": st.lists(text, min_size=1, max_size=2),
    "choices": st.lists(st.fixed_dictionaries({"turns": st.lists(text | st.none(), max_size=2)}), min_size=1),
}
rows = st.lists(st.fixed_dictionaries({}, optional=good) | st.dictionaries(st.sampled_from(KEYS), anything) | anything)


@pytest.mark.parametrize("read", [read_items, read_harm_items, read_answered_items])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, shape=st.sampled_from(["lines", "list", "artifact"]))
@example(rows=[{"id": 1, "category": "c", "turns": ["t"], "checks": [{"kind": 1}], "metadata": [1]}], shape="lines")
def test_no_json_makes_a_reader_raise_anything_but_bad_input(
    tmp_path: Path, read: Callable[[Path], Iterator[Item]], rows: list[Any], shape: str
) -> None:
    lines = {"lines": rows, "list": [rows], "artifact": [{"jailbreaks": rows}]}[shape]
    read_or_refuse(read, written(tmp_path / "any.jsonl", *lines))


@pytest.mark.parametrize("read", [read_items, read_harm_items, read_answered_items])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([b"", b"prompt,response\n", b"{", b"[", b"\xef\xbb\xbf"]),
    tail=st.binary() | text.map(str.encode),
)
def test_no_bytes_make_a_reader_raise_anything_but_bad_input(
    tmp_path: Path, read: Callable[[Path], Iterator[Item]], head: bytes, tail: bytes
) -> None:
    file = tmp_path / "any"
    file.write_bytes(head + tail)
    read_or_refuse(read, file)


def read_or_refuse(read: Callable[[Path], Iterator[Item]], file: Path) -> None:
    items, reason = [], ""
    try:
        items = list(read(file))
    except BadInput as error:
        reason = str(error)
    assert items or str(file) in reason
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert all(isinstance(turn, str) for turn in item.turns)
        assert all(len(sample) == len(item.turns) for sample in item.replies)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_replies(tmp_path: Path, suffix: str) -> None:
    peaks = []
    for reply in ("x" * 100, "x" * 5000):
        file = tmp_path / f"a.{suffix}"
        with file.open("w") as out:
            out.write("prompt,response\n" if suffix == "csv" else "")
            for n in range(2000):
                out.write(
                    f"{n},{reply}\n" if suffix == "csv" else json.dumps({"prompt": f"{n}", "response": reply}) + "\n"
                )
        tracemalloc.start()
        assert sum(1 for _ in read_answered_items(file)) == 2000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert all(later < earlier + 500_000 for earlier, later in pairwise(peaks))
