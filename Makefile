# make             this list
# make setup       the virtual environment .venv with everything in it; the others do this themselves
# make demo        the complete path on simulated data, offline, on two CPU cores: 8 minutes
# make sample      the same path on real rows of ESCI, a download of 6.3 MB: 9 minutes
# make studies     the studies at the size of the demo, and those of the sample, with the light retriever: two hours
# make test        unit and workflow tests: 6 minutes on two cores
# make test-all    also kills, full disks, resuming, pretrained layouts, a real Slurm: 28 minutes
# make bench       the benchmarks, each with a ratio against an alternative: 28 minutes; bench-full: every size, hours
# make mutants     small faults put into the code, and how many fail a test: hours; MODULES=quantizer.losses SAMPLE=40
# make lint        ruff, snakefmt, snakemake --lint; make format applies what they ask for
# make document    config/README.md and the JSON schema from the models in catid2/config
# make clean       remove .venv and logs; downloads and results stay
# Each sets up what it needs in .venv; PYTHON names the interpreter to build it from (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# nothing may reach for a model hub
export HF_HUB_OFFLINE := 1

.PHONY: help setup demo sample studies test test-all bench bench-full mutants lint format document clean

help:
	@sed -n 's/^# //p; /^$$/q' Makefile

setup: .venv/installed

demo: .venv/installed
	@snakemake --cores all --configfile config/demo.yaml

sample: .venv/installed
	@snakemake --cores all --configfile config/sample.yaml

studies: .venv/installed
	@snakemake --cores all --configfile config/demo.yaml config/studies.yaml config/studies_demo.yaml
	@snakemake --cores all --configfile config/sample.yaml config/studies.yaml config/studies_sample.yaml

# a file of tests on each core at a time, in the order of tests/conftest.py
PYTEST := OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: .venv/installed
	@$(PYTEST) -m "not slow"

test-all: .venv/installed
	@$(PYTEST)

bench: .venv/installed
	@python benchmarks/run.py --output results/bench.tsv --chart results/bench.svg

bench-full: .venv/installed
	@python benchmarks/run.py --size full --output results/bench_full.tsv --chart results/bench_full.svg

mutants: .venv/installed
	@pip install --quiet --constraint constraints.txt --editable ".[mutants]"
	@OMP_NUM_THREADS=1 python tests/faults/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(MODULES)

lint: .venv/installed
	@ruff check . && ruff format --check .
	@snakefmt --check workflow
	@snakemake --lint

format: .venv/installed
	@ruff check --fix . && ruff format .
	@snakefmt workflow

# config/README.md and the JSON schema are written from the models in catid2/config
document: .venv/installed
	@python -m catid2.config.document

# keeps downloads (resources/) and results
clean:
	rm -rf .venv logs .snakemake/log

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@
