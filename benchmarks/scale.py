"""Big runs: what storing, resuming, scoring, comparing and exporting a million records costs, in seconds and memory.

    python -m benchmarks.scale                          # 10,000, 100,000 and 1,000,000 records
    python -m benchmarks.scale --records 20000 --targets resume,score

Half of the records are answers, of 70 words, one an item; the other half are judgments of them. Each target runs in a
process of its own, on records made beforehand, and its peak memory is that of the whole process, interpreter and
libraries included. Seconds are without imports, of the wall clock
and of the processor; the disk is that of --folder.
  append    answers stored by 4,096 coroutines at a time, each of which waits until its own is synced
  resume    the keys of all records, as a resume reads them
  score     all figures of the judged task, from the records to the table
  collapse  the same and all collapse measures of the answers
  compare   the run with another of the same items
  page      every transcript, as a report's page reads them; up to --page records
  parquet   `bench export --format parquet`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.store import RunStore
from judges.judgment import Judgment
from tasks.conversation import Answer

SIZES = (10_000, 100_000, 1_000_000)
WAVE = 4_096
"""Answers in flight at a time."""
WORDS = (
    "the river runs from hills to a sea and feeds fields on its way while people of every town watch boats carry "
    "grain wood stone or letters between markets that open early close late in summer rain winter snow autumn wind"
)
VOCABULARY = [*re.findall(r"\w+", WORDS)]
LABELS = ("harmful", "partial", "refused", "refused", "refused", "other", "degenerate")
CATEGORIES = ("fraud", "malware", "harassment", "privacy", "advice")
Work = Callable[[], object]
"""What a target times."""


def answer_of(number: int, seed: int) -> Answer:
    """A made-up answer; the same for the same arguments."""
    drawn = random.Random(number * 2 + seed)
    text = " ".join(drawn.choices(VOCABULARY, k=70)).capitalize() + "."
    entropy = round(drawn.uniform(0.5, 2.5), 6)
    return Answer(
        "asr", f"item-{number:07}", 0, 1, text, "stop", 64, 75, 0.215, entropy, None, drawn.getrandbits(32)
    )  # fmt: skip


def judgment_of(number: int, seed: int) -> Judgment:
    label = random.Random(number * 2 + 1 + seed).choice(LABELS)
    return Judgment("asr", f"item-{number:07}", 0, 1, "refusal", 0, label=label, explanation=f"it reads as {label}")


def make_run(directory: Path, records: int, seed: int = 0) -> None:
    """A complete run of `records` // 2 answers and as many judgments, as `bench run` leaves one."""
    count = records // 2
    directory.mkdir(parents=True)
    with (directory / "items.jsonl").open("w") as file:
        for number in range(count):
            asked = f"Request {number}: " + " ".join(random.Random(number).choices(VOCABULARY, k=20))
            item = {"task": "asr", "item": f"item-{number:07}", "samples": 1, "category": CATEGORIES[number % 5]}
            item |= {"turns": [asked], "reference": [], "checks": [], "metadata": {"source": "made up"}}
            file.write(json.dumps(item) + "\n")
    # Records lie in the order in which answers were finished, not in that of the items.
    order = random.Random(seed).sample(range(count), count)
    for name, one in (("answers", answer_of), ("judgments", judgment_of)):
        with (directory / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps(asdict(one(number, seed))) + "\n" for number in order)
    (directory / "run.json").write_text(json.dumps(manifest_of(count)))


def manifest_of(count: int) -> dict[str, Any]:
    tasks = {
        "asr": {"scoring": "attack_success", "items": count, "version": "1", "sha256": "0" * 64},
        "collapse": {"scoring": "texts", "version": "1"},
    }
    judges = {"asr": {"refusal": {"name": "refusal"}}}
    model = {"backend": "hf", "name": "made-up"}
    identity = {"tasks": tasks, "judges": judges, "judge_repeats": 1, "model": model}
    return {
        "schema_version": 1, "status": "complete", "config": {}, "identity": identity, "model": model, "sources": {},
        "environment": {}, "sittings": [],
    }  # fmt: skip


# --- the targets: each imports what it needs, and returns what is to be timed ---


def append(folder: Path) -> Work:
    count = sum(1 for _ in (folder / "run" / "items.jsonl").open("rb")) * 2
    answers = [answer_of(number, 0) for number in range(min(count, WAVE))]
    directory = folder / "appended"

    async def waves(store: RunStore) -> None:
        for start in range(0, count, WAVE):
            await asyncio.gather(*(store.add_answer(one) for one in answers[: min(WAVE, count - start)]))

    def work() -> None:
        with RunStore.open(directory, {}) as store:
            asyncio.run(waves(store))
        shutil.rmtree(directory)

    return work


def resume(folder: Path) -> Work:
    import numpy  # noqa: F401 - imports are not what is timed

    identity = json.loads((folder / "run" / "run.json").read_text())["identity"]
    return lambda: RunStore.open(folder / "run", identity).close()


def score(folder: Path) -> Work:
    import pandas  # noqa: F401 - imports are not what is timed

    from harness.scores import run_scores
    from harness.stored_run import open_run

    def work() -> None:
        stored = open_run(folder / "run")
        judged = {task: how for task, how in stored.tasks.items() if how.graded != "none"}
        assert run_scores(stored.frames, judged)

    return work


def collapse(folder: Path) -> Work:
    import pandas  # noqa: F401 - imports are not what is timed

    from harness.results import read_result

    return lambda: read_result(folder / "run")


def compare(folder: Path) -> Work:
    from harness.stored_run import open_run
    from reports.comparison import compare as compared

    return lambda: compared(open_run(folder / "run"), [open_run(folder / "other")])


def page(folder: Path) -> Work:
    from harness.stored_run import open_run
    from reports.page.transcripts import transcripts

    return lambda: transcripts([open_run(folder / "run")])


def parquet(folder: Path) -> Work:
    from harness.parquet import export_parquet

    return lambda: export_parquet(folder / "run", folder / "exported")


TARGETS: dict[str, Callable[[Path], Work]] = {
    it.__name__: it for it in (append, resume, score, collapse, compare, page, parquet)
}


# --- the table ---


def measured(target: str, folder: Path) -> tuple[float, float, int]:
    """Seconds, those of the processor, and peak memory in bytes of a target, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", target, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{target} failed")
    seconds, of_processor = map(float, said.split())
    return seconds, of_processor, usage.ru_maxrss * 1024


def table(sizes: list[int], targets: list[str], folder: Path | None, most_on_page: int) -> Iterator[str]:
    yield f"{'target':10}{'records':>10}{'seconds':>10}{'of CPU':>9}{'records/s':>12}{'peak MB':>9}"
    for records in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            for name, seed in (("run", 0), ("other", 1)):
                if name == "run" or "compare" in targets:
                    make_run(Path(made) / name, records, seed)
            for target in targets:
                if target == "page" and records > most_on_page:
                    continue
                seconds, of_processor, peak = measured(target, Path(made))
                many = 2 * records if target == "compare" else records
                timed = f"{seconds:10.2f}{of_processor:9.2f}{many / seconds:12,.0f}"
                yield f"{target:10}{records:10,}{timed}{peak / 1e6:9,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", default=",".join(map(str, SIZES)), help="sizes, with commas between")
    parser.add_argument("--targets", default=",".join(TARGETS), help="with commas between")
    parser.add_argument("--folder", type=Path, help="where records are made (default: the temporary folder)")
    parser.add_argument("--page", type=int, default=100_000, help="most records whose transcripts are read")
    parser.add_argument("--one", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        work = TARGETS[arguments.one](arguments.folder)
        begun, used = time.perf_counter(), time.process_time()
        work()
        print(time.perf_counter() - begun, time.process_time() - used)
        return
    sizes = [int(size) for size in arguments.records.split(",")]
    for line in table(sizes, arguments.targets.split(","), arguments.folder, arguments.page):
        print(line, flush=True)


if __name__ == "__main__":
    main()
