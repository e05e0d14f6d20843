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
from catid2.runtime.options import add_repeatable
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of EvaluateConfig")
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet, for its size")
    add_repeatable(parser, "--run", "METHOD:SEED:PATH", "a run.parquet", "tiger:0:run.parquet")
    parser.add_argument("--bm25", required=True, help="method of the run that the others are compared with")
    parser.add_argument("--output", required=True, type=Path, help="TSV file to write")
    arguments = parser.parse_args()
    config = parse(EvaluateConfig, arguments.config)
    inputs = Inputs(arguments.dataset, arguments.judgements, arguments.queries, arguments.products)
    runs = [RunFile(method, int(seed), Path(path)) for method, seed, path in arguments.run]
    with claim(arguments.output):
        write_beyond_bm25(arguments.output, *beyond_bm25(config, inputs, runs, arguments.bm25))


if __name__ == "__main__":
    main()
