"""A constitution: by what answers are criticised and revised, and by what two of them are compared.

Ours is YAML (constitutions/bench.yaml shows every part):

    name: bench
    version: "1"
    pairs:
      - id: harm
        critique: Name every part of your last answer that could lead to somebody being hurt.
        revision: Write the answer again without it.
    principles:
      - id: less_harm
        text: Which answer is less likely to lead to somebody being hurt?
    few_shot:
      - {prompt: …, answer: …, pair: harm, critique: …, revision: …}

The files of the original release (Bai et al. 2022) are read, too: a folder with CritiqueRevisionInstructions.json and
RLMadisonInstructions.json, or the first of them alone; the few-shot conversations beside them are taken along.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.errors import BadInput, suggestion
from tasks.paths import user_path

SHIPPED = Path(__file__).with_name("constitutions")
INSTRUCTIONS, COMPARISONS = "CritiqueRevisionInstructions.json", "RLMadisonInstructions.json"
FEW_SHOT = "CritiqueRevisionFewShotPrompts.json"
FIELDS: Mapping[str, tuple[str, ...]] = {
    "pairs": ("id", "critique", "revision"),
    "principles": ("id", "text"),
    "few_shot": ("prompt", "answer", "pair", "critique", "revision"),
}
_SPOKEN = re.compile(r"\n\n(Human|Assistant|CritiqueRequest|Critique|RevisionRequest|Revision): ?")


@dataclass(frozen=True)
class Pair:
    """What an answer is criticised for, and how it is to be revised."""

    id: str
    critique: str
    revision: str


@dataclass(frozen=True)
class Principle:
    """A question about two answers that "(A)" or "(B)" answers."""

    id: str
    text: str


@dataclass(frozen=True)
class FewShot:
    """An example of a critique and a revision: the turns of a conversation that ends with its revision.

    `opening` are the messages up to and with the answer; then come the request for a critique, the critique, the
    request for a revision, and the revision.
    """

    opening: tuple[tuple[str, str], ...]
    critique_request: str
    critique: str
    revision_request: str
    revision: str


@dataclass(frozen=True)
class Constitution:
    """`sha256` is over everything that decides what a training asks; the name is no part of it."""

    name: str
    version: str
    pairs: tuple[Pair, ...]
    principles: tuple[Principle, ...]
    few_shot: tuple[FewShot, ...]

    @property
    def sha256(self) -> str:
        decisive = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def read_constitution(name: str) -> Constitution:
    """The constitution that comes with the package ("bench"), or that of a file or folder.

    Raises:
        BadInput: not there, unreadable, or not a constitution; the first fault is named with its line.
    """
    shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
    path = shipped.get(name) or user_path(name)
    if not path.exists():
        raise BadInput(f"no constitution {name!r}: {suggestion(name, shipped, 'constitutions')}, or pass a file")
    if path.is_dir() or path.suffix == ".json":
        return _original(path)
    faults = check_constitution(path)
    if faults:
        more = f" (and {len(faults) - 1} more: bench train constitution --check {path})" if len(faults) > 1 else ""
        raise BadInput(faults[0] + more)
    values = _loaded(path)
    pairs = {row["id"]: Pair(**row) for row in values["pairs"]}
    return Constitution(
        name=values["name"],
        version=values["version"],
        pairs=tuple(pairs.values()),
        principles=tuple(Principle(**row) for row in values["principles"]),
        few_shot=tuple(
            FewShot(
                opening=(("user", row["prompt"]), ("assistant", row["answer"])),
                critique_request=pairs[row["pair"]].critique,
                critique=row["critique"],
                revision_request=pairs[row["pair"]].revision,
                revision=row["revision"],
            )
            for row in values.get("few_shot") or ()
        ),
    )


def check_constitution(path: Path) -> list[str]:
    """What is wrong with a constitution, a sentence a fault, with its line; none where all is well.

    Raises:
        BadInput: the file can not be read at all.
    """
    if path.is_dir() or path.suffix == ".json":
        try:
            _original(path)
        except BadInput as error:
            return [str(error)]
        return []
    yaml = _yaml()
    text = _text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        return [f"{path}:{mark.line + 1 if mark else 1}: no YAML: {getattr(error, 'problem', None) or error}"]
    if not isinstance(root, yaml.MappingNode):
        return [f"{path}:1: a constitution has name, version, pairs and principles"]
    return list(_faults(path, root))


def _faults(path: Path, root: Any) -> Iterator[str]:
    parts = _fields(root)
    yield from _faults_of_keys(path, root, ("name", "version", *FIELDS), "")
    for name in ("name", "version"):
        if name not in parts:
            yield f"{path}:1: lacks {name!r}"
        elif not _is_text(parts[name]):
            yield f'{_at(path, parts[name])}: {name} is a text, such as {name}: "1"'
    for part, wanted in FIELDS.items():
        if part in parts:
            yield from _faults_of_list(path, part, parts[part], wanted)
        elif part != "few_shot":
            yield f"{path}:1: lacks {part!r}, a list of {', '.join(wanted)}"
    known = {fields["id"].value for fields in _rows(parts.get("pairs")) if "id" in fields and _is_text(fields["id"])}
    for fields in _rows(parts.get("few_shot")):
        if "pair" in fields and _is_text(fields["pair"]) and fields["pair"].value not in known:
            yield f"{_at(path, fields['pair'])}: few_shot speaks of a pair {fields['pair'].value!r} that there is not"


def _faults_of_list(path: Path, part: str, node: Any, wanted: Sequence[str]) -> Iterator[str]:
    if node.id != "sequence" or not node.value:
        yield f"{_at(path, node)}: {part} is a list with at least one entry"
        return
    seen: set[str] = set()
    for row in node.value:
        if row.id != "mapping":
            yield f"{_at(path, row)}: an entry of {part} has {', '.join(wanted)}"
            continue
        fields = _fields(row)
        for name in wanted:
            if name not in fields:
                yield f"{_at(path, row)}: this entry of {part} lacks {name!r}"
            elif not _is_text(fields[name]):
                yield f"{_at(path, fields[name])}: {name} is a text that is not empty"
        yield from _faults_of_keys(path, row, wanted, f" in {part}")
        if "id" in fields and _is_text(fields["id"]):
            if fields["id"].value in seen:
                yield f"{_at(path, row)}: {part} has two entries {fields['id'].value!r}"
            seen.add(fields["id"].value)


def _faults_of_keys(path: Path, mapping: Any, known: Sequence[str], where: str) -> Iterator[str]:
    """Keys that nothing reads, and those that come twice: YAML would take the last and say nothing."""
    seen: set[str] = set()
    for key, _ in mapping.value:
        if key.id != "scalar":
            yield f"{_at(path, key)}: a key{where} is a word"
        elif key.value not in known:
            yield f"{_at(path, key)}: unknown key {key.value!r}{where}; {suggestion(key.value, known, 'keys')}"
        elif key.value in seen:
            yield f"{_at(path, key)}: {key.value!r} comes twice{where}"
        else:
            seen.add(key.value)


def _is_text(node: Any) -> bool:
    return node.id == "scalar" and node.tag == "tag:yaml.org,2002:str" and bool(node.value.strip())


def _fields(mapping: Any) -> dict[str, Any]:
    return {key.value: value for key, value in mapping.value if key.id == "scalar"}


def _rows(node: Any) -> list[dict[str, Any]]:
    """The entries of a part that are entries at all."""
    if node is None or node.id != "sequence":
        return []
    return [_fields(row) for row in node.value if row.id == "mapping"]


def _at(path: Path, node: Any) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise BadInput("a constitution is read with PyYAML: pip install 'bench[train]'") from None
    return yaml


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"can not read {path}: {getattr(error, 'strerror', None) or error}") from None


def _loaded(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = _yaml().safe_load(_text(path))
    return values


def _original(path: Path) -> Constitution:
    """The files of the original release."""
    folder = path if path.is_dir() else path.parent
    instructions = folder / INSTRUCTIONS if path.is_dir() else path
    written = _json(instructions)
    if not isinstance(written, dict) or not written:
        raise BadInput(f"{instructions} is no file of critique and revision requests: it maps names to both")
    pairs = []
    for name, row in written.items():
        asked = row.get("prompt") if isinstance(row, dict) else None
        if not isinstance(asked, list) or not asked or not all(isinstance(text, str) for text in asked):
            raise BadInput(f"{instructions}, entry {name!r}: 'prompt' is a list with the request for a critique")
        if not isinstance(row.get("edit_request"), str):
            raise BadInput(f"{instructions}, entry {name!r}: lacks 'edit_request', the request for a revision")
        pairs.append(Pair(name, _request(asked[0], "Critique"), _request(row["edit_request"], "Revision")))
    principles = [
        Principle(f"principle{number}", text.strip().removesuffix("Options:").strip())
        for number, text in enumerate(_texts(folder / COMPARISONS))
    ]
    shots = [_few_shot(folder / FEW_SHOT, number, text) for number, text in enumerate(_texts(folder / FEW_SHOT))]
    return Constitution("original release", "2022", tuple(pairs), tuple(principles), tuple(shots))


def _request(text: str, kind: str) -> str:
    """`\\n\\nCritiqueRequest: …\\n\\nCritique:` without its labels."""
    return text.strip().removeprefix(f"{kind}Request:").removesuffix(f"{kind}:").strip()


def _few_shot(path: Path, number: int, text: str) -> FewShot:
    spoken = _SPOKEN.split(text)[1:]
    turns = [(label, said.strip()) for label, said in zip(spoken[::2], spoken[1::2], strict=True) if said.strip()]
    labels = [label for label, _ in turns]
    ends = ["CritiqueRequest", "Critique", "RevisionRequest", "Revision"]
    start = labels.index(ends[0]) if ends[0] in labels else len(labels)
    if labels[start : start + 4] != ends or not start or labels[start - 1] != "Assistant":
        raise BadInput(f"{path}, entry {number + 1}: not a conversation with a critique and a revision")
    roles = {"Human": "user", "Assistant": "assistant"}
    opening = tuple((roles[label], said) for label, said in turns[:start])
    return FewShot(opening, *(said for _, said in turns[start : start + 4]))


def _texts(path: Path) -> list[str]:
    """A list of texts, which may be absent."""
    if not path.exists():
        return []
    written = _json(path)
    if not isinstance(written, list) or not all(isinstance(text, str) for text in written):
        raise BadInput(f"{path} is no list of texts")
    return written


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"can not read {path}: {error}") from None
