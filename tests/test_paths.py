"""Paths mean what they say: no folder's name is a column, no file's name a pattern, and columns differ in case."""

import ast
import json
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from catid2.config.corpus import CorpusConfig
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.config.embed import HfEncoder
from catid2.config.retriever import PairsTask, RetrieverConfig
from catid2.config.sources import CatalogueSource, EsciSource
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.database import Resources, connect, open_parquet
from catid2.corpus.esci_s import extract_categories
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_footer, read_strings, read_table, require_file
from workflow import ROOT

SMALL = Resources("200MB", 1)
NAMES = [
    *("split=test", "product_locale=es", "product_title=x", "file_row_number=7", "query=none"),
    *(
        "[shop]",
        "[!a]",
        "a*b",
        "**",
        "a?",
        "x[1]y]",
        "{a,b}",
        "~",
        "it's",
        'say "so"',
        "back\\slash",
        "a b",
        "%20#é",
    ),
]


def write(folder: Path, mark: str) -> None:
    """Write raw files of two products and queries; `mark` stands in every text."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = [
        {
            "query_id": number,
            "query": f"query {mark} {number}",
            "product_id": f"P{number}",
            "product_locale": "us",
        }
        | {"esci_label": "E", "small_version": 1, "large_version": 1, "split": split}
        for number, split in enumerate(["train", "test"])
    ]
    texts = ("title", "brand", "color", "bullet_point", "description")
    products = [
        {"product_id": f"P{number}", "product_locale": "us"}
        | {f"product_{text}": f"{text} {mark}" for text in texts}
        for number in range(2)
    ]
    records = [{"asin": f"P{number}", "category": [mark, f"{number}"]} for number in range(2)]
    pq.write_table(pa.Table.from_pylist(examples), folder / "examples.parquet")
    pq.write_table(pa.Table.from_pylist(products), folder / "products.parquet")
    (folder / "esci.json.zst").write_bytes(zstandard.compress("\n".join(map(json.dumps, records)).encode()))


def corpus(folder: Path, out: Path) -> dict[str, object]:
    """Return what is in the corpus made of the raw files in a folder."""
    extract_categories(folder / "esci.json.zst", out / "paths.parquet", SMALL)
    files = CorpusFiles(*(out / name for name in CorpusFiles._fields))
    raw = RawFiles(folder / "examples.parquet", folder / "products.parquet", out / "paths.parquet")
    build_corpus(raw, "us", CorpusConfig(levels=2), files, SMALL)
    return {
        name: pq.read_table(getattr(files, name)).to_pylist()
        for name in CorpusFiles._fields
        if name != "stats"
    }


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The corpus of files below a plain path."""
    folder = tmp_path_factory.mktemp("plain")
    write(folder / "raw", "right")
    return corpus(folder / "raw", folder / "out")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name(tmp_path, right, name):
    # what a pattern of that name would find instead
    for other in ("s", "b", "ab", "axb", "x1y", "backslash", "a", "es", "test"):
        write(tmp_path / other, "wrong")
    write(tmp_path / name, "right")
    assert corpus(tmp_path / name, tmp_path / "out") == right


@pytest.mark.parametrize("name", ["examples [1].parquet", "*.parquet", "split=test.parquet", "e'x?.parquet"])
def test_a_file_of_any_name(tmp_path, name):
    for other in ("examples 1.parquet", "x.parquet", "e'xy.parquet"):
        pq.write_table(pa.table({"query": ["wrong"]}), tmp_path / other)
    pq.write_table(pa.table({"query": ["right"]}), tmp_path / name)
    with connect(SMALL) as connection:
        open_parquet(connection, "raw", tmp_path / name, {"query": "query"})
        assert connection.execute("FROM raw").fetchall() == [(0, "right")]


def test_columns_that_differ_in_case_or_have_names_of_duckdb(tmp_path):
    columns = ("Query", "query", "QUERY", "row", "file_row_number", "filename", 'a "b"', "Ü", "ü")
    pq.write_table(pa.table({name: [name] for name in columns}), tmp_path / "x.parquet")
    with connect(SMALL) as connection:
        for name in columns:
            open_parquet(connection, "raw", tmp_path / "x.parquet", {"found": name})
            assert connection.execute("FROM raw").fetchall() == [(0, name)]
        with pytest.raises(
            InputError, match=r"column 'qUERY' is missing; did you mean '.*'\? it has Query, query"
        ):
            open_parquet(connection, "raw", tmp_path / "x.parquet", {"found": "qUERY"})


def test_a_column_that_is_there_twice(tmp_path):
    pq.write_table(
        pa.table([pa.array(["a"]), pa.array(["b"])], names=["query", "query"]), tmp_path / "x.parquet"
    )
    with connect(SMALL) as connection, pytest.raises(InputError, match="column 'query' is there twice"):
        open_parquet(connection, "raw", tmp_path / "x.parquet", {"query": "query"})
    with pytest.raises(InputError, match="column 'query' is there twice"):
        read_table(tmp_path / "x.parquet", {"query": pa.string()})


def test_a_temporary_folder_that_duckdb_takes_for_a_pattern(tmp_path):
    (tmp_path / "[x]").mkdir()
    with (
        pytest.raises(InputError, match=r"--temp-dir .*\[x\]: DuckDB takes it for a pattern"),
        connect(Resources(temp_dir=tmp_path / "[x]")),
    ):
        pass


# --- tables in parts ----------------------------------------------------------------------------------

PARTS = [["a", "b"], [], ["c"], ["d", "e", "f"]]


def write_parts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, values in enumerate(PARTS):
        columns = {"Query": [f"{value}!" for value in values], "query": values}
        table = pa.table(columns, pa.schema(dict.fromkeys(columns, pa.string())))
        pq.write_table(table, folder / f"part-{number:05d}.snappy.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").write_bytes(b"crc")
    (folder / "_metadata").write_bytes(b"PAR1")
    return folder


def test_a_folder_of_parts_is_one_table(tmp_path):
    folder = write_parts(tmp_path / "examples.parquet")
    wanted = [value for part in PARTS for value in part]
    assert read_footer(folder)[1] == len(wanted)
    assert read_strings(folder, ["query"])["query"].to_pylist() == wanted
    with connect(SMALL) as connection:
        open_parquet(connection, "raw", folder, {"query": "query"})
        assert connection.execute("FROM raw ORDER BY row").fetchall() == list(enumerate(wanted))
    assert pl.read_parquet(folder / "*.parquet")["query"].to_list() == wanted  # another reader's order


def test_a_corpus_of_parts_is_that_of_whole_files(tmp_path, right):
    write(tmp_path / "raw", "right")
    for name in ("examples.parquet", "products.parquet"):
        whole = pq.read_table(tmp_path / "raw" / name)
        (tmp_path / "raw" / name).unlink()
        (tmp_path / "raw" / name).mkdir()
        for row in range(whole.num_rows):
            pq.write_table(whole.slice(row, 1), tmp_path / "raw" / name / f"{row}.parquet")
    assert corpus(tmp_path / "raw", tmp_path / "out") == right


def test_folders_that_are_no_table_in_parts(tmp_path):
    hive = tmp_path / "hive.parquet"
    write_parts(hive / "locale=es")
    with pytest.raises(
        InputError, match=r"hive.parquet: its parts are in folders \(locale=es\); write the table as"
    ):
        read_footer(hive)
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(InputError, match=r"empty.parquet: a folder without parquet files"):
        read_footer(tmp_path / "empty.parquet")
    folder = write_parts(tmp_path / "mixed.parquet")
    pq.write_table(pa.table({"query": [1]}), folder / "part-00009.parquet")
    with pytest.raises(
        InputError, match=r"part-00009.parquet: its columns are query int64, those of .* Query string"
    ):
        read_footer(folder)
    with pytest.raises(InputError, match=r"mixed.parquet: a folder, not a file"):
        require_file(folder)


# --- files that are not there -------------------------------------------------------------------------

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n"


@pytest.mark.parametrize("kind", ["examples.parquet", "products.parquet", "esci.json.zst"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, kind):
    write(tmp_path / "raw", "right")
    (tmp_path / "raw" / kind).write_text(POINTER)
    with pytest.raises(
        InputError, match=rf"{kind}: a git-lfs pointer, not the file itself; run `git lfs pull`"
    ):
        corpus(tmp_path / "raw", tmp_path / "out")


def sources() -> list[Path]:
    folders = [ROOT / name for name in ("catid2", "scripts", "workflow")]
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".smk")]


def test_one_function_opens_tables_in_duckdb():
    opens = re.compile(r"(read|scan)_parquet\(|parquet_scan\(|FROM\s+read_\w+\(")
    assert [path.name for path in sources() if opens.search(path.read_text())] == ["database.py"]


def test_polars_takes_no_path_for_a_pattern():
    calls = [
        ast.unparse(node)
        for path in sources()
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and re.match(r"pl\.(read|scan)_", ast.unparse(node.func))
    ]
    assert calls
    assert [call for call in calls if "glob=False" not in call] == []


def test_a_home_folder_is_expanded_wherever_the_configuration_names_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    esci = EsciSource(kind="esci", examples="~/e.parquet", products="~/p ~.parquet", esci_s="x/~/e.zst")
    assert (esci.examples, esci.products, esci.esci_s) == (
        "/home/ann/e.parquet",
        "/home/ann/p ~.parquet",
        "x/~/e.zst",
    )
    own = CatalogueSource(
        **{"kind": "catalogue", "columns": {"products": {"product_id": "id", "title": "name"}}},
        **{"products": "~/p.csv", "queries": "~/q.csv", "judgements": "~/j.parquet"},
    )
    assert (own.products, own.queries, own.judgements) == (
        "/home/ann/p.csv",
        "/home/ann/q.csv",
        "/home/ann/j.parquet",
    )
    assert PairsTask(source="pairs", path="~/pairs.parquet").path == "/home/ann/pairs.parquet"
    assert HfEncoder(model="~/mt5").pretrained_model.folder == "/home/ann/mt5"
    for config in (RetrieverConfig, DualEncoderConfig):
        assert config(pretrained="~/mt5").pretrained_model.folder == "/home/ann/mt5"
