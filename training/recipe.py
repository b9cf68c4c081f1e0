"""A recipe: everything that decides what a training makes, in TOML, stage by stage.

    base = "smollm2"
    seed = 0
    constitution = "bench"

    [critiques]
    prompts = "embedded"
    rounds = 2

    [sft]
    learning_rate = 2e-5
    helpful_ratio = 1.0

    [dpo]
    loss_type = ["sigmoid", "sft"]
    loss_weights = [1.0, 0.1]

Keys that are left out keep the defaults below. A key that nothing reads is refused, with its near matches.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from harness.toml_file import read_toml
from tasks.errors import BadInput, suggestion
from tasks.paths import user_path

EMBEDDED = "embedded"
"""In place of a file: the set of our own that comes with the package."""
RECIPES = Path(__file__).with_name("recipes")
STAGES = ("critiques", "sft", "preferences", "dpo")
LossType = Literal["sigmoid", "ipo", "robust", "sigmoid_norm", "sft"]
PairForm = Literal["judged", "revision", "both"]


@dataclass(frozen=True, kw_only=True)
class Critiques:
    """Red-team prompts to answers, critiques and revisions (Bai et al. 2022, section 3.1).

    `critic` is who criticises and revises: None for the model itself, a checkpoint, or openai:NAME. `critique` False
    asks for a revision at once. `plant` is put behind every revision, `plant_share` of them chosen by the seed: the
    fault of training data that a test wants to see again; recipes that make a model for use leave it None.
    """

    prompts: str = EMBEDDED
    limit: int | None = None
    rounds: int = 1
    critic: str | None = None
    critic_base_url: str | None = None
    critique: bool = True
    few_shot: bool = True
    temperature: float = 1.0
    max_new_tokens: int = 256
    hygiene: bool = True
    plant: str | None = None
    plant_share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What supervised and preference training have in common. `lora_rank` 0 trains every weight.

    `max_steps` None goes through the data `epochs` times. A step sees `batch_size` × `accumulation` rows a process.
    `quantized` loads the base in 4 bits (QLoRA, Dettmers et al. 2023). `learning_rate` follows `schedule` after
    `warmup_share` of the steps. Each stage has its own defaults.
    """

    learning_rate: float = 2e-5
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 4
    accumulation: int = 1
    max_length: int = 1024
    warmup_share: float = 0.1
    schedule: str = "cosine"
    weight_decay: float = 0.0
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    quantized: bool = False
    gradient_checkpointing: bool = False
    save_steps: int = 50


@dataclass(frozen=True, kw_only=True)
class Sft(Fit):
    """Supervised fine-tuning on revisions and helpful conversations.

    `helpful` is a file of conversations, or the embedded requests answered by the base model with at most
    `helpful_max_new_tokens`; `helpful_ratio` how many of them go in for every revision.
    """

    helpful: str = EMBEDDED
    helpful_ratio: float = 1.0
    helpful_max_new_tokens: int = 256
    helpful_temperature: float = 0.7
    packing: bool = False


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """AI feedback: `samples` answers a prompt by the SFT-CAI model, of which a judge prefers one by the principles.

    `judge` None is the SFT-CAI model itself. `form` "judged" pairs samples, "revision" pairs each kept revision with
    the answer that it revised, "both" does both. `principles` is how many principles a pair is held to, the
    probabilities averaged. A pair is kept where |p - 0.5| is at least `min_margin` and the longer answer has at most
    `max_length_ratio` times the words of the shorter.
    """

    prompts: str = EMBEDDED
    limit: int | None = None
    samples: int = 2
    temperature: float = 1.0
    max_new_tokens: int = 256
    judge: str | None = None
    judge_base_url: str | None = None
    principles: int = 4
    form: PairForm = "judged"
    min_margin: float = 0.05
    max_length_ratio: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Dpo(Fit):
    """Direct preference optimisation against the SFT-CAI model (Rafailov et al. 2023).

    `loss_type` and `loss_weights` are summed. `soft_labels` uses the judge's p in place of 1. `label_smoothing` is for
    "robust" alone.
    """

    learning_rate: float = 5e-6
    schedule: str = "linear"
    beta: float = 0.1
    loss_type: tuple[LossType, ...] = ("sigmoid",)
    loss_weights: tuple[float, ...] = (1.0,)
    soft_labels: bool = True
    label_smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """The collapse monitor: every `every` steps the model answers `probes` fixed prompts. `every` 0 turns it off."""

    every: int = 10
    probes: int = 16
    max_new_tokens: int = 96
    stop_on_collapse: bool = False


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How checkpoints that generate are run; the keys are flags of `bench run` and take what these take.

    Models behind a server (openai:NAME) run where they are.
    """

    backend: str | None = None
    model_args: str | None = None
    executor: str = "local"
    workers: int | None = None
    worker_resources: str | None = None
    ray_address: str | None = None

    def flags(self) -> dict[str, Any]:
        """Those that were given."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training makes, but the data files, which are hashed where they are read."""

    base: str = "smollm2"
    seed: int = 0
    constitution: str = "bench"
    chat_template: str | None = None
    critiques: Critiques = field(default_factory=Critiques)
    sft: Sft = field(default_factory=Sft)
    preferences: Preferences = field(default_factory=Preferences)
    dpo: Dpo = field(default_factory=Dpo)
    monitor: Monitor = field(default_factory=Monitor)
    generation: Generation = field(default_factory=Generation)

    def __post_init__(self) -> None:
        if len(self.dpo.loss_type) != len(self.dpo.loss_weights):
            raise BadInput("dpo.loss_weights needs one number for each dpo.loss_type")
        if "robust" in self.dpo.loss_type and not 0 <= self.dpo.label_smoothing < 0.5:
            raise BadInput("dpo.label_smoothing is at least 0 and below 0.5")
        if "robust" not in self.dpo.loss_type and self.dpo.label_smoothing:
            raise BadInput('dpo.label_smoothing acts in the loss "robust" alone: add it, or use dpo.soft_labels')
        if "robust" in self.dpo.loss_type and self.dpo.soft_labels:
            raise BadInput('dpo.soft_labels and the loss "robust" both soften the labels: choose one')

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def sha256_of_settings(settings: object) -> str:
    """A hash of a recipe or of one of its stages."""
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()  # type: ignore[call-overload]


def read_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe that comes with the package, or that of a TOML file; `changes` ("sft.epochs") win over it.

    Raises:
        BadInput: no such recipe, an unknown key, or a value of the wrong type or range.
    """
    shipped = {path.stem: path for path in RECIPES.glob("*.toml")}
    path = shipped.get(name) or user_path(name)
    if name not in shipped and not path.exists():
        raise BadInput(f"no recipe {name!r}: {suggestion(name, shipped, 'recipes')}, or pass a TOML file")
    return build_recipe(read_toml(path, "the recipe"), changes or {}, name)


def build_recipe(values: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from what `where` says, with changes; raises BadInput as `read_recipe` does. None is the default."""
    changed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for dotted, value in changes.items():
        *section, key = dotted.split(".")
        inside: Any = changed
        for part in section:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise BadInput(f"{where}: {part} is a table of settings, not {inside!r}")
        inside[key] = value
    recipe: Recipe = _build(Recipe, changed, where, "")
    return recipe


def _build(kind: type[Any], values: object, where: str, section: str) -> Any:
    """A dataclass from TOML, every value checked by the type of its field."""
    if not isinstance(values, Mapping):
        raise BadInput(f"{where}: {section} is a table of settings, not {values!r}")
    hints = get_type_hints(kind)
    known = {it.name for it in fields(kind)}
    made = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        called = f"{section}.{name}" if section else name
        if name not in known:
            raise BadInput(f"{where}: unknown key {called!r}; {suggestion(name, sorted(known), 'keys')}")
        hint = hints[name]
        if hasattr(hint, "__dataclass_fields__"):
            made[name] = _build(hint, value, where, called)
        else:
            made[name] = _checked(hint, value, f"{where}: {called}", LIMITS.get(name))
    return kind(**made)


def _checked(hint: Any, value: Any, called: str, limit: Limit | None) -> Any:
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise BadInput(f"{called} is a list, not {value!r}")
        return tuple(_checked(get_args(hint)[0], part, called, limit) for part in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise BadInput(f"{called} is one of {', '.join(get_args(hint))}, not {value!r}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise BadInput(f"{called} is {WORDS[hint]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{called} is a finite number, not {value!r}")
    if limit and not limit[0](value):
        raise BadInput(f"{called} is {limit[1]}, not {value!r}")
    return value


Limit = tuple[Callable[[Any], bool], str]
WORDS: Mapping[type, str] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_ONE: Limit = (lambda value: value >= 1, "at least 1")
_NONE: Limit = (lambda value: value >= 0, "at least 0")
_POSITIVE: Limit = (lambda value: value > 0, "above 0")
_SHARE: Limit = (lambda value: 0 <= value <= 1, "between 0 and 1")
LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(
        ("limit", "rounds", "max_new_tokens", "helpful_max_new_tokens", "max_steps", "batch_size", "accumulation",
         "max_length", "principles", "lora_alpha", "save_steps", "probes", "workers"), _ONE,
    ),
    **dict.fromkeys(
        ("temperature", "helpful_temperature", "lora_rank", "helpful_ratio", "weight_decay", "every", "loss_weights"),
        _NONE,
    ),
    **dict.fromkeys(("learning_rate", "epochs", "beta"), _POSITIVE),
    **dict.fromkeys(("warmup_share", "plant_share", "lora_dropout"), _SHARE),
    "samples": (lambda value: value >= 2, "at least 2, since a pair needs two answers"),
    "min_margin": (lambda value: 0 <= value < 0.5, "at least 0 and below 0.5"),
    "max_length_ratio": _ONE,
}  # fmt: skip
