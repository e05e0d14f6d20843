"""Draw recall with its intervals for one dataset: a panel per protocol and set of labels, as one SVG file."""

import argparse
import logging
from pathlib import Path

from catid2.command import entry_point
from catid2.report.panels import write_recall_figure
from catid2.writing import claim


@entry_point
def main() -> None:
    """Parse the command line and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recall", required=True, type=Path, help="recall.tsv")
    parser.add_argument(
        "--simulated", action="store_true", help="say in the title that the data are simulated"
    )
    parser.add_argument("--output", required=True, type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with claim(arguments.output):
        write_recall_figure(arguments.output, arguments.recall, arguments.simulated)


if __name__ == "__main__":
    main()
