"""Make the category tree that a method learns from in place of the corpus's: with label noise, or from other signs.

Writes taxonomy.parquet (doc_id, product_id, names and nodes of each level, as in corpus/products.parquet) and
taxonomy.json (nodes of each level, products moved, mutual information with the corpus's tree).
"""

from pathlib import Path

from catid2.config.base import parse, require_seed
from catid2.config.taxonomy import AnyTaxonomy
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.tables import write_json, write_table
from catid2.runtime.writing import atomic, claim
from catid2.taxonomies.making import make_taxonomy


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON (catid2.config.taxonomy)")
    parser.add_argument("--seed", type=int, default=0, help="of what the kind draws (default 0)")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--embeddings", **OPTIONAL_PATH, help="(N, D) float16 .npy, for kind clusters")
    parser.add_argument("--tags", **OPTIONAL_PATH, help="parquet of product_id and tags, for kind tags")
    parser.add_argument("--output", required=True, type=Path, help="taxonomy.parquet to write")
    parser.add_argument("--report", required=True, type=Path, help="taxonomy.json to write")
    options = parser.parse_args()
    config = parse(AnyTaxonomy, options.config)
    require_seed("--seed", options.seed)
    with claim(options.output):
        made = make_taxonomy(config, options.products, options.embeddings, options.tags, options.seed)
        with atomic(options.output, options.report) as (table_aside, report_aside):
            write_table(table_aside, made.table)
            write_json(report_aside, made.description)


if __name__ == "__main__":
    main()
