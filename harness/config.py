"""What a run is asked to do: flags and the config file, which holds the same keys in TOML. Flags win.

model = "ckpt/dpo-cai"
tasks = ["mini_mt", "asr"]
data = ["asr=harmbench_behaviors.csv"]
max_new_tokens = 128
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.toml_file import read_toml
from judges.catalogue import HARM_FORMS, PROTOCOLS, READ_BY, HarmForm, Protocol, ReadBy
from tasks.errors import BadInput
from tasks.paths import user_path

DEFAULT_TASKS = ("mini_mt", "asr", "over_refusal", "collapse")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Who grades, and how judge models are asked.

    Lists are empty, and single values None, where the default is to be chosen.
    """

    judge: tuple[str, ...] = ()
    judge_base_url: str | None = None
    judge_repeats: int = 1
    judge_by: ReadBy = "text"
    harm_form: HarmForm = "outcome"
    guard_prompt: tuple[str, ...] = ()
    protocol: Protocol | None = None
    concurrency: int | None = None
    prices: str | None = None
    timeout: float = 600.0
    cache: bool = True
    include: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunConfig(JudgeConfig):
    """A run's settings."""

    model: str
    backend: str | None = None
    model_args: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    samples: int = 1
    limit: int | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    chat_template: str | None = None
    attacks: tuple[str, ...] = ()
    probe: bool = False
    executor: str = "local"
    workers: int | None = None
    worker_resources: Mapping[str, float] = field(default_factory=dict)
    ray_address: str | None = None
    out: str | None = None


JUDGE_FLAGS = tuple(field.name for field in fields(JudgeConfig))
SWITCHES = ("cache", "probe")
COUNTS = ("concurrency", "judge_repeats", "samples", "limit", "max_new_tokens", "workers")
LISTS = ("tasks", "data", "judge", "include", "attacks", "guard_prompt")
WHOLE = ("data", "include", "judge", "guard_prompt")
"""Lists whose entries are paths, or may hold one: a comma does not part them."""
EXECUTORS = ("local", "ray")
RESOURCES = ("cpus", "gpus")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "protocol": PROTOCOLS, "judge_by": READ_BY, "harm_form": HARM_FORMS, "executor": EXECUTORS,
}  # fmt: skip


def load_config(file: str | None, flags: Mapping[str, Any]) -> RunConfig:
    """Merge a config file and the flags that were given.

    Raises:
        BadInput: unreadable file, unknown key (near matches named), a value of the wrong type, or no model.
    """
    values = {**(_read_config(user_path(file)) if file else {}), **flags}
    if not values.get("model"):
        raise BadInput("no model named: --model CKPT (a folder, a hub id, openai:NAME, answers:FILE, or smollm2)")
    return RunConfig(**_checked_all(values))


def judge_config(flags: Mapping[str, Any]) -> JudgeConfig:
    """The flags of a command that only grades; raises BadInput for a value of the wrong type."""
    return JudgeConfig(**_checked_all(flags))


def _checked_all(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _checked(key, value) for key, value in values.items()}


def _read_config(path: Path) -> dict[str, Any]:
    known = [f.name for f in fields(RunConfig)]
    values = {}
    for key, value in read_toml(path, "the config file").items():
        name = key.replace("-", "_")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise BadInput(f"{path}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        values[name] = value
    return values


def _checked(key: str, value: Any) -> Any:
    """The value in the type of its field, whether it came from a flag (text) or from TOML."""
    flag = "--" + key.replace("_", "-")
    if key in LISTS:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(part, str) for part in given):
            raise BadInput(f"{flag} takes names, not {value!r}")
        parts = given if key in WHOLE else [part for text in given for part in text.split(",")]
        return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if key == "columns":
        if isinstance(value, dict) and all(isinstance(column, str) and column for column in value.values()):
            return value
        if not isinstance(value, str):
            raise BadInput(f"--columns takes names of columns, not {value!r}")
        return _columns(value)
    if key == "model_args":
        return _model_args(value)
    if key == "worker_resources":
        return _worker_resources(value)
    if key == "seed" or key in COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or (key in COUNTS and value < 1):
            raise BadInput(f"{flag} takes a whole number{' from 1' if key in COUNTS else ''}, not {value!r}")
        return value
    if key == "timeout":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise BadInput(f"{flag} takes a number of seconds, not {value!r}")
        return float(value)
    if key in SWITCHES:
        if not isinstance(value, bool):
            raise BadInput(f"{key} is true or false, not {value!r}")
        return value
    if not isinstance(value, str):
        raise BadInput(f"{flag} takes text, not {value!r}")
    if key in CHOICES and value not in CHOICES[key]:
        raise BadInput(f"{flag} is one of {', '.join(CHOICES[key])}, not {value!r}")
    return value


def _columns(text: str) -> dict[str, str]:
    """`prompt=question,response=answer` as a mapping."""
    pairs = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if len(pairs) != len(text.split(",")) or not all(key and column for key, column in pairs.items()):
        raise BadInput(f"--columns takes pairs such as prompt=question,response=answer, not {text!r}")
    return {key.strip(): column.strip() for key, column in pairs.items()}


def _model_args(value: Any) -> dict[str, str]:
    """`tensor_parallel_size=2,dtype=bfloat16`, or the same as a table of TOML, as a mapping of texts."""
    if isinstance(value, dict):
        pairs = {key: str(given).lower() if isinstance(given, bool) else str(given) for key, given in value.items()}
    else:
        parts = [part.strip().partition("=") for part in value.split(",")] if isinstance(value, str) else []
        pairs = {key.strip().replace("-", "_"): given.strip() for key, equals, given in parts if equals}
        if not parts or len(pairs) != len(parts):
            pairs = {}
    if not pairs or not all(key and given for key, given in pairs.items()):
        raise BadInput(f"--model-args takes pairs such as tensor_parallel_size=2,dtype=bfloat16, not {value!r}")
    return pairs


def _worker_resources(value: Any) -> dict[str, float]:
    """`cpus=4,gpus=1`, or the same as a table of TOML: what each worker is given."""
    refusal = BadInput(f"--worker-resources takes {' and '.join(RESOURCES)}, as in cpus=4,gpus=1, not {value!r}")
    if isinstance(value, str):
        parts = [part.strip().partition("=") for part in value.split(",")]
        value = {key.strip(): given for key, _, given in parts}
    if not isinstance(value, dict) or not value or set(value) - set(RESOURCES):
        raise refusal
    try:
        found = {key: float(given) for key, given in value.items()}
    except (TypeError, ValueError):
        raise refusal from None
    if not all(0 <= given < math.inf for given in found.values()):
        raise refusal
    return found
