"""Command-line options that train_retriever and train_dual_encoder share."""

import argparse
from pathlib import Path

from catid2.config.base import require_at_least, require_seed


def add_options(parser: argparse.ArgumentParser, output: str) -> None:
    """Add the options of a training; `output` lists the content of the folder to write."""
    for table in ("products", "queries", "judgements"):
        parser.add_argument(f"--{table}", required=True, type=Path, help=f"corpus/{table}.parquet")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout (default 0)")
    parser.add_argument("--checkpoints", required=True, type=Path, help="checkpoints; removed at the end")
    parser.add_argument("--output", required=True, type=Path, help=f"folder to write: {output}")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=600,
        help="time between two checkpoints within an epoch, in seconds; 0 takes one after every step (default 600)",
    )


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of the command line; InputError if the seed or the seconds are out of range."""
    arguments = parser.parse_args()
    require_seed("--seed", arguments.seed)
    require_at_least("--checkpoint-seconds", arguments.checkpoint_seconds, 0)
    return arguments
