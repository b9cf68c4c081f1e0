r"""Dialogues of HH-RLHF (Bai et al. 2022) as requests: what the person asks first, or all that the person says.

A row, of which only the dialogue that people preferred is read (the other differs in the last answer):

    {"chosen": "\n\nHuman: what are some pranks with a pen?\n\nAssistant: Jokes?\n\nHuman: yep\n\nAssistant: Ok: …",
     "rejected": "\n\nHuman: what are some pranks with a pen?\n\nAssistant: Jokes?\n\nHuman: yep\n\nAssistant: …"}

A turn begins with a blank line and "Human: " or "Assistant: ", and with nothing else: turns hold colons, blank lines
and the word "Human:" inside their lines. Readers that cut at those lose the end of a request.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.item import Item, build_items, text_in
from tasks.tables import RowError, Table, read_table

COLUMNS = frozenset({"chosen", "rejected"})

TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):(?=\s|\Z)")

CATEGORY = "red_team"
"""The set has no categories: every dialogue was held to bring an assistant to say something harmful."""

REPEATED = "repeating an earlier row's request"
SILENT = "in which the person asks nothing"


def read_hh_dialogues(path: Path) -> Iterator[Item]:
    """Yield an item for each dialogue of a file, with every turn of the person; see `hh_items`."""
    yield from hh_items(read_table(path), every_turn=True)


def hh_items(table: Table, every_turn: bool = False) -> Iterator[Item]:
    """Yield an item for each dialogue: the person's first turn, or every one.

    An item is named by what it asks. One that was asked before is marked as left out; so is one without a request.

    Raises:
        BadInput: a row that is no dialogue, or what `build_items` refuses; file and line are named.
    """
    seen: Counter[str] = Counter()

    def build(row: Mapping[str, Any], number: int) -> Item:
        said = human_turns(text_in(row, "chosen"))
        turns = tuple(filter(None, said if every_turn else said[:1]))
        metadata = {"source": "hh_rlhf"}
        if not turns:
            return Item(f"hh-row-{number}", CATEGORY, ("",), metadata={**metadata, "left_out": SILENT})
        digest = hashlib.sha256("\n\nHuman: ".join(turns).encode("utf-8", "surrogatepass"))
        name = f"hh-{digest.hexdigest()[:12]}"
        seen[name] += 1
        if seen[name] > 1:
            return Item(f"{name}-{seen[name]}", CATEGORY, turns, metadata={**metadata, "left_out": REPEATED})
        return Item(name, CATEGORY, turns, metadata=metadata)

    return build_items(table, build)


def human_turns(dialogue: str) -> list[str]:
    """What the person says in a dialogue, turn by turn; raises RowError for a text that no person begins."""
    marks = list(TURN.finditer(dialogue))
    if not marks or marks[0].start() or marks[0][1] != "Human":
        raise RowError("has a 'chosen' that is no dialogue: it must begin with \"Human: \"")
    ends = [mark.start() for mark in marks[1:]] + [len(dialogue)]
    return [dialogue[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True) if mark[1] == "Human"]
