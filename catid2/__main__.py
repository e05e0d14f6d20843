"""Work with an index that rule export_index made: `python -m catid2 search INDEX "red dress"`."""

import logging
from importlib import import_module

from catid2.runtime.command import entry_point, new_parser

COMMANDS = ("search", "add", "export_onnx", "serve")  # modules of catid2.index.commands


@entry_point
def main() -> None:
    """Run the subcommand of the command line."""
    parser = new_parser(__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"catid2.index.commands.{name}").add_parser(subparsers)
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
