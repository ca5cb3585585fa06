# What a contributor can do. Each target makes the environment if it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
DETECTORS ?=
SEEDS ?= 0,1,2

.PHONY: help demo test test-all lint challenge reliability clean

help:
	@echo 'make demo        simulate lenses, train, score, evaluate, write a report (3 minutes)'
	@echo 'make test        the fast tests (3 minutes)'
	@echo 'make test-all    all tests, slow ones too (15 minutes)'
	@echo 'make lint        ruff and mypy'
	@echo 'make challenge   the table of results/challenge.md; DATA=folder, else it is fetched'
	@echo 'make reliability  the campaigns behind docs/reliability.md (an hour)'
	@echo 'make clean       remove the environment and everything built'

demo: $(VENV)/test.stamp
	$(BIN)/lumpylens demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(VENV)/test.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

challenge: $(VENV)/test.stamp
	data='$(DATA)'; data=$${data:-$$($(BIN)/lumpylens fetch slc)} && \
	$(BIN)/lumpylens benchmark "$$data" --seeds $(SEEDS) \
		$(if $(DETECTORS),--detectors $(DETECTORS)) --reference --name challenge --out results

reliability: $(VENV)/test.stamp
	@for campaign in cluster training calibration limits fuzz; do \
		echo "== python reliability/$$campaign.py"; \
		$(BIN)/python reliability/$$campaign.py || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lumpylens needs Python 3.11 or later; try make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV): about 2 GB, some minutes the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV): about 2 GB, some minutes the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/test.stamp
