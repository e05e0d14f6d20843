#!/bin/sh
# The rows that need a GPU, in one command; prints the table and writes results/bench_gpu.tsv. Needs Python 3.11 or later
# with what the package depends on (pyproject.toml), no network and no installation.
#   benchmarks/gpu.sh                             # on a machine with a GPU
#   benchmarks/gpu.sh --device cpu --size tiny    # tries the same scripts without one
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} HF_HUB_OFFLINE=1
export PYTHONPATH HF_HUB_OFFLINE
exec "${PYTHON:-python3}" benchmarks/run.py --gpu --output results/bench_gpu.tsv "$@"
