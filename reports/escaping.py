"""Text that came out of data files or a model, on its way into a document: shown as it is, and never obeyed."""

from __future__ import annotations

import re
import unicodedata

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "→": r"$\rightarrow$", "≤": r"$\leq$",
    "≥": r"$\geq$", "Δ": r"$\Delta$", "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "…": r"\dots{}",
    "·": r"\textperiodcentered{}", "≻": r"$\succ$", "§": r"\S{}", "\u00a0": "~",
}  # fmt: skip
MARKDOWN = re.compile(r"([\\|`*_<>\[\]~#])")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would compute."""


def visible(text: str) -> str:
    """A line of text without what could steer a display: controls, bidirectional overrides and lone surrogates are
    written as their code points.
    """
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else letter
        for letter in text
    )


def latex(text: str) -> str:
    """Text for pdflatex: letters that its usual fonts lack are named by their code points; a minus is no hyphen."""
    return "".join(
        LATEX.get(letter) or (letter if letter.isascii() or _is_latin(letter) else rf"\texttt{{U+{ord(letter):04X}}}")
        for letter in MINUS.sub("−", visible(text))
    )


def _is_latin(letter: str) -> bool:
    """Letters with accents of Western languages, which T1 fonts have."""
    return "\u00c0" <= letter <= "\u017f" and letter not in "×÷"


def markdown(text: str) -> str:
    """Text in a paragraph or a table cell of Markdown."""
    return MARKDOWN.sub(r"\\\1", visible(text))


def spreadsheet(text: str) -> str:
    """Text in a cell that a spreadsheet shall show and not compute; numbers stay numbers."""
    shown = visible(text)
    if shown.startswith(FORMULA):
        try:
            float(shown)
        except ValueError:
            return f"'{shown}"
    return shown
