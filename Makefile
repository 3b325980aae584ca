# Everything here runs on a machine with Python 3.11+ and make: what else is needed is set up in this folder.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto
MINUTES ?= 10

.PHONY: help setup localnet test lint format e2e audit soak clean bench bench-smoke

help:
	@echo "make localnet   start a whole market on this machine: a chain, an LLM, three suppliers, a gateway"
	@echo "make test       lint, types, unit tests, contract tests and the end-to-end run"
	@echo "make lint       ruff and mypy only"
	@echo "make format     let ruff fix and format what it can"
	@echo "make e2e        the end-to-end run only"
	@echo "make bench      measure speed and memory beside nginx, Envoy, LiteLLM and others (over an hour)"
	@echo "make bench-smoke  the same with tiny counts, in a minute"
	@echo "make audit      the rest of the faults: slow, and rarely broken"
	@echo "make soak       mixed load and random faults for MINUTES=10"
	@echo "make clean      remove everything that was set up or made here"

setup:
	@$(PYTHON) tools/setup.py

localnet: setup
	@$(BIN)/pocketnode localnet up

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The end-to-end run waits for blocks most of the time: two files at once, apart from what computes.
test: lint
	$(BIN)/pytest -n $(WORKERS) -m "not e2e and not audit"
	$(BIN)/pytest -n 2 --dist loadfile -m "e2e and not audit"

e2e: setup
	$(BIN)/pytest -n 2 --dist loadfile -m "e2e and not audit"

audit: setup
	$(BIN)/pytest -m audit

soak: setup
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

bench: setup
	$(BIN)/python -m bench $(BENCH)

bench-smoke: setup
	$(BIN)/python -m bench --smoke

clean:
	@if [ -x $(BIN)/pocketnode ] && [ -f .localnet/state.json ]; then $(BIN)/pocketnode localnet reset --yes; fi
	rm -rf .venv .cache .localnet node_modules contracts/out contracts/cache dist build coverage
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pocketnode tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
