"""Files cut at any byte or with a bit flipped: one line, or the content where no harm is done; never a traceback."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from bad_inputs import CORPUS, DATASET, ESCI_S, EXAMPLES, METHOD, PATHS, PRODUCTS, VIEW, copy_of
from breakage import put

from catid2.artifacts import (
    QUERIES,
    RUN,
    InputError,
    docids_columns,
    read_embeddings,
    read_footer,
    read_table,
)
from catid2.corpus import check_category_paths
from catid2.database import Resources, connect
from catid2.docids import read_products
from catid2.esci import load_examples, load_products
from catid2.esci_s import extract_categories
from catid2.evaluate import read_recall, read_run
from catid2.queries import read_judgements, read_queries
from catid2.report.inputs import (
    read_catalogue,
    read_curves,
    read_docid_statistics,
    read_docids,
    read_stats,
    read_view,
)
from catid2.retriever import load_retriever
from catid2.rqvae import RQVAE
from catid2.text import read_documents
from catid2.trie import read_docids as read_codes

CUTS, FLIPS = 30, 80
ONE_THREAD = Resources(threads=1)


class Reader(NamedTuple):
    """How a file of the tiny run is read."""

    path: str
    read: Callable[[Path], object]
    costly: bool = False  # tried at fewer places


def with_duckdb(load: Callable) -> Callable[[Path], object]:
    """Return `load` as a function of the path alone."""

    def read(path: Path) -> object:
        with connect(ONE_THREAD) as connection:
            return load(connection, path)

    return read


def documents_beside(docids: Path) -> int:
    """Return how many documents the corpus beside a method has."""
    return read_footer(docids.parents[2] / "corpus" / "products.parquet")[1]


READERS = {
    "examples": Reader(EXAMPLES, with_duckdb(lambda c, path: load_examples(c, path, "es", "small")), True),
    "products": Reader(PRODUCTS, with_duckdb(lambda c, path: load_products(c, path, "es")), True),
    "records": Reader(ESCI_S, lambda path: extract_categories(path, path.with_name("out"), ONE_THREAD), True),
    "category paths": Reader(PATHS, with_duckdb(check_category_paths), True),
    "documents": Reader(f"{CORPUS}/products.parquet", read_documents),
    "categories": Reader(f"{CORPUS}/products.parquet", read_products),
    "queries": Reader(f"{CORPUS}/queries.parquet", lambda path: read_queries(path, "test").to_pylist()),
    "judgements": Reader(f"{CORPUS}/judgements.parquet", lambda path: read_judgements(path, "test")),
    "tree": Reader(f"{CORPUS}/categories.parquet", lambda path: read_catalogue(path.parent)),
    "stats": Reader(f"{CORPUS}/stats.json", read_stats),
    "embeddings": Reader(f"{VIEW}.npy", read_embeddings),
    "view": Reader(f"{VIEW}.json", read_view),
    "DocIDs": Reader(f"{METHOD}/docids.parquet", read_codes),
    "DocIDs of the report": Reader(
        f"{METHOD}/docids.parquet", lambda path: read_docids(path, documents_beside(path))
    ),
    "figures": Reader(f"{METHOD}/docids.json", read_docid_statistics),
    "RQ-VAE": Reader(f"{METHOD}/rqvae/model.safetensors", lambda path: RQVAE.load(path.parent)),
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
    "run": Reader(f"{METHOD}/run.parquet", lambda path: read_run(path, pl.Series(range(1000)), 1000)),
    "recall": Reader(f"{DATASET}/recall.tsv", read_recall),
}


@pytest.fixture(scope="module")
def copy(tiny_run, tmp_path_factory) -> Path:
    """A copy of the tiny run whose files a test replaces and puts back."""
    return copy_of(tiny_run.folder, tmp_path_factory.mktemp("bytes"))


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_at_any_byte_is_refused(name, copy):
    reader = READERS[name]
    file = copy / reader.path
    whole = file.read_bytes()
    reader.read(file)
    tries = random.Random(0).sample(range(len(whole)), min(CUTS // (1 + 2 * reader.costly), len(whole)))
    for length in sorted({0, 1, 4, 7, len(whole) // 2, len(whole) - 2, *tries}):
        put(file, whole[:length])
        with pytest.raises(InputError) as caught:
            reader.read(file)
        assert file.parent.name in str(caught.value), length
    put(file, whole)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused_or_does_no_harm(name, copy):
    reader = READERS[name]
    file = copy / reader.path
    whole = file.read_bytes()
    rng = random.Random(1)
    for _ in range(FLIPS // (1 + 4 * reader.costly)):
        place, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        put(file, whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            reader.read(file)
    put(file, whole)


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
    rng = random.Random(2)
    found = 0
    for _ in range(100):
        place, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        put(file, whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            assert read_table(file, columns).equals(table), (place, bit)
        except InputError:
            found += 1
    assert found
    put(file, whole)
