.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-docs bench lint format types docs lock clean

# Also for what a target starts; tests/conftest.py sets the same for a plain `pytest`.
export RASA_TELEMETRY_ENABLED ?= false
export SQLALCHEMY_SILENCE_UBER_WARNING ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

BIN := .venv/bin
FAST := not process and not slow and not browser and not postgres and not redis and not documented
# Files are shared out to two processes, those of the slow folders first.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup:  ## make .venv ready (all other targets do this first)
	@scripts/bootstrap

demo: setup  ## train the movie booking bot and talk to it
	@$(BIN)/python examples/movie_booking/demo.py

test: lint types  ## lint, types and all tests (ARGS="-k name" is given to pytest)
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-fast: setup  ## the tests that start no process and no service
	@$(BIN)/python -m pytest -m "$(FAST)" $(ARGS)

test-docs: setup  ## run every command of the documentation, with small numbers
	@$(BIN)/python -m pytest -m documented tests/test_docs_commands.py $(ARGS)

bench: setup  ## measure
	@$(BIN)/python -m benchmarks $(ARGS)

lint: setup  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup  ## let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup  ## mypy
	@$(BIN)/mypy

docs: setup  ## build the documentation into site/
	@$(BIN)/mkdocs build --strict --quiet

lock: setup  ## pin again after a change of setup.cfg (UPGRADE=--upgrade: to the newest versions)
	@$(BIN)/uv pip compile setup.cfg --extra dev --universal --python-version 3.8 $(UPGRADE) \
		--no-annotate --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:  ## remove what the tools leave behind, .venv excepted
	@rm -rf site build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +
