"""Characters that neither XML nor HTML can hold, such as those that a damaged name in a catalogue has."""

import re

# Controls but tab and line ends, halves of a surrogate pair, and what Unicode calls noncharacters.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


def printable(text: str) -> str:
    """Return `text` with the replacement character (U+FFFD) for each character that XML or HTML forbids."""
    return _FORBIDDEN.sub("\ufffd", text)
