"""Measure how many relevant documents each method finds that BM25 does not.

Give --run once per method and seed, BM25's among them.
`@FILE` reads further options from a file, one a line, as `--run=tiger:0:run.parquet`.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.beyond_bm25 import beyond_bm25, write_beyond_bm25
from catid2.evaluation.recall import Inputs, RunFile
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim


def parse_run(text: str) -> RunFile:
    """Return METHOD:SEED:PATH as a RunFile."""
    method, _, rest = text.partition(":")
    seed, _, path = rest.partition(":")
    if not (method and seed.isdecimal() and path):
        what = f"{text!r} is not METHOD:SEED:PATH"
        raise InputError("--run", what, "write for example tiger:0:run.parquet")
    return RunFile(method, int(seed), Path(path))


@entry_point
def main() -> None:
    """Parse the command line and write the table."""
    parser = new_parser(__doc__, long=True)
    parser.add_argument(
        "--config", required=True, help="settings as JSON (catid2.config.evaluate.EvaluateConfig)"
    )
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet, for its size")
    parser.add_argument(
        "--run", required=True, action="append", metavar="METHOD:SEED:PATH", help="a run.parquet (repeatable)"
    )
    parser.add_argument("--bm25", required=True, help="method of the run that the others are compared with")
    parser.add_argument("--output", required=True, type=Path, help="TSV file to write")
    arguments = parser.parse_args()
    config = parse(EvaluateConfig, arguments.config)
    inputs = Inputs(arguments.dataset, arguments.judgements, arguments.queries, arguments.products)
    runs = [parse_run(text) for text in arguments.run]
    with claim(arguments.output):
        write_beyond_bm25(arguments.output, *beyond_bm25(config, inputs, runs, arguments.bm25))


if __name__ == "__main__":
    main()
