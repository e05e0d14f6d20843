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
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim


def parse_run(text: str) -> RunFile:
    """Return METHOD:SEED:PATH as a RunFile."""
    method, _, rest = text.partition(":")
    seed, _, path = rest.partition(":")
    if not (method and seed.isdecimal() and path):
        raise InputError(
            "--run", f"{text!r} is not METHOD:SEED:PATH", "write for example tiger:0:run.parquet"
        )
    return RunFile(method, int(seed), Path(path))


def parse_note(text: str) -> tuple[str, str]:
    """Return METHOD=TEXT as a pair."""
    method, _, note = text.partition("=")
    if not (method and note):
        raise InputError("--note", f"{text!r} is not METHOD=TEXT", "write for example bm25='k1 1.2, b 0.75'")
    return method, note


@entry_point
def main() -> None:
    """Parse the command line and write both tables."""
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
    parser.add_argument(
        "--note", default=[], action="append", metavar="METHOD=TEXT", help="line for the header (repeatable)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (default 0)")
    parser.add_argument("--output", required=True, type=Path, help="recall.tsv to write")
    parser.add_argument("--per-query", required=True, type=Path, help="recall_per_query.parquet to write")
    arguments = parser.parse_args()
    config = parse(EvaluateConfig, arguments.config)
    require_seed("--seed", arguments.seed)
    inputs = Inputs(arguments.dataset, arguments.judgements, arguments.queries, arguments.products)
    runs = [parse_run(text) for text in arguments.run]
    notes = dict(parse_note(text) for text in arguments.note)
    with claim(arguments.output):
        evaluation = evaluate(config, inputs, runs, notes, arguments.seed)
        write_evaluation(evaluation, arguments.output, arguments.per_query)


if __name__ == "__main__":
    main()
