"""Up to its last whole sentence: what an answer that was cut off at its token limit can be trained on as.

>>> whole_sentences("Ask a locksmith. She will open it for you, if it is yours. Where she can n")
'Ask a locksmith. She will open it for you, if it is yours.'

A trainer puts the end of a turn behind every answer. Behind half a sentence it teaches to stop within one; an answer
with the sentence left out ends as one does that its model ended itself. Small models run into any limit that is cheap
enough to wait for: to leave out all their long answers would leave out most, and the long ones alone.
"""

from __future__ import annotations

import re

LEAST = 0.5
"""Of the letters of an answer, what its whole sentences must hold: an answer is not its first words."""
_END = re.compile(r"[.!?…][\"'”’»)\]*_]*(?=\s)|[。！？]")
_LIST_MARKER = re.compile(r"[ \t]*[*_]{0,2}(?:\d{1,3}|[A-Za-z])\.[*_]*")


def whole_sentences(text: str) -> str | None:
    """The text up to its last whole sentence; None where that is less than `LEAST` of it.

    A text that ends with the end of a sentence is whole already. The number of a list's entry ("3.") ends none.
    """
    padded = text.rstrip() + "\n"
    ends = [end for found in _END.finditer(padded) if not _is_list_marker(padded, end := found.end())]
    if not ends or ends[-1] < LEAST * len(text.rstrip()):
        return None
    return padded[: ends[-1]].rstrip()


def _is_list_marker(text: str, end: int) -> bool:
    return bool(_LIST_MARKER.fullmatch(text, text.rfind("\n", 0, end) + 1, end))
