# Every command of the project. `make dev` is all that a fresh machine needs.
PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
SOURCES := gaelp_assets resources sensors gaelp_assets_tests benchmarks hatch_build.py docs/sphinx

.PHONY: help setup dev dev-stream dev-gcp demo test test-emulator test-thorough test-wheel test-recipes setup-beam test-beam test-chaos test-native fuzz check docs bench format lock

help:
	@echo "make dev     set up, then Dagster's UI on port 3000 with sensors on and agents training (ARGS=\"--port 3117\")"
	@echo "make dev-stream the same with a receiver, to which agents push what they learn now"
	@echo "make dev-gcp the same on emulators of BigQuery and Google Cloud Storage (needs Python 3.13)"
	@echo "make demo    the same work once, without the UI"
	@echo "make test    set up and run the tests, those on emulators too (BigQuery's needs Python 3.13)"
	@echo "make test-emulator  all tests on BigQuery's emulator, those too that take long"
	@echo "make test-thorough  what the usual tests ask of some changes and steps, of all"
	@echo "make test-wheel  build the wheel, install it elsewhere, and run it there"
	@echo "make test-recipes  the recorder with Stable-Baselines3 and PettingZoo (downloads them)"
	@echo "make setup-beam  make the environment of Apache Beam, for windows past one machine (400 MB)"
	@echo "make test-beam  Beam's windows against the catalogue's SQL and a count by hand, for some minutes"
	@echo "make test-chaos  kill, race, fill disks and damage files for some minutes (KILLS=1000: for longer)"
	@echo "make test-native  the native decoder's own tests, under sanitizers (needs no Python)"
	@echo "make fuzz    feed the native decoder changed lines under sanitizers (SECONDS=600: for longer)"
	@echo "make check   formatter, linter, strict types, import rules"
	@echo "make docs    build these pages and an API reference as a site, in site/"
	@echo "make bench   measure the load against other ways to load the same files (an hour)"
	@echo "make format  let the formatter and the linter correct what they can"
	@echo "make lock    compute the lock files again from pyproject.toml"

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml hatch_build.py $(wildcard native/*.?pp native/vendor/*.h)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gaelp_assets needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q gaelp_assets resources sensors
	touch $@

dev: setup
	$(BIN)/gaelp dev $(ARGS)

dev-stream: setup
	$(BIN)/gaelp dev --stream $(ARGS)

dev-gcp: setup
	$(BIN)/python -m gaelp_assets_tests.emulators $(BIN)/gaelp dev $(ARGS)

demo: setup
	$(BIN)/gaelp demo $(ARGS)

test: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not beam and not chaos and not wheel and not thorough"

test-thorough: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m thorough

test-emulator: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m emulator

test-wheel: setup
	$(BIN)/pytest -m wheel gaelp_assets_tests/wheel

# The recorder with the libraries that it is for. They are large, and no part of the platform's own environment.
test-recipes: setup
	test -x .venv-recipes/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-recipes
	$(BIN)/uv pip install --quiet --python .venv-recipes/bin/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python .venv-recipes/bin/python --no-deps --no-build-isolation --editable .
	$(BIN)/uv pip install --quiet --python .venv-recipes/bin/python -c requirements.lock -r requirements-recipes.in
	.venv-recipes/bin/python -m pytest gaelp_assets_tests/record

# Apache Beam's releases hold PyArrow back, so that it has an environment of its own; the platform's code is found there, and its packages are not.
setup-beam: .venv-beam/.installed

.venv-beam/.installed: .venv/.installed requirements-beam.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-beam
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-beam/bin/python --require-hashes -r requirements-beam.lock
	.venv-beam/bin/python -c "import sysconfig, pathlib; pathlib.Path(sysconfig.get_path('purelib'), 'gaelp_assets.pth').write_text('$(CURDIR)')"
	touch $@

test-beam: setup-beam
	$(BIN)/pytest -m beam gaelp_assets_tests/beam

test-chaos: setup
	$(BIN)/pytest -n 2 --dist load -m chaos $(if $(KILLS),--kills=$(KILLS)) $(if $(SEED),--seed=$(SEED)) gaelp_assets_tests/chaos

# Of the native decoder. An environment's CXX chooses the compiler.
NATIVE_BUILD ?= build/native
NATIVE_FLAGS := -std=c++17 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -isystem native/vendor \
	-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Werror
SECONDS ?= 60

test-native:
	mkdir -p $(NATIVE_BUILD)
	$(CXX) $(NATIVE_FLAGS) -o $(NATIVE_BUILD)/test_decoder native/tests/test_decoder.cpp native/decoder.cpp
	$(NATIVE_BUILD)/test_decoder

fuzz:
	native/fuzz/run.sh $(NATIVE_BUILD) $(SECONDS)

check: setup
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

DOCS := .venv-docs/bin

docs: .venv-docs/.installed
	rm -rf site
	$(DOCS)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -j 2 -c docs/sphinx -d build/doctrees . site
	$(DOCS)/python docs/sphinx/check_site.py site

.venv-docs/.installed: .venv/.installed requirements-docs.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-docs
	$(BIN)/uv pip install --quiet --python $(DOCS)/python --require-hashes -r requirements-docs.lock
	touch $@

BENCH := .venv-benchmarks/bin

bench: .venv-benchmarks/.installed
	$(BENCH)/python -m benchmarks.compare
	$(BENCH)/python -m benchmarks.verdict
	$(BENCH)/python -m benchmarks.memory
	$(BENCH)/python -m benchmarks.bad_input
	$(BENCH)/python -m benchmarks.append
	$(BENCH)/python -m benchmarks.slices
	$(BENCH)/python -m benchmarks.starts
	$(BENCH)/python -m benchmarks.environments
	$(BENCH)/python -m benchmarks.statistics
	$(BENCH)/python -m benchmarks.recorder
	$(BENCH)/python -m benchmarks.streaming
	$(BENCH)/python -m benchmarks.importers
	$(BENCH)/python -m benchmarks.report

.venv-benchmarks/.installed: .venv/.installed requirements-benchmarks.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-benchmarks
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BENCH)/python --require-hashes -r requirements.lock -r requirements-benchmarks.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BENCH)/python --no-deps --no-build-isolation --editable .
	touch $@

format: setup
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev --extra stream pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 -c requirements.lock requirements-benchmarks.in -o requirements-benchmarks.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group docs -o requirements-docs.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 requirements-beam.in -o requirements-beam.lock
