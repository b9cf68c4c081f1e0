"""MT-Bench (Zheng et al. 2023) in the layout of FastChat, and a user's own questions in ours.

    mt_bench/question.jsonl                  {"question_id": 111, "category": "math", "turns": ["The vertices …", "…"]}
    mt_bench/reference_answer/gpt-4.jsonl    {"question_id": 111, "choices": [{"index": 0, "turns": ["Using …", "…"]}]}
    judge_prompts.jsonl                      {"name": "single-v1", "type": "single", "prompt_template": "…", …}

The short `reference` in some rows of question.jsonl is left out: FastChat's judge never sees it, and many are empty for
one of the turns. What a judge compares with is GPT-4's answer.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tasks.answer_files import answer_layout, read_answered_items
from tasks.errors import BadInput
from tasks.item import Item, build_items, id_in, parse_item, text_in
from tasks.tables import RowError, json_lines, read_rows

QUESTIONS = "question.jsonl"
JUDGE_PROMPTS = "judge_prompts.jsonl"
REFERENCE_ANSWERS = "reference_answer"
REFERENCE_MODEL = "gpt-4"

NEEDS_REFERENCE = frozenset({"math", "reasoning", "coding"})
"""Categories whose answers are graded against a reference (NEED_REF_CATS in FastChat's llm_judge/common.py)."""

SOURCE_PROMPT_TYPES = ("single", "pairwise")


@dataclass(frozen=True)
class SourcePrompt:
    """One of FastChat's judge prompts, byte for byte.

    `prompt_template` is for `str.format` with the fields question, answer, ref_answer_1 and the like; `output_format`
    is the form of the verdict it asks for: [[rating]] or [[A]].
    """

    name: str
    type: Literal["single", "pairwise"]
    system_prompt: str
    prompt_template: str
    output_format: str


def read_mt_bench(path: Path) -> Iterator[Item]:
    """Yield the questions of FastChat's mt_bench folder, or of a file with rows of FastChat's layout or our own.

    GPT-4's reference answers are looked for in reference_answer/ beside the questions; a row of ours may bring its own.

    Raises:
        BadInput: a question that needs a reference and has none, several files of references and none by GPT-4, or
            what `build_items` refuses; file and line are named.
    """
    questions = path / QUESTIONS if path.is_dir() else path
    answers = _reference_file(questions.parent / REFERENCE_ANSWERS)
    references = _references(answers) if answers else {}

    def build(row: Mapping[str, Any], _: int) -> Item:
        item = _fastchat_question(row) if "question_id" in row else parse_item(row)
        if item.category not in NEEDS_REFERENCE or item.reference:
            return item
        if item.id not in references:
            missing = answers or questions.parent / REFERENCE_ANSWERS / f"{REFERENCE_MODEL}.jsonl"
            raise RowError(
                f"asks about {item.category}, which is graded against a reference answer, and has none: "
                f"{missing} must hold one for {item.id!r}"
            )
        reference = tuple(answer for answer in references[item.id] if answer is not None)
        if len(reference) != len(item.turns):
            raise RowError(f"has {len(item.turns)} turns but {len(reference)} reference answers in {answers}")
        return replace(item, reference=reference)

    return build_items(json_lines(questions), build)


def _fastchat_question(row: Mapping[str, Any]) -> Item:
    known = {key: row[key] for key in ("category", "turns") if key in row}
    return parse_item({**known, "id": id_in(row, "question_id"), "metadata": {"source": "fastchat"}})


# --- reference answers ---


def _reference_file(folder: Path) -> Path | None:
    """GPT-4's answers, else the only file there is."""
    found = sorted(folder.glob("*.jsonl"))
    wanted = folder / f"{REFERENCE_MODEL}.jsonl"
    if wanted in found:
        return wanted
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise BadInput(f"{folder} holds {listed}: call the one that is to be the reference {wanted.name}")
    return found[0] if found else None


def _references(path: Path) -> dict[str, tuple[str | None, ...]]:
    """Reference answers by question id: the first choice of each row, as in FastChat."""
    if answer_layout(path) != "fastchat":
        raise BadInput(
            f"{path} holds no answers in FastChat's layout (question_id, choices): no references to grade by"
        )
    return {item.id: item.replies[0] for item in read_answered_items(path)}


# --- judge prompts ---


def judge_prompts_file(path: Path) -> Path | None:
    """The judge prompts of an MT-Bench folder or file: in the folder, or one above it as in FastChat's own tree."""
    folder = path if path.is_dir() else path.parent
    return next((file for place in (folder, folder.parent) if (file := place / JUDGE_PROMPTS).is_file()), None)


def read_judge_prompts(path: Path) -> dict[str, SourcePrompt]:
    """FastChat's judge prompts by name.

    Raises:
        BadInput: a prompt that lacks a part or repeats a name, no prompt at all, or a file that can not be read; file
            and line are named.
    """
    prompts: dict[str, SourcePrompt] = {}
    for number, row in read_rows(path):
        try:
            prompt = _source_prompt(row, prompts)
        except RowError as error:
            raise BadInput(f"{path}:{number}: the row {error}") from None
        prompts[prompt.name] = prompt
    if not prompts:
        raise BadInput(f"{path}: no judge prompts in this file")
    return prompts


def _source_prompt(row: object, before: Container[str]) -> SourcePrompt:
    if not isinstance(row, dict):
        raise RowError("is not a JSON object")
    kind = row.get("type")
    if kind not in SOURCE_PROMPT_TYPES:
        raise RowError(f"has the type {kind!r}, which is none of {', '.join(SOURCE_PROMPT_TYPES)}")
    parts = {key: text_in(row, key) for key in ("name", "system_prompt", "prompt_template", "output_format")}
    if parts["name"] in before:
        raise RowError(f"repeats the name {parts['name']!r}")
    return SourcePrompt(type=kind, **parts)
