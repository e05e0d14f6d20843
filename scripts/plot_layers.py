"""Draw how category levels line up with codebook layers for one dataset: a panel per method, as one SVG file.

Give --docids once per set of DocIDs.
`@FILE` reads further options from a file, one a line, as `--docids=tiger:docids.parquet:docids.json`.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.report import ReportConfig
from catid2.report.figure_command import add_docids, add_simulated
from catid2.report.panels import write_layers_figure
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of ReportConfig")
    parser.add_argument("--corpus", required=True, type=Path, help="folder corpus of the dataset")
    add_docids(parser, required=True)
    add_simulated(parser)
    parser.add_argument("--output", required=True, type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    config = parse(ReportConfig, arguments.config)
    with claim(arguments.output):
        write_layers_figure(
            arguments.output, arguments.corpus, arguments.docids, config, arguments.simulated == "yes"
        )


if __name__ == "__main__":
    main()
