"""python -m catid2 add: an index with more products, or fewer, without a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from catid2.index.commands.search import lines_of
from catid2.runtime.errors import InputError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser("add", help="add products, remove others", description=__doc__)
    parser.add_argument("index", type=Path, help="folder written by rule export_index or by this command")
    parser.add_argument(
        "products", type=Path, nargs="?",
        help="parquet, CSV or JSON lines: product_id, title; optional brand, color, bullets, description, category",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="new folder for the changed index")
    parser.add_argument("--remove", type=Path, help="remove the products of this file, an id per line")
    parser.add_argument(
        "--category-separator", default=" > ", help="between the names of a category path (default ' > ')"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the changed index."""
    if arguments.products is None and arguments.remove is None:
        raise InputError("add", "nothing to do", "name a file of products, or --remove FILE")

    # Imported late: a mistake in the options should not wait for torch.
    from catid2.index.add import change_products
    from catid2.index.index import Index

    index = Index(arguments.index)
    removed = lines_of(arguments.remove) if arguments.remove else []
    index.require(removed, arguments.remove)
    separator = arguments.category_separator
    added = change_products(index, arguments.output, arguments.products, removed, separator)
    total = len(index) - len(set(removed)) + added
    print(f"{arguments.output}: {total} products, {added} new, {len(set(removed))} removed")
