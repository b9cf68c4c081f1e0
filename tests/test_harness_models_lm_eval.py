"""lm-eval's models as back ends: the same text as hf where both can say it, and what the interface can not tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import CHATML

from harness.models.hf import HFModel
from harness.models.lm_eval import LmEvalModel
from harness.models.model import Model
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

pytest.importorskip("lm_eval", reason="lm-eval is not installed (bench[capability])")


def opened(spec: str, template: str | None = None) -> LmEvalModel:
    model = LmEvalModel(spec, template, say=lambda _: None)
    model.load()
    return model


def answers(model: Model, prompts: list[str], settings: Settings) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        asked: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in prompts]
        return await asyncio.gather(*(model.complete(messages, settings) for messages in asked))

    return asyncio.run(all_at_once())


def test_its_hf_model_says_what_ours_says_and_how_it_ended_is_unknown(checkpoint: Path) -> None:
    prompts = ["Hi", "Tell me about rivers, " * 4, "Why?"]
    ours = HFModel(str(checkpoint), None, say=lambda _: None)
    theirs = opened(f"hf,pretrained={checkpoint},dtype=float32,device=cpu")
    assert theirs.describe()["stop_texts"] == ["<|im_end|>"]
    wanted = [said.text for said in answers(ours, prompts, Settings(24))]
    found = answers(theirs, prompts, Settings(24))
    ours.close()
    theirs.close()
    assert [said.text for said in found] == wanted
    assert {(said.finish, said.completion_tokens, said.token_entropy) for said in found} == {("unknown", None, None)}


def test_requests_that_wait_are_handed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened("dummy", CHATML)
    sizes: list[int] = []
    plain = model._lm.generate_until

    def counts(asked: list[Any], disable_tqdm: bool = False) -> list[str]:
        sizes.append(len(asked))
        said: list[str] = plain(asked, disable_tqdm)
        return said

    monkeypatch.setattr(model._lm, "generate_until", counts)
    assert {said.text for said in answers(model, ["Hi"] * 300, Settings(4))} == {"lol"}
    assert sizes == [128, 128, 44]


def test_an_evaluation_runs_with_it(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(CHATML)
    code, out, err = say(
        "run", "--model", "lm-eval:dummy", "--chat-template", template, "--tasks", "asr", "--limit", 5,
        "--out", tmp_path / "run", "--json", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["status"] == "complete"
    manifest: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["identity"]["model"]["backend"] == "lm-eval:dummy"


def test_the_identity_is_what_the_checkpoint_holds_and_not_where_it_lies(checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "elsewhere")
    here, there = (
        LmEvalModel(f"hf,pretrained={folder}", None, print) for folder in (checkpoint, tmp_path / "elsewhere")
    )
    assert here.identity() == there.identity()
    assert here.identity() != LmEvalModel(f"hf,pretrained={checkpoint},dtype=float16", None, print).identity()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hff", "no model type 'hff': did you mean hf"),
        ("hf,pretrained", "arguments such as pretrained="),
        ("openai-chat-completions,api_key=sk-1", "in the environment"),
        ("dummy,pretrained=/nowhere/at/all", None),
        ("hf,pretrained=/nowhere/at/all", "lm-eval can not load hf with pretrained=/nowhere/at/all"),
    ],
)
def test_what_can_not_be_used_is_said_in_one_line(spec: str, says: str | None) -> None:
    if says is None:
        opened(spec, CHATML)
        return
    with pytest.raises(BadInput, match=says) as refused:
        opened(spec)
    assert "\n" not in str(refused.value)


def test_a_type_without_a_chat_template_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    bare = make_checkpoint(template=None)
    with pytest.raises(BadInput, match="pass --chat-template FILE"):
        opened(f"hf,pretrained={bare},device=cpu")
    opened(f"hf,pretrained={bare},device=cpu", CHATML).close()


def test_what_breaks_while_generating_reaches_everyone_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened("dummy", CHATML)

    def breaks(*_: object, **__: object) -> list[str]:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(model._lm, "generate_until", breaks)
    with pytest.raises(RunStopped, match="RuntimeError: CUDA out of memory; the same command resumes"):
        answers(model, ["Hi", "Ho"], Settings(8))
