# Everything a newcomer needs: `make demo`, `make test`. Python 3.11+ and git are the only needs.
# Each installs what it uses and no more: the demo has no need of a type checker or a test runner.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-faults lint clean

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
	@touch $(DEMO) $@

demo: $(DEMO)
	@$(BIN)/python examples/demo.py

test: $(DEV) lint
	$(BIN)/pytest

test-faults: $(DEV)
	$(BIN)/pytest -m faults

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo
