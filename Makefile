# Everything skymetal needs is set up here, on a machine with nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= skymetal-demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
THREE_AT_ONCE := -n 3 --dist loadfile --no-loadscope-reorder
SETTINGS := pyproject.toml constraints.txt

.PHONY: demo test test-fast check bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run  ## the whole path on a small simulated survey
	$(BIN)/skymetal demo --out $(OUT)

test: $(VENV)/.dev $(VENV)/.s3-server  ## every test, the slow ones too
	$(BIN)/python -m pytest $(THREE_AT_ONCE)

test-fast: $(VENV)/.dev  ## the tests that take seconds
	$(BIN)/python -m pytest $(THREE_AT_ONCE) -m "not slow"

check: $(VENV)/.dev  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.run  ## the figures that README and docs quote
	$(BIN)/python benchmarks/whole_path.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache skymetal-demo

# torch comes first and alone: resolved together with the rest, another build of it may be picked.
$(VENV)/.torch: $(SETTINGS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skymetal needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/.run: $(VENV)/.torch
	$(PIP) --editable '.[cpu,paper]'
	touch $@

$(VENV)/.dev: $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	touch $@

# The S3 server that tests run is a program with an environment of its own: it needs other versions than we have.
$(VENV)/.s3-server: $(VENV)/.torch tests/support/s3_server.txt
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/support/s3_server.txt
	touch $@
