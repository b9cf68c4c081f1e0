"""The door: parses a command line, calls one room, prints. No logic.

Nothing heavy is imported here: `bench --help` answers before torch or pandas could be loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.listing import Found
    from harness.results import RunResult

ROOMS = ("tasks", "judges", "harness", "training", "reports")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 2 usage or bad input, 4 the run is incomplete."""
    if intruder := _intruder():
        print(f"bench: {intruder}", file=sys.stderr)
        return 2
    from harness.command_line import parser
    from harness.printing import say
    from tasks.errors import BenchError

    with contextlib.suppress(ValueError):  # only a main thread may say what a signal does
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
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


def _compare(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line
    from harness.stored_run import open_run
    from reports.comparison import Choice, compare, one_baseline
    from tasks.paths import user_path

    baseline, candidates = one_baseline([user_path(run) for run in arguments.runs], arguments.baseline)
    metrics = [name.strip() for given in arguments.metrics or () for name in given.split(",") if name.strip()]
    choice = Choice(
        metrics=metrics, judge=arguments.judge, correction=arguments.correction, force=arguments.force,
        groups=arguments.groups or arguments.json,
    )  # fmt: skip
    found = compare(open_run(baseline), [open_run(run) for run in candidates], choice)
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **found.as_json()}), sys.stdout)
    else:
        from reports.comparison_table import comparison_text

        print_line(comparison_text(found), sys.stdout)
    return 0 if found.rows else 2


def _report(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line
    from reports.report import report

    formats = [name.strip() for given in arguments.format or () for name in given.split(",") if name.strip()]
    files = report(
        arguments.runs, arguments.out, baseline=arguments.baseline, formats=formats, quoted=arguments.quoted,
        title=arguments.title, paper=arguments.paper, date=arguments.date,
    )  # fmt: skip
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, "files": list(map(str, files))}), sys.stdout)
    else:
        print_line("\n".join(map(str, files)), sys.stdout)
    return 0


def _gate(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line, say
    from reports.gate.door import check, publish, watch

    policy = {key: getattr(arguments, key) for key in ("baseline", "policy", "baseline_sha256")}
    if arguments.sequential:
        flags = {key: value for key in GATED if (value := getattr(arguments, key)) is not None}
        found = watch(arguments.run, flags, **policy, quiet=arguments.json)
    else:
        found = check(arguments.run, [key for key in GATED if getattr(arguments, key) is not None], **policy)
    for line in publish(found, arguments.junit, arguments.markdown, arguments.inconclusive):
        say(line)
    if arguments.json:
        from reports.gate.outputs import as_json

        print_line(json.dumps(as_json(found)), sys.stdout)
    else:
        from reports.gate.words import gate_text

        print_line(gate_text(found), sys.stdout)
    return found.exit_code(arguments.inconclusive)


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


def _train(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line
    from tasks.paths import user_path

    if arguments.stage == "constitution":
        from training.constitution import check_constitution

        findings = check_constitution(user_path(arguments.check))
        if arguments.json:
            print_line(json.dumps({"schema_version": 1, "findings": findings}), sys.stdout)
        else:
            print_line("\n".join(findings or ["nothing to mend"]), sys.stdout)
        return 2 if findings else 0
    from training.door import train

    found = train(arguments.stage, vars(arguments), quiet=arguments.json)
    if found is None:  # one of several processes, of which the first speaks
        return 0
    if arguments.json:
        print_line(json.dumps(found.as_json()), sys.stdout)
    else:
        from reports.training_summary import training_text

        print_line(training_text(found), sys.stdout)
    return 0


def _tasks(arguments: argparse.Namespace) -> int:
    if arguments.lm_eval:
        return _lm_eval_tasks(arguments)
    from harness.listing import tasks
    from harness.printing import say

    return _print_found(tasks(arguments.names, arguments.include or (), say), arguments)


def _lm_eval_tasks(arguments: argparse.Namespace) -> int:
    from harness.lm_eval_tasks import FOLDER
    from harness.printing import print_line

    folder = str(FOLDER)
    print_line(json.dumps({"schema_version": 1, "folder": folder}) if arguments.json else folder, sys.stdout)
    return 0


def _judges(arguments: argparse.Namespace) -> int:
    from harness.listing import judges
    from harness.printing import say

    return _print_found(judges(arguments.names, arguments.include or (), say), arguments)


def _print_found(found: Found, arguments: argparse.Namespace) -> int:
    from harness.printing import print_line

    print_line(json.dumps(found.as_json()) if arguments.json else found.in_words(), sys.stdout)
    return 2 if found.failed else 0


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
    from harness.fastchat import Export, export_fastchat
    from harness.parquet import ParquetExport, export_parquet
    from harness.printing import print_line, say
    from tasks.errors import BadInput
    from tasks.paths import user_path

    run, out = user_path(arguments.run), user_path(arguments.out)
    export: Export | ParquetExport
    if arguments.format == "parquet":
        if arguments.task:
            raise BadInput("--task is for --format fastchat: Parquet files hold all tasks of a run")
        export = export_parquet(run, out)
    else:
        export = export_fastchat(run, out, arguments.task)
    for note in export.notes():
        say(f"bench: {note}")
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **export.as_json()}), sys.stdout)
    else:
        print_line("\n".join(map(str, export.files)), sys.stdout)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from harness.log_import import import_log
    from harness.printing import print_line, say
    from tasks.paths import user_path

    found = import_log(user_path(arguments.log), user_path(arguments.out), arguments.columns)
    for note in found.notes():
        say(f"bench: {note}")
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **found.as_json()}), sys.stdout)
    else:
        print_line(str(found.file), sys.stdout)
    return 0


def _push(arguments: argparse.Namespace) -> int:
    from harness.hub_push import push
    from harness.printing import print_line, say
    from harness.stored_run import open_run
    from reports.model_card import evaluation_of
    from tasks.paths import user_path

    found = push(arguments.repo, evaluation_of(open_run(user_path(arguments.run))), dry_run=arguments.dry_run)
    for note in found.notes:
        say(f"bench: {note}")
    if arguments.json:
        print_line(json.dumps({"schema_version": 1, **found.as_json()}), sys.stdout)
    elif arguments.dry_run:
        print_line(found.card.rstrip("\n"), sys.stdout)
    else:
        print_line(found.commit or f"the card of {found.repo} says all of this already", sys.stdout)
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from harness.printing import print_line, say
    from harness.runs import list_runs

    found = list_runs(arguments.directory)
    if arguments.json:
        print_line(json.dumps(found.as_json()), sys.stdout)
    elif found.runs:
        print_line("\n".join(run.in_words() for run in found.runs), sys.stdout)
    for note in () if arguments.json else found.notes():
        say(f"bench: {note}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.doctor import examine
    from harness.printing import print_line

    found = examine(
        arguments.checkpoint, template=arguments.chat_template, offline=arguments.offline,
        generate=not arguments.no_generate,
    )  # fmt: skip
    if arguments.json:
        print_line(json.dumps(found.as_json()), sys.stdout)
    else:
        print_line(found.in_words(), sys.stdout)
    return 2 if found.problems else 0


def _completion(arguments: argparse.Namespace) -> int:
    from harness.command_line import parser
    from harness.completion import completion
    from harness.printing import print_line

    print_line(completion(parser(), arguments.shell), sys.stdout)
    return 0


GATED = ("model", "backend", "base_url", "chat_template", "concurrency", "include", "out")
"""Flags of a run that a sequential gate hands on."""
COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run, "judge": _judge, "show": _show, "compare": _compare, "gate": _gate, "report": _report,
    "inspect": _inspect, "data": _data, "export": _export, "calibrate": _calibrate, "train": _train, "tasks": _tasks,
    "judges": _judges, "runs": _runs, "doctor": _doctor, "completion": _completion, "import": _import, "push": _push,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
