"""Build the corpus of one locale from raw ESCI and the category paths of ESCI-S.

Writes documents, queries, judgements, the category tree and stats.json, which counts what was kept and what was
dropped, with why; all of them or none.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.corpus import CorpusConfig
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.database import Resources, add_resources
from catid2.corpus.esci import LOCALES
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default="{}", help="settings as JSON: keys of CorpusConfig")
    parser.add_argument("--locale", required=True, choices=LOCALES)
    parser.add_argument("--examples", required=True, type=Path, help="ESCI judgements, parquet")
    parser.add_argument("--products", required=True, type=Path, help="ESCI products, parquet")
    parser.add_argument("--category-paths", required=True, type=Path, help="from extract_categories, parquet")
    for name in CorpusFiles._fields:
        parser.add_argument(f"--{name}-out", required=True, type=Path, help=f"{name} of the corpus")
    add_resources(parser)
    arguments = parser.parse_args()
    raw = RawFiles(arguments.examples, arguments.products, arguments.category_paths)
    config = parse(CorpusConfig, arguments.config)
    files = CorpusFiles(**{name: getattr(arguments, f"{name}_out") for name in CorpusFiles._fields})
    resources = Resources(arguments.memory_limit, arguments.threads, arguments.temp_dir)
    with claim(files.products):
        build_corpus(raw, arguments.locale, config, files, resources)


if __name__ == "__main__":
    main()
