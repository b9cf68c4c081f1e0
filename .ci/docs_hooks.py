"""What mkdocs is told beside .ci/mkdocs.yml: the flags of commands, formulas, and a page of reference a module.

- `<!-- help: run -->` on a page becomes what `bench run --help` prints, so no page can say what is no longer so.
- Formulas between dollar signs become MathML, which browsers draw without a script or a font from elsewhere.
- Each module of a room has a page under Reference, from its docstrings.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("tasks", "judges", "harness", "training", "reports")
HELP = re.compile(r"^<!-- help(?:: ([\w ]+?))? -->$", re.M)
FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.S)
FROM_ELSEWHERE = re.compile(
    r'<(?:script|link|img|iframe|source|object)\b[^>]*?\b(?:src|href|data)="(?:https?:)?//[^"]*"'
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The reference's pages, behind what the nav has."""
    os.environ |= {"COLUMNS": "88", "NO_COLOR": "1"}  # of the help texts
    tree: list[Any] = ["reference/index.md"]
    for room in ROOMS:
        tree.append({room: [{_title(module): _page(module)} for module in _modules(room)]})
    assert config.nav
    config.nav.append({"Reference": tree})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for room in ROOMS:
        for module in _modules(room):
            text = f"---\nsearch:\n  boost: 0.5\n---\n\n# {module}\n\n::: {module}\n"
            files.append(File.generated(config, _page(module), content=text))
    return files


def on_page_markdown(markdown: str, /, **_: Any) -> str:
    return HELP.sub(lambda found: f"```text\n{_help((found[1] or '').split()).rstrip()}\n```", markdown)


def on_page_content(page: str, /, **_: Any) -> str:
    def drawn(found: re.Match[str]) -> str:
        return convert(html.unescape(found[2]).strip(), display="block" if found[1] == "div" else "inline")

    return FORMULA.sub(drawn, page)


def on_post_page(output: str, /, *, page: Page, **_: Any) -> str:
    """Nothing of the site is loaded from elsewhere."""
    if found := FROM_ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} would load {found[0]}")
    return output


def _modules(room: str) -> list[str]:
    """Every module of a room, the room itself first; those that hold nothing of their own are left out."""
    found = []
    for file in sorted((ROOT / room).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        if parts[-1] == "__init__":
            if '"""' not in file.read_text() or len(parts) == 1:
                continue
            parts = parts[:-1]
        found.append(".".join(parts))
    return sorted(found)


def _title(module: str) -> str:
    return module.partition(".")[2] or module


def _page(module: str) -> str:
    return f"reference/{module.replace('.', '/')}.md"


def _help(words: list[str]) -> str:
    """What `bench WORDS --help` prints."""
    sys.path.insert(0, str(ROOT))
    try:
        from harness.command_line import parser
    finally:
        sys.path.pop(0)
    found = parser()
    for word in words:
        (choices,) = [it for it in found._actions if isinstance(it, argparse._SubParsersAction)]
        found = choices.choices[word]
    return found.format_help()
