# Everything a newcomer needs: `make demo`, `make test`. Python 3.11+ and git are the only needs.
# Each installs what it uses and no more: the demo has no need of a type checker or a test runner.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# A file of tests stays in one process: its tests share what they built.
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile

.PHONY: help demo test test-slow test-all test-faults lint docs clean

help:  # what there is to make
	@awk -F ':.*  # ' '/^[a-z-]+:.*  # / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@command -v git > /dev/null || { echo "git is needed"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(DEMO): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV); the first time takes a minute or two"
	@$(PIP) -e '.[demo]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV) what tests need; the first time takes a minute or two"
	@$(PIP) -e '.[dev]'
	@touch $(DEMO) $(DOCS) $@

$(DOCS): pyproject.toml constraints.txt | $(BIN)/pip
	@$(PIP) -e '.[docs]'
	@touch $@

demo: $(DEMO)  # a history, mined and curated; a tiny model trained on it; a report
	@$(BIN)/python examples/demo.py

test: lint  # lint, types, and the tests that are quick
	$(PYTEST)

test-slow: $(DEV)  # the tests that `make test` leaves out
	$(PYTEST) -m 'slow and not faults'

test-all: test test-slow  # both

test-faults: $(DEV)  # long runs with many killed processes
	$(BIN)/pytest -m faults

lint: $(DEV)  # lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS)  # the pages as a site, in site/
	$(BIN)/python -m mkdocs build --strict

clean:  # removes the environment and what the demo and the docs made
	rm -rf $(VENV) demo site
