"""Write a run as the file that trec_eval and ir_measures read."""

from pathlib import Path

from catid2.evaluation.trec import write_trec_run
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--run", required=True, type=Path, help="run.parquet of the method")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--tag", required=True, help="name of the run, in its last column")
    parser.add_argument("--output", required=True, type=Path, help="run.trec to write")
    options = parser.parse_args()
    with claim(options.output):
        write_trec_run(options.output, options.run, options.queries, options.products, options.tag)


if __name__ == "__main__":
    main()
