"""Draw what the stages of each method took and how long a query waits, as one SVG file."""

from catid2.report.figure_command import draw_table
from catid2.report.time_figures import write_times_figure
from catid2.runtime.command import entry_point


@entry_point
def main() -> None:
    draw_table(__doc__, "efficiency", "efficiency.tsv", write_times_figure)


if __name__ == "__main__":
    main()
