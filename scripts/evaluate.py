"""Evaluate runs against the test judgements: recall.tsv and the recall of every query.

Give --run once per method and seed; significance is against the method of the first one.
`@FILE` reads further options from a file, one a line, as `--run=tiger:0:run.parquet`.
"""

from pathlib import Path

from catid2.config.base import require_seed
from catid2.evaluation.options import add_options, given_by
from catid2.evaluation.recall import evaluate
from catid2.evaluation.table import write_evaluation
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (default 0)")
    parser.add_argument("--output", required=True, type=Path, help="recall.tsv to write")
    parser.add_argument("--per-query", required=True, type=Path, help="recall_per_query.parquet to write")
    arguments = parser.parse_args()
    given = given_by(arguments)
    require_seed("--seed", arguments.seed)
    with claim(arguments.output):
        evaluation = evaluate(*given, arguments.seed)
        write_evaluation(evaluation, arguments.output, arguments.per_query)


if __name__ == "__main__":
    main()
