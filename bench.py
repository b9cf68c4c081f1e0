"""The door: parses a command line, calls one room, prints. No logic.

Nothing heavy is imported here: `bench --help` answers before torch or pandas could be loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.results import RunResult

ROOMS = ("tasks", "judges", "harness", "training", "reports")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 2 usage or bad input, 4 the run is incomplete."""
    arguments = _parser().parse_args(argv)
    if intruder := _intruder():
        print(f"bench: {intruder}", file=sys.stderr)
        return 2
    from harness.printing import say
    from tasks.errors import BenchError

    with contextlib.suppress(ValueError):  # only a main thread may say what a signal does
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code: int = arguments.command(arguments)
        return code
    except BenchError as error:
        if arguments.debug:
            raise
        say(f"bench: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("bench: stopped; what is stored is kept, and the same command goes on from there")
        return 4


def _intruder() -> str | None:
    """The names of our rooms are plain words: another package of that name in front would be imported instead."""
    home = Path(__file__).resolve().parent
    for room in ROOMS:
        spec = find_spec(room)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations if spec else None) or ()]
        if home / room not in places:
            found = places[0] if places else (spec.origin if spec else None)
            where = f"comes from {found}" if found else "is missing"
            return f"the package {room!r} {where}, not from this installation ({home}): remove it or fix PYTHONPATH"
    return None


def _run(arguments: argparse.Namespace) -> int:
    from harness.config import load_config
    from harness.run import run

    result = run(load_config(arguments.config, _flags(arguments, "config")), quiet=arguments.quiet)
    return _print_result(result, arguments)


def _judge(arguments: argparse.Namespace) -> int:
    from harness.config import judge_config
    from harness.pairs import compare_pairs
    from harness.regrade import judge_run
    from tasks.paths import user_path

    flags = _flags(arguments, "run", "against", "data")
    run, data = user_path(arguments.run), user_path(arguments.data) if arguments.data else None
    if arguments.against:
        result = compare_pairs(run, user_path(arguments.against), judge_config(flags), data, quiet=arguments.quiet)
    else:
        result = judge_run(run, flags, data, quiet=arguments.quiet)
    return _print_result(result, arguments)


def _show(arguments: argparse.Namespace) -> int:
    from harness.results import read_result
    from tasks.paths import user_path

    return _print_result(read_result(user_path(arguments.run)), arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from harness.inspect_run import inspect_run
    from harness.printing import print_line
    from tasks.paths import user_path

    kinds = [kind.strip() for given in arguments.kind or () for kind in given.split(",") if kind.strip()]
    found = inspect_run(
        user_path(arguments.run), kinds, arguments.top, arguments.task, show_harmful=arguments.show_harmful
    )
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **found.as_json()}), sys.stdout)
    else:
        from reports.inspection import inspection_text

        print_line(inspection_text(found), sys.stdout)
    return 0


def _flags(arguments: argparse.Namespace, *others: str) -> dict[str, Any]:
    """The flags that were given, without those that say how to print, and `others` that are no settings."""
    own = {"command", "json", "quiet", "debug", *others}
    return {key: value for key, value in vars(arguments).items() if key not in own and value is not None}


def _print_result(result: RunResult, arguments: argparse.Namespace) -> int:
    from harness.printing import print_line, say

    if result.failure:
        say(f"bench: {result.failure}; the same command tries them again")
    if arguments.json:
        print_line(json.dumps(result.as_json()), sys.stdout)
    elif not arguments.quiet:
        from reports.terminal import run_table

        print_line(run_table(result), sys.stdout)
    return 0 if result.status == "complete" else 4


def _calibrate(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line
    from harness.run_calibration import calibration

    found = calibration(_flags(arguments), quiet=arguments.json)
    if arguments.json:
        print_line(json.dumps(found.as_json()), sys.stdout)
    else:
        from reports.calibration_table import calibration_table

        print_line(calibration_table(found), sys.stdout)
    return 4 if found.failed else 0


def _tasks(arguments: argparse.Namespace) -> int:
    from tasks.task import KINDS

    return _list(arguments, [{"name": kind.name, "about": kind.about, "judge": kind.judge} for kind in KINDS.values()])


def _judges(arguments: argparse.Namespace) -> int:
    from judges.catalogue import JUDGES

    return _list(arguments, [{"name": kind.name, "about": kind.about} for kind in JUDGES.values()])


def _data(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line, say
    from tasks.sources import SOURCES, known_source, pull

    sources = [known_source(name) for name in arguments.names] or list(SOURCES.values())
    for name in arguments.names:
        pull(name, say)
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, "data": [source.row() for source in sources]}), sys.stdout)
    else:
        print_line("\n\n".join(source.in_words() for source in sources), sys.stdout)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from harness.fastchat import export_fastchat
    from harness.printing import print_line, say
    from tasks.paths import user_path

    export = export_fastchat(user_path(arguments.run), user_path(arguments.out), arguments.task)
    for note in export.notes():
        say(f"bench: {note}")
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **export.as_json()}), sys.stdout)
    else:
        print_line("\n".join(map(str, export.files)), sys.stdout)
    return 0


def _list(arguments: argparse.Namespace, rows: list[dict[str, str | None]]) -> int:
    from harness.printing import print_line

    if arguments.json:
        print_line(json.dumps({"schema_version": 1, arguments.what: rows}), sys.stdout)
    else:
        print_line("\n".join(f"{row['name']:16}{row['about']}" for row in rows), sys.stdout)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Tells, with error bars, whether a fine-tuned chat model became safer, less helpful or collapsed.",
        epilog="example: bench run --model smollm2        (no GPU, key or hub needed; the model comes from PyPI)",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    command = commands.add_parser(
        "run", parents=[common], help="answers, judgments and scores of one model",
        description="Evaluate a model; on an existing run directory, do what is missing.",
        epilog="example: bench run --model ckpt/dpo-cai --tasks asr,over_refusal --out runs/dpo",
    )  # fmt: skip
    command.set_defaults(command=_run)
    add = command.add_argument
    add("--model", metavar="M", help="checkpoint or adapter folder, hub id, openai:NAME, answers:FILE, or smollm2")
    add("--backend", metavar="B", help="what runs the model: hf (default)")
    add("--tasks", metavar="A,B", help="mini_mt, asr, over_refusal, collapse (default: these four), mt_bench")
    add(
        "--data",
        metavar="[TASK=]SET",
        action="append",
        help="items from a file or folder, or a pulled set by its name (bench data list), instead of the embedded set",
    )
    add("--columns", metavar="A=B,…", help="columns of an answers file: prompt=…,response=…,label=…,id=…,category=…")
    add("--base-url", metavar="U", help="server of an openai: model (default: OPENAI_BASE_URL, or the official API)")
    add("--samples", metavar="K", type=int, help="answers to every prompt (default 1)")
    add(
        "--attacks",
        metavar="A,B+C",
        help="ways to put each request of asr: none, prefix_injection, refusal_suppression, roleplay, many_shot, "
        "base64, leetspeak, template:FILE (text with {prompt}), all; B+C is C around B",
    )
    add(
        "--probe",
        action="store_true",
        default=None,
        help="ask long-form prompts, too, some of them four times, for collapse to measure",
    )
    add("--limit", metavar="N", type=int, help="at most N items a task, spread evenly over its file")
    add("--max-new-tokens", metavar="N", type=int, help="cap on every answer, instead of the task's own")
    add("--seed", metavar="S", type=int, help="of sampled answers (default 0)")
    add("--chat-template", metavar="FILE", help="Jinja template for a checkpoint that has none")
    add("--executor", metavar="E", help="local (default)")
    add("--include", metavar="DIR", action="append", help=argparse.SUPPRESS)
    add("--out", metavar="DIR", help="the run directory (default: runs/MODEL-HASH)")
    add("--config", metavar="FILE", help="TOML with these same keys; flags win")
    add("--quiet", action="store_true", help="no progress and no table")
    _add_judge_flags(command)

    command = commands.add_parser(
        "judge", parents=[common], help="grade a run's stored answers again, or with more judges",
        description="Grade what a run has stored; nothing is generated and no answer is touched.",
        epilog="example: bench judge runs/dpo --judge openai:gpt-4o --judge-repeats 3",
    )  # fmt: skip
    command.set_defaults(command=_judge)
    add = command.add_argument
    add("run", metavar="RUN")
    add("--against", metavar="RUN0", help="compare with this run's answers instead, pair by pair in both orders")
    add("--data", metavar="PATH", help="where the judge prompts lie, if not where the questions came from")
    add("--quiet", action="store_true", help="no progress and no table")
    _add_judge_flags(command)

    command = commands.add_parser(
        "show", parents=[common], help="the scores of a run directory", epilog="example: bench show runs/demo"
    )
    command.set_defaults(command=_show, quiet=False)
    command.add_argument("run", metavar="RUN")

    command = commands.add_parser(
        "inspect", parents=[common], help="the worst answers of a run, and what answers have in common",
        description="List the worst answers of each kind of collapse with the evidence, and shared boilerplate.",
        epilog="example: bench inspect runs/demo --kind loop,boilerplate --top 5",
    )  # fmt: skip
    command.set_defaults(command=_inspect)
    add = command.add_argument
    add("run", metavar="RUN")
    add(
        "--kind",
        metavar="K,…",
        action="append",
        help="loop, rep, empty, unreadable, truncated, boilerplate, refused, unjudged (default: all)",
    )
    add("--top", metavar="N", type=int, default=3, help="so many of each kind (default 3)")
    add("--task", metavar="T", help="answers to this task alone")
    add("--show-harmful", action="store_true", help="print answers to harmful requests, too")

    command = commands.add_parser(
        "data", help="published data sets: what there is, and getting it", epilog="example: bench data pull harmbench"
    )
    data = command.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = data.add_parser(
        "list", parents=[common], help="the sets there are, and where they lie", epilog="example: bench data list"
    )
    command.set_defaults(command=_data, names=[])
    command = data.add_parser(
        "pull",
        parents=[common],
        help="fetch sets, once",
        epilog="example: bench data pull harmbench && bench run --model smollm2 --tasks asr --data asr=harmbench",
    )
    command.set_defaults(command=_data)
    command.add_argument("names", metavar="NAME", nargs="+")

    command = commands.add_parser(
        "export", parents=[common], help="a run's answers and ratings as files of another tool",
        epilog="example: bench export runs/demo --format fastchat --out data/mt_bench",
    )  # fmt: skip
    command.set_defaults(command=_export)
    command.add_argument("run", metavar="RUN")
    command.add_argument("--format", choices=["fastchat"], default="fastchat", help="fastchat (default)")
    command.add_argument("--out", metavar="DIR", required=True, help="where model_answer/ and model_judgment/ go")
    command.add_argument("--task", metavar="T", help="the task with ratings, where the run has several")

    command = commands.add_parser(
        "calibrate", parents=[common], help="how far a judge can be trusted, against human labels",
        description="Compare a judge with people on a labelled file, or correct a run's figure by some human labels.",
        epilog="example: bench calibrate --judge refusal --labels xstest_completions.csv "
        "--columns response=completion,label=final_label --map 2_full_refusal=refused,1_full_compliance=complied",
    )  # fmt: skip
    command.set_defaults(command=_calibrate)
    add = command.add_argument
    add("--labels", metavar="FILE", required=True, help="prompts, replies and labels; with --run: item, label or score")
    add("--columns", metavar="A=B,…", help="columns of the file: prompt=…,response=…,label=…,id=…,category=…")
    add("--map", metavar="A=B,…", help="labels as outcomes: A=refused,B=complied or A=harmful,B=not_harmful, …")
    add("--task", metavar="T", help="what the judge grades (default: asr, and over_refusal for safe prompts)")
    add("--run", metavar="RUN", help="a run directory: correct a figure of it by the labels")
    add("--metric", metavar="M", help="with --run: the figure (default: asr, over_refusal, or the mean rating)")
    _add_judge_flags(command)

    for name, function, about in (("tasks", _tasks, "what can be asked"), ("judges", _judges, "who can grade")):
        command = commands.add_parser(name, parents=[common], help=about, epilog=f"example: bench {name}")
        command.set_defaults(command=function, what=name)
    return parser


def _add_judge_flags(command: argparse.ArgumentParser) -> None:
    """The flags of every command that grades."""
    group = command.add_argument_group("judges")
    add = group.add_argument
    add("--judge", metavar="J", action="append", help="who grades (bench judges lists them); several make a jury")
    add("--judge-repeats", metavar="K", type=int, help="grade every answer K times, which shows the judge's own noise")
    add(
        "--judge-base-url",
        metavar="U",
        help="server of an openai: judge (default: OPENAI_BASE_URL, else the official API)",
    )
    add(
        "--judge-by",
        metavar="text|logprobs",
        help="read a local judge's verdict, or the rating it expects (default text)",
    )
    add(
        "--harm-form",
        metavar="F",
        help="how a chat model grades answers to harmful requests: outcome (default; one word), strongreject (a score "
        "from 0 to 1, too), yes_no",
    )
    add(
        "--guard-prompt",
        metavar="[FORMAT=]FILE",
        action="append",
        help="the prompt of a guard: judge of the format harmbench or wildguard: text with {prompt} and {response}, or "
        "its authors' Python file",
    )
    add(
        "--protocol",
        metavar="bench|fastchat",
        help="judge prompts: ours, or those that came with the data (default, if any)",
    )
    add("--concurrency", metavar="N", type=int, help="requests in flight at each server (default 16)")
    add("--timeout", metavar="S", type=float, help="seconds one request may take (default 600)")
    add("--prices", metavar="FILE", help="TOML with dollars per million tokens, for the cost of a run")
    add(
        "--no-cache",
        dest="cache",
        action="store_false",
        default=None,
        help="ask judges anew, whatever they said before",
    )


if __name__ == "__main__":
    sys.exit(main())
