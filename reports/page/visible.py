"""Text on its way into the page: what could steer a display, or is no text at all, is shown by its code point.

>>> shown("ab\\u202ecd")
'ab⟨U+202E⟩cd'
"""

from __future__ import annotations

import html
import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction; what has no width
    "\ud800-\udfff\U000e0000-\U000e0fff]"  # halves of pairs; tags, in which text can be hidden
)
"""Joiners (U+200C, U+200D) are not among them: emoji, Persian and Hindi are written with those."""


def shown(text: str) -> str:
    """Text of one line or many, as it can be laid out and encoded: controls, lone surrogates and bidirectional
    overrides are written as ⟨U+…⟩. Line breaks of any system become line feeds.
    """
    return STEERING.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    """The same for the page's markup, in an element or an attribute in quotes."""
    return html.escape(shown(text))
