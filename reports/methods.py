"""The methods paragraphs of a paper: what was asked of which models, who judged, what was computed and what left out.

Every sentence is read from the manifests, the scores and the comparisons of the runs at hand: a test that was not made
is neither named nor cited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.stored_run import StoredRun
from reports.comparison import Comparison, Comparisons
from reports.lineage import stages_of
from reports.methods_statistics import correction, detectable, intervals_of_differences, intervals_of_runs
from reports.methods_tasks import judged, sampled, tasks
from reports.methods_text import Cite, Sentence, listed, short_hash, told
from reports.paper_table import QuotedRow, Row
from reports.provenance import fingerprint, shortened
from reports.tables_of_runs import main_comparisons
from reports.unmeasured import left_out
from tasks.collapse.thresholds import DEFAULTS, VERDICTS

BACKENDS = {
    "hf": "run with transformers",
    "vllm": "run with vLLM",
    "openai": "asked over an OpenAI-compatible interface",
    "answers": "known by its stored answers",
}
CONSTITUTIONAL = ("critiques", "preferences")
"""Stages of a training by constitutional AI."""
QUOTED_WORKS = {"2504.04918": "zhang2025"}
"""What published rows are cited for, by a number in their source."""


@dataclass(frozen=True)
class Evidence:
    """What there is to tell of: the runs by their name in the report, the baseline first; scores and comparisons."""

    runs: Mapping[str, StoredRun]
    rows: Sequence[Row]
    found: Comparisons | None
    quoted: Sequence[QuotedRow] = ()

    @property
    def shown(self) -> list[Comparison]:
        """The comparisons that the section shows."""
        return main_comparisons(self.found) if self.found else []

    @property
    def names(self) -> dict[str, str]:
        """What each run directory is called."""
        return {row.directory: row.name for row in self.rows}


@dataclass(frozen=True)
class Paragraph:
    """A heading in the line, and sentences."""

    heading: str
    sentences: Sequence[Sentence]


def methods(evidence: Evidence) -> Iterator[Paragraph]:
    """All paragraphs that there is something to say in."""
    runs, found = evidence.runs, evidence.found
    paragraphs = [
        Paragraph("Models", list(_models(evidence))),
        Paragraph("Tasks", [*tasks(runs, evidence.rows), *sampled(runs)]),
        Paragraph("Judges", list(judged(runs))),
        Paragraph("Intervals", list(intervals_of_runs(runs, evidence.rows))),
    ]
    if found and evidence.shown:
        compared = [*intervals_of_differences(evidence.shown), *correction(found)]
        paragraphs.append(Paragraph("Comparisons", [*compared, *detectable(evidence.shown, evidence.names)]))
    if any("collapse" in run.described_tasks for run in runs.values()):
        paragraphs.append(Paragraph("Collapse", list(_collapse(with_baseline=found is not None))))
    paragraphs.append(Paragraph("Left out", list(left_out(runs, evidence.rows, found))))
    paragraphs.append(Paragraph("Reproduction", list(_reproduction(runs))))
    return (paragraph for paragraph in paragraphs if paragraph.sentences)


def _models(evidence: Evidence) -> Iterator[Sentence]:
    described = [f"{name} is {_model(run)}" for name, run in evidence.runs.items()]
    yield [f"{listed(described)}."]
    for name, run in evidence.runs.items():
        if stages := stages_of(run.model.get("lineage")):
            trained: Sentence = [f"{name} was trained in {len(stages)} stages ({', '.join(stages)})"]
            yield [*trained, *([Cite("bai2022")] if set(stages) & set(CONSTITUTIONAL) else []), "."]
    if evidence.found and len(evidence.runs) > 1:
        yield [f"{next(iter(evidence.runs))} is the baseline."]
    if evidence.quoted:
        sources = listed([f"{row.name} ({row.source})" for row in evidence.quoted])
        works = {key for row in evidence.quoted for number, key in QUOTED_WORKS.items() if number in row.source}
        yield [f"Quoted and not measured here: {sources}", *([Cite(*sorted(works))] if works else []), "."]


def _model(run: StoredRun) -> str:
    model = run.model
    known = shortened(fingerprint(model))
    by = BACKENDS.get(str(model.get("backend")), f"run with {model.get('backend', 'an unknown back end')}")
    parts = [by, f"SHA-256 {known}" if model.get("sha256") else known]
    if template := model.get("chat_template_sha256"):
        parts.append(f"chat template {short_hash(template)}")
    return f"{model.get('name', 'a model')} ({', '.join(parts)})"


def _collapse(*, with_baseline: bool) -> Iterator[Sentence]:
    it, verdict = DEFAULTS, VERDICTS
    yield [
        "An answer is degenerate if it is empty or nothing in it can be read; or, from "
        f"{it.min_words} words on, if it ends in a loop of at least {it.loop_repeats} repeats that covers "
        f"{100 * it.loop_share:g} % of it or {it.loop_long} words, if more than {100 * it.rep_4:g} % of its runs of "
        "four words repeat an earlier one (rep-4", Cite("welleck2020"), f"), if it compresses to less than "
        f"1/{it.compression:g} of its size (from {it.compression_bytes} bytes), if more than {100 * it.noise:g} % of "
        "its characters carry no language, or if it is its prompt over again; code and tables are exempt from rep-4.",
    ]  # fmt: skip
    what = "the 95 % interval of the paired difference of the degenerate share" if with_baseline else (
        "the 95 % interval of the degenerate share"
    )  # fmt: skip
    yield [
        f"A model is called collapsed where {what} lies above {100 * verdict.degenerate:g} points, where surely more "
        f"than {100 * verdict.shared:g} % of its answers share their text or ending with those to other prompts, or "
        f"surely more than {100 * verdict.constant:g} % are one and the same; ok only where the interval lies below "
        "the limit, and inconclusive between."
    ]


def _reproduction(runs: Mapping[str, StoredRun]) -> Iterator[Sentence]:
    made = {
        name: ", ".join(f"{key} {value}" for key, value in run.manifest["environment"].get("libraries", {}).items())
        for name, run in runs.items()
    }
    seeds = {name: f"seed {run.manifest['identity'].get('seed', 0)}" for name, run in runs.items()}
    yield [f"Runs were made with {told(made)}; {told(seeds)}."]
    yield ["Commands, all hashes and the lineage of each checkpoint are in provenance.json beside this section."]
