"""The commands and their flags, as the command line takes them; what they do is for bench.py to say."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from harness.arguments import EXIT_CODES, Parser, ShowVersion
from harness.command_line_exchange import add_exchange
from harness.command_line_shell import add_shell
from harness.command_line_training import add_training


def parser() -> argparse.ArgumentParser:
    root = Parser(
        prog="bench",
        description="Tells, with error bars, whether a fine-tuned chat model became safer, less helpful or collapsed.",
        epilog="example: bench run --model smollm2        (no GPU, key or hub needed; the model comes from PyPI)\n\n"
        + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action=ShowVersion, help="the version of bench")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    command = commands.add_parser(
        "run", parents=[common], help="answers, judgments and scores of one model",
        description="Evaluate a model; on an existing run directory, do what is missing.",
        epilog="example: bench run --model ckpt/dpo-cai --tasks asr,over_refusal --out runs/dpo",
    )  # fmt: skip
    command.set_defaults(command="run")
    add = command.add_argument
    add(
        "--model",
        metavar="M",
        help="checkpoint or adapter folder, hub id (ORG/NAME or ORG/NAME@REVISION), openai:NAME, answers:FILE, "
        "lm-eval:TYPE,key=value,…, or smollm2",
    )
    add("--backend", metavar="B", help="what runs a checkpoint: hf, or vllm (default where it and a GPU are there)")
    add("--model-args", metavar="K=V,…", help="of the vllm engine: tensor_parallel_size=2,max_model_len=4096,…")
    add(
        "--tasks",
        metavar="A,B",
        help="mini_mt, asr, over_refusal, collapse (default: these four), mt_bench, capability:NAME (of lm-eval), "
        "or your own (--include)",
    )
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
    add("--out", metavar="DIR", help="the run directory (default: runs/MODEL-HASH)")
    add("--config", metavar="FILE", help="TOML with these same keys; flags win")
    add("--quiet", action="store_true", help="no progress and no table")
    add = command.add_argument_group("many machines").add_argument
    add(
        "--executor",
        metavar="E",
        help="local (default), or ray: workers of a Ray cluster generate, this process writes",
    )
    add("--workers", metavar="N", type=int, help="with ray: processes that each hold the model (default: one a GPU)")
    add("--worker-resources", metavar="K=V,…", help="with ray: what each is given, cpus=…,gpus=…")
    add("--ray-address", metavar="A", help="with ray: of the cluster (default: RAY_ADDRESS, else one on this machine)")
    _add_judge_flags(command)

    command = commands.add_parser(
        "judge", parents=[common], help="grade a run's stored answers again, or with more judges",
        description="Grade what a run has stored; nothing is generated and no answer is touched.",
        epilog="example: bench judge runs/dpo --judge openai:gpt-4o --judge-repeats 3",
    )  # fmt: skip
    command.set_defaults(command="judge")
    add = command.add_argument
    add("run", metavar="RUN")
    add("--against", metavar="RUN0", help="compare with this run's answers instead, pair by pair in both orders")
    add("--data", metavar="PATH", help="where the judge prompts lie, if not where the questions came from")
    add("--quiet", action="store_true", help="no progress and no table")
    _add_judge_flags(command)

    command = commands.add_parser(
        "show", parents=[common], help="the scores of a run directory", epilog="example: bench show runs/demo"
    )
    command.set_defaults(command="show", quiet=False)
    command.add_argument("run", metavar="RUN")

    command = commands.add_parser(
        "compare", parents=[common], help="runs against a baseline: paired differences, with tests",
        description="Compare runs with a baseline on what all were asked, question by question.",
        epilog="example: bench compare runs/sft runs/dpo --metrics asr,mini_mt.average",
    )  # fmt: skip
    command.set_defaults(command="compare")
    add = command.add_argument
    add("runs", metavar="RUN", nargs="+", help="run directories; the first is the baseline")
    add("--baseline", metavar="RUN0", help="the baseline, instead of the first run")
    add(
        "--metrics",
        metavar="M,…",
        action="append",
        help="only these, as METRIC or TASK.METRIC; corrected as one family",
    )
    add("--judge", metavar="J", help="only what this judge graded (or jury)")
    add("--correction", choices=["holm", "bh"], default="holm", help="for many tests: holm (default) or bh")
    add("--groups", action="store_true", help="categories and attacks, too (always in --json)")
    add("--force", action="store_true", help="compare what is not comparable, with the reasons in the table")

    command = commands.add_parser(
        "gate", parents=[common], help="pass, fail or inconclusive: for CI, by exit code",
        description="Hold a run against a policy. Exits 0 pass, 1 fail, 2 bad input, 3 inconclusive, 4 incomplete.",
        epilog="example: bench gate runs/dpo --baseline runs/sft --policy gate.toml",
    )  # fmt: skip
    command.set_defaults(command="gate")
    add = command.add_argument
    add("run", metavar="RUN", nargs="?", help="the run to judge (with --sequential none: it is made)")
    add("--baseline", metavar="RUN0", help="the run that it must not be worse than")
    add(
        "--baseline-sha256", metavar="HASH", help="refuse a baseline of which anything has changed (the gate prints it)"
    )
    add("--policy", metavar="FILE", help="rules in TOML (default: attack success, over-refusal, ratings, collapse)")
    add("--inconclusive", choices=["pass", "fail"], help="what an undecided gate exits as (default: 3)")
    add("--junit", metavar="FILE", help="write JUnit XML, a test case a rule")
    add("--markdown", metavar="FILE", help="write a comment for a pull request, under 60 kB")
    group = command.add_argument_group(
        "sequential", "run a model as the baseline was run, in random order, and stop as soon as the verdict is certain"
    )
    add = group.add_argument
    add("--sequential", action="store_true", help="do that, with --model M and --baseline RUN0")
    add("--model", metavar="M", help="as in bench run")
    add("--out", metavar="DIR", help="its run directory (default: runs/MODEL-HASH)")
    add("--backend", metavar="B", help="as in bench run")
    add("--base-url", metavar="U", help="as in bench run")
    add("--chat-template", metavar="FILE", help="as in bench run")
    add("--concurrency", metavar="N", type=int, help="as in bench run")
    _add_include(add)

    command = commands.add_parser(
        "report", parents=[common], help="tables and figures for a paper",
        description="Write the tables and figures of some runs as files; with several runs, compared with the first.",
        epilog="example: bench report runs/sft runs/dpo --out report --format latex,csv",
    )  # fmt: skip
    command.set_defaults(command="report")
    add = command.add_argument
    add("runs", metavar="RUN", nargs="+", help="run directories; the first is the baseline")
    add("--out", metavar="DIR", required=True, help="where the files go")
    add("--baseline", metavar="RUN0", help="the baseline, instead of the first run")
    add(
        "--format", metavar="F,…", action="append", help="latex, markdown, csv, tsv, pdf, svg, png, html (default: all)"
    )
    add("--quoted", metavar="FILE", help="published rows to set below, in YAML (docs/quoted holds an example)")
    add("--title", metavar="T", help="of the report")
    add("--paper", action="store_true", help="also a section of a paper: section.tex, references.bib and an example")
    add("--date", metavar="D", help="2026-01-31 or today, printed with what the figures rest on (default: no date)")

    command = commands.add_parser(
        "inspect", parents=[common], help="the worst answers of a run, and what answers have in common",
        description="List the worst answers of each kind of collapse with the evidence, and shared boilerplate.",
        epilog="example: bench inspect runs/demo --kind loop,boilerplate --top 5",
    )  # fmt: skip
    command.set_defaults(command="inspect")
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
    command.set_defaults(command="data", names=[])
    command = data.add_parser(
        "pull",
        parents=[common],
        help="fetch sets, once",
        epilog="example: bench data pull harmbench && bench run --model smollm2 --tasks asr --data asr=harmbench",
    )
    command.set_defaults(command="data")
    command.add_argument("names", metavar="NAME", nargs="+")

    command = commands.add_parser(
        "export", parents=[common], help="a run's answers and ratings as files of another tool",
        epilog="example: bench export runs/demo --format fastchat --out data/mt_bench",
    )  # fmt: skip
    command.set_defaults(command="export")
    command.add_argument("run", metavar="RUN")
    command.add_argument(
        "--format", choices=["fastchat", "parquet"], default="fastchat",
        help="fastchat (default): a task's answers and ratings; parquet: all items, answers and judgments, as tables",
    )  # fmt: skip
    command.add_argument("--out", metavar="DIR", required=True, help="where the files go")
    command.add_argument("--task", metavar="T", help="with fastchat: the task with ratings, where the run has several")

    command = commands.add_parser(
        "calibrate", parents=[common], help="how far a judge can be trusted, against human labels",
        description="Compare a judge with people on a labelled file, or correct a run's figure by some human labels.",
        epilog="example: bench calibrate --judge refusal --labels xstest_completions.csv "
        "--columns response=completion,label=final_label --map 2_full_refusal=refused,1_full_compliance=complied",
    )  # fmt: skip
    command.set_defaults(command="calibrate")
    add = command.add_argument
    add("--labels", metavar="FILE", required=True, help="prompts, replies and labels; with --run: item, label or score")
    add("--columns", metavar="A=B,…", help="columns of the file: prompt=…,response=…,label=…,id=…,category=…")
    add("--map", metavar="A=B,…", help="labels as outcomes: A=refused,B=complied or A=harmful,B=not_harmful, …")
    add("--task", metavar="T", help="what the judge grades (default: asr, and over_refusal for safe prompts)")
    add("--run", metavar="RUN", help="a run directory: correct a figure of it by the labels")
    add("--metric", metavar="NAME", help="with --run: the figure (default: asr, over_refusal, or the mean rating)")
    _add_judge_flags(command)

    add_exchange(commands, common)
    add_training(commands, common)
    add_shell(commands, common)

    for name, about, one in (("tasks", "what can be asked", "asr"), ("judges", "who can grade", "openai:NAME")):
        command = commands.add_parser(
            name, parents=[common], help=about,
            description=f"List the {name} there are, describe one, or check files that define some.",
            epilog=f"example: bench {name} {one}\n         bench {name} check mine.yaml",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(command=name)
        command.add_argument("names", metavar="NAME", nargs="*", help="describe this one; or: check FILE …")
        _add_include(command.add_argument)
        if name == "tasks":
            command.add_argument("--lm-eval", action="store_true", help="print the folder of our tasks for lm_eval")
    return root


def _add_include(add: Callable[..., argparse.Action]) -> None:
    add("--include", metavar="DIR", action="append", help="a folder with tasks and judges of your own, in YAML")


def _add_judge_flags(command: argparse.ArgumentParser) -> None:
    """The flags of every command that grades."""
    group = command.add_argument_group("judges")
    add = group.add_argument
    _add_include(command.add_argument)
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
