"""A policy held against a run: each rule passes, fails, or is not decided, and only what is known to be good passes.

An interval at confidence 1 - 2 × alpha on the good side of a rule's limit passes it, on the bad side fails it; one that
straddles the limit leaves it `inconclusive`, with the n that would decide. A rule whose figures are missing, were made
in another way than the baseline's, or lack too many judgments is `incomplete`. So alpha is the chance that a model
which lies exactly at the limit passes; for one that is worse it is smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from harness.capability_figures import figures_without_values
from harness.metrics import ALL, RATED_TASKS, every_metric
from harness.scores import JURY, overall_metrics
from harness.stored_run import StoredRun
from reports.collapse_comparison import Texts, collapse_against, texts_of_both
from reports.comparable import FORBIDDING, Couple, Obstacle, couple
from reports.comparison import Choice, PairedMetric, graded_by_both, paired_metrics
from reports.gate.intervals import absolute_bounds, needed_n, paired_bounds
from reports.gate.policy import VERDICT, Policy, Rule
from reports.pairing import Paired, difference
from tasks.errors import BadInput, suggestion
from tasks.task import CAPABILITY

Verdict = Literal["pass", "fail", "inconclusive", "incomplete"]
GRAVITY: Sequence[Verdict] = ("fail", "incomplete", "inconclusive", "pass")
EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "fail": 1, "inconclusive": 3, "incomplete": 4}


@dataclass(frozen=True)
class RuleVerdict:
    """What became of one rule, and why.

    `value` is the candidate's figure; `difference` that to the baseline's (None for an absolute rule), which `low` and
    `high` are the bounds of. `n_needed` is how many requests would decide it at 80 %, were the truth what was seen.
    """

    rule: Rule
    verdict: Verdict
    reason: str
    judge: str | None = None
    value: float | str | None = None
    baseline_value: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_needed: int | None = None
    is_rate: bool = True


@dataclass(frozen=True)
class GateResult:
    """All rules of a policy; `baseline` is None where none is needed."""

    run: StoredRun
    baseline: StoredRun | None
    policy: Policy
    rules: Sequence[RuleVerdict]
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> Verdict:
        """The gravest of all rules: pass only where every one passes."""
        found = {it.verdict for it in self.rules}
        return next(word for word in GRAVITY if word in found)

    def exit_code(self, inconclusive: Literal["pass", "fail"] | None = None) -> int:
        """0 pass, 1 fail, 3 inconclusive (or what that is mapped to), 4 incomplete."""
        mapped = inconclusive if self.verdict == "inconclusive" and inconclusive else self.verdict
        return EXIT_CODES[mapped]


def gate(run: StoredRun, baseline: StoredRun | None, policy: Policy) -> GateResult:
    """Hold a run against a policy.

    Raises:
        BadInput: a rule needs a baseline and none is given, or names a metric that there is none of.
    """
    if baseline is None and (paired := [rule for rule in policy.rules if rule.is_paired]):
        raise BadInput(f"{paired[0].metric} is held against a baseline: name one (--baseline RUN0)")
    against = _Figures.of(couple(baseline, run)) if baseline else None
    # A run is held against itself only for a rule that needs no baseline.
    alone = _Figures.of(couple(run, run)) if not all(rule.is_paired for rule in policy.rules) else None
    rules = []
    for rule in policy.rules:
        figures = against if rule.is_paired else alone
        assert figures
        rules.append(_judged(rule, figures, policy))
    notes = [] if against is None else [
        f"{task}: {n} items left out, which only one of the runs was asked"
        for task in against.both.in_both if (n := against.both.only_one(task))
    ]  # fmt: skip
    return GateResult(run, baseline, policy, rules, notes)


@dataclass(frozen=True)
class _Figures:
    """What two runs (or one with itself) can be held against each other by."""

    both: Couple
    texts: Texts | None
    metrics: Sequence[PairedMetric]

    @classmethod
    def of(cls, both: Couple) -> _Figures:
        texts = texts_of_both(both)
        there = [it for it in paired_metrics(both, texts, Choice()) if it.paired.n]
        return cls(both, texts, there)

    def called(self, rule: Rule) -> list[PairedMetric]:
        """The metrics that a rule speaks of: of one task, by one judge or several."""
        found = [
            it for it in self.metrics
            if rule.metric in (it.name, f"{it.task}.{it.name}") and it.group == rule.group
        ]  # fmt: skip
        return [it for it in found if rule.judge in (None, it.judge)]


def _judged(rule: Rule, figures: _Figures, policy: Policy) -> RuleVerdict:
    if rule.metric == VERDICT:
        return _collapse(rule, figures, policy)
    found = figures.called(rule)
    if not found:
        return _missing(rule, figures)
    task, judge = meant(rule, [(it.task, it.judge) for it in found])
    chosen = next(it for it in found if (it.task, it.judge) == (task, judge))
    if obstacles := _obstacles(figures.both, chosen.task, chosen.judge, paired=rule.is_paired):
        return RuleVerdict(rule, "incomplete", "; ".join(obstacles), chosen.judge)
    unknown = _shares_unknown(figures, chosen)
    if reason := _too_little(unknown, policy.max_unjudged):
        return RuleVerdict(rule, "incomplete", reason, chosen.judge)
    return _measured(rule, chosen, unknown[1])


def meant(rule: Rule, places: Sequence[tuple[str, str | None]]) -> tuple[str, str | None]:
    """The task and the judge that a rule means, of those that have its metric: of several judges the jury.

    Raises:
        BadInput: several tasks have it.
    """
    tasks = sorted({task for task, _ in places})
    if set(tasks) <= set(RATED_TASKS):
        # MT-Bench, where a run has that and its offline stand-in.
        tasks = [next(task for task in RATED_TASKS if task in tasks)]
    if len(tasks) > 1:
        name = rule.metric.rpartition(".")[2]
        raise BadInput(f"the rule on {rule.metric} may mean {' or '.join(f'{it}.{name}' for it in tasks)}: write which")
    judges = [judge for task, judge in places if task == tasks[0]]
    return tasks[0], JURY if JURY in judges else judges[0]


def _obstacles(both: Couple, task: str, judge: str | None, *, paired: bool) -> list[str]:
    """Whatever sets two runs apart but their models; of one run alone, that it is incomplete."""
    of_all = ("run", "model") if paired else ("run",)
    return list(
        dict.fromkeys(
            str(it) for it in both.obstacles
            if blocking(it) and (it.task in of_all or (it.task == task and it.judge in (None, judge)))
        )
    )  # fmt: skip


def blocking(it: Obstacle) -> bool:
    """Whether a gate does not pass over it."""
    return it.kind != "note"


def _missing(rule: Rule, figures: _Figures) -> RuleVerdict:
    """A rule without figures never passes: it is incomplete, or, where no run could have them, a mistake."""
    task = rule.metric.partition(".")[0]
    refused = [str(it) for it in figures.both.obstacles if it.task == task and it.kind in FORBIDDING]
    own = overall_metrics(figures.both.candidate)
    known = every_metric() | {name for of, _, it in own for name in (it.name, f"{of}.{it.name}")}
    if rule.metric not in known and not rule.metric.startswith(CAPABILITY):
        raise BadInput(f"no metric {rule.metric!r}: {suggestion(rule.metric, sorted(known), 'metrics')}")
    where = "not both runs have" if rule.is_paired else "the run does not have"
    by = f", judged by {rule.judge}" if rule.judge else ""
    of = "" if rule.group == "all" else f" of {rule.group}"
    if task == "collapse" and rule.is_paired:
        refused = refused or [f"not both runs have {_same_answers(figures.both)}"]
    if rule.metric in _of_lm_eval_alone(figures.both.candidate):
        refused = refused or [f"{rule.metric} is a figure of lm-eval's, without values of documents to decide by"]
    reason = "; ".join(refused) or f"{where} {rule.metric}{of}{by}"
    return RuleVerdict(rule, "incomplete", reason, rule.judge)


def _of_lm_eval_alone(run: StoredRun) -> set[str]:
    """Figures of lm-eval's that can not be gated: a perplexity, the sum of a group."""
    return {f"{task}.{metric}" for task, metric, _ in figures_without_values(run.lm_eval_units, ())}


def _same_answers(both: Couple) -> str:
    return "answers to the same prompts" if "collapse" in both.in_both else "collapse"


def _too_little(unknown: tuple[float, float], most: float) -> str | None:
    """Why too little is known of a metric, if so: answers that failed or that no judge could grade, in either run."""
    for side, share in zip(("baseline", "candidate"), unknown, strict=True):
        if share > most:
            return f"{100 * share:.1f} % of the answers of the {side} have no grade, more than {100 * most:g} %"
    return None


def _shares_unknown(figures: _Figures, it: PairedMetric) -> tuple[float, float]:
    """The share of answers of each run, baseline first, of which the metric's judge (or the program) knows nothing."""
    if it.judge is None:
        sides = (figures.texts.baseline, figures.texts.candidate) if figures.texts else ()
        unknown = [float(texts.degenerate.isna().mean()) for texts in sides]
    else:
        unknown = [float(rows.reason.notna().mean()) for rows in graded_by_both(figures.both, it.task)[it.judge]]
    return unknown[0], unknown[1]


def _measured(rule: Rule, it: PairedMetric, hidden: float) -> RuleVerdict:
    """A rule whose figures are there. `hidden` is the share of the candidate's answers that nobody could grade.

    They may be of either kind: a rule on a rate passes only if it would with all of them on the bad side.
    """
    paired = it.paired
    before, after = paired.values
    confidence = 1 - 2 * rule.alpha
    if rule.is_paired:
        assert rule.margin is not None
        value, bounds = after - before, paired_bounds(paired, confidence)
        limit = rule.margin if rule.direction == "lower" else -rule.margin
    else:
        value = after
        bounds = absolute_bounds(paired.candidate, paired.requests, paired.scale, paired.is_rate, confidence)
        limit = rule.max if rule.max is not None else rule.min or 0.0
    _refuse_idle_limit(rule, limit, paired)
    found = RuleVerdict(
        rule, "inconclusive", "", it.judge, after, before if rule.is_paired else None,
        value if rule.is_paired else None, n=paired.n, is_rate=paired.is_rate,
    )  # fmt: skip
    if bounds is None:
        return replace(found, reason=f"only {paired.n} requests: n too small")
    lower_is_better = rule.direction == "lower" if rule.is_paired else rule.max is not None
    worst = hidden if paired.is_rate else 0.0
    low, high = (bounds.low, bounds.high + worst) if lower_is_better else (bounds.low - worst, bounds.high)
    found = replace(found, low=_finite(bounds.low), high=_finite(bounds.high))
    good, bad = (high < limit, low > limit) if lower_is_better else (low > limit, high < limit)
    if good or bad:
        return replace(
            found, verdict="pass" if good else "fail", reason=f"surely {'within' if good else 'beyond'} the limit"
        )
    reason = "may lie within the limit or beyond it"
    if worst and ((bounds.high < limit) if lower_is_better else (bounds.low > limit)):
        reason = f"{100 * worst:.1f} % without a grade could hide that it lies beyond the limit"
    return replace(found, reason=reason, n_needed=needed_n(paired.n, bounds, value, limit, rule.alpha))


def _refuse_idle_limit(rule: Rule, limit: float, paired: Paired) -> None:
    """A limit that no figure can be beyond would pass everything: most often a rate in percent.

    Raises:
        BadInput: the limit of a rule lies at an end of the scale, or outside.
    """
    if paired.scale is None and not paired.is_rate:
        return
    low, high = paired.scale or (0.0, 1.0)
    ends = (low - high, high - low) if rule.is_paired else (low, high)
    if not ends[0] < limit < ends[1]:
        hint = "; rates are shares of 1, so 5 points are 0.05" if paired.is_rate else ""
        raise BadInput(
            f"the rule on {rule.metric} asks for what is always so, or never: its limit {limit:g} is not between "
            f"{ends[0]:g} and {ends[1]:g}{hint}"
        )


def _finite(bound: float) -> float | None:
    """A bound, if there is one: a mean without a scale may lie anywhere, and JSON has no infinity."""
    return bound if isfinite(bound) else None


def _collapse(rule: Rule, figures: _Figures, policy: Policy) -> RuleVerdict:
    """The rule on the word that tells whether the candidate collapsed, against the baseline."""
    if figures.texts is None:
        return RuleVerdict(rule, "incomplete", f"not both runs have {_same_answers(figures.both)}")
    if obstacles := _obstacles(figures.both, "collapse", None, paired=True):
        return RuleVerdict(rule, "incomplete", "; ".join(obstacles))
    some = next((it for it in figures.metrics if it.task == "collapse"), None)
    if some is None:
        return RuleVerdict(rule, "incomplete", "no prompt was answered in both runs")
    if reason := _too_little(_shares_unknown(figures, some), policy.max_unjudged):
        return RuleVerdict(rule, "incomplete", reason)
    differences = {(it.task, it.name, it.judge): difference(it.paired) for it in figures.metrics if it.group == ALL}
    said = collapse_against(figures.texts, differences)
    assert said
    found = RuleVerdict(rule, "inconclusive", said.explain(), value=said.word, n=some.paired.n)
    if said.word == "inconclusive":
        return found
    passes = said.word == "ok" or said.word == rule.worst
    return replace(found, verdict="pass" if passes else "fail")
