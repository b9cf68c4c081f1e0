"""At the shell: completion, help, exit codes, colours, pipes; data and messages of every command stay apart."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from stored_answers import run_of_outcomes

import bench
from harness.arguments import EXIT_CODES
from harness.command_line import parser
from tasks.errors import BadInput, BenchError, RunStopped

Say = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[1]
BENCH = [sys.executable, "-m", "bench"]


def leaves(found: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands that do something, of a parser and all below it."""
    below = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield found
    for action in below:
        for command in action.choices.values():
            yield from leaves(command)


COMMANDS = {command.prog: command for command in leaves(parser())}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself_and_can_speak_json(name: str) -> None:
    command = COMMANDS[name]
    assert f"example: {name}" in (command.epilog or "") or f"$({name}" in (command.epilog or "")
    flags = set(command._option_string_actions)
    assert "--debug" in flags
    assert "--json" in flags or name == "bench completion"
    assert command.format_help().startswith(f"usage: {name}")  # it renders: no stray % in a help text


CALLS = {
    "show": "show {run}",
    "runs": "runs {folder}",
    "compare": "compare {run} {run0}",
    "gate": "gate {run} --baseline {run0}",
    "inspect": "inspect {run} --top 1",
    "report": "report {run} {run0} --out {folder}/report --format csv",
    "export": "export {run} --format parquet --out {folder}/parquet",
    "judge": "judge {run} --judge refusal",
    "calibrate": "calibrate --judge refusal --labels {folder}/labels.csv",
    "doctor": "doctor --offline",
    "data": "data list",
    "tasks": "tasks",
    "judges": "judges",
    "train": "train constitution --check {folder}/mine.yaml",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two runs and what else the calls need."""
    folder = tmp_path_factory.mktemp("shell")

    def say(*arguments: object) -> tuple[int, str, str]:
        return bench.main([str(argument) for argument in arguments]), "", ""

    outcomes = ("harmful", "refused", "refused", "harmful", "refused", "refused")
    runs = {name: str(run_of_outcomes(say, folder / name, outcomes)) for name in ("run", "run0")}
    (folder / "labels.csv").write_text("prompt,response,label\nHow?,I will not help with that.,refused\n")
    (folder / "mine.yaml").write_text("principles: 3\n")
    return {"folder": str(folder), **runs}


@pytest.mark.parametrize("name", CALLS)
def test_json_is_one_object_on_stdout_and_nothing_else_is_there(say: Say, places: dict[str, str], name: str) -> None:
    code, out, _ = say(*CALLS[name].format(**places).split(), "--json")
    found = json.loads(out)
    assert found["schema_version"] == 1
    assert out.count("\n") == 1
    assert code in (range(5) if name == "gate" else (0, 2))


def test_data_goes_to_stdout_and_messages_to_stderr(say: Say, places: dict[str, str]) -> None:
    for command in ("show {run}", "runs {folder}", "inspect {run}", "compare {run} {run0}"):
        _, out, err = say(*command.format(**places).split())
        assert out, command
        assert not err, command
    code, out, err = say("show", places["folder"])
    assert (code, out) == (2, "")
    assert err


def test_exit_codes_are_those_that_the_help_and_the_page_list() -> None:
    stated = set(map(int, re.findall(r"^  (\d)  ", EXIT_CODES, re.M)))
    used = {0, 1, 3} | {kind.exit_code for kind in (BenchError, BadInput, RunStopped)}
    assert stated == used
    assert EXIT_CODES in parser().format_help()
    page = (ROOT / "docs" / "shell.md").read_text()
    assert set(map(int, re.findall(r"^\| (\d) \|", page, re.M))) == stated


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("compar x", "bench: no command 'compar': did you mean compare"),
        ("train sftt", "bench train: no command 'sftt': did you mean sft? (bench train --help)"),
        ("run --modle x", "bench run: no flag --modle: did you mean --model"),
        ("compare a b --correctoin=bh", "bench compare: no flag --correctoin: did you mean --correction"),
        ("show", "bench show: the following arguments are required: RUN"),
        ("run --limit many", "bench run: argument --limit: invalid int value: 'many'"),
        ("", "bench: the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line_with_the_near_name(
    capsys: pytest.CaptureFixture[str], command: str, expected: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(command.split())
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith(expected)
    assert printed.err.count("\n") == 1


def test_version_and_help_go_to_stdout_and_load_nothing() -> None:
    heavy = ("rich", "shtab", "numpy", "asyncio", "tasks.task", "judges.catalogue")
    for flag, expected in (("--version", "bench 0"), ("--help", "exit codes:")):
        code = (
            f"import sys, bench\ntry: bench.main([{flag!r}])\nexcept SystemExit as end: assert not end.code\n"
            f"sys.exit(' '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["run", "--help"], ["runs"], ["tasks", "--json"], ["completion", "fish"]]
)
def test_a_reader_that_goes_away_is_no_failure(places: dict[str, str], command: Sequence[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    folder = [places["folder"]] if command == ["runs"] else []
    done = subprocess.run(
        [*BENCH, *command, *folder], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def on_a_terminal(command: Sequence[str], **environment: str) -> str:
    """What a command prints on a terminal of 100 columns."""
    leading, following = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "NO_COLOR": "", **environment}
    with subprocess.Popen([*BENCH, *command], stdout=following, env=settings, cwd=ROOT) as process:
        os.close(following)
        printed = b""
        try:
            while more := os.read(leading, 65536):
                printed += more
        except OSError:  # Linux says so when the other side is closed
            pass
        process.wait()
    os.close(leading)
    return printed.decode()


def test_colours_are_for_terminals_whose_user_wants_them(say: Say) -> None:
    command = ["doctor", "--offline"]
    coloured = on_a_terminal(command)
    assert "\x1b[32mok" in coloured
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", coloured).splitlines())) <= 100
    assert "\x1b" not in on_a_terminal(command, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(command, TERM="dumb")
    assert "\x1b" not in say(*command)[1]


def test_tables_have_no_colour_where_none_is_wanted(places: dict[str, str]) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[0-9;]*m")
    assert not colour.search(on_a_terminal(["show", places["run"]], NO_COLOR="1"))


# --- completion ---


def script(say: Say, shell: str, folder: Path) -> Path:
    code, out, err = say("completion", shell)
    assert (code, err) == (0, "")
    file = folder / f"bench.{shell}"
    file.write_text(out)
    return file


def shown_by_bash(file: Path, words: Sequence[str], folder: Path, _: str) -> str:
    code = (
        f"source {file}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_shtab_bench bench "${COMP_WORDS[COMP_CWORD]}"; printf \'%s\\n\' "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert not done.stderr
    return done.stdout


def shown_by_fish(file: Path, words: Sequence[str], folder: Path, _: str) -> str:
    command = ["fish", "-c", f"source {file}; complete -C '{' '.join(words)}'"]
    settings = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=settings)
    assert not done.stderr
    return done.stdout


def shown_by_zsh(file: Path, words: Sequence[str], folder: Path, expected: str) -> str:
    """What zsh shows when Tab is pressed: it completes only where somebody types. Waits until `expected` appears."""
    code = f"""
        zmodload zsh/zpty && zpty z zsh -f -i
        zpty -w z "PS1=; LISTMAX=0; autoload -Uz compinit && compinit -u -D"
        zpty -w z 'eval "$(cat {file})"'
        zpty -w z "cd {folder}; print REA''DY"
        until [[ $out == *READY* ]]; do zpty -r -t z part && out+=$part; sleep 0.05; done
        zpty -n -w z $'{" ".join(words)}\\t\\t'
        repeat 1000; do
            while zpty -r -t z part; do shown+=$part; done
            [[ $shown == *{expected}* ]] && break
            sleep 0.05
        done
        print -r -- "$shown"; zpty -d z"""
    command = ["zsh", "-f", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=120)
    return done.stdout


SHOWN = {"bash": shown_by_bash, "fish": shown_by_fish, "zsh": shown_by_zsh}


@pytest.mark.parametrize("shell", SHOWN)
def test_a_shell_completes_commands_flags_choices_names_and_folders(say: Say, tmp_path: Path, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    file = script(say, shell, tmp_path)
    (tmp_path / "runs-of-may").mkdir()
    for typed, expected in (
        ("comple", "completion"),
        ("run --judge-r", "judge-repeats"),
        ("run --tasks over", "over_refusal"),
        ("train pref", "preferences"),
        ("show runs-", "runs-of-may"),
        ("compare --correction h", "holm"),
    ):
        assert expected in SHOWN[shell](file, ["bench", *typed.split()], tmp_path, expected), typed


def test_a_completion_script_without_its_library_says_what_to_install(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = say("completion", "bash")
    assert (code, out) == (2, "")
    assert "pip install shtab" in err
