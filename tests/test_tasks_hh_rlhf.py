"""Dialogues of HH-RLHF: cut into turns only where turns begin, named by what they ask, repeated ones left out."""

import json
from pathlib import Path

import pytest

from tasks.errors import BadInput
from tasks.harm_sets import read_harm_items
from tasks.hh_rlhf import human_turns, read_hh_dialogues
from tasks.tables import RowError, read_rows


@pytest.mark.parametrize(
    ("dialogue", "turns"),
    [
        ("\n\nHuman: hello\n\nAssistant: hi", ["hello"]),
        ("\n\nHuman: one: two: three\n\nAssistant: x", ["one: two: three"]),
        ("\n\nHuman: a joke\n\nThe man says: no\n\nAssistant: ha", ["a joke\n\nThe man says: no"]),
        ("\n\nHuman: Human: who is that?\nHuman: me\n\nAssistant: x", ["Human: who is that?\nHuman: me"]),
        ("\n\nHuman: no\n\nHumans: are\n\nAssistant: Human: yes\n\nHuman: bye", ["no\n\nHumans: are", "bye"]),
        ("\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: d\n\nAssistant:", ["a", "d"]),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant: c", ["a", "b"]),
        ("\n\nHuman:\n\nAssistant: c\n\nHuman:  d\n", ["", "d"]),
        ("Human: stripped\n\nAssistant: c", ["stripped"]),
    ],
)
def test_a_turn_begins_after_a_blank_line_and_nowhere_else(dialogue: str, turns: list[str]) -> None:
    assert human_turns(dialogue) == turns


@pytest.mark.parametrize(
    "dialogue", ["hello", "\n\nAssistant: hi\n\nHuman: hello", "hello\n\nHuman: x", "\n\nHuman hello"]
)
def test_a_text_that_no_person_begins_is_no_dialogue(dialogue: str) -> None:
    with pytest.raises(RowError, match="is no dialogue"):
        human_turns(dialogue)


def write(file: Path, *dialogues: str) -> Path:
    file.write_text("".join(json.dumps({"chosen": text, "rejected": text}) + "\n" for text in dialogues))
    return file


def test_a_request_that_came_before_is_left_out_and_named_apart(tmp_path: Path) -> None:
    again, other = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "\n\nHuman: a \n\nAssistant: d"
    file = write(tmp_path / "rows", again, other, again, "\n\nHuman:\n\nAssistant: what?")
    first, second, third, silent = read_harm_items(file)
    assert (first.turns, second.turns, third.turns) == (("a",),) * 3
    assert (second.id, third.id) == (f"{first.id}-2", f"{first.id}-3")
    assert ["left_out" in item.metadata for item in (first, second, third, silent)] == [False, True, True, True]
    every = list(read_hh_dialogues(file))
    assert [item.turns for item in every] == [("a", "c"), ("a",), ("a", "c"), ("",)]
    assert ["left_out" in item.metadata for item in every] == [False, False, True, True]
    assert every[1].id == first.id, "a dialogue of one turn has one name"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "hello", "rejected": ""}, ":2: the row has a 'chosen' that is no dialogue: it must begin with"),
        ({"chosen": 7, "rejected": ""}, ":2: the row has a value for 'chosen' that is not text"),
        ({"rejected": ""}, ":2: the row has no 'chosen'"),
    ],
)
def test_a_row_without_a_dialogue_is_refused_with_its_place(tmp_path: Path, row: object, reason: str) -> None:
    file = write(tmp_path / "rows", "\n\nHuman: a\n\nAssistant: b")
    file.write_text(file.read_text() + json.dumps(row))
    with pytest.raises(BadInput) as caught:
        list(read_harm_items(file))
    assert str(caught.value).startswith(f"{file}{reason}")


def test_the_real_dialogues_lose_nothing_but_the_marks_of_their_turns(shared_data: Path) -> None:
    file = shared_data / "hh_rlhf" / "harmless-base-test.jsonl.gz"
    items = list(read_harm_items(file))
    for (_, row), item in zip(read_rows(file), items, strict=True):
        assert row["chosen"].startswith(f"\n\nHuman: {item.turns[0]}\n\nAssistant: ")
        assert row["rejected"].startswith(f"\n\nHuman: {item.turns[0]}\n\nAssistant: ")
    kept = [item.turns for item in items if "left_out" not in item.metadata]
    assert len(items) == 2312
    assert len(kept) == len(set(kept)) == 2178
    assert any(": " in turns[0] for turns in kept)
    assert sum("\n\n" in turns[0] for turns in kept) == 1
