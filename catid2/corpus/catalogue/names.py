"""Category paths and tags as people write them into one cell: lists, lists written as text, texts with separators.

A cell is read if it has one meaning. If it could have two (several paths, a list that is cut), it is `Unclear`, whose
message names the key of the configuration that decides.
"""

import ast
import io
import json
import re
import tokenize
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from html.entities import codepoint2name
from typing import Any, NamedTuple

Names = list[str | None]

_PATH_MARKS = (",", ";", "|", "\n")  # what may stand between the paths of one cell
_SEPARATOR = re.compile(r"\s*(?:>+|[»›→|])\s*")  # what stands between names, and in few of them
_ONE_QUOTED = re.compile(r"""\[\s*(["'])((?:(?!\1\s*,).)*)\1\s*\]""", re.DOTALL)
_LIST_STARTS = re.compile(r"""[\[{]\s*\[?\s*["']""")
_ENTRIES = (str, type(None), list, tuple)  # of a list in a text
_SHOWN = 100  # characters of a cell in a message


class Unclear(Exception):
    """A cell or a column that can be read in more than one way, or in none."""

    def __init__(self, what: str, remedy: str):
        super().__init__(what)
        self.remedy = remedy


class Splitting(NamedTuple):
    """How the cells of a column become names."""

    key: str  # of the configuration, that holds the separator
    separator: str | None  # between names
    of_paths: bool = False  # the names are a path
    # Between paths, of which the longest is taken; "": a text is one path, None: it is, unless it looks like several.
    path_separator: str | None = None


class NameReader:
    """Reads the cells of one column, and remembers the texts to check together whether they were split well."""

    def __init__(self, how: Splitting):
        """Make a reader that has read nothing."""
        self._how = how
        self._between = _pattern(how.separator)
        self._texts: dict[str, Names] = {}  # of a column of paths, which many products share

    def read(self, cell: str | Sequence | None) -> Names | None:
        """Return the names in a cell, neither cleaned nor stripped; None if the cell is null or blank.

        Raises:
            Unclear: the cell is a text and there is no separator, or it holds several paths, or a damaged list.
        """
        if not isinstance(cell, str):
            return None if cell is None else self._of_list(cell)
        if (names := self._texts.get(cell)) is not None:
            return names
        text = cell.strip()
        if not text:
            return None
        if (listed := _list_in(text)) is not None:
            return self._of_list(listed)
        if self._between is None:
            remedy = f"set {self._how.key} in the config{_likely_separator([text])}"
            raise Unclear(f"{_shown(text)} is text, not a list of names", remedy)
        names = self._longest([self._split(part) for part in self._parts(text)])
        if self._how.of_paths:
            self._texts[cell] = names
        return names

    def check(self) -> None:
        """Check all texts together.

        Raises:
            Unclear: the separator is in no text but another is in most, or a text looks like several paths.
        """
        if self._unused() and (likely := _likely_separator(self._texts)):
            what = f"{self._how.key} {self._how.separator!r} is in none of {len(self._texts)} texts"
            raise Unclear(what, f"set it to what separates the names{likely}")
        if self._how.path_separator is None:
            for text, mark in self._of_several_paths():
                remedy = (
                    f"set path_separator: {mark!r} in the config and the longest path is taken, or path_separator: "
                    "'' if it is one path"
                )
                raise Unclear(f"{_shown(text)} looks like several paths", remedy)

    def doubts(self) -> Iterator[tuple[str, str]]:
        """Yield what could mean something else, each with its remedy."""
        key, separator, texts = self._how.key, self._how.separator, self._texts
        if self._unused():
            what = f"{key} {separator!r} is in no text, such as {_shown(next(iter(texts)))}"
            yield what, "correct it, unless every path has one name"
        elif separator and separator != separator.strip() and _SEPARATOR.fullmatch(separator):
            core = separator.strip()
            tight = [text for text, names in texts.items() if any(core in (name or "") for name in names)]
            if tight:
                what = (
                    f"{len(tight)} of {len(texts)} texts hold {core!r} in a name, such as {_shown(tight[0])}"
                )
                yield what, f"set {key}: {core!r} if it separates names there, too"

    def _unused(self) -> bool:
        """Return whether there are texts and none contains the separator."""
        return bool(self._texts) and all(len(names) < 2 for names in self._texts.values())

    def _of_list(self, values: Sequence) -> Names:
        nested = any(isinstance(value, list | tuple) for value in values)
        for part in values if nested else [values]:
            if not isinstance(part, list | tuple) or not all(isinstance(name, str | None) for name in part):
                raise Unclear(f"{_shown(str(values))} is no list of names", "write a list of names")
        if nested:
            return self._longest(list(values))
        several = len(values) > 1 and self._how.of_paths and self._how.path_separator != ""
        if (several or len(values) == 1) and any(len(self._split(name)) > 1 for name in values):
            return self._longest([self._split(name) for name in values])
        return list(values)

    def _parts(self, text: str) -> list[str]:
        mark = self._how.path_separator
        if not mark:
            return [text]
        return [part.replace("\\" + mark, mark) for part in re.split(rf"(?<!\\){re.escape(mark)}", text)]

    def _split(self, text: str | None) -> Names:
        if text is None or self._between is None:
            return [text]
        return list(self._between.split(text))

    def _longest(self, paths: list[Names]) -> Names:
        """Return the path with most names, the first of several."""
        filled = [path for path in paths if any(name and name.strip() for name in path)]
        if len(filled) > 1 and not self._how.path_separator:
            first = [" > ".join(name or "" for name in path) for path in filled[:2]]
            remedy = "set path_separator in the config, such as ', ', and the longest is taken"
            raise Unclear(f"{len(filled)} paths in one cell ({_shown(', '.join(first))})", remedy)
        return max(filled, key=len, default=[])

    def _of_several_paths(self) -> Iterator[tuple[str, str]]:
        """Yield the texts that look like several paths, with what separates them.

        Names contain commas, too: "Home > Kitchen, Dining > Pans" is one path, unless another text is "Home > Kitchen",
        or starts with "Dining" as well.
        """
        wholes = {_stripped(names) for names in self._texts.values()}
        for mark in _PATH_MARKS:
            if mark in (self._how.separator or ""):
                continue
            roots = {path[0] for path in wholes if path and mark not in path[0]}
            for text in self._texts:
                parts = [_stripped(self._split(part)) for part in text.split(mark)]
                if len(parts) < 2 or not all(parts):
                    continue
                first, *others = parts
                rooted = any(part[0] in roots or part[0] == first[0] for part in others)
                whole = len(first) > 1 and first in wholes
                if (rooted or whole) and ((rooted and whole) or any(len(part) > 1 for part in others)):
                    yield text, f"{mark} " if f"{mark} " in text else mark


def _pattern(separator: str | None) -> re.Pattern | None:
    """Return the pattern that splits a text: the separator, or its HTML entity such as `&gt;`.

    White space around the separator matches any white space, or the start or end of the text.
    """
    if separator is None:
        return None
    core = separator.strip()
    if not core:
        return re.compile(re.escape(separator))
    entity = "".join(
        f"&{codepoint2name[ord(char)]};" if ord(char) in codepoint2name else char for char in core
    )
    before = r"(?:^|(?<=\s))" if separator[0].isspace() else ""
    after = r"(?=\s|$)" if separator[-1].isspace() else ""
    return re.compile(f"{before}(?:{re.escape(core)}|{re.escape(entity)}){after}")


def _list_in(text: str) -> list | None:
    """Return the list that a text is, as JSON, Python or NumPy writes it; None if it is no list of texts.

    Raises:
        Unclear: it starts as one and cannot be read.
    """
    if text[0] in "[(":
        for parse in (json.loads, _python_list):
            try:
                value = parse(text)
            except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
                continue
            if isinstance(value, list | tuple) and all(isinstance(part, _ENTRIES) for part in value):
                return list(value)
        if quoted := _ONE_QUOTED.fullmatch(text):  # with quotes in it, as in ["15.6" laptop"]
            return [quoted[2]]
    if _LIST_STARTS.match(text):
        raise Unclear(f"{_shown(text)} starts as a list, but is none", "write a complete list of names")
    return None


def _python_list(text: str) -> Any:
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    strings = [token.string for token in tokens if token.type == tokenize.STRING]
    if strings and [token.string for token in tokens if token.type == tokenize.OP] == ["[", "]"]:
        # NumPy writes no commas: ['a' 'b'], which Python takes for one text.
        return [ast.literal_eval(string) for string in strings]
    return ast.literal_eval(text)


def _stripped(names: Names) -> tuple[str, ...]:
    return tuple(name.strip() for name in names if name and name.strip())


def _likely_separator(texts: Collection[str]) -> str:
    """Return ", such as …" with what separates names in at least half of the texts; "" if nothing does."""
    found = {text: match[0] for text in texts if (match := _SEPARATOR.search(text))}
    if 2 * len(found) < len(texts):
        return ""
    [(separator, _)] = Counter(found.values()).most_common(1)
    example = next(text for text, match in found.items() if match == separator)
    return f", such as {separator!r} in {_shown(example)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
