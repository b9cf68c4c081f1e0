"""The judges there are, by name, and what each can grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from judges.judgment import Judge
from judges.outcome import OutcomeJudge
from judges.refusal import RefusalJudge
from judges.rubric import RubricJudge
from tasks.errors import BadInput, suggestion
from tasks.task import Scoring, TaskKind


@dataclass(frozen=True)
class JudgeKind:
    """A judge by name. `opens` makes one for each way of scoring that it can serve; some grade by an item's checks."""

    name: str
    about: str
    opens: Mapping[Scoring, Callable[[], Judge]]
    needs_checks: bool = False


JUDGES = {
    kind.name: kind
    for kind in (
        JudgeKind("rubric", "checks that a program decides; offline", {"ratings": RubricJudge}, needs_checks=True),
        JudgeKind(
            "refusal",
            "phrases of refusal and compliance, degenerate answers told apart; offline, for screening",
            {
                "attack_success": lambda: OutcomeJudge(RefusalJudge()),
                "over_refusal": lambda: OutcomeJudge(RefusalJudge(harmful_items=False)),
            },
        ),
    )
}


def open_judges(names: Sequence[str], kinds: Sequence[TaskKind]) -> dict[str, list[Judge]]:
    """For each task the named judges that can grade it, or else its own offline judge.

    Raises:
        BadInput: an unknown judge (near matches named), or one that can grade none of the tasks.
    """
    for name in names:
        if name not in JUDGES:
            raise BadInput(f"no judge {name!r}: {suggestion(name, JUDGES, 'judges')}")
        if not any(kind.scoring in JUDGES[name].opens for kind in kinds):
            raise BadInput(f"the judge {name} can grade none of {', '.join(kind.name for kind in kinds)}")
    opened: dict[str, list[Judge]] = {}
    for kind in kinds:
        able = [name for name in names if kind.scoring in JUDGES[name].opens] or ([kind.judge] if kind.judge else [])
        opened[kind.name] = [JUDGES[name].opens[kind.scoring]() for name in able]
    return opened
