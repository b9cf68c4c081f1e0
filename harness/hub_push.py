"""`bench push`: a run's evaluation in the card (README.md) of a model repository on the hub.

    ---
    license: apache-2.0
    model-index: [...]                     our results among those of others, known by their source
    ---
    # My model
    <!-- bench:begin (written by bench push: what is changed between these lines is lost) -->
    ## Evaluation with bench
    …
    <!-- bench:end -->

The text between the marks is replaced, or added at the end, and in the metadata the results whose source is bench. All
other text of the card stays byte for byte, other metadata, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.downloads import HUB_TIMEOUT_S
from tasks.errors import BadInput

TOKEN = "HF_TOKEN"
"""The environment variable that holds the key for the hub. Keys in files are not looked for."""
CARD = "README.md"
LARGEST_CARD = 5_000_000
SOURCE = "bench"
"""What our results in a model-index name as their source."""
BEGIN, END = "<!-- bench:begin", "<!-- bench:end -->"
FIRST_LINE = f"{BEGIN} (written by bench push: what is changed between these lines is lost) -->"
METADATA = re.compile(r"\A(\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
REPO = re.compile(r"[\w.-]+/[\w.-]+")
INDEX = "model-index"


@dataclass(frozen=True)
class Figure:
    """One value for a model-index: of which task (and version of it, and data) and metric, and what it says."""

    task: str
    version: str
    revision: str | None
    metric: str
    value: float
    about: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What goes into a card: a section of Markdown, and figures."""

    section: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Pushed:
    """The card as it is now, or would be; `commit` is the address of the commit that changed it, if one did."""

    repo: str
    card: str
    changed: bool
    commit: str | None = None
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        return {"repo": self.repo, "changed": self.changed, "commit": self.commit, "card": self.card}


def push(repo: str, evaluation: Evaluation, *, dry_run: bool = False) -> Pushed:
    """Write the evaluation into the card of a model repository; with `dry_run` only say how the card would look.

    Raises:
        BadInput: no such repository, no key, a card that can not be edited, or a hub that does not answer.
    """
    if not REPO.fullmatch(repo):
        raise BadInput(f"--repo is ORG/NAME, not {repo!r}")
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise BadInput("bench push needs huggingface_hub: pip install 'bench[hf]'") from None
    token = os.environ.get(TOKEN)
    if not token and not dry_run:
        raise BadInput(f"bench push needs a key that may write to {repo} in {TOKEN} (--dry-run needs none)")
    # False: no key that lies in a file of the hub's library.
    api = HfApi(token=token or False)
    notes: list[str] = []
    try:
        before, parent = _current(api, repo)
    except BadInput as error:
        if not dry_run:
            raise
        before, parent = "", None
        notes.append(f"{error}; shown as for a repository without a card")
    after = with_evaluation(before, repo, evaluation)
    if dry_run or after == before:
        return Pushed(repo, after, after != before, notes=notes)
    try:
        made = api.upload_file(
            path_or_fileobj=after.encode(), path_in_repo=CARD, repo_id=repo, commit_message="Evaluation by bench",
            parent_commit=parent,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - the hub client raises a dozen kinds; each means that nothing was written
        raise BadInput(f"the card of {repo} was not written: {_first_line(error)}") from None
    return Pushed(repo, after, changed=True, commit=str(getattr(made, "commit_url", made)))


def _current(api: Any, repo: str) -> tuple[str, str | None]:
    """The card of a repository ("" where it has none) and the commit that it was read at."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    commit: str | None = None
    try:
        commit = api.model_info(repo, timeout=HUB_TIMEOUT_S).sha
        content = Path(api.hf_hub_download(repo, CARD, revision=commit)).read_bytes()
    except RepositoryNotFoundError:
        raise BadInput(f"the hub has no model {repo} that this key can see: create it, or check {TOKEN}") from None
    except OfflineModeIsEnabled:
        raise BadInput(f"the hub is not asked for the card of {repo}: HF_HUB_OFFLINE is set") from None
    except LocalEntryNotFoundError as error:
        # Not that there is no card: it could not be fetched, and must not be overwritten.
        raise BadInput(f"the card of {repo} can not be had ({_first_line(error)})") from None
    except EntryNotFoundError:
        return "", commit
    except Exception as error:  # noqa: BLE001 - the hub client raises a dozen kinds; each means that it does not answer
        raise BadInput(f"the hub can not be asked for {repo} ({_first_line(error)})") from None
    if len(content) > LARGEST_CARD:
        raise BadInput(f"the card of {repo} has more than {LARGEST_CARD:,} bytes: shorten it")
    try:
        return content.decode("utf-8"), commit
    except UnicodeDecodeError:
        raise BadInput(f"the card of {repo} is not UTF-8 text: save it as UTF-8") from None


def _first_line(error: Exception) -> str:
    """What an error says first, without the key, should it stand there."""
    whole = str(error).strip()
    # Before it is cut, which could leave half of it.
    whole = whole.replace(key, "…") if (key := os.environ.get(TOKEN)) else whole
    return whole.splitlines()[0][:200] if whole else type(error).__name__


# --- the card ---


def with_evaluation(card: str, repo: str, evaluation: Evaluation) -> str:
    """The card with our section and our results; nothing else of it is changed.

    Raises:
        BadInput: marks that do not come as a pair, or metadata that are no YAML or can not be edited.
    """
    name = repo.rpartition("/")[2]
    found = METADATA.match(card)
    if not found and card.lstrip().startswith("---"):
        raise BadInput(f"the metadata at the top of the card of {repo} have no end (a line ---): mend it")
    opening, block, closing = found.groups() if found else ("---\n", "", "---\n")
    body = card[found.end() :] if found else card
    newline = "\r\n" if "\r\n" in card else "\n"
    if not body.strip() and not found:
        body = f"{newline}# {name}{newline}"
    ours = newline.join([FIRST_LINE, *evaluation.section.strip().splitlines(), END])
    block = _with_results(block, repo, evaluation.figures, newline)
    return f"{opening}{block}{closing}{_with_section(body, repo, ours, newline)}"


def _with_section(body: str, repo: str, ours: str, newline: str) -> str:
    begins, ends = body.count(BEGIN), body.count(END)
    if (begins, ends) == (0, 0):
        gap = "" if not body or body.endswith(newline * 2) else newline if body.endswith(newline) else newline * 2
        return f"{body}{gap}{ours}{newline}"
    start, end = body.find(BEGIN), body.find(END)
    if (begins, ends) != (1, 1) or end < start:
        raise BadInput(f"the card of {repo} has not one pair of the marks {BEGIN} … and {END}: mend or remove them")
    return f"{body[:start]}{ours}{body[end + len(END) :]}"


def _with_results(block: str, repo: str, figures: Sequence[Figure], newline: str) -> str:
    """The YAML of a card with our results in its model-index, which alone is written anew."""
    import yaml

    try:
        before = yaml.safe_load(block)
        node = yaml.compose(block, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or "a value that can not be read"
        raise BadInput(f"the metadata of the card of {repo} are no valid YAML ({reason}): mend it") from None
    before = {} if before is None else before
    if not isinstance(before, dict):
        raise BadInput(f"the metadata of the card of {repo} are no mapping of keys to values: mend it")
    index = _merged(before.get(INDEX), repo, figures)
    written = yaml.safe_dump({INDEX: index}, sort_keys=False, allow_unicode=True).replace("\n", newline)
    pairs = [] if node is None else [pair for pair in node.value if pair[0].value == INDEX]
    if not pairs:
        gap = "" if not block or block.endswith("\n") else newline
        after = f"{block}{gap}{written}"
    else:
        start, end = pairs[0][0].start_mark.index, pairs[0][1].end_mark.index
        # The end of a block is where the next key begins: comments and blank lines before that are not ours.
        rest = block[end:]
        lines = re.findall(r"[^\n]*\n|[^\n]+", block[start:end])
        while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            rest = lines.pop() + rest
        after = f"{block[:start]}{written}{rest}"
    _refuse_other_changes(before, after, index, repo)
    return after


def _refuse_other_changes(before: Mapping[str, Any], after: str, index: object, repo: str) -> None:
    """What was written must read as what was there before, but for the model-index."""
    import yaml

    try:
        read = yaml.safe_load(after)
    except yaml.YAMLError:
        read = None
    if read != {**before, INDEX: index}:
        raise BadInput(f"the metadata of the card of {repo} are in a form that can not be edited: write a key a line")


def _merged(existing: object, repo: str, figures: Sequence[Figure]) -> list[Any]:
    """The model-index with our results instead of those of an earlier push; those of others stay as they are."""
    existing = [] if existing is None else existing
    if not isinstance(existing, list) or not all(
        isinstance(model, dict) and isinstance(model.get("results", []), list) for model in existing
    ):
        raise BadInput(f"the {INDEX} of the card of {repo} is no list of models with results: mend or remove it")
    models = [{**model, "results": [it for it in model.get("results", []) if not _is_ours(it)]} for model in existing]
    name = repo.rpartition("/")[2]
    if not models:
        models = [{"name": name, "results": []}]
    place = next((n for n, model in enumerate(models) if model.get("name") == name), 0)
    models[place]["results"] = [*models[place]["results"], *_results(name, repo, figures)]
    return models


def _is_ours(result: object) -> bool:
    source = result.get("source") if isinstance(result, dict) else None
    return isinstance(source, dict) and source.get("name") == SOURCE


def _results(name: str, repo: str, figures: Sequence[Figure]) -> list[Any]:
    """Our figures as the hub's library writes them."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=f"bench-{figure.task}",
            dataset_name=f"bench {figure.task}" + (f", version {figure.version}" if figure.version else ""),
            dataset_revision=figure.revision,
            metric_type=figure.metric,
            metric_value=figure.value,
            metric_name=figure.about,
            metric_args=dict(figure.arguments),
            source_name=SOURCE,
            source_url=f"https://huggingface.co/{repo}",
        )
        for figure in figures
    ]
    written: list[Any] = eval_results_to_model_index(name, results)[0]["results"]
    return written
