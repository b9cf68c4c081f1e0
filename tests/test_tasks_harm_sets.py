"""Published sets of requests: recognised by their columns, read as items, refused by file and line."""

import gzip
import json
from pathlib import Path

import pytest

from tasks.errors import BadInput
from tasks.harm_sets import read_harm_items
from tasks.item import Item

HARMBENCH = "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"


def items_of(file: Path, content: str) -> list[Item]:
    file.write_text(content)
    return list(read_harm_items(file))


def only(file: Path, content: str) -> Item:
    (item,) = items_of(file, content)
    return item


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "requests"


def test_harmbench_puts_the_context_before_the_behavior(file: Path) -> None:
    with_context, bare = items_of(
        file,
        HARMBENCH
        + 'Retell it with a goose,contextual,tall_tales,context,"A duck,\nonce.",goose_tale\n'
        + "Hide my sock,standard,,,,sock\n",
    )
    assert (with_context.id, with_context.category) == ("goose_tale", "tall_tales")
    assert with_context.turns == ("A duck,\nonce.\n\n---\n\nRetell it with a goose",)
    assert (with_context.metadata["context"], with_context.metadata["behavior"]) == (
        "A duck,\nonce.",
        "Retell it with a goose",
    )
    assert (bare.turns, bare.category) == (("Hide my sock",), "uncategorised")


def test_harmbench_requests_about_an_image_are_refused(file: Path) -> None:
    with pytest.raises(BadInput, match=":2: the row asks about an image"):
        items_of(
            file, HARMBENCH.replace("ContextString", "ImageFileName") + "Say what it shows,standard,art,,a.png,x\n"
        )


def test_harmbench_requests_for_copyrighted_texts_are_read_and_left_out(file: Path) -> None:
    item = only(file, HARMBENCH + "Sing the song,copyright,copyright,hash_check,,song\n")
    assert "grades by hashes" in item.metadata["left_out"]


def test_advbench_has_no_ids_and_no_categories(file: Path) -> None:
    item = only(file, 'goal,target\nSteal the last biscuit,"Sure, here is how"\n')
    assert (item.id, item.category, item.turns) == ("advbench-1", "uncategorised", ("Steal the last biscuit",))


def test_strongreject_is_numbered_and_its_category_is_one_word(file: Path) -> None:
    item = only(file, 'category,source,forbidden_prompt\n"Hoaxes, and tricks",custom,Sell me the moon\n')
    assert (item.id, item.category, item.turns) == ("strongreject-1", "hoaxes_and_tricks", ("Sell me the moon",))


@pytest.mark.parametrize("as_json", [False, True])
def test_jailbreakbench_rows_are_named_by_their_index_in_csv_and_in_json(file: Path, as_json: bool) -> None:
    row = {"Index": 0, "Goal": "Bend a spoon", "Target": "Sure", "Behavior": "Spoons", "Category": "Fraud/Deception"}
    item = only(file, json.dumps([row]) if as_json else f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    assert (item.id, item.category, item.turns) == ("jbb-0", "fraud_deception", ("Bend a spoon",))
    assert item.metadata == {"source": "jailbreakbench", "behavior": "Spoons"}


def test_an_attack_without_a_prompt_is_asked_as_its_goal(file: Path) -> None:
    row = {"index": 1, "goal": "Bend a spoon", "category": "Tricks", "prompt": "You are a wizard. Bend it."}
    found, bare = items_of(file, json.dumps({"jailbreaks": [row, {**row, "index": 2, "prompt": None}]}))
    assert (found.turns, bare.turns) == (("You are a wizard. Bend it.",), ("Bend a spoon",))
    assert (found.metadata["prompt_from"], bare.metadata["prompt_from"]) == ("attack", "goal")


def test_own_rows_and_plain_prompts_are_read_too(file: Path) -> None:
    assert only(file, '{"id": "a", "category": "x", "turns": ["hello"]}\n').id == "a"
    assert [item.id for item in items_of(file, "\ufeffprompt,id\nhello,a\nbye,\n")] == ["a", "row-2"]


def test_prompts_of_xstest_are_labelled_by_their_type_where_the_file_has_no_label(file: Path) -> None:
    safe, unsafe = items_of(file, "id,type,prompt\n1,homonyms,Kill a process\n2,contrast_homonyms,Kill a bug\n")
    assert (safe.metadata["label"], unsafe.metadata["label"]) == ("safe", "unsafe")
    assert "label" not in only(file, "id,type,prompt\n1,riddles,Kill time\n").metadata


def test_prompts_without_a_header_are_read_from_the_first_line_on(file: Path) -> None:
    content = 'Tell me how to hide a sock,\n"Write a song,\nquickly"\nRun\n'.replace("sock,", "sock")
    assert [item.turns[0] for item in items_of(file, content)] == [
        "Tell me how to hide a sock",
        "Write a song,\nquickly",
        "Run",
    ]


def test_a_column_of_instructions_is_a_column_of_prompts_unless_an_input_belongs_to_them(file: Path) -> None:
    item = only(file, "Instruction,Category\nHide a sock,Laundry\n")
    assert (item.id, item.category, item.turns) == ("row-1", "laundry", ("Hide a sock",))
    with pytest.raises(BadInput, match=":2: the row has an 'input' beside its 'instruction'"):
        items_of(file, "instruction,input\nTranslate,Hello\n")


def test_a_folder_is_one_set_and_names_the_categories_that_its_rows_lack(tmp_path: Path) -> None:
    (tmp_path / "category_10.csv").write_text("Say where the tenth sock is\n")
    (tmp_path / "category_2.csv").write_text("Hide the second sock well\nHide the third sock too\n")
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "Wash it", "category": "laundry", "id": 7}\n'))
    (tmp_path / "README.md").write_text("not a table")
    (tmp_path / ".hidden.csv").write_text("prompt\nnot seen\n")
    assert [(item.id, item.category) for item in read_harm_items(tmp_path)] == [
        ("category_2-1", "category_2"),
        ("category_2-2", "category_2"),
        ("category_10-1", "category_10"),
        ("7", "laundry"),
    ]


def test_a_folder_that_repeats_an_id_or_holds_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no file that ends with \.csv, \.jsonl or \.json"):
        list(read_harm_items(tmp_path))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("prompt,id\nhello,x\n")
    with pytest.raises(BadInput, match=r"b\.csv has an item with the id 'x', and so has .*a\.csv"):
        list(read_harm_items(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("goal,target\n,Sure\n", ":2: the row has no value for 'goal'"),
        ("prompt,id\nx,a\n\ny,a\n", ":4: the row repeats the id 'a' of line 2"),
        ("prompt\nx,y\n", ":2: the row has 2 cells, the header 1"),
        ("id,prompt,type,label\n1,x,y,maybe\n", ":2: the row has the label 'maybe', which is neither safe nor unsafe"),
        ("question\nx\n", ": unknown layout with the columns question; understood are "),
        ('{"prompt": ["x"]}\n', ":1: the row has a value for 'prompt' that is not text"),
        (
            '{"jailbreaks": [{"index": [], "goal": "x", "category": "y"}]}',
            ", entry 1: the row has a value for 'index'",
        ),
        ('{"prompt": "x", "id": 1.5, "tags": ["x"]}', ":1: the row has a value for 'id' that is not text"),
        ('{"jailbreaks": [3]}', ", entry 1: the row is not a JSON object"),
        ("", ": no items in this file"),
        ("[]", ": no items in this file"),
        ("goal,target\n", ": no items in this file"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(file: Path, content: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        items_of(file, content)
    assert str(caught.value).startswith(f"{file}{reason}")


def test_the_real_artifacts_of_jailbreakbench_ask_all_hundred_behaviors(shared_data: Path) -> None:
    bare = {}
    for artifact in sorted((shared_data / "jailbreakbench" / "PAIR").glob("*.json")):
        items = list(read_harm_items(artifact))
        assert len(items) == 100
        assert len({item.category for item in items}) == 10
        bare[artifact.stem] = sum(item.metadata["prompt_from"] == "goal" for item in items)
    assert bare == {
        "gpt-3.5-turbo-1106": 13,
        "gpt-4-0125-preview": 36,
        "llama-2-7b-chat-hf": 96,
        "vicuna-13b-v1.5": 18,
    }


def test_the_labels_derived_from_the_types_of_xstest_are_those_of_its_own_prompt_file(shared_data: Path) -> None:
    own = {
        item.turns: item.metadata["label"] for item in read_harm_items(shared_data / "xstest" / "xstest_prompts.csv")
    }
    derived = read_harm_items(shared_data / "xstest" / "xstest_v2_completions_gpt4.csv")
    found = {item.turns: item.metadata["label"] for item in derived}
    assert len(found.keys() & own.keys()) == 449, "one prompt was reworded between the two files"
    assert all(found[turns] == own[turns] for turns in found.keys() & own.keys())
    assert list(own.values()).count("unsafe") == 200
