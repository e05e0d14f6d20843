"""Draw recall with its intervals for one dataset: a panel per protocol and set of labels, as one SVG file."""

from catid2.report.figure_command import draw_table
from catid2.report.panels import write_recall_figure
from catid2.runtime.command import entry_point


@entry_point
def main() -> None:
    draw_table(__doc__, "recall", "recall.tsv", write_recall_figure)


if __name__ == "__main__":
    main()
