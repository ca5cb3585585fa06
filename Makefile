# What a contributor can do. Each target makes the environment if it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
LENSES ?=
DETECTORS ?=
SEEDS ?= 0,1,2
CORES ?= 1,2
ONCE ?= aae,dcae,rbm,vae
WORKERS ?= 1
JOBS ?= 2

.PHONY: help demo test test-all pinned-scores lint challenge bench slacs docs architecture \
	results-table columns pictures notebook reliability clean

help:
	@echo 'make demo        simulate lenses, train, score, evaluate, write a report (3 minutes)'
	@echo 'make test        the fast tests (3 minutes)'
	@echo 'make test-all    all tests, slow ones too (15 minutes)'
	@echo 'make pinned-scores  pin the scores of the shipped models anew (seconds)'
	@echo 'make lint        ruff, codespell and mypy'
	@echo 'make challenge   the table of results/challenge.md; DATA=folder, else it is fetched'
	@echo 'make bench       results/maps.md, populations.md, limit.md and more; DATA=folder (hours)'
	@echo 'make slacs       results/slacs.md: real lenses; DATA=folder of lenses, WORKERS=processes'
	@echo 'make docs        the documentation, in site/; warnings are errors'
	@echo 'make architecture  draw docs/architecture.md from the imports'
	@echo 'make results-table  put results/challenge.json and limit.json into README and documentation'
	@echo 'make columns     put the meanings of the columns of real lenses into their pages'
	@echo 'make pictures    draw the pictures of the documentation'
	@echo 'make notebook    run the notebooks on DATA=folder and LENSES=folder (half an hour)'
	@echo 'make reliability  the campaigns behind docs/reliability.md (three quarters of an hour)'
	@echo 'make clean       remove the environment and everything built'

# Each job has a core of its own.
pytest = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

demo: $(VENV)/test.stamp
	$(BIN)/lumpylens demo

test: $(VENV)/test.stamp
	$(pytest) -m 'not slow'

# After the fast tests, so that a failure shows early.
test-all: test
	$(pytest) -m slow

pinned-scores: $(VENV)/test.stamp
	$(BIN)/python tests/unit/pinned_scores.py

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files | xargs $(BIN)/codespell
	$(BIN)/nbqa 'ruff check' notebooks
	$(BIN)/mypy

challenge: $(VENV)/test.stamp
	data='$(DATA)'; data=$${data:-$$($(BIN)/lumpylens fetch slc)} && \
	$(BIN)/lumpylens benchmark "$$data" --seeds $(SEEDS) \
		$(if $(DETECTORS),--detectors $(DETECTORS),--once $(ONCE)) --reference --name challenge --out results

# What fails leaves the numbers that were there.
printed = $(BIN)/python benchmarks/$(1).py $(2) > results/$(1).part && mv results/$(1).part results/$(1).json

bench: $(VENV)/test.stamp
	test -d '$(DATA)/no_sub' || { echo "make bench DATA=folder of the challenge's images"; exit 2; }
	$(call printed,speed)
	$(call printed,reading)
	$(call printed,simulate,--n 300 --workers $(CORES))
	$(BIN)/python benchmarks/maps.py --out results
	$(BIN)/python benchmarks/populations.py --out results
	$(call printed,sensitivity,$(if $(LENSES),--lenses '$(LENSES)'))
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/limit.py --out results
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/population.py --out results
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/population_challenge.py '$(DATA)' --out results
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/errors.py --out results --workers $(WORKERS)
	$(call printed,realism,'$(DATA)')
	$(call printed,transfer,'$(DATA)')
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/roman.py --out results
	$(BIN)/python benchmarks/crossfit.py '$(DATA)' --near-epochs 0 --out results
	$(BIN)/python benchmarks/contamination.py '$(DATA)' --out results
	$(BIN)/python benchmarks/adaptation.py slc --out results
	for population in slc euclid lsst model-a model-b; do \
		$(BIN)/lumpylens benchmark $$population --n 1000 --detectors pca,pixel,physics \
			--reference --name $$population --out results || exit 1; \
	done
	$(BIN)/python benchmarks/curves.py slc --detectors physics,pixel --out results

slacs: $(VENV)/test.stamp
	test -d '$(DATA)' || { echo 'make slacs DATA=folder with one folder per lens'; exit 2; }
	$(BIN)/python benchmarks/slacs.py '$(DATA)' --out results --workers $(WORKERS)

docs: $(VENV)/docs.stamp
	$(BIN)/python docs/architecture.py --check
	$(BIN)/python docs/results.py --check
	$(BIN)/python docs/limit.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'site/index.html'

architecture: $(BIN)/python
	$(BIN)/python docs/architecture.py

results-table: $(VENV)/test.stamp
	$(BIN)/python docs/results.py
	$(BIN)/python docs/limit.py

columns: $(BIN)/python
	$(BIN)/python docs/columns.py

pictures: $(VENV)/test.stamp
	$(BIN)/python docs/pictures.py

notebook: $(VENV)/test.stamp
	$(BIN)/python notebooks/execute.py StrongLensingChallenge $(DATA)
	$(BIN)/python notebooks/execute.py RealLens $(LENSES)

reliability: $(VENV)/test.stamp
	@for campaign in cluster fits layouts cost training determinism calibration limits fuzz; do \
		echo "== python reliability/$$campaign.py"; \
		$(BIN)/python reliability/$$campaign.py || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis

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

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV): about 2 GB, some minutes the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
