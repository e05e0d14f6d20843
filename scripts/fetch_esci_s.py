"""Download ESCI-S, the category paths of ESCI's products, resumed and checked."""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.fetch import FetchEsciSConfig
from catid2.corpus.fetch import fetch
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default="{}", help="settings as JSON (keys: catid2/config/fetch.py)")
    parser.add_argument("--output", type=Path, required=True, help="output, .json.zst: one record a line")
    arguments = parser.parse_args()
    config = parse(FetchEsciSConfig, arguments.config)
    with claim(arguments.output):
        fetch({arguments.output: (config.esci_s, "zstd")})


if __name__ == "__main__":
    main()
