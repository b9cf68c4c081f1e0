"""Items: rows are validated, and a bad one is named by file and line."""

from pathlib import Path

import pytest

from tasks.errors import BadInput
from tasks.item import read_items


def test_a_row_without_turns_is_named_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"id": "a", "category": "x", "turns": ["hello"]}\n{"id": "b", "category": "x"}\n')
    with pytest.raises(BadInput, match=r"items\.jsonl:2: the row has no 'turns'"):
        list(read_items(file))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text("\n")
    with pytest.raises(BadInput, match="no items"):
        list(read_items(file))


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"id": "a", "category": "x", "turns": ["hello"]}\n' * 2)
    with pytest.raises(BadInput, match="repeats the id 'a' of line 1"):
        list(read_items(file))
