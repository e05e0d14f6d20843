"""Raw files that are unusual and legal: other writers, other types, odd names; they make the same corpus."""

import json
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from bad_inputs import CORPUS, ESCI_S, EXAMPLES, PATHS, PRODUCTS, VIEW, copy_of, run_script, settings
from breakage import put

from catid2.runtime.tables import JUDGEMENTS, QUERIES, products_columns, read_table

NAMES = [
    "e\u0301té",  # a combining accent
    "שלום عالم",  # right to left
    "👩‍👩‍👧 🇪🇸",  # joined emoji, flags
    "a\u2028b\u2029c\u0085d",  # line ends of Unicode
    "tab\there\nand a line",
    "quotes \" and ' and , and \\",
    "<b>5 > 3 & 2 < 3</b> {title} %s",
    "日本語　全角",
    "\ufeffmark \u200b\u202e\x07bell",
]
IDS = ["0001", '"q"', "a,b", "a'b", "ñ", "日", "00", "-1", "NULL"]
LARGEST = 2**63 - 1


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with small raw files whose names and ids are odd."""
    n = len(NAMES)
    products = {
        "product_id": IDS,
        "product_title": NAMES,
        "product_description": [None] * n,
        "product_bullet_point": [None] * n,
        "product_brand": NAMES[::-1],
        "product_color": [None] * n,
        "product_locale": ["es"] * n,
    }
    columns = {
        "query": [name for name in ("first query", NAMES[7]) for _ in IDS],
        "query_id": [0] * n + [LARGEST] * n,
        "product_id": IDS * 2,
        "product_locale": ["es"] * 2 * n,
        "esci_label": ["E", "S", "C"] * (2 * n // 3),
        "small_version": [1] * 2 * n,
        "large_version": [1] * 2 * n,
        "split": ["train"] * n + ["test"] * n,
    }
    lines = [
        json.dumps({"asin": name, "locale": "es", "category": [NAMES[row % 3], "All", NAMES[row]]})
        for row, name in enumerate(IDS)
    ]
    for path, content in ((EXAMPLES, columns), (PRODUCTS, products)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), tmp_path / path)
    put(tmp_path / ESCI_S, zstandard.ZstdCompressor().compress("\r\n".join(lines).encode()))
    for name in ("corpus", "embeddings"):
        (tmp_path / f"results/tiny_es/{name}").mkdir(parents=True)
    return tmp_path


def build(folder: Path) -> dict[str, list]:
    """Build the corpus, and return its documents."""
    for script in ("extract_categories", "build_corpus"):
        done = run_script(script, folder)
        assert (done.code, done.errors) == (0, []), script
    return read_table(folder / CORPUS / "products.parquet", products_columns(3)).to_pydict()


def test_odd_names_and_ids_come_through_every_stage(folder):
    documents = build(folder)
    assert documents["product_id"] == sorted(IDS, key=str.encode)
    title = dict(zip(documents["product_id"], documents["title"], strict=True))
    assert title["0001"] == NAMES[0]
    assert title["ñ"] == "tab here and a line"
    assert title["a'b"] == "a b c d"
    queries = read_table(folder / CORPUS / "queries.parquet", QUERIES).to_pylist()
    assert [row["query_id"] for row in queries] == [0, LARGEST]
    assert queries[1]["query"] == "日本語 全角"
    assert len(read_table(folder / CORPUS / "judgements.parquet", JUDGEMENTS)) == 2 * len(IDS)
    view = settings("embed", encoder={"kind": "tfidf_svd", "dims": 2})
    assert run_script("embed", folder, view).code == 0
    run = {"--output": str(folder / "run.parquet")}
    assert run_script("search_bm25", folder, run).code == 0
    done = run_script(
        "evaluate", folder, {"--run": [f"bm25:0:{folder / 'run.parquet'}"], "--per-query": "queries.out"}
    )
    assert (done.code, done.errors) == (0, [])


def by_pandas(path: Path) -> None:
    """Write as pandas does, with an index, and gzip."""
    frame = pq.read_table(path).to_pandas()
    frame.index = frame.index[::-1]
    frame.to_parquet(path, compression="gzip")


def by_polars(path: Path) -> None:
    """Write by Polars: large strings, many row groups."""
    pl.read_parquet(path).write_parquet(path, row_group_size=3, compression="zstd")


def by_duckdb(path: Path) -> None:
    """Write by DuckDB."""
    with duckdb.connect() as connection:
        connection.register("written", pq.read_table(path))
        connection.execute(f"COPY (SELECT * FROM written) TO '{path}' (FORMAT parquet)")


def as_dictionaries(path: Path) -> None:
    """Write strings as dictionaries."""
    table = pq.read_table(path)
    pq.write_table(_strings(table, pa.dictionary(pa.int16(), pa.string())), path)


def as_large_strings(path: Path) -> None:
    """Write strings with 64-bit offsets."""
    pq.write_table(_strings(pq.read_table(path), pa.large_string()), path)


def as_views(path: Path) -> None:
    """Write string views."""
    pq.write_table(_strings(pq.read_table(path), pa.string_view()), path)


def as_small_numbers(path: Path) -> None:
    """Write small whole numbers, unsigned ones too."""
    table = pq.read_table(path)
    for position, field in enumerate(table.schema):
        if field.type == pa.int64() and field.name.endswith("version"):
            table = table.set_column(position, field.name, table[field.name].cast(pa.uint8()))
    pq.write_table(table, path)


def with_more_columns_in_another_order(path: Path) -> None:
    """Write columns backwards, some more next to them, some with our names for other things."""
    table = pq.read_table(path).append_column("row", pa.nulls(pq.read_metadata(path).num_rows))
    table = table.append_column("file_row", pa.array([[1]] * len(table)))
    pq.write_table(table.select(table.column_names[::-1]), path, row_group_size=2)


def _strings(table: pa.Table, kind: pa.DataType) -> pa.Table:
    fields = [field.with_type(kind) if field.type == pa.string() else field for field in table.schema]
    return table.cast(pa.schema(fields))


@pytest.mark.parametrize(
    "rewrite",
    [
        by_pandas,
        by_polars,
        by_duckdb,
        as_dictionaries,
        as_large_strings,
        as_views,
        as_small_numbers,
        with_more_columns_in_another_order,
    ],
)
def test_the_corpus_does_not_depend_on_who_wrote_the_raw_files(rewrite, folder):
    expected = build(folder)
    for path in (EXAMPLES, PRODUCTS):
        rewrite(folder / path)
    assert build(folder) == expected


def test_ids_of_32_bits_are_ids(folder):
    table = pq.read_table(folder / EXAMPLES)
    ids = pa.array([min(number.as_py(), 7) for number in table["query_id"]], pa.int32())
    pq.write_table(table.set_column(1, "query_id", ids), folder / EXAMPLES)
    build(folder)
    assert read_table(folder / CORPUS / "queries.parquet", QUERIES)["query_id"].to_pylist() == [0, 7]


def test_embeddings_in_the_order_of_columns_are_the_same_embeddings(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    docids = folder / "results/tiny_es/catid2/seed0/docids.parquet"
    expected = docids.read_bytes()
    matrix = np.asfortranarray(np.load(folder / f"{VIEW}.npy"))
    (folder / f"{VIEW}.npy").unlink()
    np.save(folder / f"{VIEW}.npy", matrix)
    assert run_script("assign_docids", folder).code == 0
    assert docids.read_bytes() == expected


def test_records_may_end_their_lines_as_on_windows(folder):
    whole = zstandard.ZstdDecompressor().decompress((folder / ESCI_S).read_bytes())
    assert b"\r\n" in whole
    build(folder)
    expected = (folder / PATHS).read_bytes()
    put(folder / ESCI_S, zstandard.ZstdCompressor().compress(whole.replace(b"\r\n", b"\n")))
    build(folder)
    assert (folder / PATHS).read_bytes() == expected
