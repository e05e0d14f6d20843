"""The command line of a script that draws one table as one SVG file."""

import argparse
from collections.abc import Callable
from pathlib import Path

from catid2.runtime.command import new_parser
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
