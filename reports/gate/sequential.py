"""A gate that stops asking as soon as it knows: requests in random order, each rule watched by an anytime-valid test.

The candidate is run as the baseline was, in an order of requests that is drawn before it has answered any. A rule is
fed one request after another of that order, never out of it: short answers end early, and to count them first would
favour models that refuse. The run ends when every rule is decided, or one has failed; it can be resumed by `bench run`.
What is promised of the verdicts is said in `reports.significance.sequential`.

All answers of a request count as one value, their mean; a request of which anything could not be answered or judged may
have any value on the scale. Rules on what answers have in common (boilerplate, duplicates, the collapse verdict), and
on answers that were picked by what they are (asr_coherent), can not be watched so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from harness.collapse_metrics import OF_SAMPLES, SHARED
from harness.config import load_config
from harness.engine import Assignment, Conversation, conversations
from harness.figures import Metric
from harness.frames import PLACE, RunFrames, request_of
from harness.grades import grades_by_judge, wanted_answers
from harness.metrics import ALL
from harness.models.opening import ANSWERS
from harness.plan import short_digest
from harness.run import run
from harness.scores import JURY, overall_metrics
from harness.stored_run import StoredRun, open_run
from reports.comparable import couple
from reports.gate.intervals import mean_bounds
from reports.gate.policy import BUILT_IN, VERDICT, Policy, Rule
from reports.gate.verdict import GateResult, RuleVerdict, blocking, meant
from reports.significance.sequential import Ends, SequentialMean, limit, noninferiority
from tasks.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

Request = tuple[str, str]
"""Task and request."""
NOT_WATCHED = frozenset((*SHARED, *OF_SAMPLES, "asr_coherent", "asr_any", VERDICT.partition(".")[2]))
RATE = (0.0, 1.0)
OF_THE_MODEL = frozenset({
    "model", "backend", "model_args", "base_url", "chat_template", "concurrency", "executor", "workers",
    "worker_resources", "ray_address", "out",
})  # fmt: skip
"""Settings of the baseline's run that say how its model is reached, not what it is asked."""
LOOKS = 50
"""How often a run is looked at, about: each look reads its records anew."""
NOT_YET = ("not answered", "not judged")
GIVEN_UP = "generation failed"

BUILT_IN_SEQUENTIAL = replace(
    BUILT_IN, rules=tuple(rule for rule in BUILT_IN.rules if rule.metric != VERDICT), source="built in, sequential"
)


def sequential_gate(
    flags: Mapping[str, Any], baseline: StoredRun, policy: Policy, *, quiet: bool = False
) -> GateResult:
    """Run a candidate (named by `flags`, as `bench run` takes them) until the policy is decided.

    Raises:
        BadInput: a rule that can not be watched, or a baseline that is incomplete or lacks what a rule speaks of.
        RunStopped: the run could not go on; the same command resumes it.
    """
    if not baseline.is_complete:
        raise BadInput(f"{baseline.directory} is incomplete: finish it first (bench run)")
    watch = _Watch(baseline, policy, [_watched(rule, baseline) for rule in policy.rules])
    config = {
        key: value for key, value in baseline.manifest["config"].items()
        if value not in (None, [], {}) and key not in OF_THE_MODEL
    }  # fmt: skip
    if not str(flags.get("model")).startswith(ANSWERS):
        config.pop("columns", None)
    result = run(load_config(None, {**config, **flags}), quiet=quiet, schedule=watch.schedule)
    return watch.result(open_run(result.directory))


@dataclass
class _Watched:
    """A rule, what it reads, and how far its test has come."""

    rule: Rule
    task: str
    judge: str | None
    metric: str
    is_rate: bool
    scale: Ends
    before: Mapping[Request, float]
    """The baseline's value of each request; those without are left out before an order is drawn."""
    order: Sequence[Request] = ()
    test: SequentialMean | None = None
    values: list[Ends] = field(default_factory=list)
    verdict: Literal["pass", "fail"] | None = None
    at_the_end: bool = False

    def begin(self, order: Sequence[Request]) -> None:
        self.order = [request for request in order if request in self.before]
        planned = len(self.order)
        rule = self.rule
        if not planned:
            raise BadInput(f"the baseline knows {rule.metric} of no request: there is nothing to hold a model against")
        try:
            if rule.margin is not None and rule.direction:
                self.test = noninferiority(rule.margin, rule.direction, self.scale, planned)
            elif rule.max is not None:
                self.test = limit(rule.max, "lower", self.scale, planned)
            else:
                self.test = limit(rule.min or 0.0, "higher", self.scale, planned)
        except ValueError as error:
            raise BadInput(f"the rule on {rule.metric} can not be watched: {error}") from None

    def feed(self, finished: Mapping[Request, Ends]) -> None:
        """Observe what is finished, in the order that was drawn and without a gap; at its end make the last test."""
        assert self.test
        alpha = self.rule.alpha
        while self.verdict is None and self.test.n < len(self.order):
            request = self.order[self.test.n]
            if request not in finished:
                return
            shift = self.before[request] if self.rule.is_paired else 0.0
            low, high = (end - shift for end in finished[request])
            self.values.append((low, high))
            self.test = self.test.observe(low, high)
            self.verdict = self.test.verdict(alpha)
        if self.verdict is None:
            self.at_the_end = True
            confidence = 1 - 2 * self.test.final_alpha(alpha)
            ends = (self.test.low, self.test.high)
            low_bounds, high_bounds = (
                mean_bounds(side, ends, self.is_rate, confidence) for side in zip(*self.values, strict=True)
            )
            if low_bounds and high_bounds:
                self.verdict = self.test.verdict(alpha, (low_bounds.low, high_bounds.high))

    def told(self) -> RuleVerdict:
        assert self.test
        n, planned = self.test.n, len(self.order)
        reason = f"certain after {n} of {planned} requests"
        if self.verdict is None:
            reason = f"not decided by all {planned} requests" if n == planned else f"not needed after {n} of {planned}"
        elif self.at_the_end:
            reason = f"by the last test, of all {planned} requests"
        interval = self.test.interval(self.rule.alpha) if n else None
        low, high = interval or (None, None)
        middle = fmean(fmean(ends) for ends in self.values) if self.values else None
        before = fmean(self.before[request] for request in self.order[:n]) if n and self.rule.is_paired else None
        value = middle if middle is None or before is None else middle + before
        return RuleVerdict(
            self.rule, self.verdict or "inconclusive", reason, self.judge,
            value, before, middle if self.rule.is_paired else None, low, high, n, is_rate=self.is_rate,
        )  # fmt: skip


def _watched(rule: Rule, baseline: StoredRun) -> _Watched:
    if rule.metric.rpartition(".")[2] in NOT_WATCHED:
        raise BadInput(
            f"{rule.metric} is not of single answers, so no sequential gate can watch it: use bench gate RUN"
        )
    if rule.group != ALL:
        raise BadInput(f"a sequential gate watches all requests: leave the group out of the rule on {rule.metric}")
    found = [
        (task, judge, metric) for task, judge, metric in overall_metrics(baseline)
        if rule.metric in (metric.name, f"{task}.{metric.name}") and rule.judge in (None, judge)
    ]  # fmt: skip
    if not found:
        raise BadInput(f"{baseline.directory} has no {rule.metric}: a sequential gate needs it in the baseline")
    task, judge = meant(rule, [(task, judge) for task, judge, _ in found])
    metric = next(metric for *place, metric in found if place == [task, judge])
    scale = metric.scale or RATE
    if not metric.is_rate and metric.scale is None:
        raise BadInput(f"{rule.metric} has no ends, so no sequential gate can watch it: use bench gate RUN")
    known = _by_request(metric, _unknown(baseline, task, judge))
    return _Watched(rule, task, judge, metric.name, metric.is_rate, scale, known)


def _by_request(metric: Metric, unknown: frozenset[Request]) -> dict[Request, float]:
    """The mean value of each request, but for those of which something is unknown."""
    values = metric.units[["task", "request"]].assign(value=metric.values).groupby(["task", "request"]).value.mean()
    return {request: float(value) for request, value in values.items() if request not in unknown}  # type: ignore[misc]


def _unknown(of: StoredRun, task: str, judge: str | None) -> frozenset[Request]:
    """Requests of which some answer failed, or was not graded by this judge (any of the jury)."""
    if judge is None:
        answers = wanted_answers(of.frames.items).merge(
            of.frames.texts, on=["task", "item", "sample", "turn"], how="left"
        )
        return _requests(answers[answers.degenerate.isna()])
    graded = grades_by_judge(of.frames, task, of.tasks[task])
    sides = graded.values() if judge == JURY else [graded[judge]]
    return frozenset().union(*(_requests(rows[rows.reason.notna()]) for rows in sides))


def _answers(frames: RunFrames) -> pd.DataFrame:
    """Every answer that is wanted, a row each; what was said of it, where it is there."""
    return wanted_answers(frames.items).merge(frames.answers, on=PLACE, how="left")


def _requests(rows: pd.DataFrame) -> frozenset[Request]:
    return frozenset(zip(rows.task, rows.request, strict=True))


@dataclass
class _Watch:
    """The rules of a gate over a run that is going on."""

    baseline: StoredRun
    policy: Policy
    rules: Sequence[_Watched]
    obstacles: Sequence[str] = ()
    looked: bool = False
    asked: int = 0
    planned: int = 0

    def schedule(self, directory: Path, assignments: Sequence[Assignment]) -> Iterator[Conversation]:
        """The conversations of one request after another, in random order, until nothing more needs to be known."""
        by_request: dict[Request, list[Conversation]] = {}
        for assignment, item, sample in conversations(assignments):
            _, asked = request_of({"item": item.id, "metadata": item.metadata})
            by_request.setdefault((assignment.task.name, asked), []).append((assignment, item, sample))
        order = sorted(by_request)
        # The same order after a resume, another for another model.
        random.Random(short_digest(open_run(directory).manifest["identity"])).shuffle(order)
        for rule in self.rules:
            rule.begin([request for request in order if rule.judge is None or request[0] == rule.task])
        self.planned = len(order)
        for self.asked, request in enumerate(order):
            if self.asked % max(1, len(order) // LOOKS) == 0 and self.asked and self._is_decided(directory):
                return
            yield from by_request[request]
        self.asked = len(order)

    def _is_decided(self, directory: Path) -> bool:
        """Look at what is stored by now."""
        candidate = open_run(directory)
        if not self.looked:
            self.looked, self.obstacles = True, _obstacles(self.baseline, candidate)
        if self.obstacles:
            return True
        self._feed(candidate)
        verdicts = {rule.verdict for rule in self.rules}
        return "fail" in verdicts or None not in verdicts

    def _feed(self, candidate: StoredRun) -> None:
        metrics = {(task, judge, metric.name): metric for task, judge, metric in overall_metrics(candidate)}
        waiting = _waiting(candidate)
        for rule in self.rules:
            if rule.verdict is None and (metric := metrics.get((rule.task, rule.judge, rule.metric))):
                unknown = _unknown(candidate, rule.task, rule.judge)
                known = {request: (value, value) for request, value in _by_request(metric, unknown).items()}
                finished = {request: known.get(request, rule.scale) for request in rule.order if request not in waiting}
                rule.feed(finished)

    def result(self, candidate: StoredRun) -> GateResult:
        """What came out, when the run has ended."""
        self.obstacles = _obstacles(self.baseline, candidate)
        if self.obstacles:
            reason = "; ".join(self.obstacles)
            rules = [RuleVerdict(it.rule, "incomplete", reason, it.judge) for it in self.rules]
            return GateResult(candidate, self.baseline, self.policy, rules)
        self._feed(candidate)
        notes = [
            f"{self.asked} of {self.planned} requests were asked, {len(candidate.frames.judgments)} judgments made"
        ]
        return GateResult(candidate, self.baseline, self.policy, [it.told() for it in self.rules], notes)


def _waiting(candidate: StoredRun) -> frozenset[Request]:
    """Requests that are not begun, or still on their way. What failed is not: it may have any value."""
    frames = candidate.frames
    wanted = _answers(frames)
    unanswered, failed = _requests(wanted[wanted.finish.isna()]), _requests(wanted[wanted.finish == "error"])
    waiting = unanswered - failed
    for task, how in candidate.tasks.items():
        if how.graded != "none":
            for rows in grades_by_judge(frames, task, how).values():
                waiting |= _requests(rows[rows.reason.isin(NOT_YET)]) - failed
    return waiting


def _obstacles(baseline: StoredRun, candidate: StoredRun) -> list[str]:
    """What sets the two runs apart but their models, and that the candidate was not asked everything yet."""
    both = couple(baseline, candidate)
    return list(dict.fromkeys(str(it) for it in both.obstacles if blocking(it) and it.task != "run"))
