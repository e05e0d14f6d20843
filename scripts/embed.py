"""Embed every product's text under one view: an (N, d) float16 matrix, row = doc_id.

Runs alone or under torchrun; a run that was killed resumes after its last complete shard.
"""

from pathlib import Path

from catid2.config.base import parse, require_at_least, require_seed
from catid2.config.embed import ViewConfig
from catid2.embedding.documents import Batching, Outputs, embed
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="the view, as JSON (catid2.config.embed.ViewConfig)")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--output", required=True, type=Path, help="embeddings/VIEW.npy to write")
    parser.add_argument("--metadata", required=True, type=Path, help="embeddings/VIEW.json to write")
    parser.add_argument("--checkpoints", required=True, type=Path, help="shards; removed at the end")
    parser.add_argument("--seed", type=int, default=0, help="seed of the SVD of tfidf_svd (default 0)")
    parser.add_argument(
        "--batch-tokens",
        type=int,
        default=Batching().tokens,
        help=f"tokens per batch, padding included; lower it if memory runs out (default {Batching().tokens})",
    )
    arguments = parser.parse_args()
    config = parse(ViewConfig, arguments.config)
    require_seed("--seed", arguments.seed)
    require_at_least("--batch-tokens", arguments.batch_tokens, 1)
    outputs = Outputs(arguments.output, arguments.metadata, arguments.checkpoints)
    with claim(outputs.matrix):
        embed(config, arguments.products, outputs, arguments.seed, Batching(arguments.batch_tokens))


if __name__ == "__main__":
    main()
