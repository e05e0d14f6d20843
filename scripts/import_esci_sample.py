"""Import a small sample of ESCI us that others have published: examples, products and ESCI-S records; all or none."""

from pathlib import Path

from catid2.corpus.esci_sample import SampleFiles, import_sample
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--products", type=Path, required=True, help="products, gzip JSON lines")
    parser.add_argument("--judgements", type=Path, required=True, help="test queries, JSON")
    parser.add_argument("--pairs", type=Path, required=True, help="further queries, JSON")
    parser.add_argument("--examples-out", type=Path, required=True, help="output, parquet: judged queries")
    parser.add_argument("--products-out", type=Path, required=True, help="output, parquet: products")
    parser.add_argument("--esci-s-out", type=Path, required=True, help="output, .json.zst: one record a line")
    arguments = parser.parse_args()
    sample = SampleFiles(arguments.products, arguments.judgements, arguments.pairs)
    with claim(arguments.examples_out):
        import_sample(sample, arguments.examples_out, arguments.products_out, arguments.esci_s_out)


if __name__ == "__main__":
    main()
