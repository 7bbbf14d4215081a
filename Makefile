# Everything lives in .venv, installed from requirements.lock; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait for servers more than they work: a few processes share the cores. A file's tests share a process, and its lab.
WORKERS ?= 3

.PHONY: setup drill test lint bench lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

drill: setup
	$(BIN)/dr lab up
	$(BIN)/dr drill run rds-snapshot-restore --yes

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --durations 20

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup
	$(BIN)/python -m bench

# Dependencies as pyproject.toml names them, resolved anew; needs uv.
lock:
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-annotate --no-header --all-extras \
		--upgrade pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
