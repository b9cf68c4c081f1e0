"""How far figures may be off and what was told apart: sentences from the intervals and tests that were computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose

from harness.intervals import BOOTSTRAP_FROM, BOOTSTRAP_UP_TO, CONFIDENCE, RESAMPLES
from harness.metrics import ALL, RATED_TASKS
from harness.stored_run import StoredRun
from reports.comparison import PRIMARY, Comparison, Comparisons
from reports.comparison_table import size_text
from reports.methods_text import Cite, Sentence, listed
from reports.pairing import Difference
from reports.paper_table import Row, Score
from reports.significance.means import SIGN_FLIP, STUDENT_BELOW, TOO_FEW
from reports.terminal import is_rate

SHOWN = {
    *((task, metric) for task in RATED_TASKS for metric in ("turn_1", "turn_2", "average")),
    ("asr", "asr"), ("asr", "refusal"), ("asr", "degenerate"), ("collapse", "degenerate"),
    ("over_refusal", "over_refusal"),
}  # fmt: skip
"""What the paper's table shows of a run."""


def shown_scores(row: Row) -> list[Score]:
    """The scores of a run that the paper's table is made of."""
    return [score for score in row.scores if score["group"] == ALL and (score["task"], score["metric"]) in SHOWN]


def intervals_of_runs(runs: Mapping[str, StoredRun], rows: Sequence[Row]) -> Iterator[Sentence]:
    """The kinds of interval that single figures have."""
    scores = [score for row in rows for score in shown_scores(row) if score["low"] is not None]
    rates = [score for score in scores if is_rate(score)]
    means = [score for score in scores if not is_rate(score)]
    if rates:
        said: Sentence = ["Rates have Wilson's 95 % score interval", Cite("wilson1927")]
        if _several_answers(runs):
            effective: Sentence = [
                "; where a request has several answers they are one cluster, and n is the effective number of answers",
                Cite("korn1998", "miller2024"),
            ]
            said = [*said, *effective]
        yield [*said, "."]
    constant = [score for score in means if _is_constant(score)]
    rest = [score for score in means if not _is_constant(score)]
    parts: list[Sentence] = []
    if any(BOOTSTRAP_FROM <= score["n"] <= BOOTSTRAP_UP_TO for score in rest):
        parts.append([f"a BCa bootstrap of {RESAMPLES:,} resamples over questions", Cite("efron1987")])
    if any(score["n"] < BOOTSTRAP_FROM for score in rest):
        parts.append([f"Student's t below {BOOTSTRAP_FROM} questions", Cite("student1908")])
    if any(score["n"] > BOOTSTRAP_UP_TO for score in rest):
        parts.append([f"the normal interval beyond {BOOTSTRAP_UP_TO:,} questions"])
    if constant:
        parts.append(["the exact bound of Clopper and Pearson where all ratings are the same", Cite("clopper1934")])
    if parts:
        yield ["Mean ratings have 95 % intervals by ", *_joined(parts), "; the turns of a question are averaged first."]


def _several_answers(runs: Mapping[str, StoredRun]) -> bool:
    described = [task for run in runs.values() for task in run.described_tasks.values()]
    return any(it.get("answers", 0) > it.get("items", 0) or it.get("attacks") for it in described)


def _is_constant(score: Score) -> bool:
    """Whether an interval is the one that values have which are all the same (`harness.intervals.mean_interval`)."""
    value, low, high, n = (score[key] for key in ("value", "low", "high", "n"))
    others = 1 - (1 - CONFIDENCE) ** (1 / n)
    return isclose(low, value - others * (value - 1)) and isclose(high, value + others * (10 - value))


def _joined(parts: Sequence[Sentence]) -> Sentence:
    """Parts of a sentence, with commas between and "and" before the last."""
    glue = ["", *[", "] * (len(parts) - 2), *[" and "] * (len(parts) > 1)]
    return [it for before, part in zip(glue, parts, strict=True) for it in (before, *part) if it]


# --- two runs ---


def intervals_of_differences(rows: Sequence[Comparison]) -> Iterator[Sentence]:
    """The intervals and tests of the differences that are shown."""
    found = [row.found for row in rows]
    yield ["Runs are compared request by request, over what both were asked", Cite("miller2024"), "."]
    single = [it for it in found if it.test.startswith("McNemar")]
    clustered = [it for it in found if it.is_rate and it.test == SIGN_FLIP]
    means = [it for it in found if not it.is_rate and it.test == SIGN_FLIP]
    if single:
        yield [
            "Differences of rates have Tango's score interval of paired proportions", Cite("tango1998"),
            " and McNemar's test with the mid-p value", Cite("fagerland2013"), ".",
        ]  # fmt: skip
    if clustered:
        yield [
            "Differences of rates with several answers a request have an interval over requests", Cite("agresti2005"),
            " and a permutation test that flips the signs of requests' differences.",
        ]  # fmt: skip
    if means:
        kinds = _intervals_of_means(means)
        interval: Sentence = [*_joined(kinds), ", and "] if kinds else []
        yield [
            "Differences of means have ",
            *interval,
            "a permutation test that flips the signs of requests' differences.",
        ]
    if any(it.test == TOO_FEW for it in found):
        yield [f"Below {BOOTSTRAP_FROM} requests there is neither an interval nor a test."]


def _intervals_of_means(means: Sequence[Difference]) -> list[Sentence]:
    known = [it.n for it in means if it.low is not None]
    parts: list[Sentence] = []
    if any(n < STUDENT_BELOW for n in known):
        parts.append([f"Student's interval below {STUDENT_BELOW} requests", Cite("student1908")])
    if any(STUDENT_BELOW <= n <= BOOTSTRAP_UP_TO for n in known):
        parts.append([f"BCa bootstrap intervals of {RESAMPLES:,} resamples", Cite("efron1987")])
    if any(n > BOOTSTRAP_UP_TO for n in known):
        parts.append([f"the normal interval beyond {BOOTSTRAP_UP_TO:,} requests"])
    return parts


def correction(found: Comparisons) -> Iterator[Sentence]:
    """How p-values were corrected, and for how many tests."""
    tested = [row for row in found.rows if row.p_adjusted is not None]
    if not tested:
        return
    name, work = {
        "holm": ("Holm's step-down procedure", "holm1979"),
        "bh": ("the procedure of Benjamini and Hochberg", "benjamini1995"),
    }[found.correction]
    by: Sentence = [f"p-values are corrected by {name}", Cite(work)]
    if found.one_family:
        yield [*by, f" within one family of {_tests(len(tested))}."]
        return
    primary = [row for row in tested if row.family == "primary"]
    words = [text for text in dict.fromkeys(PRIMARY.values()) if text in {row.words for row in primary}]
    families = []
    if primary:
        families.append(f"the primary family of {_tests(len(primary))} ({', '.join(words)})")
    if len(tested) > len(primary):
        families.append(f"a secondary family of the other {_tests(len(tested) - len(primary))}")
    yield [*by, f" within {' and within '.join(families)}; categories and attacks are described, not tested."]


def _tests(n: int) -> str:
    return f"{n} test{'' if n == 1 else 's'}"


def detectable(rows: Sequence[Comparison], names: Mapping[str, str]) -> Iterator[Sentence]:
    """The least differences that these runs could have shown."""
    told = [
        f"{row.words} {size_text(row.found, row.found.minimum_detectable)}{' points' if row.found.is_rate else ''} "
        f"({names.get(row.candidate, row.candidate)}, n = {row.found.n})"
        for row in rows
        if row.words and row.found.minimum_detectable is not None
    ]
    if told:
        yield [
            "The least true differences that such tests find at the 5 % level, uncorrected, in 80 % of cases: "
            f"{listed(told)}."
        ]
