"""Rank the products for every test query by inner product with its vector and write the run."""

from pathlib import Path

from catid2.baselines.dense import search_dense
from catid2.config.base import parse
from catid2.config.dense import DenseConfig
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.tables import write_table
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of DenseConfig")
    vectors = "VIEW.npy, with VIEW.json, VIEW_queries.npy and VIEW_queries.json next to it"
    parser.add_argument("--embeddings", required=True, type=Path, help=vectors)
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--output", required=True, type=Path, help="run.parquet to write")
    arguments = parser.parse_args()
    config = parse(DenseConfig, arguments.config)
    with claim(arguments.output):
        run = search_dense(config, arguments.embeddings, arguments.products, arguments.queries)
        write_table(arguments.output, run)


if __name__ == "__main__":
    main()
