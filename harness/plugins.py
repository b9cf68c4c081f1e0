"""Tasks and judges that are not built in: from folders (--include DIR) and from installed packages.

A package names what it has by entry points; a Path is that of a YAML file, or of a folder of them:

    [project.entry-points."bench.tasks"]
    rivers = "bench_rivers:RIVERS"          # a TaskKind, or such a Path
    [project.entry-points."bench.judges"]
    brevity = "bench_rivers:BREVITY"        # a JudgeKind, or such a Path

In a folder every .yaml file is a task, a judge, or one of lm-eval's, which is left to lm-eval. A package that can not
be used is said in a line, and everything else goes on; a folder that can not be used is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal, TypeVar

from harness.plugged import loaded, package_of, plugged_judge
from judges.catalogue import JudgeKind, file_judge
from judges.judge_files import GRADED, judge_in
from judges.judge_files import KEYS as JUDGE_KEYS
from judges.judge_files import RESERVED as NO_JUDGES
from tasks.errors import BadInput
from tasks.paths import user_path
from tasks.task import KINDS, TaskKind
from tasks.task_files import KEYS as TASK_KEYS
from tasks.task_files import NAME, SCORINGS, is_of_lm_eval, task_in
from tasks.task_files import RESERVED as NO_TASKS
from tasks.yaml_file import Part, open_yaml

Sort = Literal["task", "judge"]
Kind = TypeVar("Kind", TaskKind, JudgeKind)
GROUPS: Mapping[Sort, str] = {"task": "bench.tasks", "judge": "bench.judges"}
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Plugins:
    """What is plugged in, by name."""

    tasks: Mapping[str, TaskKind] = field(default_factory=dict)
    judges: Mapping[str, JudgeKind] = field(default_factory=dict)


def find_plugins(include: Sequence[str], say: Callable[[str], None]) -> Plugins:
    """All that the included folders and the installed packages have. What is wrong with a package is said.

    Raises:
        BadInput: a folder that is none or holds no YAML file, a file in it with a fault, or two of one name.
    """
    packages = [found for sort in GROUPS for found in _of_packages(sort, say)]
    folders = [found for folder in include for found in _of_folder(user_path(folder))]
    return Plugins(
        _by_name("task", _only(TaskKind, packages), _only(TaskKind, folders), say),
        _by_name("judge", _only(JudgeKind, packages), _only(JudgeKind, folders), say),
    )


def _only(kind: type[Kind], found: Sequence[TaskKind | JudgeKind]) -> list[Kind]:
    return [it for it in found if isinstance(it, kind)]


def sort_of(top: Part) -> Sort | None:
    """Whether a YAML file is meant to be a task or a judge, by its keys; None where nobody can tell."""
    keys = set(top.keys)
    of_tasks, of_judges = keys & (set(TASK_KEYS) - set(JUDGE_KEYS)), keys & (set(JUDGE_KEYS) - set(TASK_KEYS))
    if len(of_tasks) == len(of_judges):
        return None
    return "task" if len(of_tasks) > len(of_judges) else "judge"


def _by_name(
    sort: Sort, of_packages: Sequence[Kind], of_folders: Sequence[Kind], say: Callable[[str], None]
) -> dict[str, Kind]:
    """None takes the place of another: two packages of one name are said and left out, a folder's is refused."""
    found: dict[str, Kind] = {}
    twice: set[str] = set()
    for kind in of_packages:
        other = found.setdefault(_head(kind), kind)
        if other is not kind:
            twice.add(_head(kind))
            say(f"bench: neither {sort} {_head(kind)} is used, for there are two: of {other.origin}, of {kind.origin}")
    for kind in of_folders:
        other = found.setdefault(_head(kind), kind)
        if other is not kind:
            raise BadInput(f"two {sort}s are called {_head(kind)}: in {other.origin} and in {kind.origin}; rename one")
    return {name: kind for name, kind in found.items() if name not in twice}


def _head(kind: TaskKind | JudgeKind) -> str:
    return kind.name if isinstance(kind, TaskKind) else kind.head


# --- folders ---


def _of_folder(folder: Path) -> Iterator[TaskKind | JudgeKind]:
    """What lies in a folder itself, in the order of its files' names."""
    if not folder.is_dir():
        raise BadInput(f"--include {folder}: no such folder")
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS and file.is_file())
    except OSError as error:
        raise BadInput(f"--include {folder}: {error.strerror or error}") from None
    if not files:
        raise BadInput(f"--include {folder}: it holds no .yaml file")
    for file in files:
        top = open_yaml(file)
        if not is_of_lm_eval(top):
            yield _in_file(top)


def _in_file(top: Part) -> TaskKind | JudgeKind:
    sort = sort_of(top)
    if sort is None:
        raise BadInput(
            f"{top.path} is neither a task (with {', '.join(TASK_KEYS[:5])} …), nor a judge (with "
            f"{', '.join(JUDGE_KEYS[:5])} …), nor one of lm-eval's tasks: mend it, or move it elsewhere"
        )
    found = task_in(top) if sort == "task" else file_judge(judge_in(top))
    top.refuse_faults(f"bench {sort}s check {top.path}")
    return found


# --- packages ---


def _of_packages(sort: Sort, say: Callable[[str], None]) -> Iterator[TaskKind | JudgeKind]:
    for point in entry_points(group=GROUPS[sort]):
        package = package_of(point)
        try:
            yield from [_checked(kind, package) for kind in _of_point(sort, point)]
        except BadInput as error:
            say(f"bench: {error}" if str(error).startswith(package) else f"bench: {package}: {error}")


def _of_point(sort: Sort, point: EntryPoint) -> list[TaskKind | JudgeKind]:
    found = loaded(point)
    if isinstance(found, TaskKind if sort == "task" else JudgeKind):
        return [found]
    if not isinstance(found, Path):
        wanted = "TaskKind" if sort == "task" else "JudgeKind"
        raise BadInput(
            f"{point.group} {point.name} = {point.value} is {type(found).__name__}, not a {wanted} or a Path"
        )
    of_both = _of_folder(found) if found.is_dir() else [_in_file(open_yaml(found))]
    return [kind for kind in of_both if isinstance(kind, TaskKind) is (sort == "task")]


def _checked(kind: TaskKind | JudgeKind, package: str) -> TaskKind | JudgeKind:
    """What a package has under its name. A YAML file was checked when it was read."""
    head = _head(kind)
    task = isinstance(kind, TaskKind)
    if not NAME.fullmatch(head) or head in ((*KINDS, *NO_TASKS) if task else NO_JUDGES):
        raise BadInput(
            f"{head[:60]!r} can not be the name of a {'task' if task else 'judge'}, or is one that is built in"
        )
    if isinstance(kind, JudgeKind):
        if not kind.grades or not set(kind.grades) <= set(GRADED):
            raise BadInput(
                f"the judge {head} grades {', '.join(kind.grades) or 'nothing'}: choose of {', '.join(GRADED)}"
            )
        return replace(kind, origin=f"{kind.origin} of {package}") if kind.file else plugged_judge(kind, package)
    if kind.scoring not in SCORINGS:
        raise BadInput(f"the task {head} is scored by {kind.scoring!r}: choose one of {', '.join(SCORINGS)}")
    if not isinstance(kind.data, Path):
        raise BadInput(f"the task {head} has no items: its data are a Path")
    return replace(kind, origin=f"{kind.origin} of {package}" if kind.definition else package)
