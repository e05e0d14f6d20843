"""Put the geometry of several methods and seeds of one dataset into one long table.

Give --geometry once per method and seed.
`@FILE` reads further options from a file, one a line, as `--geometry=tiger:0:geometry.json`.
"""

from pathlib import Path

from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.options import add_repeatable
from catid2.runtime.writing import claim
from catid2.studies.geometry_table import GeometryFile, compare, write_geometry_table


@entry_point
def main() -> None:
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    add_repeatable(parser, "--geometry", "METHOD:SEED:PATH", "a geometry.json", "tiger:0:geometry.json")
    parser.add_argument("--output", required=True, type=Path, help="TSV file to write")
    arguments = parser.parse_args()
    files = [GeometryFile(method, int(seed), Path(path)) for method, seed, path in arguments.geometry]
    with claim(arguments.output):
        write_geometry_table(*compare(arguments.dataset, files), arguments.output)


if __name__ == "__main__":
    main()
