"""Evaluate runs against the test judgements: recall.tsv and the recall of every query.

Give --run once per method and seed; significance is against the method of the first one.
`@FILE` reads further options from a file, one a line, as `--run=tiger:0:run.parquet`.
"""

from pathlib import Path

from catid2.config.base import parse, require_seed
from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.recall import Inputs, RunFile, evaluate
from catid2.evaluation.table import write_evaluation
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
    note = ("METHOD=TEXT", "line for the header", "bm25='k1 1.2, b 0.75'")
    add_repeatable(parser, "--note", *note, required=False)
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (default 0)")
    parser.add_argument("--output", required=True, type=Path, help="recall.tsv to write")
    parser.add_argument("--per-query", required=True, type=Path, help="recall_per_query.parquet to write")
    arguments = parser.parse_args()
    config = parse(EvaluateConfig, arguments.config)
    require_seed("--seed", arguments.seed)
    inputs = Inputs(arguments.dataset, arguments.judgements, arguments.queries, arguments.products)
    runs = [RunFile(method, int(seed), Path(path)) for method, seed, path in arguments.run]
    with claim(arguments.output):
        evaluation = evaluate(config, inputs, runs, dict(arguments.note), arguments.seed)
        write_evaluation(evaluation, arguments.output, arguments.per_query)


if __name__ == "__main__":
    main()
