"""The command line of a script that draws one table as one SVG file."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from catid2.report.panels import DocidFiles
from catid2.runtime.command import new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim


def draw_table(description: str, table: str, what: str, write: Callable[[Path, Path, bool], None]) -> None:
    """Parse the command line and write the figure.

    Args:
        description: of the script.
        table: name of the option for the table, without dashes.
        what: help for that option.
        write: writes to a path the figure of the table at another; whether the data are simulated comes third.
    """
    parser = new_parser(description)
    parser.add_argument(
        f"--{table}", dest="table", required=True, type=Path, metavar=table.upper(), help=what
    )
    add_simulated(parser)
    parser.add_argument("--output", required=True, type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    with claim(arguments.output):
        write(arguments.output, arguments.table, arguments.simulated == "yes")


def add_docids(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the repeatable option --docids; its value is a list of DocidFiles."""
    several = {"action": "append", "default": [], "required": required}
    form = {"type": _docid_files, "metavar": "NAME:PARQUET:JSON"}
    parser.add_argument("--docids", **several, **form, help="DocIDs (repeatable)")


def _docid_files(text: str) -> DocidFiles:
    # The paths may hold colons.
    if parts := re.fullmatch(r"([^:]+):(.+?\.parquet):(.+)", text, re.DOTALL):
        return DocidFiles(parts[1], Path(parts[2]), Path(parts[3]))
    what = f"{text!r} is not NAME:PARQUET:JSON"
    raise InputError("--docids", what, "write for example tiger:docids.parquet:docids.json")


def add_simulated(parser: argparse.ArgumentParser) -> None:
    """Add the option of all figures that says whether the data are simulated; without a value it is `yes`."""
    parser.add_argument(
        "--simulated",
        nargs="?",
        choices=("yes", "no"),
        const="yes",
        default="no",
        help="say in the title that the data are simulated",
    )
