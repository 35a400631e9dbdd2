# `make help` lists the targets. Two commands are enough to start: `make run` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA ?= cpu
ARGS ?=
SERVERS := prometheus or victoriametrics or influxdb or kubernetes or kubelet or kvm or docker or vsphere \
  or postgres or prefect or mlflow or browser

.PHONY: help run test test-fast soak check format bench lock record clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
	  | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

run: $(VENV)/.installed ## install, then start everything on this machine (ARGS="--ticks 20 --no-browser")
	@$(BIN)/pla up $(ARGS)

test: $(VENV)/.installed-dev ## all tests but the slow ones
	$(BIN)/pytest -m "not slow" $(ARGS)

test-fast: $(VENV)/.installed-dev ## the tests that start no server, in about a minute
	$(BIN)/pytest -q -m "not ($(SERVERS) or slow)" $(addprefix --ignore=tests/,e2e flows infra notebooks) $(ARGS)

soak: $(VENV)/.installed-dev ## the slow tests
	$(BIN)/pytest -m slow $(ARGS)

check: $(VENV)/.installed-dev ## ruff, mypy --strict, import-linter, links in the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_docs.py

format: $(VENV)/.installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## print the benchmark figures (BENCH=tick, ... for one of them)
	$(BIN)/python -m tests.benchmarks $(BENCH) $(ARGS)

record: $(VENV)/.installed ## record a trace of real programs of your own (about two hours)
	$(BIN)/python -m infra.recorder $(ARGS)

lock: ## resolve the hashed lock files anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 $(LOCK) requirements-bootstrap.in -o requirements-bootstrap.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 $(LOCK) pyproject.toml --extra cpu -o requirements.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 $(LOCK) pyproject.toml --extra gpu -o requirements-gpu.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 $(LOCK) pyproject.toml --extra cpu --extra dev --extra postgres -o requirements-dev.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

ifeq ($(EXTRA),gpu)
LOCKFILE := requirements-gpu.txt
else
LOCKFILE := requirements.txt
endif

$(VENV)/bin/uv: requirements-bootstrap.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash .ci/bootstrap

$(VENV)/.installed: $(LOCKFILE) pyproject.toml $(VENV)/bin/uv
	@echo "Installing PLA and what it needs from $(LOCKFILE) (about 1 GB unpacked) ..."
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r $(LOCKFILE)
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml $(VENV)/bin/uv
	@echo "Installing the development tools from requirements-dev.txt ..."
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
