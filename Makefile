# `make` lists what there is. Needs bash, Linux and a Python 3.11 to 3.13.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

bin := .venv/bin
# A file's tests share what they run; tests/conftest.py says which files come first.
workers := --numprocesses 2 --dist loadfile --no-loadscope-reorder
fast := -m "not cluster and not engine"

.PHONY: help setup run train test test-full soak lint bench results lock clean

help: ## list the targets
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## make .venv, unless it is there and current (PYTHON=...: that Python; EXTRA=gemma: a second base)
	@jobs/setup.sh

train: setup ## train a version: make train ARGS="agent=writer method=rft"
	@$(bin)/lineage train $(ARGS)

run: setup ## run an experiment: make run ARGS="engine=surrogate suite.drift=0.1"
	@$(bin)/lineage run $(ARGS)

test: setup lint ## lint, types, fast tests, tests on Ray nodes, tests with a real vLLM engine
	$(bin)/python -m pytest $(fast) $(workers)
	$(bin)/python -m pytest -m cluster $(workers)
	$(bin)/python -m pytest -m engine

test-full: setup ## the fast tests with all cases of what is fuzzed and drawn (minutes)
	$(bin)/python -m pytest $(fast) --hypothesis-profile full $(workers)

soak: setup ## runs in shards under 100 random kills (an hour): make soak ARGS="--kills 20 --seed 7"
	$(bin)/python tests/soak.py $(ARGS)

lint: setup ## ruff and mypy, and whether the fast tests can be collected
	$(bin)/ruff check .
	@# Side by side: mypy uses one core, and to rewrite the tests of a fresh clone takes seconds.
	trap wait EXIT; $(bin)/mypy & $(bin)/python -m pytest --collect-only $(fast) | tail -n 3; wait $$!

bench: setup ## measure ratios, for docs/benchmarks.md: make bench ONLY=log-share ARGS=--surrogate
	@$(bin)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY)) $(ARGS)

results: setup ## run the published experiments and make their tables: make results ONLY=arms
	@$(bin)/python jobs/results.py $(if $(ONLY),--only $(ONLY)) $(ARGS)

lock: setup ## renew locks/, from what pyproject.toml allows: make lock ARGS=--upgrade
	@jobs/lock.sh $(ARGS)

clean: ## remove .venv and caches; runs/ stays
	@jobs/setup.sh --remove
	@rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +
