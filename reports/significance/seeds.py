"""Several training runs of one recipe: what their mean says of the recipe, not only of these checkpoints.

    >>> seeds_difference(dpo_ratings, sft_ratings)        # 5 and 5 training seeds × 80 questions
    SeedsMean(value=-0.41, low=-0.93, high=0.12, ...)

Runs are crossed with questions: all runs answer the same ones. So runs are resampled within their group, and the
questions once for all (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1:386). A bootstrap of three
runs is far too narrow, though: their spread comes out a factor (R - 1) / R too small, and it can not know how little
three runs tell of it (95 % intervals held 78 to 84 % where runs differ). The interval here has the shape of the
bootstrap and the width of Howe (1974): each part of the variance with the Student quantile of its own degrees of
freedom. How many runs give what:

- 1 run: nothing on how runs differ; an interval over questions, of this checkpoint.
- 2 runs: a between-run spread with one degree of freedom, which is none. An interval over questions only.
- 3 runs: an interval, as wide as it has to be where runs differ (4.3 standard errors to each side); 5 runs bring that
  to 2.8, 10 to 2.3.

More questions do not help where runs differ: more runs do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.intervals import BOOTSTRAP_FROM, CONFIDENCE, RESAMPLES, Interval
from reports.significance.bootstrap import ROUNDING, counts_of_draws
from reports.significance.means import mean_difference_interval

Values = NDArray[np.float64]

RUNS_FROM = 3
FEW_RUNS = "fewer than 3 training runs: how much runs differ is not known, the interval is of these checkpoints"
FEW_QUESTIONS = "fewer than 10 questions"
NO_SPREAD = "the values do not vary"


@dataclass(frozen=True)
class SeedsMean:
    """A mean over runs and questions (or a difference of two).

    `low` and `high` hold for other runs of the recipe and other questions; None where `reason` says why.
    `of_these_runs` is the interval over questions for these very checkpoints. `between_runs` is the standard deviation
    of runs beyond what the draw of answers explains (None below three runs), by group.
    """

    value: float
    low: float | None
    high: float | None
    reason: str | None
    standard_error: float | None
    of_these_runs: Interval
    between_runs: tuple[float | None, ...]
    run_means: tuple[tuple[float, ...], ...]
    questions: int


def seeds_mean(runs: Values, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0) -> SeedsMean:
    """The mean of R runs × n questions, with an interval over both.

    Runs that belong together in pairs (a DPO run from each SFT run) are one group of differences: pass those.

    Raises:
        ValueError: not a matrix of finite numbers.
    """
    return _crossed([_matrix(runs)], confidence, resamples, seed)


def seeds_difference(
    candidate: Values, baseline: Values, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> SeedsMean:
    """candidate - baseline of two groups of runs that answer the same questions, in the same order: R1 × n and R2 × n.

    Raises:
        ValueError: not two matrices of finite numbers with equally many columns.
    """
    groups = [_matrix(candidate), -_matrix(baseline)]
    if groups[0].shape[1] != groups[1].shape[1]:
        raise ValueError("both groups of runs answer the same questions: as many columns")
    found = _crossed(groups, confidence, resamples, seed)
    candidate_means, baseline_means = found.run_means
    return replace(found, run_means=(candidate_means, tuple(-mean for mean in baseline_means)))


def hierarchical_bootstrap(groups: list[Values], resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """Resampled sums of the groups' means, shape (resamples,); each group is R × n, over the same n questions.

    Runs are drawn within each group, questions once for all groups. Only the spread of run means and that of question
    means go in: their product would count what is left of a value beside its run and its question a third time (Owen
    2007, section 4). Quantiles of this alone are too narrow for few runs: `seeds_mean` widens them.
    """
    random = np.random.default_rng(seed)
    parts = [group.mean(axis=1) - group.mean() for group in groups]
    questions = sum((group.mean(axis=0) for group in groups), start=np.zeros(groups[0].shape[1]))
    value = float(questions.mean())
    found: Values = np.full(resamples, value)
    for part in (*parts, questions - value):
        drawn = [counts @ part / len(part) for counts in counts_of_draws(len(part), resamples, random)]
        found += np.concatenate(drawn)
    return found


# --- both in one ---


def _crossed(groups: list[Values], confidence: float, resamples: int, seed: int) -> SeedsMean:
    by_question = sum((group.mean(axis=0) for group in groups), start=np.zeros(groups[0].shape[1]))
    n = len(by_question)
    plain = SeedsMean(
        value=float(by_question.mean()),
        low=None,
        high=None,
        reason=None,
        standard_error=None,
        of_these_runs=mean_difference_interval(by_question, confidence, resamples, seed),
        between_runs=tuple(_between_runs(group) for group in groups),
        run_means=tuple(tuple(group.mean(axis=1).tolist()) for group in groups),
        questions=n,
    )
    if n < BOOTSTRAP_FROM:
        return replace(plain, reason=FEW_QUESTIONS)
    if min(len(group) for group in groups) < RUNS_FROM:
        return replace(plain, reason=FEW_RUNS)
    drawn = hierarchical_bootstrap(groups, resamples, seed)
    spread = float(drawn.std())
    if spread <= ROUNDING * max(float(np.abs(group).max()) for group in groups):
        return replace(plain, reason=NO_SPREAD)
    from scipy.special import ndtri, stdtrit

    parts = _variance_parts(groups, by_question)
    level = (1 + confidence) / 2
    half = math.sqrt(sum(float(stdtrit(freedom, level)) ** 2 * variance for variance, freedom in parts))
    stretch = half / (float(ndtri(level)) * spread)
    low, high = plain.value + stretch * (np.quantile(drawn, [1 - level, level]) - plain.value)
    error = math.sqrt(sum(variance for variance, _ in parts))
    return replace(plain, low=float(low), high=float(high), standard_error=error)


def _variance_parts(groups: list[Values], by_question: Values) -> list[tuple[float, int]]:
    """The variance of the sum of the groups' means, in parts, with the degrees of freedom of each.

    Variance of run means / R of each group, and that of question means / n. What is left of a value beside its run and
    its question is in both, so the questions' part is less by it.
    """
    n = len(by_question)
    runs = [(float(group.mean(axis=1).var(ddof=1)) / len(group), len(group) - 1) for group in groups]
    left = sum(_residual_square(group) / group.size for group in groups)
    return [*runs, (max(0.0, float(by_question.var(ddof=1)) / n - left), n - 1)]


def _residual_square(group: Values) -> float:
    """Mean square of what is left of the values beside their run and their question."""
    left = group - group.mean(axis=0) - group.mean(axis=1)[:, None] + group.mean()
    runs, questions = group.shape
    return float((left**2).sum() / ((runs - 1) * (questions - 1)))


def _between_runs(group: Values) -> float | None:
    if len(group) < RUNS_FROM or group.shape[1] < 2:
        return None
    variance = float(group.mean(axis=1).var(ddof=1)) - _residual_square(group) / group.shape[1]
    return math.sqrt(max(0.0, variance))


def _matrix(runs: Values) -> Values:
    values = np.asarray(runs, dtype=float)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError("pass finite values, runs × questions: leave out the questions that some run misses")
    return values
