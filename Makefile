# Every command of the project. `make dev` is all that a fresh machine needs.
PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
SOURCES := gaelp_assets resources sensors gaelp_assets_tests benchmarks

.PHONY: help setup dev demo test test-emulator check bench format lock

help:
	@echo "make dev     set up, then Dagster's UI on port 3000 with sensors on and agents training"
	@echo "make demo    the same work once, without the UI"
	@echo "make test    set up and run the tests"
	@echo "make test-emulator  run the warehouse's suites on a BigQuery emulator too (needs Python 3.13)"
	@echo "make check   formatter, linter, strict types, import rules"
	@echo "make bench   measure the load against DuckDB's unchecked load of the same file"
	@echo "make format  let the formatter and the linter mend what they can"
	@echo "make lock    compute requirements.lock anew from pyproject.toml"

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gaelp_assets needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

dev: setup
	$(BIN)/gaelp dev

demo: setup
	$(BIN)/gaelp demo

test: setup
	$(BIN)/pytest -n 2 --dist loadfile -m "not emulator"

test-emulator: setup
	$(BIN)/pytest -n 2 --dist loadfile -m emulator

check: setup
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks.load --bad 0 --bad 0.01 --bad 0.2

format: setup
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev pyproject.toml -o requirements.lock
