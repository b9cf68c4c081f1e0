# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# GNU OpenMP spins while it waits; with any other busy process that makes each layer of a model many times slower.
export OMP_WAIT_POLICY = passive

.PHONY: demo test test-slow lint format bench-generation bench-judging bench-collapse bench-significance clean

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

lint: .venv/installed  ## style, types and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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

clean:
	rm -rf .venv build *.egg-info
