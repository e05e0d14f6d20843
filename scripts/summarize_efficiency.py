"""Put what the stages of a study's methods took into one table: time, memory, latency.

Give --stage once per method and stage, in the order of the rows.
`@FILE` reads further options from a file, one a line, as `--latency=tiger:latency.json`.
"""

from pathlib import Path

from catid2.config.base import require_seed
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.options import add_repeatable
from catid2.runtime.writing import claim
from catid2.studies.efficiency import Stage, summarize, write_table


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument("--seed", type=int, default=0, help="of the runs, for the table (default 0)")
    stage = ("METHOD:RULE:OWNER:LOG", "LOG.benchmark.tsv holds the measures of a stage")
    add_repeatable(parser, "--stage", *stage, "tiger:retrieve:tiger:logs/demo_us/tiger/seed0/retrieve")
    latency = ("METHOD:PATH", "what measure_latency wrote for a method", "tiger:latency.json")
    add_repeatable(parser, "--latency", *latency, required=False)
    parser.add_argument("--output", required=True, type=Path, help="efficiency.tsv to write")
    arguments = parser.parse_args()
    require_seed("--seed", arguments.seed)
    stages = [Stage(*names, Path(log)) for *names, log in arguments.stage]
    latencies = {method: Path(path) for method, path in arguments.latency}
    with claim(arguments.output):
        table, header = summarize(arguments.dataset, arguments.seed, stages, latencies)
        write_table(arguments.output, table, header)


if __name__ == "__main__":
    main()
