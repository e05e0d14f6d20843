"""Put recall and DocID quality of the points of a study's grids side by side, and say which are stable or collapsed.

Give --docids once per method and seed; methods without DocIDs have none.
`@FILE` reads further options from a file, one a line, as `--docids=tiger:docids.parquet:docids.json`.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.grids import GridSummary
from catid2.report.figure_command import add_docids
from catid2.report.grids import header, read_quality, summarize_grids
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.tsv import write_tsv
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--config", required=True, help="grids as JSON (catid2.config.grids.GridSummary)")
    parser.add_argument("--recall", required=True, type=Path, help="the study's table")
    parser.add_argument("--corpus", required=True, type=Path, help="folder corpus of the dataset")
    add_docids(parser, required=False)
    parser.add_argument("--output", required=True, type=Path, help="TSV to write")
    arguments = parser.parse_args()
    config = parse(GridSummary, arguments.config)
    with claim(arguments.output):
        table = summarize_grids(config, arguments.recall, read_quality(arguments.docids, arguments.corpus))
        write_tsv(arguments.output, header(config), table, decimals=6)


if __name__ == "__main__":
    main()
