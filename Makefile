# `make demo` and `make test` need nothing but Python 3.11 and a package registry; they do all the set-up themselves.
PYTHON ?= python3.11
BIN := .venv/bin
# Tests wait for processes and servers more than they compute: three of them keep two cores busy.
WORKERS ?= 3
# And one thread each where they do: threads of several processes that wait for one another on few cores stand still.
THREADS := OMP_NUM_THREADS=1
SETTINGS := PIP_DISABLE_PIP_VERSION_CHECK=1

.PHONY: setup demo test check bench soak migration

setup: .venv/ready

# The marker is older than pyproject.toml exactly when the dependencies may have changed.
.venv/ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here; name yours: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(SETTINGS) $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: setup
	rm -rf demo
	$(BIN)/curate demo demo

test: setup
	$(BIN)/python -m tests.prepare
	$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

soak: setup
	$(BIN)/python -m pytest -m soak --timeout 3600

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.check

bench: setup
	$(BIN)/python -m benchmarks

# make migration MESSAGE="add a colour to classes"
migration: setup
	$(BIN)/python -m db.revise "$(MESSAGE)"
