"""Put the geometry of several methods and seeds of one dataset into one long table.

Give --geometry once per method and seed.
`@FILE` reads further options from a file, one a line, as `--geometry=tiger:0:geometry.json`.
"""

from pathlib import Path

from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim
from catid2.studies.geometry_table import GeometryFile, compare, write_geometry_table


def parse_geometry(text: str) -> GeometryFile:
    """Return METHOD:SEED:PATH as a GeometryFile."""
    method, _, rest = text.partition(":")
    seed, _, path = rest.partition(":")
    if not (method and seed.isdecimal() and path):
        what = f"{text!r} is not METHOD:SEED:PATH"
        raise InputError("--geometry", what, "write for example tiger:0:geometry.json")
    return GeometryFile(method, int(seed), Path(path))


@entry_point
def main() -> None:
    """Parse the command line and write the table."""
    parser = new_parser(__doc__, long=True)
    parser.add_argument("--dataset", required=True, help="name of the dataset, for the table")
    parser.add_argument(
        "--geometry",
        required=True,
        action="append",
        metavar="METHOD:SEED:PATH",
        help="a geometry.json (repeatable)",
    )
    parser.add_argument("--output", required=True, type=Path, help="TSV file to write")
    arguments = parser.parse_args()
    files = [parse_geometry(text) for text in arguments.geometry]
    with claim(arguments.output):
        write_geometry_table(*compare(arguments.dataset, files), arguments.output)


if __name__ == "__main__":
    main()
