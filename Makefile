# `make` alone lists what can be made. Needs make and Python 3.11; everything else is installed into .venv.

PYTHON ?= python3.11
BIN := .venv/bin
# Empty files that say what is installed; newer than what they are made from, so nothing is installed twice.
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev

.DEFAULT_GOAL := help
.PHONY: help train test install install-dev check lint types format docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

train: $(INSTALLED) ## install, train CartPole-v1, evaluate it, and say where everything lies
	@set -e; \
	run=outputs/CartPole-v1/$$(date +%Y-%m-%d_%H-%M-%S)_$$$$; \
	echo "ppo-train env=CartPole-v1"; \
	$(BIN)/ppo-train env=CartPole-v1 hydra.run.dir=$$run; \
	echo; \
	echo "ppo-eval checkpoint=$$run episodes=100 seed=777"; \
	$(BIN)/ppo-eval checkpoint=$$run episodes=100 seed=777; \
	echo; \
	echo "picture of the curves  $$run/curves.png"; \
	echo "numbers of the curves  $$run/metrics.csv"; \
	echo "best checkpoint        $$run/checkpoints/best.pt"; \
	echo "in TensorBoard         $(BIN)/tensorboard --logdir $$run"; \
	echo "your own runs          . $(BIN)/activate, then ppo-train --help"

test: $(INSTALLED_DEV) ## install what tests need, and run them
	@$(BIN)/python -m pytest -n 2

install: $(INSTALLED) ## install what training needs

install-dev: $(INSTALLED_DEV) ## install what tests and checks need

check: lint types test ## everything that must pass before a commit

lint: $(INSTALLED_DEV) ## ruff: style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(INSTALLED_DEV) ## mypy
	@$(BIN)/mypy

format: $(INSTALLED_DEV) ## ruff: mend what it can mend
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(INSTALLED) ## write the generated tables of docs/ anew
	@$(BIN)/python scripts/make_docs.py

clean: ## remove the environment, caches and builds; outputs/ stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

# torch first: it is by far the largest, and one that is there already (a CUDA or CPU build of your choice) is kept.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

# Without -e: the project itself is installed and stays untouched, even while `make -j train test` is training.
$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt 'ppo-cli[dev,box2d,video,slurm,ray,search,wandb,mlflow]'
	@touch $@
