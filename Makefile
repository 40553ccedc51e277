# make quickstart   set up, train a NANO model on the built-in stories, show its curve and a sample
# make test         set up and pass the tests (lint, types, layers, tests)
# make test-slow    the tests that take minutes
# make check        lint, format, types and layers alone
# make bench        measure what benchmarks/RESULTS.md reports
#
# PIP_OPTIONS='--extra-index-url https://download.pytorch.org/whl/cpu'   PyTorch's build without CUDA, for a machine without a GPU
# VENV_OPTIONS=--system-site-packages   use a torch that is installed outside the virtual environment

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VENV_OPTIONS ?=
PIP_OPTIONS ?=
# A torch that is there already stays if it is of a version that pyproject.toml allows; the constraint is for a new one.
HAS_TORCH := $(BIN)/python -c 'import sys, importlib.util as found; sys.exit(found.find_spec("torch") is None)'
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS)
CONSTRAINED := $$($(HAS_TORCH) || echo --constraint constraints.txt)
JOBS ?= 2

# Real text for tests and benchmarks; what needs it skips with a reason where it is absent.
ifneq ($(wildcard ../shared/data),)
SEEDBED_TEST_DATA ?= $(abspath ../shared/data)
endif
export SEEDBED_TEST_DATA

.PHONY: quickstart test test-slow check format bench clean
.DEFAULT_GOAL := quickstart

$(BIN)/python:
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)
	$(PIP) --upgrade "pip>=25.1"

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) $(CONSTRAINED) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) $(CONSTRAINED) --editable . --group dev
	@touch $@ $(VENV)/.core

quickstart: $(VENV)/.core
	$(BIN)/seedbed train --preset nano --name quickstart
	$(BIN)/seedbed score latest
	@echo
	@echo "Next: $(BIN)/seedbed generate latest --prompt 'Once upon a time'"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -m "not slow" --numprocesses $(JOBS) --dist worksteal

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow --numprocesses $(JOBS) --dist worksteal

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
