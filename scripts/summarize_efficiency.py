"""Put what the stages of a study's methods took into one table: time, memory, latency.

Give --stage once per method and stage, in the order of the rows.
`@FILE` reads further options from a file, one a line, as `--latency=tiger:latency.json`.
"""

from pathlib import Path

from catid2.config.base import require_seed
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim
from catid2.studies.efficiency import Stage, summarize, write_table


def parse_stage(text: str) -> Stage:
    """Return METHOD:RULE:OWNER:LOG as a Stage."""
    parts = text.split(":", 3)
    if len(parts) < 4 or not all(parts):
        remedy = "write for example tiger:retrieve:tiger:logs/demo_us/tiger/seed0/retrieve"
        raise InputError("--stage", f"{text!r} is not METHOD:RULE:OWNER:LOG", remedy)
    return Stage(*parts[:3], Path(parts[3]))


def parse_latency(text: str) -> tuple[str, Path]:
    """Return METHOD:PATH as a pair."""
    method, _, path = text.partition(":")
    if not (method and path):
        raise InputError("--latency", f"{text!r} is not METHOD:PATH", "write for example tiger:latency.json")
    return method, Path(path)


@entry_point
def main() -> None:
    """Parse the command line and write the table."""
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument("--seed", type=int, default=0, help="of the runs, for the table (default 0)")
    parser.add_argument(
        "--stage",
        required=True,
        action="append",
        metavar="METHOD:RULE:OWNER:LOG",
        help="LOG.benchmark.tsv holds the stage's measures (repeatable)",
    )
    parser.add_argument(
        "--latency",
        default=[],
        action="append",
        metavar="METHOD:PATH",
        help="what measure_latency wrote for a method (repeatable)",
    )
    parser.add_argument("--output", required=True, type=Path, help="efficiency.tsv to write")
    arguments = parser.parse_args()
    require_seed("--seed", arguments.seed)
    stages = [parse_stage(text) for text in arguments.stage]
    latencies = dict(parse_latency(text) for text in arguments.latency)
    with claim(arguments.output):
        table, header = summarize(arguments.dataset, arguments.seed, stages, latencies)
        write_table(arguments.output, table, header)


if __name__ == "__main__":
    main()
