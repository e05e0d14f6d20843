"""Options that several scripts have."""

import argparse
import re

from catid2.runtime.errors import InputError


def add_repeatable(
    parser: argparse.ArgumentParser, option: str, form: str, what: str, example: str, required: bool = True
) -> None:
    """Add an option that may be given several times; its value is a list with the parts of each text.

    Args:
        parser: of the script.
        option: its name.
        form: of a text, such as METHOD:SEED:PATH. SEED is a whole number, and the last part may hold any character.
        what: help.
        example: a text, for the InputError about one of another form.
        required: it must be given once at least.
    """
    names = re.split("[:=]", form)
    mark = form[len(names[0])]

    def parts(text: str) -> list[str]:
        found = dict(zip(names, text.split(mark, len(names) - 1), strict=False))
        if len(found) < len(names) or not all(found.values()) or not found.get("SEED", "0").isdecimal():
            raise InputError(option, f"{text!r} is not {form}", f"write for example {example}")
        return list(found.values())

    several = {"action": "append", "default": [], "required": required}
    parser.add_argument(option, **several, type=parts, metavar=form, help=f"{what} (repeatable)")
