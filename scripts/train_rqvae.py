"""Train the RQ-VAE that codes embeddings, on one device or, under torchrun, on several.

Reads the embeddings and the categories of the products; writes the weights, their config and the figures of
every epoch. Started again after a kill, it resumes from its last checkpoint and ends with the same result. On TERM or
Ctrl-C it saves at the end of the epoch, and ends with exit code 143 or 130. With `align_to` it then renames the
codes as an earlier catalogue knew them.
"""

import argparse
from pathlib import Path

import numpy as np

from catid2.config.base import parse, require_at_least, require_seed
from catid2.config.rqvae import RqvaeConfig
from catid2.corpus.products import canonical_order, read_categories, read_products
from catid2.docids.align import align, read_earlier
from catid2.quantizer import training as rqvae_training
from catid2.quantizer.history import dropped_shares, format_history, starved_levels
from catid2.quantizer.training import train
from catid2.runtime.checkpoint import Checkpoints, code_digest, fingerprint
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.errors import warn
from catid2.runtime.tables import read_embeddings, require_finite
from catid2.runtime.writing import atomic, claim
from catid2.training.distributed import process_group


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings (RqvaeConfig) as JSON")
    parser.add_argument("--seed", type=int, required=True, help="of weights, batches, k-means and positives")
    parser.add_argument("--embeddings", type=Path, required=True, help="(N, D) float16 .npy, row = doc_id")
    parser.add_argument("--products", type=Path, required=True, help="products.parquet, for the categories")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for the state to resume from")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=60,
        help="time between two saves, in seconds; 0 saves after every epoch (default 60)",
    )
    parser.add_argument("--model", type=Path, required=True, help="output: weights (model.safetensors)")
    parser.add_argument("--model-config", type=Path, required=True, help="output: config.json next to it")
    parser.add_argument("--history", type=Path, required=True, help="output: one line per epoch, TSV")
    return parser.parse_args()


@entry_point
def main() -> None:
    arguments = _arguments()
    config = parse(RqvaeConfig, arguments.config)
    require_seed("--seed", arguments.seed)
    require_at_least("--checkpoint-seconds", arguments.checkpoint_seconds, 0)
    categories = read_categories(arguments.products, config.levels)
    embeddings = read_embeddings(arguments.embeddings, rows=len(categories))
    require_finite(arguments.embeddings, embeddings)
    if config.align_to:
        product_ids, _ = read_products(arguments.products)
        earlier = read_earlier(Path(config.align_to), product_ids, config.layers, config.codebook_size)
    settings = {"config": config.model_dump(mode="json", exclude={"align_to"}), "seed": arguments.seed}
    run = settings | {
        "code": code_digest(rqvae_training.__file__),
        "embeddings": fingerprint({}, embeddings),
        "categories": fingerprint({}, categories),
    }
    with claim(arguments.model):
        checkpoints = Checkpoints(arguments.checkpoints, run)
        with process_group() as group:
            seconds = arguments.checkpoint_seconds
            trained = train(embeddings, categories, config, arguments.seed, group, checkpoints, seconds)
        if not group.is_first:
            return
        if config.align_to:
            order = canonical_order(product_ids, arguments.products)
            align(trained.model, embeddings, order, arguments.embeddings, earlier)
        dropped = dropped_shares(trained.history[-1], len(embeddings))
        details = settings | {
            "n_docs": len(embeddings),
            "n_categories": [len(np.unique(level)) for level in categories.T],
            "hccl_dropped": dropped,
            "fingerprint": fingerprint(run),
        }
        outputs = (arguments.model, arguments.model_config, arguments.history)
        with atomic(*outputs) as (model, model_config, history):
            trained.model.save(model, model_config, details)
            history.write_text(format_history(trained.history), encoding="utf-8")
        checkpoints.remove()
    for problem in starved_levels(dropped, config, categories):
        warn(arguments.products, problem.text, problem.remedy)


if __name__ == "__main__":
    main()
