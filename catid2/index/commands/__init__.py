"""The subcommands of `python -m catid2`: each module has `add_parser` and `run`."""
