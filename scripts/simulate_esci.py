"""Make raw files with the shape of ESCI and ESCI-S, offline: examples, products and ESCI-S records."""

import logging
from pathlib import Path

from catid2.config.base import parse, require_seed
from catid2.config.simulate import SimulateConfig
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim
from catid2.simulate import simulate


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default="{}", help="settings as JSON (keys: catid2/config/simulate.py)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other products and queries")
    parser.add_argument("--examples", type=Path, required=True, help="output, parquet: judged queries")
    parser.add_argument("--products", type=Path, required=True, help="output, parquet: products")
    parser.add_argument("--esci-s", type=Path, required=True, help="output, .json.zst: one record a line")
    arguments = parser.parse_args()
    config = parse(SimulateConfig, arguments.config)
    require_seed("--seed", arguments.seed)
    with claim(arguments.examples):
        simulate(config, arguments.seed, arguments.examples, arguments.products, arguments.esci_s)
    logging.info("wrote %s, %s and %s", arguments.examples, arguments.products, arguments.esci_s)


if __name__ == "__main__":
    main()
