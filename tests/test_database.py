"""Tables as DuckDB opens them: rows counted through all parts, columns by their place, one look at each footer."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catid2.corpus.database import Resources, connect, open_parquet

ONE_THREAD = Resources(threads=1)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Return a folder, with a name that DuckDB would take for a column, of parts of 3, 1 and 2 rows."""
    folder = tmp_path / "query=1"
    folder.mkdir()
    for name, values in {"c": ["d", "e"], "a": ["", "a", "b"], "b": ["c"]}.items():
        table = pa.table({"Query": [value.upper() for value in values], "query": values})
        pq.write_table(table, folder / f"part-{name}.parquet")
    (folder / "_SUCCESS").touch()
    return folder


def test_rows_count_through_all_parts_and_columns_are_told_apart_by_case(parts: Path) -> None:
    with connect(ONE_THREAD) as connection:
        open_parquet(connection, "view", parts, {"lower": "query", "upper": "Query"})
        found = connection.execute("SELECT row, lower, upper FROM view ORDER BY row").fetchall()
    read = pa.concat_tables(pq.read_table(part) for part in sorted(parts.glob("*.parquet")))
    assert found == [(row, text, text.upper()) for row, text in enumerate(read["query"].to_pylist())]


def test_a_footer_is_read_once(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, parquet_file = [], pq.ParquetFile

    def noted(path: Path) -> pq.ParquetFile:
        opened.append(path.name)
        return parquet_file(path)

    monkeypatch.setattr(pq, "ParquetFile", noted)
    with connect(ONE_THREAD) as connection:
        open_parquet(connection, "view", parts, {"text": "query"})
    assert opened == ["part-a.parquet", "part-b.parquet", "part-c.parquet"]
