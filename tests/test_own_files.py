"""Files of a catalogue as people have them give the rows that were meant, or say what cannot be read."""

import codecs
import csv
import gzip
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catid2.config.base import validate
from catid2.config.catalogue import CatalogueConfig
from catid2.config.corpus import CorpusConfig
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.catalogue.columns import Column
from catid2.corpus.catalogue.csv_files import csv_chunks
from catid2.corpus.catalogue.importing import ImportedFiles, OwnFiles, import_catalogue
from catid2.corpus.database import Resources
from catid2.runtime.errors import InputError

SMALL = Resources("300MB", 1)
COLUMNS = {"products": {"product_id": "id", "title": "name", "category": "path"}}
ROWS = [("1", "Red shoe", ["A", "B", "C"]), ("2", "Blue hat", ["A", "B", "D"])]
CSV = "id,name,path\n1,Red shoe,A > B > C\n2,Blue hat,A > B > D\n"


def imported(own: OwnFiles, **changes) -> ImportedFiles:
    files = ImportedFiles(
        *(own.products.parent / "raw" / f"{name}.parquet" for name in ImportedFiles._fields)
    )
    values = {"columns": COLUMNS, "category_separator": " > "} | changes
    import_catalogue(own, "us", validate(CatalogueConfig, values, "test"), files, SMALL)
    return files


def products(folder, content: str | bytes, name: str = "products.csv", **changes) -> list[tuple]:
    """Return id, title and path of each product of a file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    files = imported(OwnFiles(path), **changes)
    paths = {row["asin"]: row["path"] for row in pq.read_table(files.category_paths).to_pylist()}
    rows = pq.read_table(files.products).to_pylist()
    return [(row["product_id"], row["product_title"], paths[row["product_id"]]) for row in rows]


# --- formats and dialects -----------------------------------------------------------------------------


def quoted(line: str, delimiter: str) -> str:
    return delimiter.join(f'"{field}"' for field in line.split(",")) + "\n"


JSON = "".join(json.dumps({"id": int(key), "name": name, "path": path}) + "\n" for key, name, path in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("products.CSV", CSV),
        ("products.txt", CSV.replace(",", "|")),
        ("products.tsv", CSV.replace(",", "\t")),
        ("products.tsv", CSV),
        ("products.csv", CSV.replace(",", ";")),
        ("products.csv", "sep=;\r\n" + CSV.replace(",", ";")),
        ("products.csv", "\ufeffSEP=\t\n" + CSV.replace(",", "\t")),
        ("products.csv", "\ufeff\ufeff" + CSV),
        ("products.csv", codecs.BOM_UTF16_LE + CSV.encode("utf-16-le")),
        ("products.csv", codecs.BOM_UTF16_BE + CSV.encode("utf-16-be")),
        ("products.csv", "".join(quoted(line, ";") for line in CSV.splitlines())),
        ("products.csv", "".join(quoted(line, "\t") for line in CSV.splitlines())),
        ("products.csv", CSV.replace("\n", "\r\n")),
        ("products.csv", CSV.replace("\n", "\r")),
        ("products.csv", CSV.replace("id,name,path", "id, name ,\ufeffpath")),
        ("products.csv", CSV.replace("> C\n", "> C,\n").replace("> D\n", "> D,\n")),
        ("products.csv", CSV.replace("\n", ",,\n")),
        ("products.csv", CSV + ",,\n\n"),
        ("products.csv", CSV.replace("1,Red", "\u200b1 ,Red")),
        ("products.csv", CSV.replace("1,Red", "1.0,Red").replace("2,Blue", "2.0,Blue")),
        ("products.csv", CSV.replace("A > B", "A &gt; B")),
        ("products.csv", CSV.replace("A > B > C", "A >  > B > C > ")),
        ("products.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("products.csv", gzip.compress(CSV.encode(), mtime=0)),
        ("products.jsonl", JSON),
        ("products.json", "\ufeff" + JSON.replace("\n", "\r\n\n")),
        ("products.ndjson.gz", gzip.compress(JSON.encode(), mtime=0)),
        ("products.jsonl", JSON.replace('"id": 1', '"id": 1.0, "review": "\\ud83d", "price": NaN')),
    ],
)  # fmt: skip
def test_two_products_in_every_form(tmp_path, name, content):
    assert products(tmp_path, content, name) == ROWS


@pytest.mark.parametrize(
    ("content", "titles", "changes"),
    [
        ('id,name\n1,"A ""big"" one"\n', ['A "big" one'], {}),
        ('id,name\n1,"A \\"big\\" one"\n', ['A "big" one'], {}),
        ('id,name\n1,"A \\"big\\", red one"\n2,b\n', ['A "big", red one', "b"], {}),
        ('id\tname\n1\t"Big" pan 12"\n2\tb\n', ['"Big" pan 12"', "b"], {}),
        ('id\tname\n1\t"Big\n2\tb\n3\tc" d\n', ['"Big', "b", 'c" d'], {}),
        ('id\tname\n1\t"Big\n2\tb\n3\tc"\n', ['"Big', "b", 'c"'], {}),
        ('id\tname\n1\t"Big\tpan"\n2\t"b ""c"""\n', ["Big\tpan", 'b "c"'], {}),
        ('id,name\n1,"Two\nlines, one"\n2,b\n', ["Two\nlines, one", "b"], {}),
        ('id\tname\n1\t"Two\nlines\tone"\n2\tb\n', ["Two\nlines\tone", "b"], {"csv_quoting": "double"}),
        ('id,name\n1,"Two\nlines"\n2,b\n', ["Two\nlines", "b"], {}),
        ('id,name\n1,"b"\n', ['"b"'], {"csv_quoting": "none"}),
        ("id\tname\n1\ta,b\n", ["a,b"], {"csv_delimiter": "\\t"}),
    ],
)
def test_quotes(tmp_path, content, titles, changes):
    columns = {"products": {"product_id": "id", "title": "name"}}
    changes = {"columns": columns, "category_separator": None} | changes
    assert [title for _, title, _ in products(tmp_path, content, **changes)] == titles


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('id\tname\n"1"\t"Two\nlines\tone"\n2\tb\n', "a quote opens on line 2 and closes on line 3"),
        ('"id"\t"name"\n1\t"b" c\n', "line 2: the record that starts there is not CSV"),
        ('id\tname\n"1"\t"a"\n2\t"b" c\n', "line 3: the record that starts there is not CSV"),
        ("id,name\n1,a\n2,b,\n", "line 3 has 3 fields, the header 2"),
        ("id,name\n1,a,\n2,b\n", "line 3 has 2 fields, the header 2"),
        ('id,name\n1,"a\nb\nc"\n\n2,\xff\n'.encode("latin-1"), "column 'name', line 6: not UTF-8"),
        (CSV.encode("utf-16-le"), "bytes of 0, as UTF-16 has"),
    ],
)
def test_two_meanings_or_none(tmp_path, content, says):
    columns = {"products": {"product_id": "id", "title": "name"}}
    with pytest.raises(InputError, match=says):
        products(tmp_path, content, columns=columns, category_separator=None)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=6)
LIVELY = st.text("a\"\\,;\t| '", max_size=6)  # of what dialects use


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXT | LIVELY, min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    every=st.booleans(),
    backslash=st.booleans(),
)
def test_what_pythons_writer_writes_is_read(tmp_path, texts, delimiter, every, backslash):
    path = tmp_path / "products.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        quotes = {"doublequote": False, "escapechar": "\\"} if backslash else {}
        writer = csv.writer(
            file, delimiter=delimiter, quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL, **quotes
        )
        writer.writerows([("name", "id"), *((text, number) for number, text in enumerate(texts))])
    columns = {"id": Column("id", "id"), "title": Column("name")}
    # Which quotes a file has cannot always be told: a field of one backslash is right in both ways.
    [chunk] = csv_chunks(path, columns, None, "backslash" if backslash else None)
    assert chunk.values["title"] == [text or None for text in texts]
    assert list(chunk.places) == list(range(2, 2 + len(texts)))


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 2], pa.uint64()),
        pa.array([1, 2], pa.int8()),
        pa.array([1.0, 2.0]),
        pa.array([Decimal("1.00"), Decimal("2.00")]),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.array([" 1", "2\u200b"], pa.large_string()),
    ],
)
def test_ids_of_every_type(tmp_path, ids):
    path = tmp_path / "[1] *.PQ"
    texts = {"name": [name for _, name, _ in ROWS], "path": [names for *_, names in ROWS]}
    # DuckDB does not tell "ID" from "id", and takes the name of the file for a pattern.
    pq.write_table(pa.table({"ID": ["x", "y"], "\ufeffid": ids, "Name": ["x", "y"], **texts}), path)
    rows = pq.read_table(imported(OwnFiles(path)).products).to_pylist()
    assert [(row["product_id"], row["product_title"]) for row in rows] == [
        ("1", "Red shoe"),
        ("2", "Blue hat"),
    ]


# --- category paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ('["A > B > C"]', ["A", "B", "C"]),
        ('["A", "B"]', ["A", "B"]),
        ("['A', \"B's\"]", ["A", "B's"]),
        ("['A' 'B'\n 'C']", ["A", "B", "C"]),
        ("('A', 'B')", ["A", "B"]),
        ('[["A", "B"]]', ["A", "B"]),
        ('["15.6" laptop > B"]', ['15.6" laptop', "B"]),
        ("[]", None),
        ("[A] > [B]", ["[A]", "[B]"]),
        ("A-B > C/D, E", ["A-B", "C/D, E"]),
        ("A>B > C", ["A>B", "C"]),
        (["A > B"], ["A", "B"]),
        (["A", "B", None], ["A", "B"]),
        ([["A", "B"]], ["A", "B"]),
    ],
)
def test_a_cell_is_a_path(tmp_path, cell, path):
    line = json.dumps({"id": "1", "name": "a", "path": cell})
    assert products(tmp_path, line, "products.jsonl") == [("1", "a", path)]


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("A > B, C > D > E, F > G > H", ["C", "D", "E"]),
        ("A\\, B > C, D", ["A, B", "C"]),
        ('["A > B", "C > D > E"]', ["C", "D", "E"]),
        ([["A"], ["B", "C"]], ["B", "C"]),
    ],
)
def test_of_several_paths_the_longest_is_taken_where_the_config_says_so(tmp_path, cell, path):
    line = json.dumps({"id": "1", "name": "a", "path": cell})
    assert products(tmp_path, line, "products.jsonl", path_separator=", ") == [("1", "a", path)]


@pytest.mark.parametrize(
    "cells",
    [
        ["A > B, A > C"],
        ["Clothing, Clothing > Hoodies"],
        ["Home > Pans; Sale > New > All", "Home > Pans"],
        ["Home > Pans | Sale > New", "Sale > Old"],
        ["Home > Pans, Sale", "Home > Pans", "Sale > Old"],
    ],
)
def test_a_text_that_looks_like_several_paths(tmp_path, cells):
    lines = "".join(json.dumps({"id": n, "name": "a", "path": cell}) + "\n" for n, cell in enumerate(cells))
    with pytest.raises(InputError, match=r"looks like several paths; set path_separator: '(, |; | \| |\| )'"):
        products(tmp_path, lines, "products.jsonl")
    whole = products(tmp_path, lines, "products.jsonl", path_separator="")
    assert [" > ".join(path) for *_, path in whole] == cells


@pytest.mark.parametrize("cell", [[1, 2], [["A"], "B"], [[["A"]]], ["A", ["B"]], {"A": "B"}, 7, True])
def test_no_list_of_names(tmp_path, cell):
    line = json.dumps({"id": "1", "name": "a", "path": cell})
    with pytest.raises(InputError, match=r"products\.jsonl: column 'path', line 1: .* is no "):
        products(tmp_path, line, "products.jsonl")


def test_tags_are_split_and_are_no_path(tmp_path):
    cells = ["red, blue", '["red, blue"]', ["red", "a, b"], None]
    lines = "".join(json.dumps({"id": n, "tags": cell}) + "\n" for n, cell in enumerate(cells))
    (tmp_path / "products.jsonl").write_text(lines)
    columns = {"products": {"product_id": "id", "tags": "tags"}}
    own = OwnFiles(tmp_path / "products.jsonl")
    files = imported(own, columns=columns, category_separator=None, tag_separator=",")
    tags = {row["product_id"]: row["tags"] for row in pq.read_table(files.tags).to_pylist()}
    assert tags == {"0": ["red", "blue"], "1": ["red", "blue"], "2": ["red", "a, b"]}


def test_names_hold_commas(tmp_path):
    cells = ["Clothing, Shoes & Jewelry > Women", "Home > Kitchen, Dining > Pans", "Home > Garden"]
    lines = "".join(json.dumps({"id": n, "name": "a", "path": cell}) + "\n" for n, cell in enumerate(cells))
    assert [" > ".join(path) for *_, path in products(tmp_path, lines, "products.jsonl")] == cells


# --- what is lost is visible --------------------------------------------------------------------------


def warnings(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def judged(folder, judgements: str, key: str = "001") -> list[str]:
    """Return the products that the judgements name, of a catalogue with the products `key`, 002 and 3."""
    own = OwnFiles(*(folder / f"{name}.csv" for name in OwnFiles._fields))
    own.products.write_text(f"id,name,path\n{key},a,A > B\n002,b,A > B\n3,c,A > C\n")
    own.queries.write_text("query_id,query\n1,text\n")
    own.judgements.write_text("query_id,product_id\n" + judgements)
    return pq.read_table(imported(own).examples).column("product_id").to_pylist()


def test_leading_zeros_that_one_file_lost(tmp_path, capsys):
    assert judged(tmp_path, "1,3\n1,2\n1,1\n1,9\n") == ["3", "2", "1", "9"]
    [warning] = warnings(capsys)
    assert "judgements.csv: column 'product_id', line 3: '2' is not in " in warning
    assert "which has '002' (3 of 4 rows are lost); write the ids of both files as text" in warning
    with pytest.raises(
        InputError, match=r"'2' is not in .*products\.csv, which has '002' \(nor is any other of 2"
    ):
        judged(tmp_path, "1,2\n1,1\n")


def test_other_forms_of_ids(tmp_path, capsys):
    with pytest.raises(InputError, match=r"'sku-1' is not in .*, which has 'SKU-1'"):
        judged(tmp_path, "1,sku-1\n", "SKU-1")
    with pytest.raises(InputError, match=r"column 'query_id', line 3: '01' is not in .*, which has '1'"):
        judged(tmp_path, "1,3\n01,3\n")
    assert judged(tmp_path, "1,3.0\n1,001.0\n", "001") == ["3", "001"]  # a whole column of decimals
    assert judged(tmp_path, "1,gone\n1,3\n") == ["gone", "3"]
    assert warnings(capsys) == []


@pytest.mark.parametrize(
    ("cells", "separator", "says"),
    [
        (
            ["A > B", "A>C"],
            " > ",
            "1 of 2 texts hold '>' in a name, such as 'A>C'; set category_separator: '>'",
        ),
        (["Men/Shoes", "Hats"], " > ", "category_separator ' > ' is in no text, such as 'Men/Shoes'"),
        (["A - B", "T-Shirts - C"], " - ", None),
        (["A > B", "A"], ">", None),
    ],
)
def test_a_separator_that_does_not_fit(tmp_path, capsys, cells, separator, says):
    lines = "".join(json.dumps({"id": n, "name": "a", "path": cell}) + "\n" for n, cell in enumerate(cells))
    products(tmp_path, lines, "products.jsonl", category_separator=separator)
    found = warnings(capsys)
    assert len(found) == (says is not None)
    assert all("products.jsonl: column 'path': " in line and says in line for line in found)


def test_paths_that_are_too_short_say_how_deep_they_are(tmp_path):
    own = OwnFiles(tmp_path / "products.csv")
    own.products.write_text("id,name,path\n1,a,Shoes\n2,b,Hats > Caps\n3,c,Bags\n")
    raw = imported(own)
    out = CorpusFiles(*(tmp_path / "corpus" / f"{name}.parquet" for name in CorpusFiles._fields))
    files = RawFiles(raw.examples, raw.products, raw.category_paths)
    config = CorpusConfig(levels=3, documents="all")
    says = r"levels is 3, .* \(2 have 1, such as \['Bags'\], 1 have 2, .*\); set corpus\.levels to at most 2"
    with pytest.raises(InputError, match=says):
        build_corpus(files, "us", config, out, SMALL)
    assert build_corpus(files, "us", CorpusConfig(levels=2, documents="all"), out, SMALL)["documents"] == 1
