# make help lists what there is. Every target makes the virtual environment that it needs.

PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Where torch comes from; TORCH_FROM="--index-url https://download.pytorch.org/whl/cpu" takes
# PyTorch's own CPU build, which is far smaller than the CUDA build that Linux gets from PyPI.
TORCH_FROM ?=

DEV = .venv/bin
LIGHT = .venv-light/bin
DEMO = .venv-demo/bin
BENCH = .venv-bench/bin
NEEDS_TORCH = tests/contract/test_tasks.py tests/nets tests/train tests/compress tests/inspect tests/runs tests/notebooks

.DEFAULT_GOAL := help
# For make fuzz, faults, kill and soak.
SEED ?= 0
TIMES ?= 1
MINUTES ?= 1440
FAULTS = OMP_NUM_THREADS=1 $(DEV)/python tests/faults
TRUST = --report benchmarks/reports/trust.json

.PHONY: help demo test test-full test-light lint format docs notebooks bench fuzz guided faults kill soak clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv-demo/.installed  ## denoise the demo recording, print the levels, draw a picture
	@$(DEMO)/python demo/run.py

test: lint test-full test-light  ## check style, types and layers, run every test

test-full: .venv/.installed  ## run every test
	$(DEV)/python -m pytest -n auto --dist loadfile

test-light: .venv-light/.installed  ## run the tests of the light half where torch is not installed
	$(LIGHT)/python -c "import importlib.util as u, sys; sys.exit('torch is here' if u.find_spec('torch') else 0)"
	$(LIGHT)/python -m pytest -n auto --dist loadfile $(NEEDS_TORCH:%=--ignore=%)

lint: .venv/.installed  ## check style, types and layers
	$(DEV)/ruff check
	$(DEV)/ruff format --check
	$(DEV)/mypy
	$(DEV)/lint-imports

format: .venv/.installed  ## format the code
	$(DEV)/ruff check --fix
	$(DEV)/ruff format

notebooks: .venv/.installed  ## run the notebooks in full and keep what they show; TINYSIGNAL_QUICK=1 for a minute
	cd notebooks && ../$(DEV)/jupytext --to ipynb --set-kernel python3 --execute *.py

docs: .venv/.installed  ## build the documentation's site into site/, links checked
	NO_MKDOCS_2_WARNING=1 $(DEV)/mkdocs build --strict

bench: .venv-bench/.installed  ## measure time, memory and size beside noisereduce, write the pages anew
	$(BENCH)/python benchmarks/cost.py
	$(BENCH)/python benchmarks/tables.py

fuzz: .venv/.installed  ## give mutated files to the commands; SEED=7 TIMES=30 for other ones, and more
	$(FAULTS)/fuzz.py --sounds 10000 --models 2000 --pictures 1000 --runs 1000 --seed $(SEED) \
		--times $(TIMES) --minutes $(MINUTES) --keep fuzz-failures $(TRUST)
	$(DEV)/python benchmarks/tables.py

guided: .venv/.installed  ## mutate what reaches new lines of the parsers, ten minutes for each (Atheris)
	$(DEV)/python $(PIP_INSTALL) atheris
	$(FAULTS)/guided.py --corpus fuzz-corpus $(TRUST)
	$(DEV)/python benchmarks/tables.py

faults: .venv/.installed  ## let every call of the system fail once
	$(FAULTS)/inject.py --minutes $(MINUTES) $(TRUST)
	$(DEV)/python benchmarks/tables.py

kill: .venv/.installed  ## kill commands at random moments
	$(FAULTS)/kill.py --seed $(SEED) --minutes $(MINUTES) $(TRUST)
	$(DEV)/python benchmarks/tables.py

soak: .venv/.installed  ## a day of sound in one stream, hours in one file, thousands of files and loads
	$(FAULTS)/soak.py $(TRUST)
	$(DEV)/python benchmarks/tables.py

clean:  ## remove the environments and what was made in them
	rm -rf .venv .venv-light .venv-demo .venv-bench demo-out fuzz-failures fuzz-corpus build dist site .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(DEV)/python $(PIP_INSTALL) $(TORCH_FROM) torch
	$(DEV)/python $(PIP_INSTALL) --editable '.[dev]'
	@touch $@

.venv-light/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-light
	$(LIGHT)/python $(PIP_INSTALL) --editable . filelock hatchling hypothesis onnx pillow pytest pytest-xdist
	@touch $@

.venv-demo/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	$(DEMO)/python $(PIP_INSTALL) --editable '.[plot]'
	@touch $@

.venv-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python $(PIP_INSTALL) . noisereduce
	@touch $@
