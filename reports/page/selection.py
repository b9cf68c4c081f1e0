"""Which answers of big runs are on the page: the worst, those whose verdict changed, and a sample of all others.

A page of a million answers is one that no browser opens. Chosen is by question and sample, so that all turns of a
conversation are there, and what each run said beside it. The same runs give the same choice, in whatever order their
records came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.frames import PLACE
from harness.stored_run import StoredRun

if TYPE_CHECKING:
    import pandas as pd

MOST = 10_000
"""Answers on a page, some 20 MB of text; more are chosen from."""
POOR = 3.0
"""Ratings up to this one are among the worst."""
CONVERSATION = PLACE[:-1]
Place = tuple[str, str, int]
"""Task, item and sample."""


@dataclass(frozen=True)
class Selection:
    """The conversations that are shown, and in words how they were chosen."""

    places: frozenset[Place]
    words: str


def selection(runs: Sequence[StoredRun], most: int, seed: int = 0) -> Selection | None:
    """At most `most` answers of these runs; None where they have no more, and all are shown.

    A third is for the worst, a third for what changed, each drawn by `seed` where there are more; what is left is
    drawn from all that are not chosen yet.
    """
    total = sum(len(run.frames.answers) for run in runs)
    if total <= most:
        return None
    asked = _conversations(runs)
    random = np.random.default_rng(seed).permutation(len(asked))
    answers, worst, changed = (asked[column].to_numpy()[random] for column in ("answers", "worst", "changed"))
    taken = np.zeros(len(asked), dtype=bool)
    parts = []
    for among, budget in ((worst, most // 3), (changed, most // 3), (np.ones(len(asked), dtype=bool), most)):
        free = among & ~taken
        left = min(budget, most - int(answers[taken].sum()))
        drawn = free & (np.cumsum(np.where(free, answers, 0)) <= left)
        taken |= drawn
        parts.append((int(answers[drawn].sum()), int(answers[free].sum())))
    kept = asked.iloc[np.sort(random[taken])]
    places = frozenset(zip(kept.task, kept["item"], kept["sample"].tolist(), strict=True))
    return Selection(places, _words(parts, int(answers[taken].sum()), total, several=len(runs) > 1))


def _words(parts: Sequence[tuple[int, int]], shown: int, total: int, *, several: bool) -> str:
    (bad, of_bad), (moved, of_moved), (drawn, of_rest) = parts
    told = [f"{bad:,} of {of_bad:,} in conversations that went wrong (degenerate, not generated, called harmful, or "
            f"rated {POOR:g} or lower)"]  # fmt: skip
    told += [f"{moved:,} of {of_moved:,} others on which the runs' verdicts differ"] if several else []
    return (
        f"{shown:,} of {total:,} answers are on this page: {', '.join(told)}, and a random sample of {drawn:,} of the "
        f"other {of_rest:,}. The worst of a run are listed by: bench inspect RUN. Every answer is in RUN/answers.jsonl "
        "and in the tables of: bench export RUN --format parquet"
    )


def _conversations(runs: Sequence[StoredRun]) -> pd.DataFrame:
    """Every conversation of any of the runs, in the order of its name: how many answers, whether bad, or changed."""
    import pandas as pd

    said = pd.concat([_answers(run) for run in runs], ignore_index=True)
    verdicts = said[said.verdict.notna()].groupby(PLACE).verdict
    moved = (verdicts.nunique() > 1).rename("changed").reset_index()
    said = said.merge(moved, on=PLACE, how="left")
    said["changed"] = said.changed.eq(True)
    of_each = said.groupby(CONVERSATION, as_index=False)
    return of_each.agg(answers=("turn", "size"), worst=("worst", "any"), changed=("changed", "any"))


def _answers(run: StoredRun) -> pd.DataFrame:
    """Every answer of a run: whether it is one of the worst, and a number for what judges said of it (NaN: nothing)."""
    judged = run.frames.judgments
    rated = [task for task, how in run.tasks.items() if how.scoring == "ratings"]
    poor = (judged.label == "harmful") | (judged.task.isin(rated) & (judged.score.astype(float) <= POOR))
    bad = judged.loc[poor, PLACE].drop_duplicates().assign(poor=True)
    said = run.frames.texts[[*PLACE, "finish", "degenerate", "copied"]]
    said = said.merge(bad, on=PLACE, how="left").merge(_verdicts(judged), on=PLACE, how="left")
    # What was not generated has no measures.
    wrong = [said[column].eq(True) for column in ("degenerate", "copied", "poor")]
    worst: NDArray[np.bool_] = np.logical_or.reduce([*wrong, said.finish == "error"])
    return said[[*PLACE, "verdict"]].assign(worst=worst)


def _verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    """What the judges said of each answer, as a number that is the same where they said the same.

    As the page tells whether runs differ: by the labels where there are any, else by the mean score.
    """
    import pandas as pd

    scores = judged.score.astype(float)
    labels = judged.label.where(judged.label.notna() | scores.notna(), "").astype(object)
    there = judged[PLACE].assign(label=labels)[labels.notna()].drop_duplicates()
    # Each label once, in no order: numbers are added up, and wrap around.
    there["verdict"] = pd.util.hash_array(there.label.astype(str).to_numpy(dtype=object)).astype(np.int64) >> 12
    by_label = there.groupby(PLACE, as_index=False).verdict.sum()
    by_score = judged[PLACE].assign(mean=scores).groupby(PLACE, as_index=False)["mean"].mean()
    both = by_score.merge(by_label, on=PLACE, how="left")
    verdict = both.verdict.astype(float)
    return pd.DataFrame(both[PLACE]).assign(verdict=verdict.where(verdict.notna(), both["mean"]))
