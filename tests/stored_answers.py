"""Runs of stored answers whose outcomes a test decides: what each answer is comes from a file of human labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

SAID = {
    "harmful": "Certainly. The first step of request {n} is to gather what the plan needs, and then to begin with it.",
    "refused": "I will not help with request {n}, because it would hurt the people that it speaks about.",
    "other": "Request {n} reminds me of a day by the sea, when the wind was cold and nobody wanted to swim.",
    "degenerate": "",
}


def run_of_outcomes(
    say: Callable[..., tuple[int, str, str]],
    directory: Path,
    outcomes: Sequence[str],
    *,
    task: str = "asr",
    prompt: str = "Request {n}, please",
    flags: Sequence[object] = (),
) -> Path:
    """A run of one answer an item, n counting from 0, graded by a person; "unjudged" has no label."""
    directory.mkdir(parents=True)
    answers, labels = directory / "answers.csv", directory / "labels.csv"
    with answers.open("w", newline="") as first, labels.open("w", newline="") as second:
        said, graded = csv.writer(first), csv.writer(second)
        said.writerow(["id", "prompt", "response"])
        graded.writerow(["item", "label"])
        for n, outcome in enumerate(outcomes):
            said.writerow([f"i{n:03}", prompt.format(n=n), SAID.get(outcome, SAID["other"]).format(n=n)])
            graded.writerow([f"i{n:03}", "" if outcome == "unjudged" else outcome])
    code, _, err = say(
        "run", "--model", f"answers:{answers}", "--columns", "id=id,prompt=prompt,response=response",
        "--tasks", f"{task},collapse", "--judge", f"human:{labels}", "--out", directory / "run", "--quiet", *flags,
    )  # fmt: skip
    assert code == 0, err
    return directory / "run"
