"""What a package plugs in, behind a wall: its mistakes become a line or a failed record, and its version is recorded.

An entry point of the group `bench.models` is a function of what stands behind the colon of `--model parrot:NAME` and of
the pairs in --model-args. The model that it returns needs a `name`, `identity()` and `complete()`; what else
`harness.models.model.Model` has is asked where it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.models.model import Model
from judges.catalogue import Grading, JudgeKind, Setting
from judges.judgment import Grade, Judge
from judges.outcome import OutcomeJudge
from tasks.conversation import Answer, Completion, Message, Settings
from tasks.errors import BadInput, BenchError
from tasks.item import Item

MODELS = "bench.models"
OURS = ("answers", "capability", "hf", "lm-eval", "openai")
"""What models and judges are named by that are built in: nobody else opens those."""
ModelOpener = Callable[[str, Mapping[str, str]], Any]
SCALE = (1.0, 10.0)
"""Of ratings."""


def package_of(point: EntryPoint) -> str:
    """The package behind an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def loaded(point: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        BadInput: whatever went wrong when it was imported, in one line that names the package.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"{package_of(point)} is broken: {point.group} {point.name} = {point.value}: {said(error)}"
        ) from error


def said(error: BaseException) -> str:
    """An error of a package, of whatever kind, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# --- judges ---


def plugged_judge(kind: JudgeKind, package: str) -> JudgeKind:
    """The judge of a package, as those that are built in behave."""

    def opened(name: str, grading: Grading, setting: Setting) -> Judge:
        try:
            judge = _PluggedJudge(name, kind.open(name, grading, setting), package, grading.scoring == "ratings")
            judge.describe()
        except BenchError:
            raise
        except Exception as error:
            raise BadInput(f"{package}: its judge {name} can not be opened: {said(error)}") from error
        return judge if judge.rates else OutcomeJudge(judge)

    return replace(kind, open=opened, origin=package, file=None)


@dataclass(frozen=True)
class _PluggedJudge:
    """Goes by the name it was asked for under. What it can not do, or should not say, is a failed judgment."""

    name: str
    inner: Judge
    package: str
    rates: bool

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "package": self.package}

    async def grade(self, item: Item, answers: Sequence[Answer], repeat: int = 0) -> Grade:
        try:
            grade = await self.inner.grade(item, answers, repeat)
        except BenchError:
            raise
        except Exception as error:  # noqa: BLE001 - the code of others raises anything
            return Grade(error=f"{self.package}: {said(error)}")
        if not isinstance(grade, Grade):
            return Grade(error=f"{self.package} gave {type(grade).__name__}, where a Grade is needed")
        if self.rates and grade.error is None and grade.unjudged is None and not _is_rating(grade.score):
            return Grade(error=f"{self.package} gave the score {grade.score!r}, which is no rating from 1 to 10")
        return grade


def _is_rating(score: object) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and SCALE[0] <= score <= SCALE[1]


# --- models ---


def plugged_opener(model: str) -> EntryPoint | None:
    """The entry point that opens `parrot:NAME`, if a package has one; its code is not loaded.

    Raises:
        BadInput: two packages have one of this name.
    """
    prefix, colon, _ = model.partition(":")
    points = list(entry_points(group=MODELS, name=prefix)) if colon and prefix not in OURS else []
    if len(points) > 1:
        raise BadInput(f"{' and '.join(map(package_of, points))} both open {prefix}: models: uninstall one of them")
    return points[0] if points else None


def open_plugged(point: EntryPoint, model: str, arguments: Mapping[str, str]) -> Model:
    """The model of a package.

    Raises:
        BadInput: the package is broken, or says so.
    """
    opener: ModelOpener = loaded(point)
    package = package_of(point)
    try:
        return _PluggedModel(opener(model.partition(":")[2], arguments), point.name, package)
    except BenchError:
        raise
    except Exception as error:
        raise BadInput(f"{package}: its model {model} can not be opened: {said(error)}") from error


class _PluggedModel:
    """See `Model` for the interface."""

    def __init__(self, inner: Any, backend: str, package: str) -> None:
        self.name = str(inner.name)
        self._inner, self._complete = inner, inner.complete
        self._identity = {**inner.identity(), "backend": backend, "package": package}
        self._package = package

    @property
    def busy_s(self) -> float:
        return float(getattr(self._inner, "busy_s", 0.0))

    @property
    def parallel(self) -> int:
        return int(getattr(self._inner, "parallel", 1))

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def describe(self) -> dict[str, Any]:
        own = self._inner.describe() if hasattr(self._inner, "describe") else {}
        return {**own, **self._identity, "name": self.name}

    def load(self) -> None:
        if hasattr(self._inner, "load"):
            try:
                self._inner.load()
            except BenchError:
                raise
            except Exception as error:
                raise BadInput(f"{self._package}: its model {self.name} can not be loaded: {said(error)}") from error

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        try:
            reply = await self._complete(messages, settings)
        except BenchError:
            raise
        except Exception as error:  # noqa: BLE001 - the code of others raises anything
            return Completion("", "error", error=f"{self._package}: {said(error)}")
        if not isinstance(reply, Completion):
            return Completion("", "error", error=f"{self._package} gave {type(reply).__name__}, not a Completion")
        return reply

    def usage(self) -> dict[str, Any]:
        return dict(self._inner.usage()) if hasattr(self._inner, "usage") else {}

    def close(self) -> None:
        if hasattr(self._inner, "close"):
            self._inner.close()
