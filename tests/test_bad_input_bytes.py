"""Files cut at any byte or with a bit flipped: one line; never a traceback, nor other content past a checksum."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from bad_inputs import (
    CORPUS,
    DATASET,
    ESCI_S,
    EXAMPLES,
    GEOMETRY,
    GEOMETRY_TABLE,
    METHOD,
    PATHS,
    PER_QUERY,
    PRODUCTS,
    TRACE,
    VIEW,
    copy_of,
)
from breakage import make_unreadable, put

from catid2.corpus.build import check_category_paths
from catid2.corpus.database import Resources, connect
from catid2.corpus.esci import load_examples, load_products
from catid2.corpus.esci_s import extract_categories
from catid2.corpus.products import read_products
from catid2.corpus.queries import read_judgements, read_queries
from catid2.corpus.text import DocumentTexts
from catid2.docids.table import Docids
from catid2.evaluation.per_query import read_per_query
from catid2.evaluation.recall import read_run
from catid2.evaluation.table import read_recall
from catid2.quantizer.model import RQVAE
from catid2.report.inputs import (
    read_catalogue,
    read_curves,
    read_docid_statistics,
    read_docids,
    read_stats,
    read_view,
)
from catid2.retriever.t5 import load_retriever
from catid2.runtime import tables
from catid2.runtime.errors import InputError
from catid2.runtime.tables import (
    QUERIES,
    RUN,
    TEXT_FIELDS,
    docids_columns,
    read_embeddings,
    read_footer,
    read_table,
)
from catid2.studies.geometry import read_geometry
from catid2.studies.geometry_table import read_geometry_table

CUTS, FLIPS = 30, 80
HEADER = 128  # bytes of a .npy file before its numbers
ONE_THREAD = Resources(threads=1)


class Reader(NamedTuple):
    """How a file of the tiny run is read."""

    path: str
    read: Callable[[Path], object]
    costly: bool = False  # tried at fewer places
    sealed: bool = False  # checksums cover what is read


def with_duckdb(load: Callable) -> Callable[[Path], object]:
    """Return `load` as a function of the path alone."""

    def read(path: Path) -> object:
        with connect(ONE_THREAD) as connection:
            return load(connection, path)

    return read


def documents_beside(docids: Path) -> int:
    """Return how many documents the corpus next to a method has."""
    return read_footer(docids.parents[2] / "corpus" / "products.parquet")[1]


def read_texts(products: Path) -> list[str]:
    """Return the text of every document, of all its fields."""
    fields = " ".join(f"{{{field}}}" for field in (*TEXT_FIELDS, "category_path"))
    return list(DocumentTexts(products, fields, 10_000))


def differences_by_query(path: Path) -> list[tuple[list[int], list[list[float]]]]:
    """Return what the report shows of recall_per_query.parquet."""
    every = read_per_query(path, "recall@10")
    return [(one.query_ids.tolist(), one.differences().tolist()) for one in every]


READERS = {
    "examples": Reader(EXAMPLES, with_duckdb(lambda c, path: load_examples(c, path, "es", "small")), True),
    "products": Reader(PRODUCTS, with_duckdb(lambda c, path: load_products(c, path, "es")), True),
    "records": Reader(ESCI_S, lambda path: extract_categories(path, path.with_name("out"), ONE_THREAD), True),
    "category paths": Reader(PATHS, with_duckdb(check_category_paths), True),
    "documents": Reader(f"{CORPUS}/products.parquet", read_texts, sealed=True),
    "categories": Reader(f"{CORPUS}/products.parquet", read_products, sealed=True),
    "queries": Reader(f"{CORPUS}/queries.parquet", lambda path: read_queries(path, "test"), sealed=True),
    "judgements": Reader(
        f"{CORPUS}/judgements.parquet", lambda path: read_judgements(path, "test"), sealed=True
    ),
    "tree": Reader(f"{CORPUS}/categories.parquet", lambda path: read_catalogue(path.parent), sealed=True),
    "stats": Reader(f"{CORPUS}/stats.json", read_stats),
    "embeddings": Reader(f"{VIEW}.npy", read_embeddings),
    "view": Reader(f"{VIEW}.json", read_view),
    "DocIDs": Reader(f"{METHOD}/docids.parquet", Docids.read, sealed=True),
    "DocIDs of the report": Reader(
        f"{METHOD}/docids.parquet", lambda path: read_docids(path, documents_beside(path)), sealed=True
    ),
    "figures": Reader(f"{METHOD}/docids.json", read_docid_statistics),
    "RQ-VAE": Reader(f"{METHOD}/rqvae/model.safetensors", lambda path: RQVAE.load(path.parent), sealed=True),
    "RQ-VAE config": Reader(f"{METHOD}/rqvae/config.json", lambda path: RQVAE.load(path.parent)),
    "history": Reader(f"{METHOD}/rqvae/history.tsv", lambda path: read_curves(path, ("reconstruction",), 9)),
    "weights": Reader(
        f"{METHOD}/retriever/model.safetensors", lambda path: load_retriever(path.parent), True
    ),
    "layout": Reader(f"{METHOD}/retriever/config.json", lambda path: load_retriever(path.parent), True),
    "tokenizer": Reader(f"{METHOD}/retriever/tokenizer.json", lambda path: load_retriever(path.parent), True),
    "tokenizer config": Reader(
        f"{METHOD}/retriever/tokenizer_config.json", lambda path: load_retriever(path.parent), True
    ),
    "run": Reader(
        f"{METHOD}/run.parquet", lambda path: read_run(path, pl.Series(range(1000)), 1000), sealed=True
    ),
    "recall": Reader(f"{DATASET}/recall.tsv", read_recall),
    "metrics by query": Reader(PER_QUERY, differences_by_query, sealed=True),
    "trace": Reader(TRACE, lambda path: read_table(path, tables.TRACE), sealed=True),
    "geometry": Reader(GEOMETRY, read_geometry),
    "table of geometry": Reader(GEOMETRY_TABLE, read_geometry_table),
}


@pytest.fixture(scope="module")
def copy(tiny_run, tmp_path_factory) -> Path:
    """A copy of the tiny run whose files a test replaces and puts back."""
    return copy_of(tiny_run.folder, tmp_path_factory.mktemp("bytes"))


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_at_any_byte_or_unreadable_is_refused(name, copy):
    reader = READERS[name]
    file = copy / reader.path
    whole = file.read_bytes()
    reader.read(file)
    tries = random.Random(0).sample(range(len(whole)), min(CUTS // (1 + 2 * reader.costly), len(whole)))
    for length in sorted({0, 1, 4, 7, len(whole) // 2, len(whole) - 2, *tries}):
        if file.suffix == ".tsv" and whole[:length].endswith(b"\n"):
            continue  # a table of fewer rows, which nothing tells from a complete one
        put(file, whole[:length])
        with pytest.raises(InputError) as caught:
            reader.read(file)
        assert file.parent.name in str(caught.value), length
    make_unreadable(file)
    with pytest.raises(InputError, match=r"cannot be read \(Input/output error\)") as caught:
        reader.read(file)
    assert file.parent.name in str(caught.value)
    put(file, whole)


def flipped(whole: bytes, bit: int) -> bytes:
    """Return the content with one bit flipped."""
    place = bit // 8
    return whole[:place] + bytes([whole[place] ^ 1 << bit % 8]) + whole[place + 1 :]


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if not reader.sealed])
def test_a_flipped_bit_is_read_or_refused_in_a_line_that_names_the_file(name, copy):
    reader = READERS[name]
    file = copy / reader.path
    whole, lines = file.read_bytes(), []
    for bit in random.Random(1).sample(range(8 * len(whole)), FLIPS // (1 + 4 * reader.costly)):
        put(file, flipped(whole, bit))
        try:
            reader.read(file)
        except InputError as error:
            lines.append(str(error))
    put(file, whole)
    assert [line for line in lines if file.parent.name not in line] == []
    assert lines or file.suffix not in (".json", ".tsv")


def plain(value: object) -> object:
    """Return what a reader gave as lists, which compare by value."""
    if isinstance(value, torch.nn.Module):
        return {name: tensor.tolist() for name, tensor in value.state_dict().items()}
    if isinstance(value, Docids):
        return [plain(part) for part in vars(value).values()]
    if isinstance(value, pa.Table | pa.Array | pa.ChunkedArray):
        return value.to_pylist()
    if isinstance(value, pl.DataFrame):
        return value.rows(named=True)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.sealed])
def test_a_flipped_bit_under_a_checksum_is_refused_or_changes_nothing(name, copy):
    reader = READERS[name]
    file = copy / reader.path
    whole, expected = file.read_bytes(), plain(reader.read(file))
    refused = 0
    for bit in random.Random(1).sample(range(8 * len(whole)), FLIPS):
        put(file, flipped(whole, bit))
        try:
            assert plain(reader.read(file)) == expected, bit
        except InputError:
            refused += 1
    assert refused
    put(file, whole)


def test_a_flipped_bit_in_the_header_of_embeddings_is_refused_or_changes_nothing(copy):
    file = copy / f"{VIEW}.npy"
    whole, expected = file.read_bytes(), read_embeddings(file).copy()
    for bit in range(8 * HEADER):
        put(file, flipped(whole, bit))
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(read_embeddings(file), expected, err_msg=str(bit))
    put(file, whole)


@pytest.mark.parametrize(
    "shape", ["(True, 2)", "(-1, 2)", "(9" + "0" * 30 + ", 2)", "-" * 5000 + "1", "(" * 300]
)
def test_embeddings_with_a_shape_that_is_none_are_refused(shape, tmp_path):
    header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    file = tmp_path / "x.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(InputError, match=r"x.npy: not a complete .npy matrix"):
        read_embeddings(file)


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        (f"{CORPUS}/queries.parquet", QUERIES),
        (f"{METHOD}/docids.parquet", docids_columns(4, 4)),
        (f"{METHOD}/run.parquet", RUN),
    ],
)
def test_a_flipped_bit_changes_no_table_between_stages(path, columns, copy):
    file = copy / path
    whole, table = file.read_bytes(), read_table(file, columns)
    found = 0
    for bit in random.Random(2).sample(range(8 * len(whole)), 100):
        put(file, flipped(whole, bit))
        try:
            assert read_table(file, columns).equals(table), bit
        except InputError:
            found += 1
    assert found
    put(file, whole)
