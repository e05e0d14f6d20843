"""Give every document of a corpus a DocID: its codes in the configured ID scheme, made unique.

Reads the embeddings, the corpus and, for the scheme that needs one, the RQ-VAE; writes docids.parquet (doc_id,
product_id, the DocID, the codes before the repair, moved) and docids.json (collisions and distortion before and after,
perplexity, dead codes, mutual information with the categories and what it is by chance, documents that dropped out of
HCCL). Nothing is written if documents are left with the same DocID, unless the config allows it.
"""

import logging
from pathlib import Path

from catid2.config.base import parse, require_seed
from catid2.config.docids import DocidsConfig
from catid2.corpus.products import canonical_order, read_products
from catid2.docids.align import read_earlier
from catid2.docids.assign import assign_coded, describe, require_unique
from catid2.docids.schemes.coding import Documents
from catid2.docids.schemes.registry import SCHEMES
from catid2.docids.table import docids_table
from catid2.quantizer.model import CONFIG_FILE
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_embeddings, read_json, write_json, write_table
from catid2.runtime.writing import atomic, claim

log = logging.getLogger("assign_docids")


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of DocidsConfig")
    parser.add_argument("--seed", type=int, default=0, help="of what a scheme draws (default 0)")
    parser.add_argument("--embeddings", required=True, type=Path, help="(N, D) float16 .npy, row = doc_id")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--taxonomy", **OPTIONAL_PATH, help="taxonomy.parquet to learn categories from")
    parser.add_argument("--model", **OPTIONAL_PATH, help="rqvae/model.safetensors, for the scheme rqvae")
    parser.add_argument(
        "--align-to",
        **OPTIONAL_PATH,
        help="docids.parquet to align to, for the scheme rqvae, as it was trained",
    )
    parser.add_argument("--output", required=True, type=Path, help="docids.parquet to write")
    parser.add_argument("--report", required=True, type=Path, help="docids.json to write")
    options = parser.parse_args()

    config = parse(DocidsConfig, options.config)
    require_seed("--seed", options.seed)
    folder = options.model.parent if options.model else None
    with claim(options.output):
        product_ids, categories = read_products(options.products)
        embeddings = read_embeddings(options.embeddings, rows=len(product_ids))

        learnt = categories
        if options.taxonomy:
            own_ids, learnt = read_products(options.taxonomy)
            if not own_ids.equals(product_ids):
                what = f"not of the documents in {options.products}"
                raise InputError(options.taxonomy, what, "make the taxonomy of this corpus")
        order = canonical_order(product_ids, options.products)
        documents = Documents(embeddings, learnt, order, options.embeddings, folder)
        coding = SCHEMES[config.scheme.kind](documents, config.scheme, options.seed)
        earlier = None
        if options.align_to:
            if folder is None:
                what = f"the scheme {config.scheme.kind} is not aligned"
                raise InputError("--align-to", what, "leave it out, or take the scheme rqvae")
            layers, size, _ = coding.codebooks.shape
            earlier = read_earlier(options.align_to, product_ids, layers, size)
        assignment = assign_coded(coding, product_ids, config, earlier)
        dropped = read_json(folder / CONFIG_FILE).get("hccl_dropped", []) if folder else []
        report = describe(assignment, coding, config, categories, dropped, earlier)
        for state in ("before", "after"):
            found = report[state]
            log.info("%s: collisions %s, distortion %s", state, found["collisions"], found["distortion"])
        if earlier:
            log.info("of the documents of %s: %s", options.align_to, report["kept"])
        require_unique(assignment, config)
        with atomic(options.output, options.report) as (table_aside, report_aside):
            write_table(table_aside, docids_table(product_ids, assignment))
            write_json(report_aside, report)


if __name__ == "__main__":
    main()
