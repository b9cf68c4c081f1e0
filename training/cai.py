"""Constitutional AI in four stages (Bai et al. 2022): critiques → SFT-CAI → AI feedback → DPO-CAI.

This is where each stage is given its inputs, and told apart from one that was made from others.

DIR/recipe.json        the settings of this training, which later commands on DIR go by
DIR/data/*.jsonl       what was generated and what was trained on, every step kept
DIR/sft-cai, dpo-cai   checkpoints that `bench run --model` takes; the adapters lie beside them
DIR/lineage.json       how all of it was made; each checkpoint carries its own
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config import RunConfig, load_config
from harness.models.embedded import NAME as SMOLLM2
from harness.models.embedded import embedded_checkpoint
from harness.models.model import Model
from harness.models.opening import OPENAI, open_model
from tasks.errors import BadInput
from training.constitution import Constitution, read_constitution
from training.prompts import PromptSet, read_conversations, read_prompts
from training.recipe import EMBEDDED, Recipe
from training.stage import Stage, fingerprint, rank, run_stage

SFT, DPO = "sft-cai", "dpo-cai"
CLEANING = ("hygiene", "plant", "plant_share")
"""Settings of critiques that decide which revisions are trained on, and none of what is generated."""
FILTERING = ("form", "min_margin", "max_length_ratio")
"""The same of preferences."""
Say = Callable[[str], None]
Record = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """A recipe at work in a folder. `report_to` names trackers, `say` takes messages for people."""

    folder: Path
    recipe: Recipe
    report_to: tuple[str, ...]
    say: Say

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @cached_property
    def base(self) -> Path | str:
        """What to load the base from."""
        return embedded_checkpoint(self.say) if self.recipe.base == SMOLLM2 else self.recipe.base

    @cached_property
    def base_model(self) -> Model:
        """The base as a model that answers; nothing is loaded before it is asked."""
        return self.open(self.recipe.base)

    @cached_property
    def constitution(self) -> Constitution:
        return read_constitution(self.recipe.constitution)

    def open(self, name: str, base_url: str | None = None) -> Model:
        """A checkpoint or a model behind a server; raises BadInput for one that can not be used."""
        if name.startswith(OPENAI):
            return open_model(RunConfig(model=name, base_url=base_url), self.say)
        flags = self.recipe.generation.flags()
        if self.recipe.chat_template:
            flags["chat_template"] = self.recipe.chat_template
        return open_model(load_config(None, {"model": name, **flags}), self.say)


def critiques(training: Training) -> list[Record]:
    """Red-team prompts → answers, critiques, revisions; then what of them is fit to train on."""
    from training.critiques import clean_revisions, make_critiques
    from training.hygiene import VERSION as HYGIENE

    settings, seed = training.recipe.critiques, training.recipe.seed
    prompts = _prompts(training, settings.prompts, settings.limit)
    critic = training.open(settings.critic, settings.critic_base_url) if settings.critic else training.base_model
    drawn = {
        **_but(asdict(settings), *CLEANING, "prompts", "limit", "critic", "critic_base_url"),
        "prompts": prompts.sha256,
        "seed": seed,
        "constitution": training.constitution.sha256,
        "base": training.base_model.identity(),
        "critic": critic.identity(),
    }
    made = Stage("critiques", drawn, (), growing={"data/critiques.jsonl": _but(drawn, "prompts")})
    with _closing(training.base_model, critic):
        asked = run_stage(
            training.folder, made,
            lambda: make_critiques(
                settings, seed, training.constitution, prompts, training.base_model, critic, training.data, training.say
            ),
            training.say,
        )  # fmt: skip
    fit = {key: getattr(settings, key) for key in CLEANING}
    fit |= {"seed": seed, "prompts": prompts.sha256, "hygiene_version": HYGIENE}
    fit |= {"critiques": asked["files"]["data/critiques.jsonl"]}
    kept = run_stage(
        training.folder, Stage("revisions", fit, ["data/revisions.jsonl"]),
        lambda: clean_revisions(settings, seed, training.constitution, prompts, training.data), training.say,
    )  # fmt: skip
    return [asked, kept]


def sft(training: Training) -> list[Record]:
    """Revisions and helpful conversations → SFT-CAI."""
    from training.fit import FitJob
    from training.helpful import make_helpful, make_mix
    from training.sft import fit_sft

    recipe = training.recipe
    revisions = _wanted(training, "data/revisions.jsonl", "critiques")
    # What is answered depends on the draw alone; how much of it is wanted, on the revisions.
    source: dict[str, Any] = {"seed": recipe.seed}
    if recipe.sft.helpful == EMBEDDED:
        source["base"] = training.base_model.identity()
        source["answers"] = [recipe.sft.helpful_max_new_tokens, recipe.sft.helpful_temperature]
    else:
        source["file"] = read_conversations(recipe.sft.helpful, None, recipe.seed).sha256
    mixed = {**source, "ratio": recipe.sft.helpful_ratio, "revisions": revisions}
    growing = {"data/helpful.jsonl": source}

    def mix() -> Mapping[str, Any]:
        with _closing(training.base_model):
            answered = make_helpful(recipe.sft, recipe.seed, training.base_model, training.data, training.say)
        return {**answered, **make_mix(recipe.sft, recipe.seed, training.data, training.say)}

    data = run_stage(training.folder, Stage("mix", mixed, ["data/sft.jsonl"], growing), mix, training.say)
    inputs = {
        "rows": data["files"]["data/sft.jsonl"],
        # Trained by transformers, whatever answered.
        "base": {**_but(training.base_model.identity(), "model_args"), "backend": "hf"},
        "settings": asdict(recipe.sft),
        "monitor": asdict(recipe.monitor),
        "seed": recipe.seed,
    }
    stage = Stage("sft", inputs, [SFT], scratch=["work/sft", f"{SFT}-adapter"], together=True)
    job = FitJob(
        base=Path(training.base), chat_template=recipe.chat_template, work=training.folder / "work/sft",
        out=training.folder / SFT, seed=recipe.seed, report_to=training.report_to, monitor=recipe.monitor,
        say=training.say,
    )  # fmt: skip
    fitted = run_stage(
        training.folder, stage, lambda: fit_sft(job, recipe.sft, training.data / "sft.jsonl").counts, training.say
    )
    return [data, fitted]


def preferences(training: Training) -> list[Record]:
    """Answers of SFT-CAI, and which of two a judge prefers by the constitution."""
    from training.preferences import make_preferences

    settings, seed = training.recipe.preferences, training.recipe.seed
    _wanted(training, SFT, "sft")
    prompts = _prompts(training, settings.prompts, settings.limit)
    model = training.open(str(training.folder / SFT))
    judge = training.open(settings.judge, settings.judge_base_url) if settings.judge else model
    sampled = {
        "prompts": prompts.sha256,
        "samples": settings.samples,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "seed": seed,
        "model": model.identity(),
    }
    judged = {
        **sampled,
        "principles": settings.principles,
        "constitution": training.constitution.sha256,
        "judge": judge.identity(),
    }
    inputs = {**judged, **{key: getattr(settings, key) for key in FILTERING}}
    if settings.form != "judged":
        inputs["revisions"] = _wanted(training, "data/revisions.jsonl", "critiques")
    growing = {"data/samples.jsonl": _but(sampled, "prompts"), "data/feedback.jsonl": _but(judged, "prompts")}
    with _closing(model, judge):
        made = run_stage(
            training.folder, Stage("preferences", inputs, ["data/preferences.jsonl"], growing),
            lambda: make_preferences(
                settings, seed, training.constitution, prompts, model, judge, training.data, training.say
            ),
            training.say,
        )  # fmt: skip
    return [made]


def dpo(training: Training) -> list[Record]:
    """Preferences → DPO-CAI."""
    from training.dpo import fit_dpo
    from training.fit import FitJob

    recipe = training.recipe
    inputs = {
        "rows": _wanted(training, "data/preferences.jsonl", "preferences"),
        "base": _wanted(training, SFT, "sft"),
        "settings": asdict(recipe.dpo),
        "monitor": asdict(recipe.monitor),
        "seed": recipe.seed,
    }
    stage = Stage("dpo", inputs, [DPO], scratch=["work/dpo", f"{DPO}-adapter"], together=True)
    job = FitJob(
        base=training.folder / SFT, chat_template=None, work=training.folder / "work/dpo", out=training.folder / DPO,
        seed=recipe.seed, report_to=training.report_to, monitor=recipe.monitor, say=training.say,
    )  # fmt: skip
    fitted = run_stage(
        training.folder, stage, lambda: fit_dpo(job, recipe.dpo, training.data / "preferences.jsonl").counts,
        training.say,
    )  # fmt: skip
    return [fitted]


STAGES: Mapping[str, Callable[[Training], list[Record]]] = {
    "critiques": critiques, "sft": sft, "preferences": preferences, "dpo": dpo,
}  # fmt: skip


def _prompts(training: Training, spec: str, limit: int | None) -> PromptSet:
    prompts = read_prompts(spec, limit, training.recipe.seed)
    if not rank():
        for note in prompts.notes:
            training.say(note)
    return prompts


def _wanted(training: Training, name: str, stage: str) -> str:
    """The hash of what an earlier stage made; raises BadInput where it did not."""
    path = training.folder / name
    if not path.exists():
        raise BadInput(f"{path} is not there yet: bench train {stage} --out {training.folder} makes it")
    return fingerprint(path)


def _but(inputs: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    """Inputs without some of them: a row that grows goes by its own prompt, say, whatever others there are."""
    return {key: value for key, value in inputs.items() if key not in left_out}


@contextlib.contextmanager
def _closing(*models: Model) -> Iterator[None]:
    """Free what the models hold, so that the next stage finds the memory."""
    try:
        yield
    finally:
        for model in models:
            model.close()
