"""Make an index of a trained method: a folder that holds all a search needs, to be copied and searched anywhere."""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.index import IndexSettings
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of IndexSettings")
    parser.add_argument("--retriever", required=True, type=Path, help="folder written by train_retriever")
    parser.add_argument("--model", **OPTIONAL_PATH, help="rqvae/model.safetensors, for the scheme rqvae")
    parser.add_argument("--docids", required=True, type=Path, help="docids.parquet of the method")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--embeddings", required=True, type=Path, help="VIEW.npy of the method's view")
    parser.add_argument("--recall", type=Path, help="recall.tsv; if it is there, README.md has its figures")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    arguments = parser.parse_args()
    config = parse(IndexSettings, arguments.config)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.index.export import Parts, export_index
    from catid2.retriever.retrieve import Corpus
    from catid2.runtime.writing import claim

    parts = Parts(arguments.retriever, arguments.model.parent if arguments.model else None)
    corpus = Corpus(arguments.docids, arguments.products, arguments.queries, arguments.embeddings)
    with claim(arguments.output):
        export_index(config, parts, corpus, arguments.output, arguments.recall)


if __name__ == "__main__":
    main()
