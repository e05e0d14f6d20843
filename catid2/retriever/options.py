"""Command-line options that retrieve and trace_beams share: the search of one method."""

import argparse
from pathlib import Path

from catid2.runtime.command import OPTIONAL_PATH


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the search, the retriever, and the files of catid2.retriever.retrieve.Corpus."""
    parser.add_argument("--config", required=True, help="settings as JSON: keys of RetrieveConfig")
    parser.add_argument("--retriever", required=True, type=Path, help="folder written by train_retriever")
    parser.add_argument("--docids", required=True, type=Path, help="docids.parquet of the method")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    vectors = "VIEW.npy, with VIEW_queries.npy next to it, for a light retriever or rank_below_level"
    parser.add_argument("--embeddings", **OPTIONAL_PATH, help=vectors)
