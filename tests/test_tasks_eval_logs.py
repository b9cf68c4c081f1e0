"""Logs of lm-eval and Inspect: their answers become a file that can be replayed; what is none is counted or refused."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import inspect_logs, logged_answers
from tasks.answer_files import answer_layout, read_answered_items
from tasks.errors import BadInput
from tasks.eval_logs import read_log
from tasks.item import Item

Say = Callable[..., tuple[int, str, str]]
Json = dict[str, Any]


def generated(doc_id: int, prompt: str, *replies: str, doc: Json | None = None, **more: object) -> Json:
    """A sample of lm-eval as its file has it."""
    arguments = {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"], "do_sample": False}}}
    return {
        "doc_id": doc_id, "doc": doc or {}, "target": "", "resps": [list(replies)], "filtered_resps": [replies[0]],
        "arguments": arguments, "filter": "none",
        "metrics": ["exact_match"], "exact_match": 1.0, **more,
    }  # fmt: skip


def scored(doc_id: int) -> Json:
    """A multiple-choice sample of lm-eval: two texts whose likelihood was measured."""
    arguments = {f"gen_args_{n}": {"arg_0": "2 + 2 =", "arg_1": f" {n}"} for n in (3, 4)}
    return {"doc_id": doc_id, "doc": {}, "arguments": arguments, "resps": [[["-1.5", "False"]], [["-0.1", "True"]]]}


def message(role: str, content: object, **more: object) -> Json:
    return {"role": role, "content": content, **more}


def conversation(name: int | str, *said: Json, epoch: int = 1, **more: object) -> Json:
    """A sample of Inspect."""
    return {
        "id": name, "epoch": epoch, "input": "Hi", "target": "", "messages": list(said), "metadata": {},
        "output": {"model": "m", "choices": []}, "scores": None, "attachments": {}, **more,
    }  # fmt: skip


def lines(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


HEADER = {"version": 2, "status": "success", "eval": {"model": "mockllm/model", "task": "rivers"}}


def zipped(file: Path, *samples: Json, header: object = HEADER, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        if header is not None:
            archive.writestr("header.json", json.dumps(header))
        else:
            archive.writestr("_journal/start.json", json.dumps(HEADER))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    return file


def imported(tmp_path: Path, log: Path, columns: dict[str, str] | None = None) -> list[Item]:
    """The items of the file that a log is made into."""
    rows = list(read_log(log, columns or {}).rows())
    return list(read_answered_items(lines(tmp_path / "imported.jsonl", *rows), {"label": "label"} if columns else {}))


def refusal(log: Path, columns: dict[str, str] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read_log(log, columns or {})
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{log.parent}/", "")


# --- lm-eval ---


def test_what_the_model_said_is_imported_and_not_what_a_filter_made_of_it(tmp_path: Path) -> None:
    doc = {"id": "q-1", "category": "sums", "prompt": "What is 2 + 2?"}
    log = lines(
        tmp_path / "log.txt",
        generated(0, "<|user|>What is 2 + 2?<|assistant|>", "It is 4.", doc=doc, filtered_resps=["4"]),
        generated(1, "Q: 3 + 3?\nA:", "", filtered_resps=["[invalid]"]),
    )
    found = read_log(log, {})
    assert [
        (item.id, item.category, item.turns, item.replies) for item in imported(tmp_path, log)
    ] == [
        ("q-1", "sums", ("What is 2 + 2?",), (("It is 4.",),)),
        ("1", "uncategorised", ("Q: 3 + 3?\nA:",), (("",),)),
    ]  # fmt: skip
    assert list(found.changed.values()) == [1]
    assert "--columns prompt=KEY" in next(iter(found.changed))


def test_rows_of_a_second_filter_and_repeats_of_a_request_are_no_further_questions(tmp_path: Path) -> None:
    rows = [generated(0, "Q", "a", "b", filter=name) for name in ("strict", "flexible")]
    log = lines(tmp_path / "log", *rows)
    (item,) = imported(tmp_path, log)
    assert item.replies == (("a",), ("b",))
    assert read_log(log, {}).notes()[-1:] == ["rows of further filters, which hold the same answers: 1"]
    assert "log:2: repeats the doc_id 0 of line 1" in refusal(lines(tmp_path / "log", rows[0], rows[0]))


def test_chat_messages_and_columns_tell_the_prompt(tmp_path: Path) -> None:
    chat = json.dumps([message("system", "Be brief"), message("user", "Why?")])
    doc = {"goal": "Why indeed?", "type": "unsafe", "n": 7}
    log = lines(tmp_path / "log", generated(0, chat, "So.", doc=doc), generated(1, chat, "So."))
    assert [item.turns for item in imported(tmp_path, log)] == [("Why?",), ("Why?",)]
    columns = {"prompt": "goal", "label": "type", "id": "n"}
    (item,) = imported(tmp_path, log, columns)
    assert (item.id, item.turns, item.metadata["given_label"]) == ("7", ("Why indeed?",), "unsafe")
    assert read_log(log, columns).left_out == {"there is no prompt under 'goal'": 1}


def test_log_likelihoods_are_no_answers(tmp_path: Path) -> None:
    assert "log-likelihoods of given texts" in refusal(lines(tmp_path / "log", scored(0), scored(1)))
    found = read_log(lines(tmp_path / "log", scored(0), generated(1, "Q", "a")), {})
    assert (found.items, sum(found.left_out.values())) == (1, 1)


# --- Inspect ---


@pytest.mark.parametrize("form", ["eval", "json", "pretty"])
def test_conversations_epochs_and_attachments_of_inspect(tmp_path: Path, form: str) -> None:
    talk = [message("user", "A river?"), message("assistant", "attachment://1"), message("user", "More?")]
    samples = [
        conversation(10, *talk, message("assistant", "The Elbe."), attachments={"1": "The Po."}),
        conversation(9, message("system", "Brief!"), message("user", "B?"), message("assistant", "b1")),
        conversation(9, message("user", "B?"), message("assistant", "b2"), epoch=2, metadata={"category": "Seas"}),
    ]
    log = tmp_path / "log"
    if form == "eval":
        zipped(log, *samples)
    else:
        log.write_text(json.dumps({**HEADER, "samples": samples[::-1]}, indent=1 if form == "pretty" else None))
    items = {item.id: item for item in imported(tmp_path, log)}
    assert answer_layout(tmp_path / "imported.jsonl") == "conversations"
    assert items["10"].turns == ("A river?", "More?")
    assert items["10"].replies == (("The Po.", "The Elbe."),)
    assert set(items["9"].replies) == {("b1",), ("b2",)}
    found = read_log(log, {})
    assert found.source == "mockllm/model, task rivers"
    assert found.changed == {inspect_logs.WITHOUT_SYSTEM: 1}


def test_what_the_model_did_not_say_is_no_reply(tmp_path: Path) -> None:
    given = [message("user", "Hi"), message("assistant", "Hello", source="input"), message("user", "A sea?")]
    thought = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "The North Sea."}]
    samples = [
        conversation("given", *given, message("assistant", thought)),
        conversation("failed", message("user", "Hi"), error={"message": "500"}),
        conversation("output", message("user", "Hi"), output={"choices": [{"message": message("assistant", "Ho")}]}),
        conversation("tool", message("user", "1+1?"), message("assistant", "", tool_calls=[{"id": "x"}])),
        conversation("image", message("user", [{"type": "image", "image": "data:"}]), message("assistant", "A dog.")),
        conversation("two", message("user", "Hi"), message("user", "Hi"), message("assistant", "Ho")),
    ]
    log = zipped(tmp_path / "log", *samples)
    replies = {item.id: (item.turns, item.replies) for item in imported(tmp_path, log)}
    assert replies == {
        "given": (("A sea?",), (("The North Sea.",),)),
        "failed": (("Hi",), ((None,),)),
        "output": (("Hi",), (("Ho",),)),
    }
    found = read_log(log, {})
    assert (sum(found.left_out.values()), found.unanswered) == (3, 1)
    assert found.changed == {inspect_logs.WITHOUT_EARLIER: 1, inspect_logs.WITHOUT_REASONING: 1}
    assert "1 without an answer" in refusal(zipped(tmp_path / "log", samples[1]))


def test_members_compressed_by_zstd_are_read_and_checked(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed (bench[inspect])")
    text = json.dumps(conversation("z", message("user", "Hi"), message("assistant", "Ho"))).encode()
    log = tmp_path / "log.eval"

    def written(packed: bytes, size: int) -> Path:
        # zipfile can not write this method: the member is stored, and its headers are changed.
        with zipfile.ZipFile(log, "w") as archive:
            archive.writestr("header.json", json.dumps(HEADER))
            archive.writestr("samples/z_epoch_1.json", packed)
        data = bytearray(log.read_bytes())
        place = data.rindex(b"PK\x01\x02")
        data[place + 10 : place + 12] = (93).to_bytes(2, "little")
        data[place + 16 : place + 20] = zlib.crc32(text).to_bytes(4, "little")
        data[place + 24 : place + 28] = size.to_bytes(4, "little")
        log.write_bytes(data)
        return log

    packed = zstandard.compress(text[:50]) + zstandard.compress(text[50:])
    (item,) = imported(tmp_path, written(packed, len(text)))
    assert item.replies == (("Ho",),)
    assert "is not what the archive says of it" in refusal(written(zstandard.compress(b"0" * 10**7), len(text)))
    assert "log.eval is damaged" in refusal(written(b"garbage", len(text)))


def test_an_unfinished_log_is_read_and_says_so(tmp_path: Path) -> None:
    sample = conversation("a", message("user", "Hi"), message("assistant", "Ho"))
    found = read_log(zipped(tmp_path / "log", sample, header=None), {})
    assert found.remarks == ["the log has no header: its evaluation did not end"]
    found = read_log(zipped(tmp_path / "log", sample, header={**HEADER, "status": "cancelled"}), {})
    assert found.remarks == ["the log says that its evaluation ended as: cancelled"]


# --- garbage ---


def test_a_log_that_would_fill_the_memory_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = conversation("a", message("user", "Hi"), message("assistant", "0" * 50_000_000))
    bomb = zipped(tmp_path / "bomb.eval", large, conversation("b", message("user", "Hi"), message("assistant", "Ho")))
    assert bomb.stat().st_size < 100_000
    for module in (logged_answers, inspect_logs):
        monkeypatch.setattr(module, "LARGEST_SAMPLE", 10_000_000)
    assert "is too large for a sample (50,000" in refusal(bomb)
    monkeypatch.setattr(inspect_logs, "LARGEST_LOG", 1_000_000)
    assert "it unpacks to more than" in refusal(bomb)
    monkeypatch.setattr(logged_answers, "LARGEST_TEXT", 10)
    assert "import it in parts" in refusal(lines(tmp_path / "log", generated(0, "Question", "answer")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no log that is known"),
        (b"\x00\x01", "no log that is known"),
        (b"\xff\xfe", "UTF-16"),
        (b"[1, 2]", "no log that is known"),
        (b"[" * 100_000, "no log that is known"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"eval": {}', "not valid JSON"),
        (b'{"eval": {}}', "no samples"),
        (b'{"eval": {}, "samples": [3, {}, {"id": 1, "messages": [4]}]}', "holds no answer"),
        (b'{"results": {}, "configs": {}}', "lm-eval's figures and not its samples"),
        (b"PK\x03\x04 and no more", "is damaged or no log of Inspect"),
        (gzip.compress(b"{}")[:-6], "gzip file that is damaged"),
        (json.dumps(generated(0, "Q", "a")).encode() + b"\n{torn", "log:2: not valid JSON"),
        (json.dumps(generated(0, "Q", "a")).encode() + b"\n{}", "log:2: no sample of lm-eval"),
        (json.dumps({**generated(0, "Q", "a"), "arguments": 3}).encode(), "without the text that the model was given"),
    ],
)
def test_garbage_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "log").write_bytes(content)
    assert said in refusal(tmp_path / "log")


def test_a_zip_of_something_else_and_wrong_arguments_are_refused(say: Say, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log", "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    assert "no log of Inspect" in refusal(tmp_path / "log")
    assert "is a folder" in refusal(tmp_path)
    log = lines(tmp_path / "log", generated(0, "Q", "a"))
    assert "there is no 'response'" in refusal(log, {"response": "x"})
    out = tmp_path / "there"
    out.write_text("mine")
    assert say("import", log, "--out", out)[0] == 2
    assert out.read_text() == "mine"
    assert say("import", log, "--out", tmp_path / "o", "--columns", "prompt")[0] == 2
    assert say("import", tmp_path / "nothing", "--out", tmp_path / "o")[0] == 2
    assert not (tmp_path / "o").exists()


# --- through the door ---


def test_an_imported_log_is_evaluated_as_any_file_of_answers(say: Say, tmp_path: Path) -> None:
    refused = "I'm sorry, but I can't help with that."
    samples = [
        conversation(n, message("user", f"Harmful request {n}?"), message("assistant", refused), epoch=epoch)
        for n in range(4)
        for epoch in (1, 2)
    ]
    out = tmp_path / "answers.jsonl"
    code, printed, err = say("import", zipped(tmp_path / "log", *samples), "--out", out, "--json")
    assert code == 0, err
    told = json.loads(printed)
    assert (told["format"], told["questions"], told["answers"], told["left_out"]) == ("inspect", 4, 8, {})
    code, printed, err = say("run", "--model", f"answers:{out}", "--tasks", "asr", "--out", tmp_path / "run", "--json")
    assert code == 0, err
    refusals = [row for row in json.loads(printed)["scores"] if (row["metric"], row["group"]) == ("refusal", "all")]
    assert [(row["value"], row["n"]) for row in refusals] == [(1.0, 8)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"turns": ["A?"], "replies": [["a", "b"]]}, "has 1 turns but 2 replies"),
        ({"turns": ["A?"], "replies": []}, "has no list of 'replies'"),
        ({"turns": ["A?"], "replies": [[3]]}, "'replies' that are not lists of texts"),
        ({"turns": ["A?", ""], "replies": [["a", "b"]]}, "'turns' must be a list"),
        ({"turns": ["A?"], "replies": [["a"]], "id": True}, "'id' that is not text"),
    ],
)
def test_a_conversation_that_is_none_is_refused_by_its_line(tmp_path: Path, row: Json, said: str) -> None:
    file = lines(tmp_path / "answers", {"id": "1", "turns": ["B?"], "replies": [[None]]}, {"id": "2", **row})
    with pytest.raises(BadInput, match=said) as caught:
        list(read_answered_items(file))
    assert "answers:2: the row" in str(caught.value)


def test_questions_that_share_an_id_get_names_of_their_own(tmp_path: Path) -> None:
    rows = [generated(n, f"Question {n}", "a", doc={"id": name}) for n, name in enumerate(["q", "q", "q-2"])]
    log = lines(tmp_path / "log", *rows)
    assert [(item.id, item.turns) for item in imported(tmp_path, log)] == [
        ("q", ("Question 0",)), ("q-3", ("Question 1",)), ("q-2", ("Question 2",)),
    ]  # fmt: skip
    assert "named ID-2, ID-3, …: 1 question, whose id another one has, too" in read_log(log, {}).notes()
