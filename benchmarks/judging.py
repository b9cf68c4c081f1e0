"""Seconds and processor time of judging: ours beside three other ways to ask the same judge the same, on one server.

    make bench-judging

The server is tests/mock_server.py in a process of its own, which answers after 100 ms; 16 requests are in flight, so
160 judgments can not take less than 1.0 s. Every way runs in a fresh process, in turns with the others, and measures
from its client to the last record. Imports are left out: the client makes many at its first request, so each process
makes one beforehand.
  bare loop     the async client of the `openai` package and a semaphore, which only counts the replies
  ours          the engine with an `openai:` judge: prompts made, ratings read, every record synced to the disk
  thread pool   the sync client in 16 threads and a line appended for every judgment, as FastChat's llm_judge does
  inspect-ai    `model_graded_qa` on its provider for OpenAI-compatible servers; its log is its record
  generation    ours: 80 conversations of two turns with a model on the same server, not judged
  together      ours: those conversations, each answer judged while the next turn is being generated
and `bench judge` is the whole command, start-up, scores and table included. Of several rounds the fastest and the
median are printed: whatever else runs on the machine can only slow a round down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LATENCY_S, IN_FLIGHT, QUESTIONS, MODEL, KEY = 0.1, 16, 80, "mock", "none"
JUDGE = f"openai:{MODEL}"
MAX_TOKENS = 2048
MT_BENCH = Path("../shared/data/mt_bench")
INSPECT = Path(".venv/inspect/bin/python")
"""inspect-ai can not be installed beside the rest: it wants an older fsspec than `datasets` does."""
RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]")


@dataclass(frozen=True)
class Bench:
    """What a way is given: the server, a folder with a run to judge and the same prompts in full, how many to ask."""

    url: str
    folder: Path
    repeats: int

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def prompts(self) -> list[list[dict[str, str]]]:
        prompts: list[list[dict[str, str]]] = json.loads((self.folder / "prompts.json").read_text())
        return prompts * self.repeats


Work = Callable[[], None]


# --- the ways: each imports and reads what it needs, and returns what is to be timed ---


def bare_loop(bench: Bench) -> Work:
    import openai

    prompts: Any = bench.prompts()

    async def everything() -> list[str | None]:
        places = asyncio.Semaphore(IN_FLIGHT)
        async with openai.AsyncOpenAI(api_key=KEY, base_url=bench.url) as client:

            async def ask(prompt: Any) -> str | None:
                async with places:
                    reply = await client.chat.completions.create(
                        model=MODEL, messages=prompt, temperature=0, max_tokens=MAX_TOKENS
                    )
                return reply.choices[0].message.content

            return await asyncio.gather(*map(ask, prompts))

    return lambda: _all_rated([reply or "" for reply in asyncio.run(everything())], bench)


def thread_pool(bench: Bench) -> Work:
    import openai

    prompts: Any = bench.prompts()
    records = bench.folder / "model_judgment.jsonl"

    def work() -> None:
        client = openai.OpenAI(api_key=KEY, base_url=bench.url)

        def judge(number: int) -> str:
            reply = client.chat.completions.create(
                model=MODEL, messages=prompts[number], temperature=0, max_tokens=MAX_TOKENS
            )
            said = reply.choices[0].message.content or ""
            found = RATING.search(said)
            record = {
                "question_id": number,
                "model": "answers",
                "judge": [MODEL, "single-v1"],
                "user_prompt": prompts[number],
                "judgment": said,
                "score": float(found[1]) if found else -1,
                "turn": 1,
                "tstamp": time.time(),
            }
            with records.open("a") as file:
                file.write(json.dumps(record) + "\n")
            return said

        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            _all_rated(list(pool.map(judge, range(len(prompts)))), bench)

    return work


def inspect_ai(bench: Bench) -> Work:
    os.environ |= {"MOCK_BASE_URL": bench.url, "MOCK_API_KEY": KEY}
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, ModelOutput, get_model
    from inspect_ai.scorer import model_graded_qa
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    prompts = bench.prompts()

    def stored_answer() -> Solver:
        async def solve(state: TaskState, _: Generate) -> TaskState:
            state.output = ModelOutput.from_content(MODEL, "as in the prompt")
            return state

        return solve

    def work() -> None:
        settings = GenerateConfig(max_connections=IN_FLIGHT, temperature=0, max_tokens=MAX_TOKENS)
        judge = get_model(f"openai-api/mock/{MODEL}", config=settings)
        samples = [Sample("\n\n".join(message["content"] for message in prompt)) for prompt in prompts]
        # The whole prompt is the question, so that what is sent is as long as in the other ways.
        scorer = model_graded_qa(template="{question}", grade_pattern=RATING.pattern, model=judge)
        task = Task(MemoryDataset(samples), solver=solver(stored_answer)(), scorer=scorer)
        (log,) = eval(
            task, model=judge, display="none", log_dir=str(bench.folder / "logs"), max_samples=2 * IN_FLIGHT,
            max_connections=IN_FLIGHT,
        )  # fmt: skip
        scored = log.results.scores[0].scored_samples if log.results else 0
        if log.status != "success" or scored != len(prompts):
            sys.exit(f"inspect-ai: {log.status}, {scored} scored")

    return work


def ours(bench: Bench) -> Work:
    """As `harness.regrade.judge_run` does it, up to the scores."""
    from harness.config import judge_config
    from harness.engine import Assignment, Engine, Tally, conversations
    from harness.judging import judge_models
    from harness.printing import say
    from harness.regrade import grading_of, stored_tasks
    from harness.sitting import work as sit
    from harness.store import RunStore, read_manifest
    from judges.catalogue import open_judges

    config = judge_config(
        {"judge": JUDGE, "judge_base_url": bench.url, "judge_repeats": bench.repeats, "cache": False, "concurrency": 16}
    )
    store = RunStore.open_to_judge(bench.run)
    manifest = read_manifest(bench.run)
    assert manifest
    models = judge_models(config, say)
    (task,) = stored_tasks(bench.run, manifest)
    judges = open_judges(config.judge, [grading_of(task, manifest, None, "bench")], models.setting)
    assignment = Assignment(task, judges[task.name], bench.repeats)
    tally = Tally(assignment.answers, assignment.judgments)
    models.load()

    def work() -> None:
        with store:
            sit(
                Engine(None, store, tally, 0),
                conversations([assignment]),
                2 * models.parallel,
                models.close,
                quiet=True,
            )
        if tally.judgments != 2 * QUESTIONS * bench.repeats:
            sys.exit(f"ours: {tally.judgments} judgments, {tally.failure}")

    return work


def generation(bench: Bench) -> Work:
    return _conversing(bench, judged=False)


def together(bench: Bench) -> Work:
    return _conversing(bench, judged=True)


def _conversing(bench: Bench, *, judged: bool) -> Work:
    """As `harness.run.run` does it, up to the scores."""
    from harness.config import load_config
    from harness.engine import Assignment, Engine, Tally, conversations
    from harness.plan import make_plan
    from harness.printing import say_nothing
    from harness.sitting import work as sit
    from harness.store import RunStore

    flags = {
        "model": JUDGE, "base_url": bench.url, "judge": JUDGE, "judge_base_url": bench.url, "tasks": "mt_bench",
        "data": str(bench.folder / "mt_bench"), "protocol": "bench", "cache": False, "samples": bench.repeats,
        "concurrency": IN_FLIGHT, "out": str(bench.folder / "made"),
    }  # fmt: skip
    plan = make_plan(load_config(None, flags), say_nothing)
    (assignment,) = plan.assignments
    if not judged:
        assignment = Assignment(assignment.task, ())
    store = RunStore.open(plan.directory, plan.identity)
    tally = Tally(assignment.answers, assignment.judgments)
    plan.model.load()
    plan.judge_models.load()

    def work() -> None:
        with store:
            sit(Engine(plan.model, store, tally, 0), conversations([assignment]), plan.window, plan.close, quiet=True)
        wanted = 2 * QUESTIONS * bench.repeats
        if (tally.answers, tally.judgments) != (wanted, wanted * judged):
            sys.exit(f"ours: {tally.answers} answers, {tally.judgments} judgments, {tally.failure}")

    return work


def _make_a_request(url: str) -> None:
    """For all that the client imports no sooner; the one for threads imports hardly anything else."""
    import openai

    async def ask() -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as client:
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello."}])

    asyncio.run(ask())


WAYS: dict[str, Callable[[Bench], Work]] = {
    "bare loop": bare_loop,
    "ours": ours,
    "thread pool": thread_pool,
    "inspect-ai": inspect_ai,
    "generation": generation,
    "together": together,
}
COMMAND = "bench judge"


def _all_rated(replies: Sequence[str], bench: Bench) -> None:
    if len(replies) != 2 * QUESTIONS * bench.repeats or not all(map(RATING.search, replies)):
        sys.exit(f"{len(replies)} replies, not all of them with a rating")


def timed(way: str, bench: Bench) -> None:
    """In a process of its own: print what one way takes."""
    work = WAYS[way](bench)
    _make_a_request(bench.url)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}))


# --- what is asked ---


def write_questions(folder: Path) -> None:
    """The 80 questions of MT-Bench where they are at hand, else made-up ones of their length."""
    folder.mkdir()
    if (MT_BENCH / "question.jsonl").exists():
        shutil.copytree(MT_BENCH, folder, dirs_exist_ok=True)
        questions = folder / "question.jsonl"
        # By [[ the server knows a judge's request, and must not take a question about matrices for one.
        questions.write_text(questions.read_text().replace("[[", "[ ["))
        return
    rows = [
        {"question_id": number, "category": "writing", "turns": [_babble(number, 45), _babble(-number, 20)]}
        for number in range(1, QUESTIONS + 1)
    ]
    (folder / "question.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_run(bench: Bench) -> None:
    """A run with a stored answer to every turn, and what a judge is asked about each, for the other ways."""
    from harness.config import load_config
    from harness.regrade import stored_tasks
    from harness.run import run
    from harness.store import RunStore, read_manifest
    from judges.forms import RatingForm

    rows = []
    for line in (bench.folder / "mt_bench/question.jsonl").read_text().splitlines():
        number = json.loads(line)["question_id"]
        said = [_babble(number), _babble(-number)]
        rows.append({"question_id": number, "model_id": "m", "choices": [{"index": 0, "turns": said}]})
    answers = bench.folder / "answers.jsonl"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = {
        "model": f"answers:{answers}", "tasks": "mt_bench", "data": str(bench.folder / "mt_bench"), "judge": JUDGE,
        "judge_base_url": bench.url, "protocol": "bench", "cache": False, "out": str(bench.run),
    }  # fmt: skip
    run(load_config(None, flags), quiet=True)
    (bench.run / "judgments.jsonl").write_bytes(b"")
    manifest = read_manifest(bench.run)
    assert manifest
    (task,) = stored_tasks(bench.run, manifest)
    prompts = []
    with RunStore.open_to_judge(bench.run) as store:
        for item in task.items():
            stored = [store.stored_answer((task.name, item.id, 0, turn)) for turn in (1, 2)]
            given = [answer for answer in stored if answer]
            prompts += [RatingForm().messages(item, given[:turn], b"", 0) for turn in (1, 2)]
    (bench.folder / "prompts.json").write_text(json.dumps(prompts))


def _babble(seed: int, words: int = 240) -> str:
    """As long as an answer to MT-Bench: some 1,500 characters."""
    drawn = random.Random(seed)
    return " ".join("".join(drawn.choices("etaoinshrdlu", k=drawn.randint(2, 9))) for _ in range(words)) + "."


# --- the measuring ---


@dataclass
class Figures:
    """Of one way, a value a round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    process_s: list[float] = field(default_factory=list)
    process_cpu_s: list[float] = field(default_factory=list)


@contextmanager
def server(seconds: float) -> Iterator[str]:
    """A mock server in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.mock_server", "--latency", str(LATENCY_S), "--reply", _babble(0)]
    with subprocess.Popen([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(way: str, bench: Bench, figures: Figures) -> None:
    """One round of one way, on a fresh copy of the folder."""
    with tempfile.TemporaryDirectory() as copied:
        folder = shutil.copytree(bench.folder, Path(copied) / "bench")
        if way == COMMAND:
            command = [sys.executable, "-m", "bench", "judge", str(folder / "run"), "--judge", JUDGE]
            command += ["--judge-base-url", bench.url, "--judge-repeats", str(bench.repeats), "--protocol", "bench"]
            command += ["--no-cache"]
        else:
            python = str(INSPECT) if way == "inspect-ai" else sys.executable
            command = [python, "-m", "benchmarks.judging", "--way", way, "--url", bench.url, "--folder", str(folder)]
            command += ["--repeats", str(bench.repeats)]
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        process_s, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    figures.process_s.append(process_s)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    figures.process_cpu_s.append(spent)
    if way != COMMAND:
        taken = json.loads(done.stdout.splitlines()[-1])
        figures.wall_s.append(taken["wall_s"])
        figures.cpu_s.append(taken["cpu_s"])


def table(found: dict[str, Figures], judgments: int) -> str:
    """A line a way. CPU is per judgment, also where answers were generated; the ratio is that of the fastest rounds."""
    bare = found["bare loop"]
    lines = ["                   wall s        × bare loop     CPU ms a judgment      whole process s"]
    lines += ["               fastest  median  fastest  median    fastest  over bare   fastest  median   CPU"]
    for way, figures in found.items():
        line = f"  {way:13}"
        if figures.wall_s:
            cpu, bare_cpu = (1000 * min(of.cpu_s) / judgments for of in (figures, bare))
            line += f"{min(figures.wall_s):7.2f}{statistics.median(figures.wall_s):8.2f}"
            line += f"{min(figures.wall_s) / min(bare.wall_s):9.2f}"
            line += f"{statistics.median(figures.wall_s) / statistics.median(bare.wall_s):8.2f}"
            line += f"{cpu:11.2f}{cpu - bare_cpu:+11.2f}"
        whole = f"{min(figures.process_s):10.2f}{statistics.median(figures.process_s):8.2f}"
        lines.append(f"{line:69}{whole}{min(figures.process_cpu_s):6.2f}")
    if {"ours", "generation", "together"} <= found.keys():
        ratios = [
            of(found["together"].wall_s) / max(of(found["ours"].wall_s), of(found["generation"].wall_s))
            for of in (min, statistics.median)
        ]
        lines.append(f"  together is {ratios[0]:.2f} × the longer of its two parts (medians: {ratios[1]:.2f})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1, help="160 judgments times this; 10 makes it 1,600")
    parser.add_argument("--ways", default=",".join([*WAYS, COMMAND]), help="some of them, with commas; all by default")
    parser.add_argument("--json", metavar="FILE", help="write every round there too")
    for internal in ("--way", "--url", "--folder"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        timed(given.way, Bench(given.url, Path(given.folder), given.repeats))
        return
    ways = dict.fromkeys(["bare loop", *given.ways.split(",")])
    if unknown := ways.keys() - {*WAYS, COMMAND}:
        parser.error(f"no way {min(unknown)!r}: {', '.join([*WAYS, COMMAND])}")
    if "inspect-ai" in ways and not INSPECT.exists():
        print(f"inspect-ai is left out: install it into {INSPECT.parents[1]} by `make bench-judging`")
        del ways["inspect-ai"]
    found = {way: Figures() for way in ways}
    expected = given.rounds * len(ways) * (LATENCY_S * 10 * given.repeats * 2 + 10)
    with tempfile.TemporaryDirectory() as made, server(seconds=60 + 2 * expected) as url:
        os.environ["XDG_CACHE_HOME"] = str(Path(made) / "cache")
        bench = Bench(url, Path(made) / "bench", given.repeats)
        bench.folder.mkdir()
        write_questions(bench.folder / "mt_bench")
        write_run(bench)
        judgments = 2 * QUESTIONS * given.repeats
        floor = LATENCY_S * judgments / IN_FLIGHT
        print(f"{judgments} judgments, {LATENCY_S:g} s a reply, {IN_FLIGHT} in flight: floor {floor:.1f} s", flush=True)
        for number in range(1, given.rounds + 1):
            for way, figures in found.items():
                measure(way, bench, figures)
            print(f"  round {number}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
    print(table(found, judgments))
    if given.json:
        rounds = {way: vars(figures) for way, figures in found.items()}
        Path(given.json).write_text(json.dumps({"judgments": judgments, **rounds}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
