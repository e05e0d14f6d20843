"""Rank the products for every test query with BM25 and write the run."""

from pathlib import Path

from catid2.baselines.bm25 import search_bm25
from catid2.config.base import parse
from catid2.config.bm25 import Bm25Config
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.tables import write_table
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of Bm25Config")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--output", required=True, type=Path, help="run.parquet to write")
    arguments = parser.parse_args()
    config = parse(Bm25Config, arguments.config)
    with claim(arguments.output):
        write_table(arguments.output, search_bm25(config, arguments.products, arguments.queries))


if __name__ == "__main__":
    main()
