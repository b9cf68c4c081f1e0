"""`bench train`: from a command line to a training's folder."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.lock import locked
from harness.printing import say, say_nothing
from harness.records import write_atomically
from tasks.errors import BadInput
from tasks.paths import user_path
from training.recipe import Recipe, build_recipe, read_recipe
from training.stage import rank

KEPT = "recipe.json"
FLAGS: Mapping[str, tuple[str, ...]] = {
    "model": ("base",),
    "chat_template": ("chat_template",),
    "constitution": ("constitution",),
    "prompts": ("critiques.prompts", "preferences.prompts"),
    "limit": ("critiques.limit", "preferences.limit"),
    "critic": ("critiques.critic",),
    "judge": ("preferences.judge",),
    "base_url": ("critiques.critic_base_url", "preferences.judge_base_url"),
    "seed": ("seed",),
    **{
        name: (f"generation.{name}",)
        for name in (
            "backend",
            "model_args",
            "executor",
            "workers",
            "worker_resources",
            "ray_address",
        )
    },
}
"""Which settings of a recipe a flag stands for."""
TRACKERS = ("tensorboard", "wandb", "trackio")
NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "yaml")


@dataclass(frozen=True)
class Trained:
    """What a command of `bench train` leaves: the records of its stages, and the checkpoints that lie there now."""

    folder: Path
    stages: Sequence[Mapping[str, Any]]
    checkpoints: Sequence[Path]

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "out": str(self.folder),
            "stages": [{key: stage.get(key) for key in ("stage", "counts", "wall_s")} for stage in self.stages],
            "checkpoints": [str(path) for path in self.checkpoints],
        }


def train(command: str, flags: Mapping[str, Any], *, quiet: bool = False) -> Trained | None:
    """Do one stage, or all of them ("cai"), in the folder that `flags` name.

    Of the processes of a distributed training, the first returns what was made, and the others None.

    Raises:
        BadInput: what was given can not be used; nothing is left behind that was not there before.
        RunStopped: a stage began and could not finish; the same command goes on.
    """
    for library in NEEDED:
        if find_spec(library) is None:
            raise BadInput(f"training needs {library}: pip install 'bench[train]'")
    folder = user_path(flags["out"])
    recipe = recipe_of(folder, flags)
    trackers = _trackers(flags.get("report_to"))
    tell: Callable[[str], None] = say_nothing if quiet or rank() else say
    from training.cai import DPO, SFT, STAGES, Training
    from training.lineage import write_lineage

    training = Training(folder, recipe, trackers, tell)
    made = []
    with _alone(folder):
        if not rank():
            _keep(folder, recipe)
        for name in STAGES if command == "cai" else [command]:
            tell(f"{name} …")
            made += STAGES[name](training)
            if not rank():
                write_lineage(training, name)
    if rank():
        return None
    return Trained(folder, made, [path for name in (SFT, DPO) if (path := folder / name).exists()])


def recipe_of(folder: Path, flags: Mapping[str, Any]) -> Recipe:
    """The recipe that a command goes by: the one named, else the folder's own, else "tiny"; flags win.

    Raises:
        BadInput: no such recipe, or a setting that can not be.
    """
    changes: dict[str, Any] = {
        setting: flags[flag] for flag, settings in FLAGS.items() if flags.get(flag) is not None for setting in settings
    }
    if flags.get("no_hygiene"):
        changes["critiques.hygiene"] = False
    if flags.get("stop_on_collapse"):
        changes["monitor.stop_on_collapse"] = True
    if flags.get("quantized"):
        changes |= {"sft.quantized": True, "dpo.quantized": True}
    for pair in flags.get("set") or ():
        changes |= _setting(pair)
    kept = folder / KEPT
    if flags.get("recipe") or not kept.exists():
        return read_recipe(flags.get("recipe") or "tiny", changes)
    try:
        values = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"can not read {kept}: {error}; name a --recipe") from None
    return build_recipe(values, changes, str(kept))


def _setting(pair: str) -> dict[str, Any]:
    key, given, value = pair.partition("=")
    if not given or not key.strip():
        raise BadInput(f"--set takes KEY=VALUE, such as sft.epochs=2, not {pair!r}")
    try:
        return {key.strip(): tomllib.loads(f"value = {value}")["value"]}
    except tomllib.TOMLDecodeError:
        return {key.strip(): value}


def _trackers(given: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (given or "").split(",") if name.strip())
    for name in names:
        if name not in TRACKERS:
            raise BadInput(f"--report-to takes {', '.join(TRACKERS)}, not {name!r}")
        if find_spec(name) is None:
            raise BadInput(f"--report-to {name} needs its package: pip install {name}")
    return names


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the other processes of a distributed training come in with the first."""
    if rank():
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            (folder / "data").mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(locked(folder))
        except OSError as error:
            raise BadInput(f"can not write to {folder}: {error.strerror or error}; choose another --out") from None
        yield
        os.close(lock)


def _keep(folder: Path, recipe: Recipe) -> None:
    write_atomically(folder / KEPT, [(json.dumps(recipe.as_json(), indent=1) + "\n").encode()])
