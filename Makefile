# `make demo` and `make test` each do all their set-up on a fresh machine that has Python >= 3.11, make and a compiler.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
CORE := $(VENV)/.ready-core
FULL := $(VENV)/.ready-full

.PHONY: help setup demo test clean

help:           ## what can be made
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(FULL)  ## install everything, with all extras and the developers' tools, into .venv

demo: $(CORE)   ## the whole main job on a simulated shop: a ranked list and demo-shop/report.html
	$(VENV)/bin/ebbtide demo

test: $(FULL)   ## lint, types, import contract, generated docs, tests, doctests, README blocks
	scripts/test

clean:          ## remove the environment and every cache
	rm -rf $(VENV) demo-shop build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(CORE): pyproject.toml scripts/install
	scripts/install "$(PYTHON)" $(VENV) .
	@touch $@

$(FULL): pyproject.toml scripts/install
	scripts/install "$(PYTHON)" $(VENV) '.[all,dev]'
	@touch $(CORE) $@
