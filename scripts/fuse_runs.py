"""Fuse the runs of several methods by reciprocal rank and write the run.

Give --run once per run, with its weight: a document scores the sum of weight / (k + rank).
`@FILE` reads further options from a file, one a line, as `--run=1:run.parquet`.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.fuse import LARGEST_WEIGHT, LEAST_WEIGHT, FuseConfig
from catid2.evaluation.fusion import WeightedRun, fuse_runs
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.tables import write_table
from catid2.runtime.writing import claim


def parse_run(text: str) -> WeightedRun:
    """Return WEIGHT:PATH as a WeightedRun."""
    weight, _, path = text.partition(":")
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if not (LEAST_WEIGHT <= number <= LARGEST_WEIGHT and path):
        what = f"{text!r} is not WEIGHT:PATH with a weight from {LEAST_WEIGHT:g} to {LARGEST_WEIGHT:g}"
        raise InputError("--run", what, "write for example 1:run.parquet")
    return WeightedRun(number, Path(path))


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--config", required=True, help="settings as JSON (catid2.config.fuse.FuseConfig)")
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet, for its size")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument(
        "--run", required=True, action="append", metavar="WEIGHT:PATH", help="a run.parquet (repeatable)"
    )
    parser.add_argument("--output", required=True, type=Path, help="run.parquet to write")
    arguments = parser.parse_args()
    config = parse(FuseConfig, arguments.config)
    runs = [parse_run(text) for text in arguments.run]
    with claim(arguments.output):
        write_table(arguments.output, fuse_runs(config, runs, arguments.products, arguments.queries))


if __name__ == "__main__":
    main()
