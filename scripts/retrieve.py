"""Decode the DocIDs of all test queries with constrained beam search. Runs alone or under torchrun."""

from pathlib import Path

from catid2.config.base import parse, require_at_least
from catid2.config.retrieve import RetrieveConfig
from catid2.retriever.options import add_options
from catid2.runtime.command import entry_point, new_parser


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    add_options(parser)
    parser.add_argument("--output", required=True, type=Path, help="run.parquet to write")
    parser.add_argument("--batch-size", type=int, default=32, help="queries decoded together (default 32)")
    arguments = parser.parse_args()
    require_at_least("--batch-size", arguments.batch_size, 1)
    config = parse(RetrieveConfig, arguments.config)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.retriever.retrieve import Corpus, retrieve
    from catid2.runtime.writing import claim

    corpus = Corpus(arguments.docids, arguments.products, arguments.queries, arguments.embeddings)
    with claim(arguments.output):
        retrieve(config, arguments.retriever, corpus, arguments.output, arguments.batch_size)


if __name__ == "__main__":
    main()
