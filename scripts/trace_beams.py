"""Follow the relevant documents of the queries that the report shows through the beams of a method's search."""

from pathlib import Path

from catid2.config.base import parse, require_at_least, validate
from catid2.config.evaluate import Metric
from catid2.config.retrieve import RetrieveConfig
from catid2.retriever.options import add_options
from catid2.runtime.command import entry_point, new_parser


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    add_options(parser)
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--per-query", required=True, type=Path, help="{study}_per_query.parquet")
    parser.add_argument("--metric", required=True, help="column of it that says which queries are shown")
    parser.add_argument("--shown", required=True, type=int, help="how many queries are shown")
    parser.add_argument("--output", required=True, type=Path, help="beam_trace.parquet to write")
    arguments = parser.parse_args()
    config = parse(RetrieveConfig, arguments.config)
    metric = validate(Metric, arguments.metric, "--metric")
    require_at_least("--shown", arguments.shown, 1)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.retriever.retrieve import Corpus
    from catid2.runtime.tables import write_table
    from catid2.runtime.writing import claim
    from catid2.studies.beam_trace import Shown, beam_trace

    corpus = Corpus(arguments.docids, arguments.products, arguments.queries, arguments.embeddings)
    shown = Shown(arguments.judgements, arguments.per_query, metric, arguments.shown)
    with claim(arguments.output):
        write_table(arguments.output, beam_trace(config, arguments.retriever, corpus, shown))


if __name__ == "__main__":
    main()
