"""The text of a product: its fields rendered by a template; and the words of a text.

Every stage that reads products as text (embed, search_bm25) uses this, so that a template means the same in each.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import regex

from catid2.config.template import CATEGORY_FIELD, Tokenizer, parse_template
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TEXT_FIELDS, read_footer, read_table, require_dense, row_group_sizes

PATH_SEPARATOR = " > "

# Scripts written without spaces: Han, Hiragana, Katakana (with the long-vowel mark, without the middle
# dot), Hangul. The same scripts as in Lucene's CJKBigramFilter.
_CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
# A word starts with a letter, digit or underscore. Combining marks belong to it: vowel signs of Hindi, Tamil and Thai,
# vowel points of Arabic and Hebrew, accents without a precomposed letter. Variation selectors only choose a glyph.
_LETTER, _MARK = r"\p{L}\p{N}_", r"[\p{Mn}\p{Mc}--\p{Variation_Selector}]"
_WORD = regex.compile(rf"(?V1)[{_LETTER}][{_LETTER}{_MARK}]*")
_CJK_RUN_OR_WORD = regex.compile(rf"(?V1)([{_CJK}]+)|[[{_LETTER}]--[{_CJK}]][[{_LETTER}{_MARK}]--[{_CJK}]]*")
_ASCII_WORD = re.compile(r"\w+")
_JOINER = regex.compile(r"[\u200c\u200d](?<=\p{M}.)")  # after a mark they only choose how letters join


class DocumentTexts(Sequence[str]):
    """The text of every product of products.parquet under a template, cut to `max_characters`; as `document_texts`.

    Texts are read and rendered on demand, one row group of the file at a time, so a catalogue of any size needs the
    memory of one row group (build_corpus writes 16,384 documents into each). The columns of the template are read once
    at the start, so that damage is found before hours of work.

    Raises:
        InputError: as read_table and document_texts; or the table is empty, or doc_id is not 0..N-1 in order.
    """

    def __init__(self, path: str | Path, template: str, max_characters: int):
        doc_id = read_table(path, {"doc_id": pa.int32()}).column("doc_id")
        require_dense(path, doc_id.to_numpy(), "build the corpus again")
        levels = sorted(name for name in read_footer(path)[0].names if CATEGORY_FIELD.fullmatch(name))
        every = dict.fromkeys((*TEXT_FIELDS, *levels), pa.string())
        sizes = row_group_sizes(path)
        first = next(group for group, size in enumerate(sizes) if size)
        document_texts(
            read_table(path, every, [first]).slice(0, 1), template, max_characters
        )  # do fields exist?
        named = {field for field, _ in parse_template(template).fields}
        if "category_path" in named:
            named.update(levels)
        self._path, self._template, self._max_characters = path, template, max_characters
        self._columns = {name: kind for name, kind in every.items() if name in named}
        self._ends = np.cumsum(sizes)
        for group in range(len(sizes)):
            self._read(group)

    def __len__(self) -> int:
        """Return the number of documents."""
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index):
        """Return the text of a document, or those of a slice as a list."""
        rows = range(len(self))[index]
        if isinstance(rows, int):
            return self._between(rows, rows + 1)[0]
        if rows.step == 1:
            return self._between(rows.start, rows.stop)
        return [self[row] for row in rows]

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in order."""
        start = 0
        for end in self._ends.tolist():
            yield from self._between(start, end)
            start = end

    def _between(self, start: int, stop: int) -> list[str]:
        texts: list[str] = []
        while start < stop:
            group = int(np.searchsorted(self._ends, start, side="right"))
            if group != self._number:
                self._read(group)
            end = int(self._ends[group])
            rows = self._table.slice(start - end + self._table.num_rows, min(stop, end) - start)
            texts += document_texts(rows, self._template, self._max_characters)
            start = min(stop, end)
        return texts

    def _read(self, group: int) -> None:
        """Keep the columns of a row group: what is asked for next is mostly in the same."""
        self._number, self._table = group, read_table(self._path, self._columns, [group])


def document_texts(products: pa.Table, template: str, max_characters: int) -> list[str]:
    """Return the text of every product under `template`, cut to `max_characters` characters.

    A field that is null or blank is left out together with the literal text between it and the next field;
    a product without any of the fields has the empty text. Runs of white space become one space.

    Raises:
        InputError: the template names a category level that the products do not have.
    """
    opening, fields = parse_template(template)
    literals = [literal for _, literal in fields]
    texts = []
    for values in zip(*(_values(products, field) for field, _ in fields), strict=True):
        said = [value + literal for value, literal in zip(values, literals, strict=True) if value]
        text = " ".join((opening + "".join(said)).split()) if said else ""
        texts.append(text[:max_characters].rstrip())
    return texts


def _values(products: pa.Table, field: str) -> list[str]:
    """One string per product, empty where the field is missing."""
    if field == "category_path":
        levels = [name for name in products.column_names if CATEGORY_FIELD.fullmatch(name)]
        if not levels:
            raise InputError("template", "no {category_path} in these products", "name other fields")
        names = (products.column(level).to_pylist() for level in levels)
        return [PATH_SEPARATOR.join(name for name in path if name) for path in zip(*names, strict=True)]
    if field not in products.column_names:
        remedy = f"the products have {', '.join(products.column_names)}"
        raise InputError("template", f"no {{{field}}} in these products", remedy)
    return [(value or "").strip() for value in products.column(field).to_pylist()]


def tokenize(text: str, tokenizer: Tokenizer) -> Sequence[str]:
    """Return the words of a text, after Unicode compatibility normalisation (NFKC) and lower-casing.

    `words`: runs of letters with their combining marks, digits and underscores. No stop words, no stemming; accents
    and vowel points are kept. Thai, Lao, Khmer and Burmese have no spaces between words: the text between two spaces,
    punctuation marks or zero-width spaces (U+200B) is one word.
    `words_cjk_bigrams`: the same, but a run of Han, kana or Hangul gives its overlapping pairs of
    characters (a run of one character gives itself). No dictionary is needed.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    if text.isascii():  # neither marks nor CJK; `re` takes half the time
        return _ASCII_WORD.findall(text)
    text = _JOINER.sub("", text)
    if tokenizer == "words":
        return _WORD.findall(text)
    words = []
    for match in _CJK_RUN_OR_WORD.finditer(text):
        run = match.group()
        if match.group(1) and len(run) > 1:
            words.extend(run[i : i + 2] for i in range(len(run) - 1))
        else:
            words.append(run)
    return words
