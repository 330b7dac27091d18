# Huiyin. `make` lists the targets; each explains itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODECS := tests/ivr/test_agi.py tests/ivr/test_request.py tests/intake/test_numbers.py \
	tests/sms/link/test_pdu.py tests/sms/link/test_session.py tests/sms/link/test_pace.py
FUZZ_SECONDS ?= 600
PIN := $(BIN)/uv pip compile --quiet --upgrade --no-strip-extras --generate-hashes --no-header --no-annotate --python-version 3.11

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: install ## Make the environment, install, and show ratings arriving (huiyin demo); Ctrl-C ends it
	@$(BIN)/huiyin demo

.PHONY: install
install: $(INSTALLED) ## Make .venv with the command .venv/bin/huiyin, every dependency pinned by hash

# A new top-level package is not found until it is installed again, hence the last one.
$(INSTALLED): requirements/dev.txt setup.cfg pyproject.toml $(wildcard */__init__.py)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Huiyin needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
		|| { echo "Python's venv is missing; run: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (once; a few minutes at most)"
	@$(BIN)/python -c 'import pip, ssl' 2> /dev/null || $(PYTHON) -m venv --clear .venv
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: test
test: install test-programs ## Do the tests' set-up and run every test, real Asterisk and PostgreSQL included
	@tools/run-tests.sh $(BIN)/pytest

.PHONY: test-programs
test-programs: ## Install what the tests need beside Python (as root; otherwise say what is missing)
	@tools/test-programs.sh

.PHONY: check
check: install ## Lint, formatting, types, and the rule which part may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: fuzz
fuzz: install ## Give each property of the codecs 10 000 made-up inputs, then the PDU reader to atheris (FUZZ_SECONDS, 600)
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -q -m hypothesis --timeout 300 --durations 5 $(CODECS)
	@$(BIN)/python tools/fuzz_pdu.py $(FUZZ_SECONDS)

.PHONY: coverage
coverage: install ## Which lines and branches the fast tests reach
	@$(BIN)/pytest -q -m "not peer" --cov --cov-report=term

.PHONY: bench
bench: install ## Measure the speed beside other servers and print the table (docs/performance.md)
	@tools/bench-programs.sh
	@$(BIN)/python -m benchmarks

.PHONY: lock
lock: install ## Pin the newest versions again (requirements/*.txt)
	@$(PIN) --universal setup.cfg -o requirements/run.txt
	@$(PIN) --universal setup.cfg requirements/dev.in -o requirements/dev.txt
	@$(PIN) requirements/bench.in -o requirements/bench.txt

.PHONY: clean
clean: ## Remove the environment and everything made
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
