"""Import a catalogue that is not ESCI: files of products, queries and judgements, as docs/catalogue.md describes them.

Writes raw files of ESCI's shape, which build_corpus reads, the tags, and which query is which; all or none.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.catalogue import CatalogueConfig
from catid2.corpus.catalogue.importing import ImportedFiles, OwnFiles, import_catalogue
from catid2.corpus.database import Resources, add_resources
from catid2.corpus.esci import LOCALES
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of CatalogueConfig")
    parser.add_argument("--locale", required=True, choices=LOCALES)
    parser.add_argument("--products", required=True, type=Path, help="products: parquet, CSV or JSON lines")
    parser.add_argument("--queries", **OPTIONAL_PATH, help="queries, in one of these formats")
    parser.add_argument("--judgements", **OPTIONAL_PATH, help="judgements, in one of these formats")
    for name in ImportedFiles._fields:
        option = f"--{name.replace('_', '-')}-out"
        parser.add_argument(option, required=True, type=Path, help=f"{name} to write, parquet")
    add_resources(parser)
    arguments = parser.parse_args()
    own = OwnFiles(arguments.products, arguments.queries, arguments.judgements)
    config = parse(CatalogueConfig, arguments.config)
    files = ImportedFiles(**{name: getattr(arguments, f"{name}_out") for name in ImportedFiles._fields})
    resources = Resources(arguments.memory_limit, arguments.threads, arguments.temp_dir)
    with claim(files.examples):
        import_catalogue(own, arguments.locale, config, files, resources)


if __name__ == "__main__":
    main()
