"""Real rows of ESCI us that others have published, three small files, as raw files in ESCI's format.

One file has products with their ESCI-S category paths and the ids of the ESCI queries that list them; one has all
judgements of some of these queries, which become the test queries; one has judgements of further queries, which
become the train queries as far as they are about these products.
"""

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from catid2.config.base import Label
from catid2.corpus.esci import EXAMPLES_SCHEMA, PRODUCTS_SCHEMA
from catid2.runtime.errors import InputError, readable
from catid2.runtime.tables import require_file
from catid2.runtime.writing import atomic

LOCALE = "us"
# The files do not have the ids of the train queries: they are numbered from here, far above ESCI's ids.
FIRST_TRAIN_ID = 1_000_000
_LABELS: dict[str, Label] = {"100.000": "E", "10.000": "S", "1.000": "C", "0.000": "I"}  # of a rating
_REMEDY = "download it again"
_OF_ONE_SAMPLE = "download the files of one sample"
_LOG = logging.getLogger(__name__)

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Product(BaseModel):
    """A line of the products."""

    asin: str
    title: str
    description: str
    bullet_points: str
    brand: str | None
    color: str | None
    category: list[str]  # from the top down; empty if there is none
    query_id: list[Annotated[int, Field(ge=0, lt=FIRST_TRAIN_ID)]]  # of the queries that list it


class _Rating(BaseModel):
    docId: str
    rating: Literal["100.000", "10.000", "1.000", "0.000"]


class _Judged(BaseModel):
    query: str
    ratings: list[_Rating]


class _Judgements(BaseModel):
    judgmentRatings: list[_Judged]


_PRODUCT, _JUDGEMENTS = TypeAdapter(_Product), TypeAdapter(_Judgements)
_PAIRS = TypeAdapter(dict[str, list[tuple[str, Label]]])  # by query: products with their labels


class SampleFiles(NamedTuple):
    """What a sample is made of, as it is published."""

    products: Path  # gzip, one JSON object a line
    judgements: Path  # JSON: queries with their ratings
    pairs: Path  # JSON: by query, products and labels


def import_sample(sample: SampleFiles, examples: Path, products: Path, esci_s: Path) -> dict[str, int]:
    """Write examples and products (parquet) and ESCI-S (JSON lines, zstd), all or none; return what is counted.

    All rows are of the small and of the large version. A test query has the ESCI id that all its products list.

    Raises:
        InputError: a file is missing, damaged or of another content; there are no products, or no queries; a product,
            a test query or a product of a query is there twice; a test query has a product that is not among the
            products, or its products do not list exactly one id in common, or another query has this id; the files
            give a pair two labels.
    """
    catalogue = _unique(
        "product", ((product.asin, product) for product in _products(sample.products)), sample.products
    )
    if not catalogue:
        raise InputError(sample.products, "no products", _REMEDY)
    judged = (
        (one.query, [(rating.docId, _LABELS[rating.rating]) for rating in one.ratings])
        for one in _read(sample.judgements, _JUDGEMENTS).judgmentRatings
    )
    test = _by_query(judged, sample.judgements)
    pairs = _by_query(_read(sample.pairs, _PAIRS).items(), sample.pairs)
    ids = ((_common_id(query, labels, catalogue, sample.judgements), query) for query, labels in test.items())
    rows = [
        (query, query_id, product, label, "test")
        for query_id, query in _unique("a test query with id", ids, sample.judgements).items()
        for product, label in test[query].items()
    ]
    rows += [
        (query, FIRST_TRAIN_ID + number, product, label, "train")
        for number, (query, labels) in enumerate(pairs.items())
        for product, label in labels.items()
        if query not in test and product in catalogue
    ]
    if not rows:
        raise InputError(sample.judgements, "no queries", _OF_ONE_SAMPLE)
    agreeing = _check_labels(test, pairs, sample.pairs)
    with atomic(examples, products, esci_s) as (examples_aside, products_aside, esci_s_aside):
        pq.write_table(_examples(rows), examples_aside, compression="zstd")
        pq.write_table(_product_table(catalogue.values()), products_aside, compression="zstd")
        esci_s_aside.write_bytes(zstandard.compress(_records(catalogue.values())))
    counts = {"products": len(catalogue)}
    for split in ("test", "train"):
        of_split = [row for row in rows if row[-1] == split]
        counts[f"{split} queries"] = len({query_id for _, query_id, *_ in of_split})
        counts[f"{split} pairs"] = len(of_split)
    counts["labels that two files give"] = agreeing
    _LOG.info("%s", ", ".join(f"{count} {what}" for what, count in counts.items()))
    return counts


# --- reading ------------------------------------------------------------------------------------------


def _products(path: Path) -> Iterator[_Product]:
    try:
        with readable(require_file(path)):
            lines = gzip.decompress(path.read_bytes()).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, f"not a complete gzip file ({error})", _REMEDY) from None
    for number, line in enumerate(lines, 1):
        yield _validated(_PRODUCT, line, f"{path}: line {number}")


def _read(path: Path, content: TypeAdapter[Value]) -> Value:
    with readable(require_file(path)):
        text = path.read_bytes()
    return _validated(content, text, path)


def _validated(content: TypeAdapter[Value], text: bytes, where: str | Path) -> Value:
    try:
        return content.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise InputError(where, f"{place}{first['msg']}", _REMEDY) from None


# --- what must hold -----------------------------------------------------------------------------------


def _unique(kind: str, entries: Iterable[tuple[Key, Value]], path: Path) -> dict[Key, Value]:
    """Return the entries as a dict; InputError if a key is repeated, which names it as one of this kind."""
    found: dict[Key, Value] = {}
    for key, value in entries:
        if key in found:
            raise InputError(path, f"{kind} {key!r} is there twice", "keep one")
        found[key] = value
    return found


def _by_query(
    queries: Iterable[tuple[str, list[tuple[str, Label]]]], path: Path
) -> dict[str, dict[str, Label]]:
    """Return the labels of each query's products; InputError if a query, or a product of one, is repeated."""
    return {
        query: _unique(f"query {query!r}, product", labels, path)
        for query, labels in _unique("query", queries, path).items()
    }


def _common_id(query: str, products: Iterable[str], catalogue: Mapping[str, _Product], path: Path) -> int:
    """Return the one id that all products of a query list."""
    if missing := [product for product in products if product not in catalogue]:
        what = f"query {query!r} has product {missing[0]!r}, which is not among the products"
        raise InputError(path, what, _OF_ONE_SAMPLE)
    listed = [set(catalogue[product].query_id) for product in products]
    ids = set.intersection(*listed) if listed else set()
    if len(ids) != 1:
        what = f"the products of query {query!r} list {len(ids)} query ids in common, not one"
        raise InputError(path, what, _OF_ONE_SAMPLE)
    return ids.pop()


def _check_labels(
    test: Mapping[str, Mapping[str, Label]], pairs: Mapping[str, Mapping[str, Label]], path: Path
) -> int:
    """Return how many pairs both files label; InputError if a pair has two labels."""
    agreeing = 0
    for query, labels in pairs.items():
        known = test.get(query, {})
        for product in (product for product in labels if product in known):
            if labels[product] != known[product]:
                what = f"query {query!r}, product {product!r}: label {labels[product]}, elsewhere {known[product]}"
                raise InputError(path, what, "keep one of them")
            agreeing += 1
    return agreeing


# --- writing ------------------------------------------------------------------------------------------


def _examples(rows: list[tuple[str, int, str, str, str]]) -> pa.Table:
    query, query_id, product, label, split = zip(*rows, strict=True)
    n = len(rows)
    columns = [range(n), query, query_id, product, [LOCALE] * n, label, [1] * n, [1] * n, split]
    return pa.table([pa.array(column) for column in columns], schema=EXAMPLES_SCHEMA)


def _product_table(products: Iterable[_Product]) -> pa.Table:
    """Return the products as ESCI has them: an empty text is null."""
    rows = [
        (
            p.asin,
            *(text or None for text in (p.title, p.description, p.bullet_points, p.brand, p.color)),
            LOCALE,
        )
        for p in products
    ]
    return pa.table(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], schema=PRODUCTS_SCHEMA
    )


def _records(products: Iterable[_Product]) -> bytes:
    records = [
        {"type": "product", "locale": LOCALE, "asin": p.asin, "category": p.category} for p in products
    ]
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode()
