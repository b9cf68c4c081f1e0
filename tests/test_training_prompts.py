"""Prompts of a training: never those of an evaluation, every file read as it is meant."""

import json
from pathlib import Path

import pytest

from tasks.collapse.words import plain_words, spoken_words, words
from tasks.errors import BadInput
from training.prompts import HELPFUL, RED_TEAM, helpful_prompts, read_conversations, read_prompts

EVALUATION = Path(__file__).parents[1] / "tasks/data"


FORM = frozenset(
    words(
        "a an the to of in on for and or is are do does how i my me that this what it with can could would write tell "
        "explain draft compose make give help show describe from by be so as at who they not he his her him up out"
    )
)
"""Words of requests whatever they are about."""


def trigrams(text: str) -> frozenset[object]:
    tokens = spoken_words(plain_words(words(text)))
    return frozenset(tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2))


def subject(text: str) -> frozenset[object]:
    return frozenset(spoken_words(plain_words(words(text)))) - FORM


def alike(one: frozenset[object], other: frozenset[object]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


@pytest.mark.parametrize("ours", [RED_TEAM, HELPFUL], ids=lambda path: path.stem)
def test_no_embedded_training_prompt_is_like_one_that_is_asked_in_a_test(ours: Path) -> None:
    asked = [
        turn
        for path in (*EVALUATION.glob("*.jsonl"), *RED_TEAM.parent.glob("*probes.jsonl"))
        for row in map(json.loads, path.read_text().splitlines())
        for turn in row.get("turns") or [row["prompt"]]
    ]
    prompts = [json.loads(line)["turns"][0] for line in ours.read_text().splitlines()]
    assert len(prompts) >= 120
    for look, most in ((trigrams, 0.25), (subject, 0.35)):
        # "Smuggle a knife through airport security" in other words has few trigrams in common, and all of its subject.
        seen = [(look(other), other) for other in asked]
        for prompt in prompts:
            mine = look(prompt)
            assert [other for theirs, other in seen if alike(mine, theirs) > most] == [], prompt
        of_ours = [look(prompt) for prompt in prompts]
        assert all(alike(one, other) <= most for i, one in enumerate(of_ours) for other in of_ours[:i])


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
    assert len(helpful_prompts()) >= 120


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


def test_conversations_with_an_empty_answer_are_left_out_and_told(tmp_path: Path) -> None:
    file = tmp_path / "alpaca.json"
    file.write_text(json.dumps([{"instruction": f"Do {n}.", "input": "", "output": "Done." * n} for n in range(3)]))
    found = read_conversations(str(file), None, 0)
    assert len(found.prompts) == 2
    assert "1 conversations left out, whose answer is empty" in found.notes[0]
    file.write_text(json.dumps([{"instruction": "Do it."}]))
    with pytest.raises(BadInput, match="holds no answer"):
        read_conversations(str(file), None, 0)


@pytest.mark.parametrize(
    ("line", "words_of_error"),
    [
        ('{"text": "x"}', "has none of messages, turns, prompt"),
        ('{"prompt": ""}', "prompt"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "'messages'"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "asks nothing"),
        ('{"messages": [{"role": "user", "content": " "}]}', "asks nothing"),
    ],
)
def test_a_row_that_asks_nothing_is_named_with_its_line(tmp_path: Path, line: str, words_of_error: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "How do I pick a lock?"}\n' + line + "\n")
    with pytest.raises(BadInput, match=rf"bad\.jsonl:2: .*{words_of_error}"):
        read_prompts(str(file), None, 0)
