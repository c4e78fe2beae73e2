# Everything runs in environments that this file makes by itself; the only needs are make and Python 3.11 or newer.
# Another interpreter: make demo PYTHON=python3.12

SHELL := /bin/sh
OLDEST := 3.11
VENV ?= .venv
BENCH_VENV ?= .venv-bench
OLDEST_VENV ?= .venv-oldest
BIN := $(VENV)/bin
BENCH_BIN := $(BENCH_VENV)/bin
OLDEST_BIN := $(OLDEST_VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check
NEW_ENOUGH := import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))

ifndef PYTHON
# the first interpreter that is new enough, or python3 so that the message below can say how old it is
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then echo $$p; exit; fi; done; echo python3)
endif

.PHONY: help demo test lint bench docs links oldest clean
.DEFAULT_GOAL := help

help:  ## Show what can be made.
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -e 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-7s %s\n", $$1, $$2}'

demo: $(VENV)/.installed  ## Analyse context effects in the High School & Beyond data and write an HTML report.
	@$(BIN)/crosslevel demo

test: $(VENV)/.installed-dev  ## Run the tests (slow ones: .venv/bin/pytest -m "slow or long").
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(VENV)/.installed-dev  ## Check style, types and the layers.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs  ## Build the site in docs/_build/html: every page is run, every link inside checked.
	$(BIN)/python -m sphinx -E -a -q -W --keep-going -b html docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

links: $(VENV)/.installed-docs  ## Check the links that lead out of the site (needs a network).
	$(BIN)/python -m sphinx -E -q -b linkcheck docs docs/_build/links

bench: $(BENCH_VENV)/.installed  ## Time crosslevel against other software and write benchmarks/RESULTS.md.
	$(BENCH_BIN)/python benchmarks/run.py $(BENCH)

oldest: $(OLDEST_VENV)/.installed  ## Run the tests with the oldest versions that pyproject.toml allows.
	$(OLDEST_BIN)/python -m pytest -q -W default -p no:cacheprovider tests

clean:  ## Remove the environments and the caches.
	rm -rf $(VENV) $(BENCH_VENV) $(OLDEST_VENV) benchmarks/.data docs/_build docs/api .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made anew only when it is missing, and filled anew when pyproject.toml has changed.
$(BIN)/python:
	@$(call make-environment,$(VENV))

$(BENCH_BIN)/python:
	@$(call make-environment,$(BENCH_VENV))

$(OLDEST_BIN)/python:
	@$(call make-environment,$(OLDEST_VENV))

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing crosslevel into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/python $(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing crosslevel and the development tools into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python $(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing crosslevel and what builds its documentation into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/python $(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.installed

$(BENCH_VENV)/.installed: pyproject.toml | $(BENCH_BIN)/python
	@echo "Installing crosslevel and the software it is compared with into $(BENCH_VENV) ..."
	@$(BENCH_BIN)/python $(PIP) -e '.[bench]'
	@touch $@

# Old packages warn of what newer ones have changed, so warnings are shown there and are not errors; doctests are left out.
$(OLDEST_VENV)/.installed: pyproject.toml | $(OLDEST_BIN)/python
	@echo "Installing the oldest versions into $(OLDEST_VENV) ..."
	@$(OLDEST_BIN)/python $(PIP) uv
	@$(OLDEST_BIN)/uv pip install --quiet --upgrade --python $(OLDEST_BIN)/python --resolution lowest-direct -e . \
		pytest==8.0.0 hypothesis==6.100.0 polars==1.0.0 \
		"dask[dataframe]==2024.8.0" distributed==2024.8.0 duckdb==1.1.0
	@touch $@

define make-environment
command -v $(firstword $(PYTHON)) >/dev/null 2>&1 || { \
	echo "Cannot find '$(PYTHON)'. Install Python $(OLDEST) or newer, or name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }; \
$(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	echo "crosslevel needs Python $(OLDEST) or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	echo "Install a newer Python, or name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }; \
echo "Making the environment $(1) with $$($(PYTHON) --version) ..."; \
$(PYTHON) -m venv $(1) || { rm -rf $(1); \
	echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu, install the package python3-venv and try again." >&2; exit 1; }
endef
