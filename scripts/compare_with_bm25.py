"""Measure how many relevant documents each method finds that BM25 does not.

Give --run once per method and seed, BM25's among them.
`@FILE` reads further options from a file, one a line, as `--run=tiger:0:run.parquet`.
"""

from pathlib import Path

from catid2.evaluation.beyond_bm25 import beyond_bm25, write_beyond_bm25
from catid2.evaluation.options import add_options, given_by
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    add_options(parser)
    parser.add_argument("--bm25", required=True, help="method of the run that the others are compared with")
    parser.add_argument("--output", required=True, type=Path, help="TSV file to write")
    arguments = parser.parse_args()
    given = given_by(arguments)
    with claim(arguments.output):
        write_beyond_bm25(arguments.output, *beyond_bm25(*given, arguments.bm25))


if __name__ == "__main__":
    main()
