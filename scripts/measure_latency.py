"""Time the search of single test queries and of batches, after a warm-up, and write p50 and p95 as JSON.

Takes what retrieve or search_bm25 takes; `--retriever` says that it is a generative method.
"""

from pathlib import Path

from catid2.config.base import parse, require_at_least
from catid2.config.bm25 import Bm25Config
from catid2.config.retrieve import RetrieveConfig
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.errors import InputError


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: RetrieveConfig or Bm25Config")
    parser.add_argument("--retriever", **OPTIONAL_PATH, help="folder of train_retriever; without it: BM25")
    parser.add_argument("--docids", **OPTIONAL_PATH, help="docids.parquet of the method, with --retriever")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--embeddings", **OPTIONAL_PATH, help="VIEW.npy, for a retriever that reads vectors")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="queries searched at once")
    parser.add_argument("--searches", type=int, default=100, help="searches timed per batch size")
    parser.add_argument("--warm-up", type=int, default=3, help="searches before them that do not count")
    parser.add_argument("--output", required=True, type=Path, help="latency.json to write")
    arguments = parser.parse_args()
    for batch in arguments.batches:
        require_at_least("--batches", batch, 1)
    require_at_least("--searches", arguments.searches, 1)
    require_at_least("--warm-up", arguments.warm_up, 0)
    if (arguments.retriever is None) != (arguments.docids is None):
        raise InputError("--docids", "goes with --retriever", "give both, or neither for BM25")
    config = parse(RetrieveConfig if arguments.retriever else Bm25Config, arguments.config)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.retriever.retrieve import Corpus
    from catid2.runtime.writing import claim
    from catid2.studies.efficiency import write_latency
    from catid2.studies.latency import Plan, of_bm25, of_retriever

    plan = Plan(arguments.batches, arguments.searches, arguments.warm_up)
    with claim(arguments.output):
        if arguments.retriever:
            corpus = Corpus(arguments.docids, arguments.products, arguments.queries, arguments.embeddings)
            latency = of_retriever(config, arguments.retriever, corpus, plan)
        else:
            latency = of_bm25(config, arguments.products, arguments.queries, plan)
        write_latency(arguments.output, latency)


if __name__ == "__main__":
    main()
