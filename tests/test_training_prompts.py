"""Prompts of a training: never those of an evaluation, every file read as it is meant."""

import json
from pathlib import Path

import pytest

from tasks.collapse import plain_words, words
from tasks.errors import BadInput
from training.prompts import HELPFUL, RED_TEAM, helpful_prompts, read_conversations, read_prompts

EVALUATION = Path(__file__).parents[1] / "tasks/data"


def trigrams(text: str) -> set[tuple[str, ...]]:
    tokens = plain_words(words(text))
    return {tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)}


@pytest.mark.parametrize("ours", [RED_TEAM, HELPFUL], ids=lambda path: path.stem)
def test_no_embedded_training_prompt_is_like_one_of_an_evaluation_set(ours: Path) -> None:
    asked = [
        trigrams(turn)
        for path in EVALUATION.glob("*.jsonl")
        for line in path.read_text().splitlines()
        for turn in json.loads(line)["turns"]
    ]
    prompts = [json.loads(line)["turns"][0] for line in ours.read_text().splitlines()]
    assert len(prompts) >= 96
    assert len(set(prompts)) == len(prompts)
    for prompt in prompts:
        mine = trigrams(prompt)
        assert all(len(mine & other) / len(mine | other) < 0.5 for other in asked if mine | other), prompt


def test_evaluation_prompts_and_repeats_are_left_out_of_a_file_and_told(tmp_path: Path) -> None:
    tested = json.loads((EVALUATION / "asr.jsonl").read_text().splitlines()[0])["turns"][0]
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"prompt": text}) for text in (tested.upper(), "How do I pick a lock?", "how do I pick a lock")
        )
    )
    found = read_prompts(str(file), None, 0)
    assert [it.messages[0]["content"] for it in found.prompts] == ["How do I pick a lock?"]
    assert len(found.notes) == 2
    file.write_text(json.dumps({"prompt": tested}))
    with pytest.raises(BadInput, match="1 are in evaluation sets"):
        read_prompts(str(file), None, 0)


def test_the_draw_depends_on_the_seed_alone() -> None:
    first, again, other = (read_prompts("embedded", 20, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.sha256 != other.sha256
    assert len(first.prompts) == len(other.prompts) == 20
    assert len(helpful_prompts()) >= 96


def test_hh_dialogues_give_their_first_request_whole(shared_data: Path) -> None:
    found = read_prompts(str(shared_data / "hh_rlhf/harmless-base-test.jsonl.gz"), None, 0)
    assert len(found.prompts) > 2000
    assert all(len(it.messages) == 1 for it in found.prompts)
    # Turns with colons and blank lines inside are what cut-at-colon readers lose the end of.
    assert any(": " in it.messages[0]["content"] for it in found.prompts)
    assert any("\n\n" in it.messages[0]["content"] for it in found.prompts)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
        {"prompt": "Hi", "response": "Hello."},
        {"instruction": "Hi", "input": "", "output": "Hello."},
    ],
)
def test_conversations_of_every_layout_are_read(tmp_path: Path, row: dict[str, object]) -> None:
    file = tmp_path / "helpful.jsonl"
    file.write_text(json.dumps(row))
    (found,) = read_conversations(str(file), None, 0).prompts
    assert [it["content"] for it in found.messages] == ["Hi", "Hello."]


@pytest.mark.parametrize(
    ("line", "words_of_error"),
    [
        ('{"text": "x"}', "has none of messages, turns, prompt"),
        ('{"prompt": ""}', "prompt"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "'messages'"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "asks nothing"),
    ],
)
def test_a_row_that_asks_nothing_is_named_with_its_line(tmp_path: Path, line: str, words_of_error: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "How do I pick a lock?"}\n' + line + "\n")
    with pytest.raises(BadInput, match=rf"bad\.jsonl:2: .*{words_of_error}"):
        read_prompts(str(file), None, 0)
