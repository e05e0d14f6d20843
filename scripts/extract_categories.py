"""Extract the category paths of the ESCI-S records, once for all locales.

Reads the zstd JSON lines of ESCI-S and writes one row per line: asin, locale, path, and the line's state (usable or
why not). build_corpus reads this table, a hundredth of the size, instead of the records.
"""

import logging
from pathlib import Path

from catid2.corpus.database import Resources, add_resources
from catid2.corpus.esci_s import extract_categories
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--esci-s", required=True, type=Path, help="ESCI-S records, esci.json.zst")
    parser.add_argument("--output", required=True, type=Path, help="table of category paths, parquet")
    add_resources(parser)
    arguments = parser.parse_args()
    resources = Resources(arguments.memory_limit, arguments.threads, arguments.temp_dir)
    with claim(arguments.output):
        states = extract_categories(arguments.esci_s, arguments.output, resources)
    logging.info("lines by state: %s", ", ".join(f"{count} {state}" for state, count in states.items()))


if __name__ == "__main__":
    main()
