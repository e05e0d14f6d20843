"""Download the three files of the sample of ESCI, resumed and checked."""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.fetch import FetchEsciSampleConfig
from catid2.corpus.fetch import fetch
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default="{}", help="settings as JSON (keys: catid2/config/fetch.py)")
    parser.add_argument("--products", type=Path, required=True, help="output, gzip JSON lines: products")
    parser.add_argument("--judgements", type=Path, required=True, help="output, JSON: judged queries")
    parser.add_argument("--pairs", type=Path, required=True, help="output, JSON: further judged queries")
    arguments = parser.parse_args()
    config = parse(FetchEsciSampleConfig, arguments.config)
    files = {
        arguments.products: (config.products, "gzip"),
        arguments.judgements: (config.judgements, "json"),
        arguments.pairs: (config.pairs, "json"),
    }
    with claim(arguments.products):
        fetch(files)


if __name__ == "__main__":
    main()
