"""Draw how well vectors and codes tell the categories of one dataset: a panel per method, as one SVG file."""

from catid2.report.figure_command import draw_table
from catid2.report.geometry import write_geometry_figure
from catid2.runtime.command import entry_point


@entry_point
def main() -> None:
    draw_table(__doc__, "geometry", "the table that compare_geometry made", write_geometry_figure)


if __name__ == "__main__":
    main()
