"""`bench calibrate`: how far a judge can be trusted, measured against the labels of people on the same answers.

    {"schema_version": 1, "judge": "refusal", "n": 450, "accuracy": 0.987, "accuracy_low": 0.971, …,
     "kappa": 0.955, …, "classes": {"refused": {"precision": 0.98, "recall": 0.97, "f1": 0.975, "support": 198}, …},
     "confusion": {"refused": {"refused": 192, "complied": 6}, …}, "left_out": {}, "unjudged": {}}

Every answer of the file is in `n`, in `left_out` or in `unjudged`, with the reason.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.agreement import LabelAgreement, RatingAgreement, label_agreement, rating_agreement
from harness.config import JudgeConfig
from harness.engine import NO_REPLY, Tally, first_cause
from harness.human_labels import LabelMap, Ratings, listed, number_in, pairs, read_map
from harness.judging import JudgeModels, judge_models
from harness.plugins import find_plugins
from harness.printing import say, say_nothing
from harness.progress import shown
from harness.store import SCHEMA_VERSION
from judges.catalogue import Grading, open_judges
from judges.judgment import Grade, Judge
from tasks.answer_files import read_answered_items
from tasks.conversation import Answer
from tasks.errors import BadInput
from tasks.item import Item
from tasks.tables import read_table
from tasks.task import KINDS, TaskKind, known_kind

NO_LABEL = "no label"
FAILED = "judge failed"
CONCURRENCY = 16
COLUMNS = "prompt=question,response=answer,label=verdict"


@dataclass(frozen=True)
class Calibration:
    """What came out. `left_out` counts answers not put to the judge, `unjudged` those it gave no verdict on."""

    judge: str
    agreement: LabelAgreement | RatingAgreement
    left_out: Mapping[str, int] = field(default_factory=dict)
    unjudged: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the judge could not be had for some answers, which the same command would ask it about again."""
        return any(reason.startswith(FAILED) for reason in self.unjudged)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "judge": self.judge,
            **self.agreement.as_json(),
            "left_out": self.left_out,
            "unjudged": self.unjudged,
        }


def calibrate_file(
    file: Path,
    config: JudgeConfig,
    *,
    columns: str | None = None,
    mapping: str | None = None,
    task: str | None = None,
    quiet: bool = False,
) -> Calibration:
    """Let a judge grade the replies of a labelled file, and compare. Flags come as they were written.

    Safe prompts are graded as over_refusal, all others as asr, unless a `task` is named. For a task with ratings the
    labels are ratings too.

    Raises:
        BadInput: the file, its labels or the flags can not be used, or the judge can not grade them.
        RunStopped: a judge model gave up.
    """
    if len(config.judge) != 1:
        raise BadInput(f"calibrate one judge at a time: --judge J (see bench judges), not {len(config.judge)}")
    tell = say_nothing if quiet else say
    plugins = find_plugins(config.include, tell)
    kind = _graded_kind(task, plugins.tasks) if task else None
    left_out: Counter[str] = Counter()
    items = list(_labelled_items(file, _columns(file, columns), kind, left_out))
    found = Counter(str(item.metadata["given_label"]) for item in items)
    if not found:
        raise BadInput(f"{file}: no reply in it has a label" + (f" ({_counted(left_out)})" if left_out else ""))
    if kind and kind.scoring == "ratings":
        if mapping:
            raise BadInput(f"--map is for labels, and {kind.name} has ratings: leave it out")
        scale: LabelMap | Ratings = Ratings()
        if all(number_in(label) is None for label in found):
            raise BadInput(f"{file}: {kind.name} has ratings, and no label is a number: {listed(found)}")
    else:
        scale = read_map(mapping, found, file)

    def kind_of(item: Item) -> TaskKind:
        return kind or KINDS["over_refusal" if item.metadata.get("label") == "safe" else "asr"]

    models = judge_models(config, tell, plugins.judges)
    try:
        judges = _opened(config.judge[0], {it.name: it for it in map(kind_of, items)}, items, models)
        models.load()
        window = config.concurrency or max(CONCURRENCY, 2 * models.parallel)
        done = calibrate(lambda item: judges[kind_of(item).name], items, scale, window, quiet=quiet)
    finally:
        models.close()
    return replace(done, judge=config.judge[0], left_out=left_out + Counter(done.left_out))


def calibrate(
    judge_for: Callable[[Item], Judge],
    items: Iterable[Item],
    scale: LabelMap | Ratings,
    concurrency: int = CONCURRENCY,
    *,
    quiet: bool = True,
) -> Calibration:
    """Grade the replies of labelled items (`given_label` in their metadata) and compare the labels, or the ratings.

    Every sample of an item is an answer with the item's label; the last turn is graded.
    """
    left_out: Counter[str] = Counter()
    answers = [
        (item, answered)
        for item in items
        for answered in _answers(item, left_out)
        if _counts(scale, str(item.metadata["given_label"]), left_out)
    ]
    grades = asyncio.run(_grades(judge_for, answers, concurrency, quiet))
    unjudged: Counter[str] = Counter()
    human: list[Any] = []
    judged: list[Any] = []
    clusters: list[str] = []
    for (item, _), grade in zip(answers, grades, strict=True):
        verdict = scale.judged(grade)
        if verdict is None:
            unjudged[why_unjudged(grade)] += 1
            continue
        human.append(scale.human(str(item.metadata["given_label"])))
        judged.append(verdict)
        clusters.append(item.id)
    compare = rating_agreement if isinstance(scale, Ratings) else label_agreement
    return Calibration("", compare(human, judged, clusters), left_out, unjudged)


def why_unjudged(grade: Grade) -> str:
    """Why a grade holds no verdict, without the details that would make every case one of its own."""
    if grade.error is not None:
        return f"{FAILED}: {' '.join(grade.error.split())[:100]}"
    return grade.unjudged or "no verdict"


def _answers(item: Item, left_out: Counter[str]) -> Iterator[Sequence[Answer]]:
    """The conversations of an item, each with its replies up to the last turn."""
    for sample, replies in enumerate(item.replies):
        if len(replies) < len(item.turns) or None in replies:
            left_out[NO_REPLY] += 1
            continue
        yield [
            Answer("calibrate", item.id, sample, turn, text=text or "", finish="unknown")
            for turn, text in enumerate(replies, start=1)
        ]


def _counts(scale: LabelMap | Ratings, label: str, left_out: Counter[str]) -> bool:
    if scale.human(label) is not None:
        return True
    left_out[scale.left_out(label)] += 1
    return False


async def _grades(
    judge_for: Callable[[Item], Judge],
    answers: Sequence[tuple[Item, Sequence[Answer]]],
    concurrency: int,
    quiet: bool,
) -> list[Grade]:
    """A grade an answer, in their order; at most `concurrency` of them are being asked for at a time."""
    grades: list[Grade | None] = [None] * len(answers)
    places = asyncio.Semaphore(concurrency)
    tally = Tally(len(answers), len(answers), stored_answers=len(answers))

    async def grade(number: int) -> None:
        item, answered = answers[number]
        grades[number] = found = await judge_for(item).grade(item, answered)
        tally.judgments += found.error is None
        tally.failed += found.error is not None

    try:
        async with shown(tally, quiet=quiet), asyncio.TaskGroup() as group:
            for number in range(len(answers)):
                await places.acquire()
                group.create_task(grade(number)).add_done_callback(lambda _: places.release())
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    return [found for found in grades if found is not None]


# --- the file, the flags, the judge ---


def _graded_kind(name: str, plugged: Mapping[str, TaskKind]) -> TaskKind:
    kind = known_kind(name, plugged)
    if kind.scoring == "texts":
        graded = ", ".join(other.name for other in KINDS.values() if other.scoring != "texts")
        raise BadInput(f"--task {name}: no judge grades it; choose among {graded}")
    return kind


def _columns(file: Path, text: str | None) -> dict[str, str]:
    """The roles of the columns; a column that is called label holds the labels where nothing else is said."""
    columns = dict(pairs(text, "--columns", COLUMNS)) if text else {}
    if "label" in columns:
        return columns
    there = read_table(file).columns
    if there and "label" not in there:
        raise BadInput(
            f"{file}: which column holds the labels? Add --columns label=COLUMN (there are {', '.join(there)[:300]})"
        )
    return {**columns, "label": "label"} if there else columns


def _labelled_items(
    file: Path, columns: Mapping[str, str], kind: TaskKind | None, left_out: Counter[str]
) -> Iterator[Item]:
    for item in read_answered_items(file, columns):
        answers = len(item.replies)
        if kind and kind.label and item.metadata.get("label", kind.label) != kind.label:
            left_out[f"not labelled {kind.label}"] += answers
        elif "given_label" not in item.metadata:
            left_out[NO_LABEL] += answers
        else:
            yield item


def _opened(judge: str, kinds: Mapping[str, TaskKind], items: Sequence[Item], models: JudgeModels) -> dict[str, Judge]:
    """The judge as it grades each kind of task."""
    longest = max(len(item.turns) for item in items)
    unchecked = sum(len(item.turns) - sum(map(bool, item.checks)) for item in items)
    referenced = sum(any(text.strip() for text in item.reference) for item in items)
    gradings = [
        Grading(name, kind.scoring, unchecked=unchecked, longest=longest, referenced=referenced)
        for name, kind in sorted(kinds.items())
    ]
    # One kind at a time: a judge that can not grade one of them is refused, and nobody else takes its place.
    return {grading.task: open_judges([judge], [grading], models.setting)[grading.task][0] for grading in gradings}


def _counted(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{n} {reason}" for reason, n in reasons.items())
