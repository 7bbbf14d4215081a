# Everything lives in .venv, installed from requirements.lock; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait for servers more than they work: several processes share the cores. Which of them share one, and what begins
# first, says tests/spreading.py.
WORKERS ?= 4
# Some machines forbid it: then each of the tests' hundreds of processes would compile the whole of dr anew.
export PYTHONDONTWRITEBYTECODE :=
SPREAD := --dist loadgroup --no-loadscope-reorder --durations 20

.PHONY: setup drill test check lint truth mutants bench lock clean

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
	$(BIN)/python -m pytest --numprocesses $(WORKERS) $(SPREAD)

# What needs no server and no waiting, of the properties a fifth of the examples: after every change.
check: lint
	DR_TEST_EXAMPLES=0.2 $(BIN)/python -m pytest --numprocesses 2 $(SPREAD) tests/unit tests/property tests/contract \
		--ignore tests/contract/test_provider.py --ignore tests/contract/test_rds_lab.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# An hour and more: forged runs, and recoveries whose truth is known, against what dr says of them. CASES: of the latter
# those that begin so.
truth: setup
	$(if $(CASES),,DR_TEST_FORGED=2000 $(BIN)/python -m pytest --numprocesses 2 tests/property/test_forged_runs.py)
	$(BIN)/python -m tests.truth $(CASES)

# An hour and more: what was done already is kept in mutants/, and only what changed since is done again.
mutants: setup
	$(BIN)/mutmut run
	$(BIN)/mutmut results

bench: setup
	$(BIN)/python -m bench

# Dependencies as pyproject.toml names them, resolved anew; needs uv.
lock:
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-annotate --no-header --all-extras \
		--upgrade pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
