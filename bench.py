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
from typing import TYPE_CHECKING

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
    from harness.printing import say
    from harness.run import run

    own = {"command", "config", "json", "quiet", "debug"}
    flags = {key: value for key, value in vars(arguments).items() if key not in own and value is not None}
    result = run(load_config(arguments.config, flags), quiet=arguments.quiet)
    if result.failure:
        say(f"bench: {result.failure}; the same command tries them again")
    return _print_result(result, arguments)


def _show(arguments: argparse.Namespace) -> int:
    from harness.results import read_result
    from tasks.paths import user_path

    return _print_result(read_result(user_path(arguments.run)), arguments)


def _print_result(result: RunResult, arguments: argparse.Namespace) -> int:
    from harness.printing import print_line

    if arguments.json:
        print_line(json.dumps(result.as_json()), sys.stdout)
    elif not arguments.quiet:
        from reports.terminal import run_table

        print_line(run_table(result), sys.stdout)
    return 0 if result.status == "complete" else 4


def _tasks(arguments: argparse.Namespace) -> int:
    from tasks.task import KINDS

    return _list(arguments, [{"name": kind.name, "about": kind.about, "judge": kind.judge} for kind in KINDS.values()])


def _judges(arguments: argparse.Namespace) -> int:
    from judges.catalogue import JUDGES

    return _list(arguments, [{"name": kind.name, "about": kind.about} for kind in JUDGES.values()])


def _list(arguments: argparse.Namespace, rows: list[dict[str, str | None]]) -> int:
    from harness.printing import print_line

    if arguments.json:
        print_line(json.dumps({"schema_version": 1, arguments.what: rows}), sys.stdout)
    else:
        print_line("\n".join(f"{row['name']:14}{row['about']}" for row in rows), sys.stdout)
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
    add("--model", metavar="M", help="checkpoint or adapter folder, hub id, answers:FILE, or smollm2")
    add("--backend", metavar="B", help="what runs the model: hf (default)")
    add("--tasks", metavar="A,B", help="mini_mt, asr, over_refusal, collapse (default: all)")
    add("--data", metavar="[TASK=]PATH", action="append", help="items from a file instead of the embedded set")
    add("--columns", metavar="A=B,…", help="columns of an answers file: prompt=…,response=…,label=…,id=…,category=…")
    add("--judge", metavar="J", action="append", help="who grades; each task has an offline judge by default")
    add("--judge-repeats", metavar="K", type=int, help="grade every answer K times")
    add("--concurrency", metavar="N", type=int, help="conversations in flight")
    add("--samples", metavar="K", type=int, help="answers to every prompt (default 1)")
    add("--limit", metavar="N", type=int, help="at most N items a task, spread evenly over its file")
    add("--max-new-tokens", metavar="N", type=int, help="cap on every answer, instead of the task's own")
    add("--seed", metavar="S", type=int, help="of sampled answers (default 0)")
    add("--chat-template", metavar="FILE", help="Jinja template for a checkpoint that has none")
    add("--executor", metavar="E", help="local (default)")
    add("--base-url", metavar="U", help=argparse.SUPPRESS)
    add("--judge-base-url", metavar="U", help=argparse.SUPPRESS)
    add("--protocol", metavar="P", help=argparse.SUPPRESS)
    add("--include", metavar="DIR", action="append", help=argparse.SUPPRESS)
    add("--out", metavar="DIR", help="the run directory (default: runs/MODEL-HASH)")
    add("--config", metavar="FILE", help="TOML with these same keys; flags win")
    add("--quiet", action="store_true", help="no progress and no table")

    command = commands.add_parser(
        "show", parents=[common], help="the scores of a run directory", epilog="example: bench show runs/demo"
    )
    command.set_defaults(command=_show, quiet=False)
    command.add_argument("run", metavar="RUN")

    for name, function, about in (("tasks", _tasks, "what can be asked"), ("judges", _judges, "who can grade")):
        command = commands.add_parser(name, parents=[common], help=about, epilog=f"example: bench {name}")
        command.set_defaults(command=function, what=name)
    return parser


if __name__ == "__main__":
    sys.exit(main())
