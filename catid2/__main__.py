"""Work with an index that rule export_index made: `python -m catid2 search INDEX "red dress"`."""

import io
import logging
import os
import sys
from importlib import import_module

from catid2.runtime.command import entry_point, new_parser

COMMANDS = ("search", "add", "export_onnx", "serve")  # modules of catid2.index.commands


@entry_point
def main() -> None:
    """Run the subcommand of the command line."""
    parser = new_parser(__doc__)
    parser.prog = "python -m catid2"
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"catid2.index.commands.{name}").add_parser(subparsers)
    arguments, words = parser.parse_known_args()
    if words and (not hasattr(arguments, "queries") or any(word.startswith("-") for word in words)):
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    if words:  # argparse leaves over what follows an option if the list of words may be empty
        arguments.queries += words
    logging.getLogger().setLevel(logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):  # titles are in any language
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        arguments.run(arguments)
    except BrokenPipeError:  # whoever reads our lines, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
