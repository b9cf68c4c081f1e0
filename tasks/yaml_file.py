"""YAML files that people write by hand, read so that every fault can be named with its line.

    top = open_yaml(Path("capitals.yaml"))
    name = top.text("name")                    # what is wrong with it is added to top.faults
    top.only(("name", "version"))
    top.refuse_faults("bench tasks check capitals.yaml")

Only plain YAML is read: no alias (a file of some lines could stand for gigabytes), no key twice, no tag of Python's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.errors import BadInput, suggestion

LARGEST = 2**20
"""Bytes of a YAML file: more is data, which belong into a file beside it."""
TEXT = "tag:yaml.org,2002:str"
READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}
"""What YAML makes of words without quotes, by its tag."""


@dataclass(frozen=True)
class Part:
    """A mapping in a YAML file. `faults` are lines and what is wrong there, shared by all parts of a file.

    What is asked for is None (or empty) where it is not there or not of its kind; a fault then says so.
    """

    path: Path
    node: Any
    name: str = ""
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key.value for key, _ in self.node.value if key.id == "scalar")

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the file, as far as it was read."""
        return not self.faults

    def at(self, key: str | None = None) -> Any:
        """The node under a key, None where there is none; without a key that of the mapping itself."""
        if key is None:
            return self.node
        return next((value for name, value in self.node.value if name.value == key), None)

    def fault(self, node: Any, sentence: str) -> None:
        self.faults.append((node.start_mark.line + 1, f"{place(self.path, node)}: {sentence}"))

    @property
    def sentences(self) -> list[str]:
        """The faults in the order of their lines."""
        return [sentence for _, sentence in sorted(self.faults, key=lambda fault: fault[0])]

    def refuse_faults(self, how: str) -> None:
        """Raises BadInput with the first fault, if there is one; `how` is the command that shows all of them."""
        if found := self.sentences:
            raise BadInput(found[0] + (f" (and {len(found) - 1} more: {how})" if len(found) > 1 else ""))

    def only(self, known: Sequence[str]) -> None:
        """Keys that nothing reads are faults, with what was probably meant."""
        where = f" in {self.name}" if self.name else ""
        for key, _ in self.node.value:
            if key.id == "scalar" and key.value not in known:
                self.fault(key, f"unknown key {key.value[:60]!r}{where}; {suggestion(key.value[:60], known, 'keys')}")

    def need(self, key: str, example: str) -> None:
        if self.at(key) is None:
            self.fault(self.node, f"lacks {self._called(key)!r}: {example}")

    def text(self, key: str) -> str:
        """A text that is not blank; "" where there is none."""
        node = self.at(key)
        if node is None:
            return ""
        if reason := why_no_text(node):
            self.fault(node, f"{self._called(key)} is a text; {reason}")
            return ""
        return str(node.value)

    def word(self, key: str, choices: Sequence[str]) -> str:
        """One of several words; "" where there is none."""
        said = self.text(key)
        if said and said not in choices:
            self.fault(self.at(key), f"{self._called(key)} is one of {', '.join(choices)}, not {said[:60]!r}")
            return ""
        return said

    def number(self, key: str, low: float, high: float, *, whole: bool = False) -> float | None:
        node = self.at(key)
        value = None if node is None else value_of(node)
        if node is None:
            return None
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            most = f" to {high:g}" if high < math.inf else ""
            self.fault(node, f"{self._called(key)} is {kind} from {low:g}{most}")
            return None
        return value

    def part(self, key: str, holds: str) -> Part | None:
        """A mapping under a key; `holds` says what in, where it is something else."""
        node = self.at(key)
        if node is None:
            return None
        if node.id != "mapping":
            self.fault(node, f"{self._called(key)} holds {holds}")
            return None
        return replace(self, node=node, name=key)

    def entries(self, key: str, holds: str) -> list[Any]:
        """The nodes of a list under a key, at least one; `holds` says of what, where it is something else."""
        node = self.at(key)
        if node is None:
            return []
        if node.id != "sequence" or not node.value:
            self.fault(node, f"{self._called(key)} is a list of {holds}")
            return []
        return list(node.value)

    def texts(self, key: str, holds: str) -> list[str]:
        """A list of texts that are not blank."""
        entries = self.entries(key, holds)
        for node in entries:
            if reason := why_no_text(node):
                self.fault(node, f"{self._called(key)} is a list of {holds}; {reason}")
        return [] if any(map(why_no_text, entries)) else [str(node.value) for node in entries]

    def _called(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def open_yaml(path: Path) -> Part:
    """The mapping that a YAML file holds. Keys that come twice are its first faults.

    Raises:
        BadInput: it can not be read, is too large, is no YAML or holds something else; its line is named.
    """
    import yaml

    text = _text(path)

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                problem = "an alias (*name) is not read here: write out what it stands for"
                raise yaml.composer.ComposerError(None, None, problem, mark)
            return super().compose_node(parent, index)

    try:
        root = Loader(text).get_single_node()
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        raise BadInput(f"{path}:{line + 1}: no YAML: {problem or getattr(error, 'reason', error)}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested too deep") from None
    if root is None:
        raise BadInput(f"{path} is empty")
    if root.id != "mapping":
        kind = "a list" if root.id == "sequence" else "a single value"
        raise BadInput(f"{place(path, root)}: {kind}, where keys with values are needed, such as name: …")
    found = Part(path, root)
    for node, problem in _repeated(root):
        found.fault(node, problem)
    return found


def place(path: Path, node: Any) -> str:
    """Where a node stands: "capitals.yaml:12"."""
    return f"{path}:{node.start_mark.line + 1}"


def why_no_text(node: Any) -> str:
    """Why a node is no text that says something, "" if it is one."""
    if node.id != "scalar":
        return "this is a list" if node.id == "sequence" else "these are keys with values"
    if node.tag != TEXT:
        if not node.value:
            return "nothing stands here"
        kind = READ_AS.get(node.tag.rpartition(":")[2], "something else")
        return f"YAML reads {node.value[:40]!r} without quotes as {kind}: put it in quotes"
    if any("\ud800" <= letter <= "\udfff" for letter in node.value):
        return "half a character (\\ud800 to \\udfff) stands in it"
    return "" if node.value.strip() else "nothing stands here"


def value_of(node: Any) -> Any:
    """A node as plain values of Python; None for what YAML can not make a value of.

    Dates and other things that JSON does not know stay as they are written.
    """
    import yaml

    if node.id == "sequence":
        return [value_of(entry) for entry in node.value]
    if node.id == "mapping":
        return {key.value: value_of(value) for key, value in node.value if key.id == "scalar"}
    try:
        value = yaml.constructor.SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else node.value


def _repeated(root: Any) -> Iterator[tuple[Any, str]]:
    """Keys that come twice, of which YAML would take the last and say nothing, and keys that are no words."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.id == "sequence":
            waiting += node.value
        elif node.id == "mapping":
            seen: dict[str, int] = {}
            for key, value in node.value:
                waiting.append(value)
                if key.id != "scalar":
                    yield key, "a key is a word, not a list or a mapping"
                elif key.value in seen:
                    yield key, f"the key {key.value[:60]!r} comes twice (first in line {seen[key.value]})"
                else:
                    seen[key.value] = key.start_mark.line + 1


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise BadInput(
                f"{path} has {size / 2**20:.1f} MiB, more than the {LARGEST / 2**20:g} MiB that are read: put the "
                "items into a file beside it (items: FILE.jsonl)"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror or error}") from None
