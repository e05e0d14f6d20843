#!/bin/sh
# launch.sh GPUS SCRIPT [OPTION...]   one process, or one per GPU of the job.
# Decided here and not in the rules' params, so that another number of GPUs reruns nothing.
gpus=$1
shift
if [ "$gpus" -gt 1 ]; then
    exec torchrun --standalone --nproc-per-node="$gpus" "$@"
fi
exec python "$@"
