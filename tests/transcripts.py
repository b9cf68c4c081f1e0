"""The transcripts in the docs: what a page says a command printed, and what it prints.

    ```console
    $ bench gate runs/3bit --baseline runs/base | tail -n 2; echo $?
    baseline sha256 6ebe1099…
    fail: runs/3bit against runs/base
    1
    ```

`make transcripts` (python tests/transcripts.py) writes what is printed now into docs/start.md and docs/commands;
tests/test_docs_site.py fails where a page says something else. A page begins in a folder with the files of
docs/answers and, unless it is one of FROM_NOTHING, the runs that PREPARED makes. A block with a title
(```toml title="gate.toml") is a file in that folder. Known are bench, cat, `| head -n N`, `| tail -n N` and
`; echo $?`. Shown are stdout, and of stderr the lines that begin with "bench: ".
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FROM_NOTHING = ("start.md", "commands/run.md")
PREPARED = (
    "bench run --model answers:smollm2.jsonl --tasks asr,collapse --out runs/base",
    "bench run --model answers:smollm2-3bit.jsonl --tasks asr,collapse --out runs/3bit",
)
WIDTH = 90
BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[\w.-]+)")?\n(?P<body>.*?)^```$', re.M | re.S)
CHANGING = re.compile(r"\b[0-9a-f]{12,64}\b|\b\d+(?:\.\d+)? s\b|\b\d{4}-\d\d-\d\d \d\d:\d\d\b")
"""Hashes, seconds and dates: the only things that may be printed otherwise elsewhere."""


def pages() -> list[Path]:
    """The pages with transcripts."""
    named = [DOCS / "start.md", *sorted((DOCS / "commands").glob("*.md"))]
    return [page for page in named if "```console" in page.read_text()]


def as_printed(page: Path, prepared: Path | None = None) -> str:
    """The text of a page, with what its commands print now; hashes, seconds and dates stay as they are in it.

    `prepared` is a folder with the runs that PREPARED makes, for a second page not to make them again.
    """
    name = page.relative_to(DOCS).as_posix()
    with tempfile.TemporaryDirectory() as folder, at_work(Path(folder)):
        if name not in FROM_NOTHING:
            shutil.copytree(prepared / "runs", "runs") if prepared else make_runs()
        return BLOCK.sub(_answered, page.read_text())


def make_runs() -> None:
    """The runs that most pages begin with, in the current folder."""
    for command in PREPARED:
        run(command)


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Work in `folder`, with the files of stored answers and a cache of its own, in a terminal of WIDTH letters."""
    for file in (DOCS / "answers").glob("*.jsonl"):
        shutil.copy(file, folder)
    own = {"COLUMNS": str(WIDTH), "BENCH_CACHE": str(folder / ".cache"), "NO_COLOR": "1"}
    with contextlib.chdir(folder), patch.dict(os.environ, own):
        yield


def _answered(block: re.Match[str]) -> str:
    if block["title"]:
        Path(block["title"]).write_text(block["body"])
    if block["kind"] != "console":
        return block[0]
    sessions = re.split(r"^(?=\$ )", block["body"], flags=re.M)
    assert not sessions[0], f"a transcript begins with its command: {sessions[0]!r}"
    return "```console\n" + "".join(map(_again, sessions[1:])) + "```"


def _again(session: str) -> str:
    """A command with what it prints; as it stands, if only what is CHANGING differs."""
    command, _, before = session.partition("\n")
    after = run(command.removeprefix("$ "))
    return session if _steady(before) == _steady(after) else f"{command}\n{after}"


def _steady(text: str) -> str:
    return CHANGING.sub("…", text).rstrip()


def run(command: str) -> str:
    """What a command line prints, without spaces at the ends of its lines."""
    asked, *filters = command.removesuffix("; echo $?").split(" | ")
    code, printed = _run(shlex.split(asked))
    lines = [line.rstrip() for line in printed.splitlines()]
    for words in map(shlex.split, filters):
        assert words[0] in ("head", "tail"), f"no transcript can be made with {words[0]}"
        assert words[1] == "-n", f"{words[0]} needs -n"
        lines = lines[: int(words[2])] if words[0] == "head" else lines[-int(words[2]) :]
    if command.endswith("; echo $?"):
        lines.append(str(code))
    else:
        assert code == 0 or filters, f"{command} exits {code}: {printed}"
    return "".join(f"{line}\n" for line in lines)


def _run(words: list[str]) -> tuple[int, str]:
    import bench

    if words[0] == "cat":
        return 0, "".join(Path(name).read_text() for name in words[1:])
    assert words[0] == "bench", f"no transcript can be made of {words[0]}"
    out, messages = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(messages):
        code = bench.main(words[1:])
    said = [line for line in messages.getvalue().splitlines() if line.startswith("bench: ")]
    return code, "".join(f"{line}\n" for line in said) + out.getvalue()


def main() -> None:
    for page in pages():
        text = as_printed(page)
        if text != page.read_text():
            page.write_text(text)
            sys.stderr.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
