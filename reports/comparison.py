"""Two or more runs against a baseline: every figure that they share, as a paired difference with its test.

    {"task": "asr", "group": "all", "metric": "asr", "judge": "refusal", "baseline": "runs/sft",
     "candidate": "runs/dpo", "baseline_value": 0.71, "candidate_value": 0.42, "difference": -0.29, "low": -0.396,
     "high": -0.184, "p": 1e-6, "p_adjusted": 4e-6, "test": "McNemar mid-p", "n": 100, "minimum_detectable": 0.13, …}

A value is that of the units which have one in both runs, so the difference of the two values is the difference shown.
Tests are made over all answers, and corrected within two families: `primary` (what a release is judged by: helpfulness,
attack success, over-refusal, degenerate answers) and `secondary` (all the rest). Categories and attacks are described
by differences and intervals, without a test: ten questions decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.agreement import Figure
from harness.grades import grades_by_judge
from harness.jury import jury
from harness.metrics import ALL, METRICS, groups_of
from harness.scores import JURY
from harness.stored_run import StoredRun
from reports.collapse_comparison import Texts, collapse_against, texts_of_both
from reports.comparable import FORBIDDING, Couple, couple
from reports.pairing import Difference, Paired, aligned, difference, of_sets, pair
from reports.significance.families import benjamini_hochberg, holm
from reports.transitions import Transitions, pairs_of, transitions
from tasks.collapse.verdict import ModelVerdict
from tasks.errors import BadInput, suggestion
from tasks.paths import user_path
from tasks.task import COLLAPSE

if TYPE_CHECKING:
    import pandas as pd

Family = Literal["primary", "secondary"]
Correction = Literal["holm", "bh"]
CORRECTIONS: Mapping[Correction, Callable[[Sequence[float | None]], list[float | None]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
}
PRIMARY = {
    ("mt_bench", "average"): "helpfulness",
    ("mini_mt", "average"): "helpfulness",
    ("asr", "asr"): "attack success",
    ("over_refusal", "over_refusal"): "over-refusal",
    ("collapse", "degenerate"): "degenerate answers",
}
"""What a release is judged by, in words."""
REDUNDANT = ("asr_low",)
"""The same as asr: of use in the scores of one run only."""


@dataclass(frozen=True)
class Comparison:
    """One figure of a candidate against the baseline's.

    `p_adjusted` is None where no test was made; `despite` says what forbids this comparison where it was forced.
    """

    task: str
    group: str
    metric: str
    judge: str | None
    baseline: str
    candidate: str
    found: Difference
    left_out: Mapping[str, int]
    p_adjusted: float | None = None
    despite: Sequence[str] = ()

    @property
    def words(self) -> str | None:
        """What a primary metric is in words; None for any other."""
        return PRIMARY.get((self.task, self.metric)) if self.group == ALL else None

    @property
    def family(self) -> Family:
        return "primary" if self.words else "secondary"

    def as_json(self) -> dict[str, Any]:
        found = asdict(self.found)
        return {
            **{key: getattr(self, key) for key in ("task", "group", "metric", "judge", "baseline", "candidate")},
            **found,
            "p_adjusted": self.p_adjusted,
            "family": self.family,
            "left_out": dict(self.left_out),
            **({"despite": list(self.despite)} if self.despite else {}),
        }


@dataclass(frozen=True)
class Candidate:
    """What a candidate came to against the baseline, beside its figures."""

    couple: Couple
    transitions: Mapping[str, Transitions]
    """By judge."""
    collapse: ModelVerdict | None

    @property
    def name(self) -> str:
        return str(self.couple.candidate.directory)


@dataclass(frozen=True)
class Comparisons:
    """All comparisons with one baseline. `refused` says what was not compared, and why."""

    baseline: StoredRun
    rows: Sequence[Comparison]
    candidates: Sequence[Candidate]
    refused: Sequence[str]
    correction: Correction = "holm"
    one_family: bool = False
    """Whether all tests were corrected as one family, since their metrics were named."""

    def as_json(self) -> dict[str, Any]:
        return {
            "comparisons": [row.as_json() for row in self.rows],
            "refused": list(self.refused),
            "correction": self.correction,
            "transitions": [
                {"candidate": it.name, **found.as_json()} for it in self.candidates for found in it.transitions.values()
            ],
            "collapse": [
                {
                    "candidate": it.name,
                    "verdict": it.collapse.word,
                    "findings": [asdict(finding) for finding in it.collapse.findings],
                }
                for it in self.candidates
                if it.collapse
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to compare. Empty `metrics` are all; with some of them named, those are the family that is corrected."""

    metrics: Sequence[str] = ()
    judge: str | None = None
    correction: Correction = "holm"
    force: bool = False
    groups: bool = True


def compare(baseline: StoredRun, candidates: Sequence[StoredRun], choice: Choice | None = None) -> Comparisons:
    """Compare candidates with a baseline on what each has in common with it.

    Raises:
        BadInput: a metric or a judge that no figure in common has.
    """
    choice = choice or Choice()
    rows: list[Comparison] = []
    refused: list[str] = []
    found: list[Candidate] = []
    for run in candidates:
        both = couple(baseline, run)
        texts = texts_of_both(both, force=choice.force)
        mine = list(_rows(both, texts, choice))
        rows += mine
        refused += _refusals(both, choice)
        differences = {(row.task, row.metric, row.judge): row.found for row in mine if row.group == ALL}
        collapse = collapse_against(texts, differences) if texts else None
        found.append(Candidate(both, _transitions(both, differences, choice), collapse))
    chosen = _adjusted(_chosen(rows, choice), choice)
    if choice.metrics:  # who asks for one figure is told of that one
        told = {row.task for row in chosen}
        found = [
            replace(
                it,
                transitions=it.transitions if "asr" in told else {},
                collapse=it.collapse if "collapse" in told else None,
            )
            for it in found
        ]
    return Comparisons(baseline, chosen, found, refused, choice.correction, bool(choice.metrics))


def one_baseline(runs: Sequence[Path], baseline: str | None) -> tuple[Path, list[Path]]:
    """The baseline (by default the first run) and the others.

    Raises:
        BadInput: nothing is left to compare, or a run is given twice.
    """
    first = user_path(baseline) if baseline else runs[0]
    others = [run for run in runs if run.resolve() != first.resolve()]
    if len({run.resolve() for run in runs}) < len(runs):
        raise BadInput("a run is given twice: each is compared once")
    if not others:
        raise BadInput(f"only {first} is given: name a run to compare it with (bench compare RUN0 RUN …)")
    return first, others


def _refusals(both: Couple, choice: Choice) -> list[str]:
    where = f"{both.baseline.directory} and {both.candidate.directory}"
    alone = [
        f"{task} is in one of {where} only"
        for task in dict.fromkeys((*both.baseline.described_tasks, *both.candidate.described_tasks))
        if task not in both.in_both
    ]
    if choice.force:
        return alone
    forbidden = [
        f"{it} [{where}; --force compares them all the same]" for it in both.obstacles if it.kind in FORBIDDING
    ]
    return alone + forbidden


# --- rows ---


@dataclass(frozen=True)
class PairedMetric:
    """A metric of both runs, value against value."""

    task: str
    judge: str | None
    group: str
    name: str
    paired: Paired


def paired_metrics(both: Couple, texts: Texts | None, choice: Choice) -> Iterator[PairedMetric]:
    """Every metric that has values in both runs."""
    for task in both.in_both:
        if both.baseline.tasks[task].graded == "none":
            if texts and task == COLLAPSE:
                for before, after in aligned(*texts.metrics):
                    yield PairedMetric(task, None, ALL, before.name, pair(before, after))
        elif choice.force or not both.refused(task):
            for judge, sides in graded_by_both(both, task, force=choice.force).items():
                yield from _by_group(both, task, judge, sides, choice)


def _rows(both: Couple, texts: Texts | None, choice: Choice) -> Iterator[Comparison]:
    names = str(both.baseline.directory), str(both.candidate.directory)
    for it in paired_metrics(both, texts, choice):
        if it.name in REDUNDANT or not it.paired.n:
            continue
        found = difference(it.paired, tested=it.group == ALL)
        despite = [obstacle.reason for obstacle in both.refused(it.task, it.judge)] if choice.force else []
        yield Comparison(it.task, it.group, it.name, it.judge, *names, found, it.paired.left_out, despite=despite)
    if texts:
        for (name, before, _), (_, after, _) in zip(*texts.set_figures, strict=True):
            yield Comparison("collapse", ALL, name, None, *names, of_sets(before, after), {})


def graded_by_both(both: Couple, task: str, *, force: bool = False) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The grades of each judge that graded a task in both runs in the same way; of several, those of the jury, too."""
    frames = both.forced_frames if force else both.frames
    before, after = (
        grades_by_judge(tables, task, run.tasks[task]) for tables, run in zip(frames, both.sides, strict=True)
    )
    judges = [name for name in before if name in after and (force or not both.refused(task, name))]
    found = {name: (before[name], after[name]) for name in judges}
    if len(judges) > 1:
        found[JURY] = jury([before[name] for name in judges]), jury([after[name] for name in judges])
    return {name: sides for name, sides in found.items() if len(sides[0]) and len(sides[1])}


def _by_group(
    both: Couple, task: str, judge: str, sides: tuple[pd.DataFrame, pd.DataFrame], choice: Choice
) -> Iterator[PairedMetric]:
    metrics = METRICS[both.baseline.tasks[task].scoring]
    before, after = (dict(groups_of(rows)) for rows in sides)
    for group in before:
        if group in after and (choice.groups or group == ALL):
            for first, second in aligned(metrics(before[group]), metrics(after[group])):
                yield PairedMetric(task, judge, group, first.name, pair(first, second))


def _adjusted(rows: Sequence[Comparison], choice: Choice) -> list[Comparison]:
    """Correct p for the number of tests made: in each family, or among the metrics that were named."""
    adjusted = list(rows)
    families = [range(len(rows))] if choice.metrics else [
        [place for place, row in enumerate(rows) if row.family == family] for family in ("primary", "secondary")
    ]  # fmt: skip
    for family in families:
        corrected = CORRECTIONS[choice.correction]([rows[place].found.p for place in family])
        for place, p in zip(family, corrected, strict=True):
            adjusted[place] = replace(rows[place], p_adjusted=p)
    return adjusted


def _chosen(rows: Sequence[Comparison], choice: Choice) -> list[Comparison]:
    """The rows of the metrics that were named, as METRIC or TASK.METRIC; all, where none was."""
    if not rows:
        return []
    if choice.judge and choice.judge not in {row.judge for row in rows}:
        known = sorted({row.judge for row in rows if row.judge})
        raise BadInput(f"no judge {choice.judge!r} graded both runs: {suggestion(choice.judge, known, 'judges')}")
    names = {name: row for row in rows for name in (row.metric, f"{row.task}.{row.metric}")}
    metrics = _whole(choice.metrics, names)
    if unknown := [name for name in metrics if name not in names]:
        # Either form is understood; offered is the one that was tried.
        like = sorted({name for name in names if ("." in name) == ("." in unknown[0])})
        raise BadInput(f"no metric {unknown[0]!r} in both runs: {suggestion(unknown[0], like, 'metrics')}")
    wanted = set(metrics) or set(names)
    return [
        row for row in rows
        if {row.metric, f"{row.task}.{row.metric}"} & wanted and choice.judge in (None, row.judge)
    ]  # fmt: skip


def _whole(given: Sequence[str], known: Collection[str]) -> list[str]:
    """Names that were given in a list with commas: of lm-eval's metrics some have one in their name."""
    names: list[str] = []
    for name in given:
        if names and name not in known and f"{names[-1]},{name}" in known:
            names[-1] += f",{name}"
        else:
            names.append(name)
    return names


# --- beside the rows ---


def _transitions(
    both: Couple, differences: Mapping[tuple[str, str, str | None], Difference], choice: Choice
) -> dict[str, Transitions]:
    """What became of attack outcomes, by judge; of the jury alone where there is one."""
    if "asr" not in both.in_both or (not choice.force and both.refused("asr")):
        return {}
    graded = graded_by_both(both, "asr", force=choice.force)
    chosen = choice.judge or (JURY if JURY in graded else None)
    found = {}
    for judge, sides in graded.items():
        if chosen in (None, judge):
            of_safe = differences.get(("over_refusal", "over_refusal", judge))
            over_refusal = Figure(of_safe.difference, of_safe.low, of_safe.high) if of_safe else None
            found[judge] = transitions(pairs_of(judge, *sides), over_refusal)
    return found
