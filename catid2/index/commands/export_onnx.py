"""python -m catid2 export-onnx: write an index's retriever as ONNX."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from catid2.index.folder import require_new_folder


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser("export-onnx", help="write the retriever as ONNX", description=__doc__)
    parser.add_argument("index", type=Path, help="folder written by rule export_index")
    parser.add_argument("output", type=Path, help="folder to write, which does not exist yet")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the folder."""
    require_new_folder(arguments.output, arguments.index)

    # Imported late: a mistake in the options should not wait for torch.
    from catid2.index.index import Index
    from catid2.index.onnx_export import export_onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    export_onnx(Index(arguments.index).retriever, arguments.output)
