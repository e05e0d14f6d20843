"""Draw what the stages of each method took and how long a query waits, as one SVG file."""

import argparse
import logging
from pathlib import Path

from catid2.command import entry_point
from catid2.report.time_figures import write_times_figure
from catid2.writing import claim


@entry_point
def main() -> None:
    """Parse the command line and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--efficiency", required=True, type=Path, help="efficiency.tsv")
    parser.add_argument(
        "--simulated", action="store_true", help="say in the title that the data are simulated"
    )
    parser.add_argument("--output", required=True, type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with claim(arguments.output):
        write_times_figure(arguments.output, arguments.efficiency, arguments.simulated)


if __name__ == "__main__":
    main()
