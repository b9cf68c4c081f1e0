"""The judges there are, by the names that --judge takes, and what each can grade.

rubric                 a program
openai:gpt-4o          a chat model behind an API, asked for a verdict
guard:CKPT             a safety classifier
closeness@openai:gpt-4o  a judge file's prompt, put to a chat model
judgments:FILE         verdicts that somebody stored
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from judges.expected_rating import ExpectedRatingJudge
from judges.fastchat import FastChatForm, FastChatPairForm
from judges.forms import HarmYesNoForm, RatingForm, outcome_form, strong_reject_form
from judges.guard import GuardJudge, GuardPrompt, known_format, prompt_for, recognised, refuse_deaf_template
from judges.judge_files import FileJudge
from judges.judgment import Judge, JudgeModel, ScoringModel
from judges.llm import LLMJudge
from judges.outcome import OutcomeJudge
from judges.pairwise import BenchPairForm, PairForm
from judges.refusal import RefusalJudge
from judges.reply_cache import ReplyCache
from judges.rubric import RubricJudge
from judges.stored import open_stored
from tasks.errors import BadInput, suggestion
from tasks.mt_bench import read_judge_prompts
from tasks.task import BUILT_IN, Scoring

Protocol = Literal["bench", "fastchat"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
ReadBy = Literal["text", "logprobs"]
READ_BY: tuple[ReadBy, ...] = get_args(ReadBy)
HarmForm = Literal["outcome", "strongreject", "yes_no"]
HARM_FORMS: tuple[HarmForm, ...] = get_args(HarmForm)
GUARD = "guard:"


@dataclass(frozen=True)
class Grading:
    """What a judge must know of a task to grade it.

    `judge` is the one that grades it by default; `judge_prompts` the file of prompts that belongs to its data, if any;
    `unchecked` the number of its turns that have no checks, `longest` the greatest number of turns of an item,
    `referenced` the number of its items with a reference answer, None where nobody counted.
    """

    task: str
    scoring: Scoring
    judge: str | None = None
    judge_prompts: Path | None = None
    unchecked: int = 0
    longest: int = 1
    referenced: int | None = None


@dataclass(frozen=True)
class Setting:
    """What judges that ask a model share: who opens a model by name, how it is asked, and where replies are kept.

    `open_as_written` opens one that is shown a prompt without any chat template around it, `chat_template` is that of a
    local checkpoint. `protocol` None is that of the data where prompts came with them, else our own. `harm_form` is how
    a chat model is asked about answers to harmful requests, `guard_prompts` are those of classifiers by format;
    `plugged` are judges that are not built in, by their names.
    """

    open_model: Callable[[str], JudgeModel]
    open_as_written: Callable[[str], JudgeModel]
    chat_template: Callable[[str], str | None]
    protocol: Protocol | None = None
    read_by: ReadBy = "text"
    harm_form: HarmForm = "outcome"
    guard_prompts: Mapping[str | None, GuardPrompt] = field(default_factory=dict)
    secret: bytes = b""
    cache: ReplyCache | None = None
    plugged: Mapping[str, JudgeKind] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgeKind:
    """A judge by its name, or by the first part of it, up to the colon or the at sign.

    `grades` are the ways of scoring it serves, `origin` is the file or the package that it comes from; `file` is what a
    judge file says.
    """

    name: str
    about: str
    grades: Sequence[Scoring]
    open: Callable[[str, Grading, Setting], Judge]
    origin: str = BUILT_IN
    file: FileJudge | None = None

    @property
    def head(self) -> str:
        """`openai` of `openai:NAME`, `closeness` of `closeness@MODEL`; the name where it is all there is to say."""
        return re.split("[:@]", self.name, maxsplit=1)[0]

    @property
    def prefix(self) -> str:
        """`openai:` of `openai:NAME`; "" for a judge whose name is all there is to say."""
        return self.name[: len(self.head) + 1] if self.head != self.name else ""


def _rubric(_: str, grading: Grading, __: Setting) -> Judge:
    if grading.unchecked:
        raise BadInput(
            f"{grading.task}: {grading.unchecked} turns have no checks, by which the rubric judge grades: add "
            "'checks', or name another --judge"
        )
    return RubricJudge()


def _refusal(_: str, grading: Grading, __: Setting) -> Judge:
    return OutcomeJudge(RefusalJudge(harmful_items=grading.scoring == "attack_success"))


def _stored(name: str, grading: Grading, _: Setting) -> Judge:
    judge = open_stored(name)
    wanted = "score" if grading.scoring == "ratings" else "label"
    if judge.gives != wanted:
        raise BadInput(f"{name} holds {judge.gives}s, {grading.task} is graded by {wanted}s")
    return judge


def _llm(name: str, grading: Grading, setting: Setting) -> Judge:
    model = setting.open_model(name)
    if grading.scoring != "ratings":
        if setting.read_by != "text":
            raise BadInput(f"--judge-by {setting.read_by} reads ratings: it can not grade {grading.task}")
        return _llm_outcome(name, model, grading, setting)
    rating_form = FastChatForm(read_judge_prompts(file)) if (file := prompts_for(grading, setting)) else RatingForm()
    if setting.read_by == "logprobs":
        if not isinstance(model, ScoringModel):
            raise BadInput(
                f"--judge-by logprobs needs a local judge (hf:CKPT): {name} does not tell its log-probabilities"
            )
        return ExpectedRatingJudge(f"{name} (logprobs)", model, rating_form, setting.secret)
    return LLMJudge(name, model, rating_form, setting.secret, setting.cache)


def _llm_outcome(name: str, model: JudgeModel, grading: Grading, setting: Setting) -> Judge:
    """Safe requests are asked about in one form alone."""
    harmful = grading.scoring == "attack_success"
    if harmful and setting.harm_form == "strongreject":
        judge = LLMJudge(name, model, strong_reject_form(), setting.secret, setting.cache)
        return OutcomeJudge(judge, worth_nothing=0.0)
    form = HarmYesNoForm() if harmful and setting.harm_form == "yes_no" else outcome_form(harmful_items=harmful)
    return OutcomeJudge(LLMJudge(name, model, form, setting.secret, setting.cache))


def _guard(name: str, _: Grading, setting: Setting) -> Judge:
    checkpoint, form = known_format(name.removeprefix(GUARD))
    model = checkpoint if checkpoint.startswith(("openai:", "hf:")) else f"hf:{checkpoint}"
    template = setting.chat_template(model)
    form = form or recognised(checkpoint, template)
    prompt = prompt_for(name, form, setting.guard_prompts)
    if prompt is not None:
        return OutcomeJudge(GuardJudge(name, setting.open_as_written(model), form, prompt))
    if template:
        refuse_deaf_template(checkpoint, template)
    return OutcomeJudge(GuardJudge(name, setting.open_model(model), form))


def file_judge(file: FileJudge) -> JudgeKind:
    """The judge of a file, which is asked of the model named after its own name and an at sign."""
    return JudgeKind(f"{file.name}@MODEL", file.about, file.grades, partial(_of_file, file), str(file.path), file)


def _of_file(file: FileJudge, name: str, grading: Grading, setting: Setting) -> Judge:
    model = name.removeprefix(f"{file.name}@")
    if ":" not in model:
        raise BadInput(
            f"--judge {name}: which model is {model}? Write {file.name}@openai:{model} or {file.name}@hf:{model}"
        )
    if setting.read_by != "text":
        raise BadInput(
            f"--judge-by {setting.read_by} reads ratings of our own prompt, not of {file.name}: leave it out"
        )
    if file.wants_reference and grading.referenced == 0:
        raise BadInput(f"{file.name} shows the judge a {{reference}}, and no item of {grading.task} has one")
    judge = LLMJudge(name, setting.open_model(model), file.form(grading.scoring), setting.secret, setting.cache)
    return judge if grading.scoring == "ratings" else OutcomeJudge(judge)


def model_of(name: str) -> str:
    """The model that a judge of this name asks: what stands behind the at sign of a judge file's, else the name."""
    head, at, model = name.partition("@")
    return model if at and ":" not in head else name


def prompts_for(grading: Grading, setting: Setting) -> Path | None:
    """The file of prompts by which a task is graded, or None for our own.

    Raises:
        BadInput: the prompts do not fit the task.
    """
    if setting.protocol == "bench" or grading.judge_prompts is None:
        return None
    if grading.longest > 2:
        raise BadInput(
            f"{grading.task} has items of {grading.longest} turns, the prompts that came with it grade two: "
            "use --protocol bench"
        )
    return grading.judge_prompts


def pair_form(grading: Grading, setting: Setting) -> PairForm:
    """How two answers to an item of this task are compared."""
    return FastChatPairForm(read_judge_prompts(file)) if (file := prompts_for(grading, setting)) else BenchPairForm()


def refuse_missing_prompts(gradings: Sequence[Grading], setting: Setting) -> None:
    """Raises BadInput for a protocol whose prompts came with none of the tasks."""
    if setting.protocol == "fastchat" and not any(grading.judge_prompts for grading in gradings):
        raise BadInput("--protocol fastchat: no judge_prompts.jsonl came with the data: use --protocol bench")


RATINGS: tuple[Scoring, ...] = ("ratings",)
OUTCOMES: tuple[Scoring, ...] = ("attack_success", "over_refusal")
ANY = (*RATINGS, *OUTCOMES)

JUDGES = {
    kind.name: kind
    for kind in (
        JudgeKind("rubric", "checks that a program decides; offline", RATINGS, _rubric),
        JudgeKind(
            "refusal", "a linear model that reads refusals, degenerate answers told apart; offline, for screening",
            OUTCOMES, _refusal,
        ),
        JudgeKind("openai:NAME", "a chat model behind an OpenAI-compatible API", ANY, _llm),
        JudgeKind("hf:CKPT", "a local checkpoint, or smollm2", ANY, _llm),
        JudgeKind(
            "guard:CKPT", "a safety classifier (Llama Guard 3, HarmBench, WildGuard), or guard:openai:NAME",
            ("attack_success",), _guard,
        ),
        JudgeKind("judgments:FILE", "model_judgment of FastChat, artifact of JailbreakBench", ANY, _stored),
        JudgeKind("human:FILE", "labels or ratings by people, from a table", ANY, _stored),
    )
}  # fmt: skip


NO_JUDGES: Mapping[str, JudgeKind] = {}


def known_judge(name: str, plugged: Mapping[str, JudgeKind] = NO_JUDGES) -> JudgeKind:
    """The kind of judge that a name asks for, built in or `plugged` in; raises BadInput with near matches."""
    for kind in (*JUDGES.values(), *plugged.values()):
        if (kind.prefix and name.startswith(kind.prefix)) or name == kind.name:
            if name == kind.prefix:
                sign = "colon" if name.endswith(":") else "at sign"
                raise BadInput(f"--judge {name} lacks what follows the {sign}: {kind.name}")
            return kind
        if kind.file and name == kind.head:
            raise BadInput(f"--judge {name} asks a model: which? Write {name}@openai:NAME or {name}@hf:CKPT")
    if name == "guard":
        raise BadInput("--judge guard: which classifier? Write --judge guard:CKPT or --judge guard:openai:NAME")
    if name == "llm":
        raise BadInput("--judge llm: which model? Write --judge openai:NAME or --judge hf:CKPT")
    known = [kind.name for kind in (*JUDGES.values(), *plugged.values())]
    raise BadInput(f"no judge {name!r}: {suggestion(name, known, 'judges')}")


def _opened(name: str, grading: Grading, setting: Setting) -> Judge:
    kind = known_judge(name, setting.plugged)
    if grading.scoring not in kind.grades:
        raise BadInput(f"{grading.task} names {name} as its judge, which grades only {', '.join(kind.grades)}")
    return kind.open(name, grading, setting)


def open_judges(names: Sequence[str], gradings: Sequence[Grading], setting: Setting) -> dict[str, list[Judge]]:
    """For each task the named judges that can grade it, or else its own offline judge.

    Raises:
        BadInput: an unknown judge (near matches named), one that can grade none of the tasks, a task without any, or a
            protocol whose prompts came with none of them.
    """
    refuse_missing_prompts(gradings, setting)
    if setting.harm_form != "outcome" and not any(grading.scoring == "attack_success" for grading in gradings):
        raise BadInput(f"--harm-form {setting.harm_form} is about answers to harmful requests (asr): leave it out")
    kinds = {name: known_judge(name, setting.plugged) for name in names}
    for name, kind in kinds.items():
        if not any(grading.scoring in kind.grades for grading in gradings):
            raise BadInput(f"the judge {name} can grade none of {', '.join(grading.task for grading in gradings)}")
    opened: dict[str, list[Judge]] = {}
    for grading in gradings:
        able = [name for name, kind in kinds.items() if grading.scoring in kind.grades]
        if not able and grading.judge:
            able = [grading.judge]
        if not able and grading.scoring != "texts":
            raise BadInput(f"{grading.task} is graded by a chat model: name one with --judge openai:NAME or hf:CKPT")
        opened[grading.task] = [_opened(name, grading, setting) for name in able]
        if len({judge.name for judge in opened[grading.task]}) < len(able):
            raise BadInput(f"two judges of {grading.task} go by the same name: leave one out")
    return opened
