"""bench push: our part of a card is replaced and nothing else of it; no hub is asked here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_answers import run_of_outcomes

from harness.hub_push import BEGIN, END, Evaluation, Figure, with_evaluation
from reports.model_card import public
from tasks.errors import BadInput

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (bench[hf])")
errors = pytest.importorskip("huggingface_hub.errors")
repocard_data = pytest.importorskip("huggingface_hub.repocard_data")

Say = Callable[..., tuple[int, str, str]]
REPO = "ada/small"
FIGURES = [
    Figure("asr", "1", "9403", "asr", 0.25, "asr, share from 0 to 1", {"n": 80, "judge": "refusal"}),
    Figure("asr", "1", "9403", "refusal", 0.5, "refusal, share from 0 to 1", {"n": 80, "judge": "refusal"}),
    Figure("mini_mt", "1", None, "turn_1", 7.0, "turn_1, mean rating from 1 to 10"),
]
EVALUATION = Evaluation("## Evaluation with bench\n\n| a | b |\n", FIGURES)
OTHERS = """license: apache-2.0   # ours since 2024
# a comment before the index
model-index:
- name: small
  results:
  - task: {type: text-generation}
    dataset: {name: "AI2 ARC", type: "ai2_arc"}
    metrics: [{type: acc, value: 61.2, name: accuracy}]
    source: {name: Open LLM Leaderboard, url: "https://example.org"}

# a comment after it
tags: [cai, 'dpo']
base_model: ada/base
"""
CARD = f"---\n{OTHERS}---\n\n# Small\n\nText with --- in it.\n\n---\n\n## Use\n\nAs you like.\n"


def results_of(card: str) -> list[Any]:
    """The results in a card's metadata, as the hub's library reads them."""
    return list(hub.ModelCard(card).data.eval_results or [])


# --- the card ---


def test_a_new_card_holds_the_section_and_figures_that_the_hubs_library_reads_back() -> None:
    card = with_evaluation("", REPO, EVALUATION)
    read = results_of(card)
    assert [(it.dataset_type, it.metric_type, it.metric_value) for it in read] == [
        ("bench-asr", "asr", 0.25), ("bench-asr", "refusal", 0.5), ("bench-mini_mt", "turn_1", 7.0),
    ]  # fmt: skip
    assert read[0].metric_args == {"n": 80, "judge": "refusal"}
    assert hub.ModelCard(card).text.strip().startswith("# small")
    name, again = repocard_data.model_index_to_eval_results(yaml.safe_load(card.split("---")[1])["model-index"])
    assert (name, again) == ("small", read)


def test_all_else_of_a_card_stays_byte_for_byte() -> None:
    card = with_evaluation(CARD, REPO, EVALUATION)
    assert [it.metric_type for it in results_of(card)] == ["acc", "asr", "refusal", "turn_1"]
    metadata, body = card.split("---\n", 2)[1:]
    assert metadata.startswith("license: apache-2.0   # ours since 2024\n# a comment before the index\nmodel-index:\n")
    assert metadata.endswith("\n\n# a comment after it\ntags: [cai, 'dpo']\nbase_model: ada/base\n")
    assert body.startswith("\n# Small\n\nText with --- in it.\n\n---\n\n## Use\n\nAs you like.\n\n<!-- bench:begin")
    assert body.count("## Evaluation with bench") == 1


def test_a_second_push_replaces_the_first_where_it_stands_and_changes_nothing_by_itself() -> None:
    first = with_evaluation(CARD, REPO, EVALUATION)
    assert with_evaluation(first, REPO, EVALUATION) == first
    moved = first.replace("# Small\n", "# Small, renamed\n") + "\n## After\n"
    second = with_evaluation(moved, REPO, Evaluation("## Other", FIGURES[:1]))
    assert [it.metric_type for it in results_of(second)] == ["acc", "asr"]
    assert second.endswith(f"## Other\n{END}\n\n## After\n")
    assert "# Small, renamed" in second
    assert "with bench" not in second


def test_windows_line_ends_stay() -> None:
    card = with_evaluation(CARD.replace("\n", "\r\n"), REPO, EVALUATION)
    assert card.count("\n") == card.count("\r\n")
    assert with_evaluation(CARD, REPO, EVALUATION) == card.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlicense: mit\n", "have no end"),
        ("---\na: [1\n---\n", "no valid YAML"),
        ("---\n- a\n---\n", "no mapping"),
        ("---\n{a: 1, model-index: []}\n---\n", "in a form that can not be edited"),
        ("---\n? [a]\n: 1\nmodel-index: []\nmodel-index: []\n---\n", "no valid YAML|can not be edited"),
        ("---\nmodel-index: nothing\n---\n", "no list of models"),
        ("---\nmodel-index: [{results: 3}]\n---\n", "no list of models"),
        ("---\na: !!python/object/apply:os.system [true]\n---\n", "no valid YAML"),
        (f"# A\n{BEGIN} -->\n", "not one pair of the marks"),
        (f"# A\n{END}\n{BEGIN} -->\n", "not one pair of the marks"),
    ],
)
def test_a_card_that_can_not_be_edited_is_refused_in_one_line(card: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        with_evaluation(card, REPO, EVALUATION)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.text("abc-: #é", min_size=1, max_size=5), st.none() | st.integers() | st.text(max_size=8)),
    st.text(max_size=60).filter(lambda text: BEGIN not in text and not text.lstrip().startswith("---")),
)
def test_any_metadata_and_text_survive(metadata: dict[str, Any], text: str) -> None:
    metadata.pop("model-index", None)
    text = text.replace("\r", "")
    block = yaml.safe_dump(metadata, allow_unicode=True) if metadata else ""
    card = with_evaluation(f"---\n{block}---\n{text}", REPO, EVALUATION)
    again = with_evaluation(card, REPO, EVALUATION)
    assert again == card
    read = yaml.safe_load(card[4 : card.index("\n---\n")])
    # As it reads there: YAML's own writer does not keep every letter.
    assert {key: value for key, value in read.items() if key != "model-index"} == (yaml.safe_load(block) or {})
    assert text in card


# --- the hub ---


class Api:
    """Stands for the hub: holds one card and the commit that it is of."""

    card: bytes | None = CARD.encode()
    uploads: list[dict[str, Any]]
    failure: Exception | None = None

    def __init__(self, token: str | bool | None = None) -> None:
        self.token = token
        Api.last = self  # type: ignore[attr-defined]

    def model_info(self, repo: str, timeout: float) -> Any:
        if self.failure:
            raise self.failure
        return type("Info", (), {"sha": "c0ffee"})

    def hf_hub_download(self, repo: str, name: str, revision: str) -> str:
        assert (repo, name, revision) == (REPO, "README.md", "c0ffee")
        if self.card is None:
            raise _missing(errors.RemoteEntryNotFoundError)
        self.folder.joinpath("README.md").write_bytes(self.card)
        return str(self.folder / "README.md")

    folder: Path

    def upload_file(self, **given: Any) -> Any:
        self.uploads.append(given)
        return type("Commit", (), {"commit_url": f"https://huggingface.co/{REPO}/commit/1"})


def _missing(kind: Any) -> Exception:
    """An error of the hub's library, which wants the response that it is about."""
    failure: Exception = kind.__new__(kind)
    failure.args = ("404 Client Error.\nmore",)
    return failure


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Api]:
    found = type("OneApi", (Api,), {"uploads": [], "folder": tmp_path})
    monkeypatch.setattr(hub, "HfApi", found)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return found


@pytest.fixture
def run(say: Say, tmp_path: Path) -> Path:
    return run_of_outcomes(say, tmp_path / "made", ["harmful", "refused", "refused", "degenerate"] * 3)


def test_a_dry_run_prints_the_card_and_writes_nothing(say: Say, run: Path, api: type[Api]) -> None:
    code, out, err = say("push", run, "--repo", REPO, "--dry-run")
    assert (code, err, api.uploads) == (0, "", [])
    figures = {(it.dataset_type, it.metric_type): it.metric_value for it in results_of(out)}
    assert figures["bench-asr", "asr"] == 0.25
    assert figures["bench-asr", "degenerate"] == 0.25
    assert figures["ai2_arc", "acc"] == 61.2
    section = out[out.index(BEGIN) : out.index(END)]
    assert "| asr | asr | 25.0 % | \\[" in section
    assert "judged by human |" in section
    assert str(run.parent) not in out, "a card is public: no folder of this machine is in it"
    assert out.startswith("---\nlicense: apache-2.0   # ours since 2024\n")


def test_a_push_is_one_commit_on_the_one_that_was_read(
    say: Say, run: Path, api: type[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, out, err = say("push", run, "--repo", REPO, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["repo"], told["changed"], told["commit"]) == (REPO, True, f"https://huggingface.co/{REPO}/commit/1")
    (upload,) = api.uploads
    assert (upload["repo_id"], upload["path_in_repo"], upload["parent_commit"]) == (REPO, "README.md", "c0ffee")
    assert api.last.token == "hf_secret"  # type: ignore[attr-defined]
    assert "hf_secret" not in out + err + upload["path_or_fileobj"].decode()
    api.card = upload["path_or_fileobj"]
    assert say("push", run, "--repo", REPO)[:2] == (0, f"the card of {REPO} says all of this already\n")
    assert len(api.uploads) == 1


def test_a_repository_without_a_card_gets_one_and_a_card_out_of_reach_is_not_overwritten(
    say: Say, run: Path, api: type[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    api.card = None
    assert say("push", run, "--repo", REPO)[0] == 0
    assert api.uploads.pop()["path_or_fileobj"].startswith(b"---\nmodel-index:\n")
    # So long that the key would be cut through the middle.
    reason = f"no connection{'.' * 178} for "
    offline = errors.LocalEntryNotFoundError(f"{reason}hf_secret\nmore")
    monkeypatch.setattr(api, "hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(offline))
    code, out, err = say("push", run, "--repo", REPO)
    assert (code, out, api.uploads) == (2, "", [])
    assert err == f"bench: the card of {REPO} can not be had ({reason}…)\n"


@pytest.mark.parametrize("failure", [ConnectionError("no network\nmore"), _missing(errors.RepositoryNotFoundError)])
def test_a_hub_that_does_not_answer_is_one_line_and_a_dry_run_goes_on(
    say: Say, run: Path, api: type[Api], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    api.failure = failure
    code, out, err = say("push", run, "--repo", REPO, "--dry-run")
    assert (code, err.count("\n")) == (0, 1)
    assert "shown as for a repository without a card" in err
    assert out.startswith("---\nmodel-index:\n")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, out, err = say("push", run, "--repo", REPO)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_can_not_be_pushed_is_refused(say: Say, run: Path, api: type[Api], tmp_path: Path) -> None:
    assert "HF_TOKEN" in say("push", run, "--repo", REPO)[2]
    assert "--repo is ORG/NAME" in say("push", run, "--repo", "small", "--dry-run")[2]
    assert say("push", tmp_path, "--repo", REPO, "--dry-run")[0] == 2
    answers = run / "answers.jsonl"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:-3]))
    code, _, err = say("push", run, "--repo", REPO, "--dry-run")
    assert code == 2
    assert "is incomplete" in err


def test_names_of_files_lose_their_folders_and_hub_ids_stay() -> None:
    names = ["human:/home/ada/labels.csv", "guard:~/ckpt/guard", "hf:org/judge", "openai:gpt-4o", "refusal"]
    assert list(map(public, names)) == ["human:labels.csv", "guard:guard", "hf:org/judge", "openai:gpt-4o", "refusal"]
