#!/bin/sh
# The rows that need a GPU, in one command of at most ten minutes, the most important first; prints the table and writes
# results/bench_gpu.tsv after every row. Needs Python 3.11 or later with what the package depends on (pyproject.toml) and
# a C compiler; no network and no installation.
#   benchmarks/gpu.sh          # on a machine with a GPU
#   benchmarks/gpu.sh --dry    # tries the same scripts on the CPU, at tiny sizes
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} HF_HUB_OFFLINE=1
export PYTHONPATH HF_HUB_OFFLINE
if [ "${1:-}" = --dry ]; then
    shift
    set -- --device cpu --size tiny "$@"
else
    set -- --seconds 570 "$@" # half a minute is left to start and to be late
fi
exec "${PYTHON:-python3}" benchmarks/run.py --gpu --output results/bench_gpu.tsv "$@"
