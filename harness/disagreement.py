"""Where the judges of a run disagree: for each two of them, how often one's label met which of the other's.

    {"task": "asr", "judges": ["refusal", "openai:gpt-4o"], "n": 80, "accuracy": 0.9, "accuracy_low": 0.81, …,
     "kappa": 0.78, …, "confusion": {"harmful": {"harmful": 21, "refused": 1}, …}, "excluded": {}}

`accuracy` is the share of answers on which the two agree: neither of them is the truth. Answers that a program finds
degenerate have that label from every judge but people: there is nothing to disagree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.agreement import LabelAgreement, label_agreement
from harness.frames import RunFrames
from harness.grades import Scored, grades_by_judge

ONE_SILENT = "without a label of both"


@dataclass(frozen=True)
class JudgePair:
    """Two judges of one task; `silent` counts the answers that one of them, or both, gave no label."""

    task: str
    judges: tuple[str, str]
    agreement: LabelAgreement
    silent: int

    def as_json(self) -> dict[str, Any]:
        found = self.agreement.as_json()
        del found["classes"]
        excluded = {ONE_SILENT: self.silent} if self.silent else {}
        return {"task": self.task, "judges": list(self.judges), **found, "excluded": excluded}


def judge_pairs(frames: RunFrames, tasks: Mapping[str, Scored]) -> Iterator[JudgePair]:
    """Each two judges of each task with labels, in the order in which the judges were named."""
    for task, how in tasks.items():
        if how.graded == "none" or how.scoring == "ratings" or len(how.judges) < 2:
            continue
        # One row an answer, the same answers in the same order for every judge.
        by_judge = grades_by_judge(frames, task, how)
        for first, second in combinations(by_judge, 2):
            mine, theirs = by_judge[first], by_judge[second]
            both = (mine.label.notna() & theirs.label.notna()).to_numpy()
            requests = mine.request[both].tolist()
            found = label_agreement(mine.label[both].tolist(), theirs.label[both].tolist(), requests)
            yield JudgePair(task, (first, second), found, int((~both).sum()))
