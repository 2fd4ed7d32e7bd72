# One verb for each thing a person wants. `make help` lists them.
# Needs: Python 3.11 to 3.13, Go 1.26, git; root for the local cluster. Everything else is installed from here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CACHE ?= $(or $(CLAUDE_OPERATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claude-operator)
export CLAUDE_OPERATOR_CACHE := $(CACHE)
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
# The machine's own certificate store: a company's proxy is trusted where the machine trusts it.
export UV_SYSTEM_CERTS := 1
PY := .venv/bin/python
# Modules stay whole (tests/conftest.py); more than four at once would only fight for the disk.
SIDE_BY_SIDE := --numprocesses=logical --maxprocesses=4 --no-loadscope-reorder

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/; s/[$$]{2}/$$/' | expand -t 16

$(UV):
	@echo "==> installing uv $(UV_VERSION) into $(CACHE)"
	@$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: requirements/dev.txt pyproject.toml | $(UV)
	@echo "==> installing the locked Python dependencies into .venv"
	@test -x $(PY) || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python .venv --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@

.PHONY: setup
setup: .venv/.synced ## Install the Python environment (.venv)

.PHONY: demo
demo: .venv/.synced ## Bring up a cluster, install the operator, run a first session and show it live
	@$(PY) -m tests.demo run

.PHONY: demo-down
demo-down: .venv/.synced ## Remove everything that the demo started
	@$(PY) -m tests.demo down

.PHONY: env
env: .venv/.synced ## Print the shell variables of the demo: eval "$$(make -s env)"
	@$(PY) -m tests.demo env

.PHONY: prepare
prepare: .venv/.synced ## Install and build what tests need, as far as this machine can (minutes, once)
	@$(PY) -m tests.world claude-code >/dev/null || echo "tests with the real CLI will be skipped"
	@$(PY) -m tests.cluster prepare

.PHONY: test
test: lint prepare ## Every check and every test that this machine can run
	@$(PY) -m pytest $(SIDE_BY_SIDE)

.PHONY: test-unit
test-unit: lint ## The tests that need nothing but Python
	@$(PY) -m pytest tests/unit

.PHONY: test-crash
test-crash: prepare ## Exactly once: the controller killed before and after every single call (minutes)
	@$(PY) -m pytest tests/crash

.PHONY: test-attack
test-attack: prepare ## Hostile pods, repositories and people; each attack shown to work undefended (minutes)
	@$(PY) -m pytest tests/attack

.PHONY: test-schema
test-schema: .venv/.synced ## 10,000 generated requests against the OpenAPI document that the shim serves
	@SCHEMA_CASES=10000 $(PY) -m pytest -rP tests/integration/shim/test_schema.py tests/integration/github/test_schema.py

.PHONY: bench
bench: .venv/.synced ## Measure controller, gateway and shim (minutes); compare within one run only
	@$(PY) -m tests.integration.controller.measure 300
	@$(PY) -m tests.integration.gateway.measure
	@SHIM_SESSIONS=10000 SHIM_SECONDS=60 $(PY) -m pytest -q -rP tests/integration/shim/test_scale.py

.PHONY: lint
lint: .venv/.synced ## Format, lint, types, layers, generated files
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@told=$$(.venv/bin/lint-imports --no-logo 2>&1) || { echo "$$told"; exit 1; }
	@$(PY) -m claude_operator.resources.crd --check

.PHONY: format
format: .venv/.synced ## Format the code and mend what the linter can
	@.venv/bin/ruff format --quiet .
	@.venv/bin/ruff check --fix .

.PHONY: generate
generate: .venv/.synced ## Write the generated files: crds/
	@$(PY) -m claude_operator.resources.crd

.PHONY: lock
lock: $(UV) ## Resolve the dependencies of pyproject.toml into requirements/
	@for target in "runner:" "operator:--extra operator" "dev:--extra operator --group dev"; do \
	  $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    $${target#*:} --output-file requirements/$${target%%:*}.txt; \
	done

.PHONY: clean
clean: ## Remove what was made in this folder; the cache stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
