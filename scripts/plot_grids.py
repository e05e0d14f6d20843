"""Draw a metric over the grids of a study, a panel per grid, as one SVG file."""

from pathlib import Path

from catid2.report.figure_command import add_simulated
from catid2.report.grid_figures import write_grids_figure
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--grids", required=True, type=Path, help="table of summarize_grids")
    parser.add_argument("--metric", required=True, help="column to draw, such as recall@10")
    parser.add_argument("--protocol", required=True, help="seen or all")
    add_simulated(parser)
    parser.add_argument("--output", required=True, type=Path, help="SVG file to write")
    options = parser.parse_args()
    with claim(options.output):
        write_grids_figure(
            options.output, options.grids, options.metric, options.protocol, options.simulated == "yes"
        )


if __name__ == "__main__":
    main()
