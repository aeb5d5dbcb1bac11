# Every command of the project. `make dev` is all that a fresh machine needs.
PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
SOURCES := gaelp_assets resources sensors gaelp_assets_tests benchmarks hatch_build.py

.PHONY: help setup dev dev-gcp demo test test-emulator test-wheel test-chaos check bench format lock

help:
	@echo "make dev     set up, then Dagster's UI on port 3000 with sensors on and agents training (ARGS=\"--port 3117\")"
	@echo "make dev-gcp the same on emulators of BigQuery and Google Cloud Storage (needs Python 3.13)"
	@echo "make demo    the same work once, without the UI"
	@echo "make test    set up and run the tests, those on emulators too (BigQuery's needs Python 3.13)"
	@echo "make test-emulator  only the tests on BigQuery's emulator"
	@echo "make test-wheel  build the wheel, install it elsewhere, and run it there"
	@echo "make test-chaos  kill, race, fill disks and damage files for some minutes (KILLS=1000: for longer)"
	@echo "make check   formatter, linter, strict types, import rules"
	@echo "make bench   measure the load against other ways to load the same files (an hour)"
	@echo "make format  let the formatter and the linter mend what they can"
	@echo "make lock    compute requirements.lock anew from pyproject.toml"

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml hatch_build.py $(wildcard native/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gaelp_assets needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

dev: setup
	$(BIN)/gaelp dev $(ARGS)

dev-gcp: setup
	$(BIN)/python -m gaelp_assets_tests.emulators $(BIN)/gaelp dev $(ARGS)

demo: setup
	$(BIN)/gaelp demo $(ARGS)

test: setup
	$(BIN)/pytest -n 2 --dist loadfile -m "not chaos and not wheel"

test-emulator: setup
	$(BIN)/pytest -n 2 --dist loadfile -m emulator

test-wheel: setup
	$(BIN)/pytest -m wheel gaelp_assets_tests/wheel

test-chaos: setup
	$(BIN)/pytest -n 2 --dist load -m chaos $(if $(KILLS),--kills=$(KILLS)) $(if $(SEED),--seed=$(SEED)) gaelp_assets_tests/chaos

check: setup
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

BENCH := .venv-benchmarks/bin

bench: .venv-benchmarks/.installed
	$(BENCH)/python -m benchmarks.compare
	$(BENCH)/python -m benchmarks.verdict
	$(BENCH)/python -m benchmarks.memory
	$(BENCH)/python -m benchmarks.append
	$(BENCH)/python -m benchmarks.report

.venv-benchmarks/.installed: .venv/.installed requirements-benchmarks.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-benchmarks
	$(BIN)/uv pip install --quiet --python $(BENCH)/python --require-hashes -r requirements.lock -r requirements-benchmarks.lock
	$(BIN)/uv pip install --quiet --python $(BENCH)/python --no-deps --no-build-isolation --editable .
	touch $@

format: setup
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 -c requirements.lock requirements-benchmarks.in -o requirements-benchmarks.lock
