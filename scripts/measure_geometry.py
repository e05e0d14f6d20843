"""Measure what a method's embeddings, latents, residuals and codes know of the categories, level by level.

Reads the embeddings, the corpus, the DocIDs and, where the method has one, the RQ-VAE; writes geometry.json: the
accuracy of probes on held-out documents, and mean distances within and between categories.
"""

from dataclasses import asdict
from pathlib import Path

from catid2.config.base import parse
from catid2.config.geometry import GeometryConfig
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.tables import write_json
from catid2.runtime.writing import claim
from catid2.studies.geometry import Inputs, measure


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of GeometryConfig")
    parser.add_argument("--embeddings", required=True, type=Path, help="(N, D) float16 .npy, row = doc_id")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--docids", required=True, type=Path, help="docids.parquet of these products")
    parser.add_argument("--model", **OPTIONAL_PATH, help="rqvae/model.safetensors, if one made the codes")
    parser.add_argument("--output", required=True, type=Path, help="geometry.json to write")
    options = parser.parse_args()

    config = parse(GeometryConfig, options.config)
    folder = options.model.parent if options.model else None
    with claim(options.output):
        inputs = Inputs(options.embeddings, options.products, options.docids, folder)
        write_json(options.output, asdict(measure(config, inputs)))


if __name__ == "__main__":
    main()
