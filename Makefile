# make quickstart   set up, train a model on the built-in stories for two minutes, show its curve and a sample
# make test         set up and run the checks and the tests (JOBS=2 tests at a time)
# make test-slow    run the tests that take minutes
# make check        check lint, format, types and import layers
# make bench        measure the figures of benchmarks/RESULTS.md
#
# PIP_OPTIONS='--extra-index-url https://download.pytorch.org/whl/cpu'   PyTorch's build without CUDA, for a machine without a GPU
# VENV_OPTIONS=--system-site-packages   use a torch that is installed outside the virtual environment

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VENV_OPTIONS ?=
PIP_OPTIONS ?=
# An installed torch is kept if pyproject.toml allows its version; the constraints apply only to a new installation.
HAS_TORCH := $(BIN)/python -c 'import sys, importlib.util as found; sys.exit(found.find_spec("torch") is None)'
# Modules are compiled when they are first imported: most of the 14,000 files of torch and the others never are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_OPTIONS)
CONSTRAINED := $$($(HAS_TORCH) || echo --constraint constraints.txt)
JOBS ?= 2

# Real text for tests and benchmarks; without it, those that need it are skipped with a reason.
ifneq ($(wildcard ../shared/data),)
SEEDBED_TEST_DATA ?= $(abspath ../shared/data)
endif
export SEEDBED_TEST_DATA
# With it, every process would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test test-slow check lint types format bench clean
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
	$(BIN)/seedbed train --for 2m --name quickstart
	$(BIN)/seedbed score latest
	@echo
	@echo "Next: $(BIN)/seedbed generate latest --prompt 'Once upon a time'"

check: lint types

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

# Many tests wait for processes, signals and clocks, and a machine that stalls can make one fail. The tests that failed (exit
# status 1) run once more, one after the other. Both outcomes are shown, and what fails twice fails.
AGAIN = if [ $$tests -eq 1 ]; then echo "Once more, one at a time, the tests that failed:"; \
	$(BIN)/pytest -m $(1) --last-failed --last-failed-no-failures none --maxfail 5; tests=$$?; fi

# mypy needs one core and a minute, so it runs beside the tests; its output follows theirs.
test: lint
	@echo "$(BIN)/mypy, beside the tests"; \
	$(BIN)/mypy > $(VENV)/types.txt 2>&1 & types=$$!; \
	$(BIN)/pytest -m "not slow" --numprocesses $(JOBS) --dist worksteal; tests=$$?; \
	wait $$types; types=$$?; \
	echo "mypy:"; cat $(VENV)/types.txt; \
	$(call AGAIN,"not slow"); \
	[ $$tests -eq 0 ] && [ $$types -eq 0 ]

test-slow: $(VENV)/.dev
	@$(BIN)/pytest -m slow --numprocesses $(JOBS) --dist worksteal; tests=$$?; \
	$(call AGAIN,slow); \
	exit $$tests

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
