"""Download the two files of Amazon's Shopping Queries Dataset (ESCI), resumed and checked."""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.fetch import FetchEsciConfig
from catid2.corpus.fetch import fetch
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default="{}", help="settings as JSON (keys: catid2/config/fetch.py)")
    parser.add_argument("--examples", type=Path, required=True, help="output, parquet: judged queries")
    parser.add_argument("--products", type=Path, required=True, help="output, parquet: products")
    arguments = parser.parse_args()
    config = parse(FetchEsciConfig, arguments.config)
    files = {
        arguments.examples: (config.examples, "parquet"),
        arguments.products: (config.products, "parquet"),
    }
    with claim(arguments.examples):
        fetch(files)


if __name__ == "__main__":
    main()
