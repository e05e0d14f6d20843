"""Command-line options that evaluate and compare_with_bm25 share."""

import argparse
from pathlib import Path
from typing import NamedTuple

from catid2.config.base import parse, require_seed
from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.recall import Inputs, RunFile
from catid2.runtime.options import add_repeatable


class Given(NamedTuple):
    """The settings, the corpus, the runs, and text about methods for the header."""

    config: EvaluateConfig
    inputs: Inputs
    runs: list[RunFile]
    notes: dict[str, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `given_by` reads."""
    parser.add_argument("--config", required=True, help="settings as JSON: keys of EvaluateConfig")
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet, for its size")
    add_repeatable(parser, "--run", "METHOD:SEED:PATH", "a run.parquet", "tiger:0:run.parquet")
    note = ("METHOD=TEXT", "line for the header", "bm25='k1 1.2, b 0.75'")
    add_repeatable(parser, "--note", *note, required=False)


def given_by(arguments: argparse.Namespace) -> Given:
    """Return what the options give; InputError if the settings are wrong or a seed is out of range."""
    config = parse(EvaluateConfig, arguments.config)
    inputs = Inputs(arguments.dataset, arguments.judgements, arguments.queries, arguments.products)
    runs = [RunFile(method, int(seed), Path(path)) for method, seed, path in arguments.run]
    for run in runs:
        require_seed("--run", run.seed)
    return Given(config, inputs, runs, dict(arguments.note))
