"""Write the test judgements of a protocol and label set as the files that trec_eval and ir_measures read."""

from pathlib import Path

from catid2.config.base import validate
from catid2.config.evaluate import Labels
from catid2.evaluation.trec import write_trec_qrels
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--protocol", required=True, choices=("seen", "all"), help="which pairs count")
    parser.add_argument("--labels", required=True, help="labels that count as relevant, such as ES")
    parser.add_argument("--relevant", required=True, type=Path, help="qrels of recall and success to write")
    parser.add_argument("--gains", required=True, type=Path, help="qrels of nDCG to write")
    options = parser.parse_args()
    labels = validate(Labels, options.labels, "--labels")
    read = (options.judgements, options.queries, options.products)
    with claim(options.relevant):
        write_trec_qrels(options.relevant, options.gains, *read, options.protocol, labels)


if __name__ == "__main__":
    main()
