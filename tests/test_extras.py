"""Each extra of the wheel, in an environment of its own: it installs, and what it is for works.

make test-extras        # ten minutes; `vllm` has make test-vllm
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from test_packaging import CONSTRAINTS, ROOT, built, environment_in, sh, wheel

__all__ = ["built", "wheel"]  # fixtures

pytestmark = pytest.mark.extras
ASKED = "--tasks asr --limit 2 --max-new-tokens 4 --out run"
ANSWERS = f"run --model answers:{ROOT / 'docs/answers/smollm2.jsonl'} --tasks asr,collapse --out run"
CHATML = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
USES = {
    "hf": [f"bench run --model smollm2 {ASKED}"],
    "train": ["python -m training.sft_trainer", "bench train cai --help"],
    "capability": [f"bench run --model lm-eval:dummy --chat-template chatml.jinja {ASKED}"],
    "hf,ray": [f"bench run --model smollm2 {ASKED} --executor ray --workers 1"],
    "embeddings": ["python embed.py"],
    "report": [f"bench {ANSWERS}", "bench report run --out report --format html,pdf,markdown"],
    "fast": ["python -c import\\ numba,orjson", f"bench {ANSWERS}"],
    "parquet": [f"bench {ANSWERS}", "bench export run --format parquet --out tables"],
    "inspect": ["python -c import\\ zstandard"],
}
"""Commands by the extra that they need."""
NOT_HERE = {"vllm", "all", "dev"}


def test_every_extra_is_tried() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    tried = {name for names in USES for name in names.split(",")}
    assert tried == set(extras) - NOT_HERE


@pytest.mark.parametrize("extra", USES)
def test_an_extra_installs_from_the_wheel_and_does_what_it_is_for(extra: str, wheel: Path, tmp_path: Path) -> None:
    bin = environment_in(tmp_path / "venv")
    pip = (bin / "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS)
    sh(*pip, f"bench[{extra}] @ {wheel.as_uri()}", cwd=tmp_path)
    (tmp_path / "chatml.jinja").write_text(CHATML)
    (tmp_path / "embed.py").write_text(
        "from tasks.collapse.embeddings import embed\nassert embed(['a cat', 'a dog']).shape[0] == 2\n"
    )
    for command in USES[extra]:
        program, *rest = command.replace("\\ ", "\0").split()
        sh(bin / program, *(word.replace("\0", " ") for word in rest), cwd=tmp_path, OMP_WAIT_POLICY="passive")
