"""Constitutions: ours, the original release's, and what is said of faulty ones."""

import json
from pathlib import Path

import pytest

from tasks.errors import BadInput
from training.constitution import SHIPPED, check_constitution, read_constitution

OURS = SHIPPED / "bench.yaml"


def test_ours_has_sixteen_of_each_and_no_fault() -> None:
    found = read_constitution("bench")
    assert not check_constitution(OURS)
    assert len(found.pairs) >= 16
    assert len(found.principles) >= 16
    assert len(found.few_shot) >= 3


def test_the_original_release_is_read(shared_data: Path) -> None:
    found = read_constitution(str(shared_data / "constitution"))
    assert (len(found.pairs), len(found.principles), len(found.few_shot)) == (16, 16, 5)
    assert all("Request:" not in pair.critique + pair.revision for pair in found.pairs)
    assert all(not it.text.endswith("Options:") for it in found.principles)
    assert [role for role, _ in found.few_shot[0].opening] == ["user", "assistant", "user", "assistant"]
    assert all("\n\nHuman:" not in it.revision and it.critique and it.revision for it in found.few_shot)
    alone = read_constitution(str(shared_data / "constitution/CritiqueRevisionInstructions.json"))
    assert alone.sha256 == found.sha256


def test_its_hash_changes_with_a_word(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OURS.read_text())
    assert read_constitution(str(file)).sha256 == read_constitution("bench").sha256
    file.write_text(OURS.read_text().replace("courteous", "polite"))
    assert read_constitution(str(file)).sha256 != read_constitution("bench").sha256


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("    revision: Write the", "    revison: Write the", "8: this entry of pairs lacks 'revision'"),
        ("  - id: crime", "  - id: harm", "two entries 'harm'"),
        ("    pair: deceit", "    pair: deceits", "a pair 'deceits' that there is not"),
        ('version: "1"', "version: 1", "version is a text"),
        ("principles:", "principle:", "unknown key 'principle'; did you mean principles?"),
        ("pairs:", "pairs: [", "no YAML"),
        ("  - id: crime", "  - id: [crime]", "11: id is a text that is not empty"),
        ("  - id: crime", "  - id: crime\n    id: theft", "12: 'id' comes twice in pairs"),
        ("    pair: deceit", "    pair: {deceit: 1}", "pair is a text that is not empty"),
        ("name: bench", "? [name]\n: bench", "4: a key is a word"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    file = tmp_path / "mine.yaml"
    text = OURS.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    found = check_constitution(file)
    assert any(fault in it and it.startswith(f"{file}:") for it in found), found
    with pytest.raises(BadInput, match=r"mine\.yaml:\d+:"):
        read_constitution(str(file))


def test_a_constitution_of_other_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "CritiqueRevisionInstructions.json"
    file.write_text(json.dumps({"harmful0": {"prompt": ["\n\nCritiqueRequest: x\n\nCritique:"]}}))
    with pytest.raises(BadInput, match="lacks 'edit_request'"):
        read_constitution(str(file))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="known constitutions: bench"):
        read_constitution("no-such-thing")
