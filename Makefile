# Two verbs do everything on a fresh clone: `make demo` and `make test`. Python 3.11 or newer, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo study inside test check lint types unit format clean

install: $(STAMP)

# torch first and alone, at the constrained version: a plain `torch` may resolve to a CUDA build of several gigabytes.
$(STAMP): pyproject.toml constraints/cpu.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints/cpu.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints/cpu.txt --editable '.[dev,dense,report,serve]'
	touch $@

demo: install
	$(BIN)/paramrag demo

# Question files with their passages, NAME.jsonl. Interrupted, it goes on; exit code 1 means that some samples failed.
STUDY_DATA ?= data
STUDY_OUT ?= runs/study
STUDY_OPTIONS ?=
INSIDE_OPTIONS ?= --limit 32

study: install
	for file in recipes/study-*.yaml; do \
	  $(BIN)/paramrag study $$file --data $(STUDY_DATA) --out $(STUDY_OUT) --write docs/study.md $(STUDY_OPTIONS) \
	    || [ $$? -eq 1 ] || exit 1; \
	done
	$(MAKE) inside
	$(BIN)/paramrag report $(STUDY_OUT) --out $(STUDY_OUT)/report.html

# What an injected document does to the model: on the study's collections, so that adapters are made once.
INSIDE = $(BIN)/paramrag analyze all $(STUDY_OUT)/collections/$(1) --data $(STUDY_DATA)/$(1).jsonl --encode \
  --out $(STUDY_OUT)/inside --write docs/study.md $(INSIDE_OPTIONS)

inside: install
	$(BIN)/paramrag add $(STUDY_OUT)/collections/popqa $(STUDY_DATA)/popqa.jsonl
	$(BIN)/paramrag add $(STUDY_OUT)/collections/coconflictqa_nq $(STUDY_DATA)/coconflictqa_nq.jsonl
	$(call INSIDE,popqa) --controls 8 --parts pks-own,pks-gold,similarity,collapse,layers,attention,explanation
	$(call INSIDE,coconflictqa_nq) --parts override

test: lint types unit

check: lint types

lint: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: install
	$(BIN)/mypy

# One thread per test process: two that share two cores would spend their time waiting for each other.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

format: install
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
