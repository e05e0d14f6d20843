"""Files between stages: complete or not at all, and errors of one line."""

import errno
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from breakage import make_unreadable

from catid2.runtime.errors import InputError
from catid2.runtime.tables import (
    read_embeddings,
    read_footer,
    read_json,
    read_table,
    row_group_sizes,
    write_json,
    write_table,
)

COLUMNS = {"doc_id": pa.int32(), "title": pa.string()}


@pytest.fixture
def table():
    schema = pa.schema(COLUMNS.items())
    return pa.Table.from_pylist([{"doc_id": 0, "title": "a"}, {"doc_id": 1, "title": None}], schema=schema)


def test_table_round_trip_gives_the_same_table_and_bytes(tmp_path, table):
    write_table(tmp_path / "a.parquet", table)
    assert read_table(tmp_path / "a.parquet", COLUMNS).equals(table)
    write_table(tmp_path / "b.parquet", table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_columns_come_in_the_order_asked_for(tmp_path, table):
    write_table(tmp_path / "a.parquet", table)
    assert read_table(tmp_path / "a.parquet", dict(reversed(COLUMNS.items()))).column_names == [
        "title",
        "doc_id",
    ]


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def rename(path):
    pq.write_table(pq.read_table(path).rename_columns(["doc", "title"]), path)


def retype(path):
    pq.write_table(pq.read_table(path).set_column(0, "doc_id", pa.array([0.0, 1.0])), path)


def null(path):
    pq.write_table(pq.read_table(path).set_column(0, "doc_id", pa.array([0, None], pa.int32())), path)


def link_to_nothing(path):
    path.unlink()
    path.symlink_to("elsewhere")


def link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


def folder_in_its_place(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (link_to_nothing, "a link that leads to no file"),
        (link_to_itself, "a link that leads to no file"),
        (folder_in_its_place, "a folder without parquet files"),
        (make_unreadable, "cannot be read (Input/output error); make it readable"),
        (cut, "not a complete parquet file"),
        (rename, "column 'doc_id' is missing"),
        (retype, "column 'doc_id' is double, not int32"),
        (null, "column 'doc_id', row 1: null"),
    ],
)
def test_a_bad_table_is_named_in_one_line(tmp_path, table, damage, words):
    path = tmp_path / "a.parquet"
    write_table(path, table)
    damage(path)
    with pytest.raises(InputError) as caught:
        read_table(path, COLUMNS)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def write_matrix(path):
    np.save(path, np.zeros((3, 2), np.float16))


def write_parquet(path):
    pq.write_table(pa.table({"a": [1]}), path)


@pytest.mark.parametrize(
    ("write", "read", "opener"),
    [
        (write_parquet, read_footer, "pyarrow.parquet.ParquetFile"),
        (write_parquet, lambda path: read_table(path, {"a": pa.int64()}), "pyarrow.parquet.ParquetFile"),
        (write_parquet, lambda path: read_footer(path.parent), "pathlib.Path.iterdir"),
        (write_parquet, row_group_sizes, "pyarrow.parquet.ParquetFile"),
        (lambda path: write_json(path, {}), read_json, "pathlib.Path.read_text"),
        (write_matrix, read_embeddings, "numpy.load"),
    ],
)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_never_called_damaged(tmp_path, monkeypatch, write, read, opener, number):
    path = tmp_path / "table.npy"
    write(path)
    read(path)

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    for place in (opener, "pathlib.Path.is_file"):
        with monkeypatch.context() as patch, pytest.raises(InputError) as caught:
            patch.setattr(place, refused)
            read(path)
        where, what = str(caught.value).split(": ", 1)
        assert where in (str(path), str(tmp_path))
        assert what == f"cannot be read ({os.strerror(number)}); make it readable, or try again"


def test_embeddings_are_checked(tmp_path):
    path = tmp_path / "view.npy"
    np.save(path, np.zeros((3, 2), np.float16))
    assert read_embeddings(path, rows=3).shape == (3, 2)
    with pytest.raises(InputError, match="3 rows for 4 documents"):
        read_embeddings(path, rows=4)
    np.save(path, np.zeros((3, 2), np.float32))
    with pytest.raises(InputError, match="float32 of shape"):
        read_embeddings(path)
    np.save(path, np.zeros((300, 2), np.float16))
    cut(path)
    with pytest.raises(InputError, match="not a complete"):
        read_embeddings(path)


def test_an_embedding_file_cannot_run_code(tmp_path):
    path = tmp_path / "view.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        read_embeddings(path)


def test_json_round_trip_and_errors(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "ñ"})
    assert read_json(path) == {"a": "ñ", "b": 1}
    path.write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not JSON"):
        read_json(path)
