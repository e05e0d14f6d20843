"""Embed every query of a corpus in the space of a view's documents: a (Q, d) float16 matrix, row = row of queries."""

from pathlib import Path

from catid2.embedding.queries import Corpus, Outputs, embed_queries
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--embeddings", required=True, type=Path, help="VIEW.npy, with VIEW.json next to it")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--prefix", default="", help='put before every query, such as "query: "')
    parser.add_argument("--output", required=True, type=Path, help="embeddings/VIEW_queries.npy to write")
    parser.add_argument("--metadata", required=True, type=Path, help="embeddings/VIEW_queries.json to write")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.embeddings, arguments.products, arguments.queries)
    with claim(arguments.output):
        embed_queries(arguments.prefix, corpus, Outputs(arguments.output, arguments.metadata))


if __name__ == "__main__":
    main()
