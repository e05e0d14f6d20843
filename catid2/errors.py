"""The error that a user can mend: an input, a setting or a place that cannot be used."""

from pathlib import Path


class InputError(Exception):
    """An input that cannot be used. Its text is one line: where, what is wrong, what to do."""

    def __init__(self, where: str | Path, what: str, remedy: str):
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))
