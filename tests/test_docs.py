"""What the pages promise: commands parse, policies are policies, Python prints what it says, the action works."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_answers import run_of_outcomes

from harness.command_line import parser
from reports.gate.policy import BUILT_IN, read_policy

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name in ("docs", "commands")),
]
PROSE = ("architecture.md", "concepts.md", "faq.md", "index.md", "protocol.md")
"""Pages without a command of their own."""
CI = (ROOT / "docs/ci.md").read_text()
yaml: Any = importlib.import_module("yaml")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / ".github/actions/gate/action.yml").read_text())


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(page: Path) -> Iterator[str]:
    """The lines of code blocks that call bench, each up to what is piped, chained or remarked behind it."""
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if found := re.match(r"(?:(?:    |\s*- (?:run: )?)(?:\$ )?|\$ )bench (?P<rest>\w+\b.*)", line):
            lexer = shlex.shlex(found["rest"].replace("[", "").replace("]", ""), posix=True, punctuation_chars="|&;>")
            lexer.whitespace_split = True
            words = list(lexer)
            ends = [place for place, word in enumerate(words) if set(word) <= set("|&;>")]
            yield shlex.join(words[: min(ends, default=len(words))])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_parses(page: Path) -> None:
    found = list(commands(page))
    assert found or page.name in PROSE
    for command in found:
        try:
            parser().parse_args(shlex.split(command))
        except SystemExit:
            pytest.fail(f"{page.name}: bench {command}")


def test_every_policy_in_the_docs_is_one(tmp_path: Path) -> None:
    policies = [text for text in fenced(CI, "toml") if "[[rule]]" in text]
    assert len(policies) == 2
    for number, text in enumerate(policies):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        read_policy(file)
    shown = read_policy(tmp_path / "0.toml")
    assert (shown.rules, shown.max_unjudged) == (list(BUILT_IN.rules), BUILT_IN.max_unjudged)


def test_python_in_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """And prints what stands below it."""
    text = (ROOT / "docs/comparing.md").read_text()
    shown = re.findall(r"^```python\n((?:(?!```).)*)^```\n\nprints\n\n((?:    [^\n]*\n)+)", text, re.M | re.S)
    assert len(shown) == 3
    for code, printed in shown:
        exec(compile(code, "docs/comparing.md", "exec"), {})
        assert capsys.readouterr().out == re.sub("^    ", "", printed, flags=re.M)


# --- the composite action ---


def steps_of_action() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ACTION["runs"]["steps"]
    return found


def test_every_input_of_the_action_is_used_and_every_used_one_is_there() -> None:
    used = re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", yaml.safe_dump(steps_of_action(), width=10_000))
    assert set(used) == set(ACTION["inputs"])


def test_no_input_of_the_action_is_pasted_into_a_script() -> None:
    scripts = [step["run"] for step in steps_of_action() if "run" in step]
    assert len(scripts) == 2
    assert not [script for script in scripts if "${{" in script]
    workflows = [yaml.safe_load(text) for text in fenced(CI, "yaml")]
    jobs = [job for workflow in workflows for job in workflow.get("jobs", {}).values()]
    assert not [step for job in jobs for step in job["steps"] if "${{" in step.get("run", "")]


def test_the_workflow_in_the_docs_gives_the_action_inputs_that_it_has() -> None:
    uses = [
        step
        for text in fenced(CI, "yaml")
        for job in yaml.safe_load(text).get("jobs", {}).values()
        for step in job["steps"]
        if "/.github/actions/gate@" in step.get("uses", "")
    ]
    assert uses
    for step in uses:
        assert set(step["with"]) <= set(ACTION["inputs"])


Act = Callable[..., tuple[int, str, dict[str, str]]]


@pytest.fixture
def act(tmp_path: Path) -> Act:
    """Run the action's gate step as GitHub would, without the rest; exit code, log, outputs."""
    (step,) = [step for step in steps_of_action() if step.get("id") == "gate"]
    installed = tmp_path / "temp/bench-gate/bin"
    installed.mkdir(parents=True)
    home = Path(sys.executable).parent
    for name in ("bench", "python"):
        (installed / name).write_text(f'#!/bin/sh\nexec "{home / name}" "$@"\n')
        (installed / name).chmod(0o755)

    def run(**inputs: object) -> tuple[int, str, dict[str, str]]:
        given = {name: how.get("default", "") for name, how in ACTION["inputs"].items()}
        given |= {name.replace("_", "-"): str(value) for name, value in inputs.items()}
        environment = {key: given[re.sub(r"\$\{\{ inputs\.|\ }}", "", text)] for key, text in step["env"].items()}
        outputs = tmp_path / "outputs"
        outputs.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env={**os.environ, **environment, "RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_OUTPUT": str(outputs)},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return done.returncode, done.stdout + done.stderr, said

    return run


POLICY = '[[rule]]\nmetric = "asr.asr"\ndirection = "lower"\nmargin = 0.1\n'


def test_the_action_exits_as_the_gate_does_and_tells_the_verdict(
    act: Act, say: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "gate.toml").write_text(POLICY)
    good, bad = (run_of_outcomes(say, tmp_path / name, [name] * 30) for name in ("refused", "harmful"))
    code, log, said = act(run=bad, baseline=good, baseline_sha256="any", policy="gate.toml")
    assert (code, said) == (1, {"verdict": "fail", "exit-code": "1"}), log
    report = json.loads((tmp_path / "bench-gate.json").read_text())
    pin = report["baseline_sha256"]
    assert "❌ bench gate: fail" in (tmp_path / "bench-gate.md").read_text()
    assert act(run=good, baseline=bad, baseline_sha256="any", policy="gate.toml")[2]["verdict"] == "pass"
    assert act(run=bad, baseline=good, baseline_sha256=pin, policy="gate.toml")[0] == 1
    # A wrong pin and an empty one decide nothing, and nothing of the step before is left lying about.
    for wrong in ("0" * 64, ""):
        code, log, said = act(run=good, baseline=good, baseline_sha256=wrong, policy="gate.toml")
        assert (code, said["verdict"]) == (2, "error"), log
    assert not (tmp_path / "bench-gate.md").exists()


@pytest.mark.parametrize("name", ["--json;$(touch pwned)`touch pwned`", "a\nverdict=pass"])
def test_whatever_an_input_of_the_action_holds_is_a_value(act: Act, tmp_path: Path, name: str) -> None:
    for inputs in ({"run": name}, {"run": "r", "policy": name}, {"sequential": name}):
        code, _, said = act(**inputs)
        assert (code, said) == (2, {"verdict": "error", "exit-code": "2"})
    assert not (tmp_path / "pwned").exists()
