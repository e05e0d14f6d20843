"""Broken files of a catalogue; each case writes complete ones and puts a fault into one of them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import breakage as b
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs import OWN, Case, settings

PRODUCTS = b"id,name,path\np1,Shoe,A > B > C\np2,Hat,A > B > D\np3,Bag,A > E > F\n"
QUERIES = b"query_id,query,split\nq1,shoe,train\nq2,hat,test\n"
JUDGEMENTS = b"query_id,product_id,label\nq1,p1,3\nq2,p2,3\nq2,p1,0\n"


def shop(
    products: bytes = PRODUCTS, queries: bytes = QUERIES, judgements: bytes = JUDGEMENTS
) -> Callable[[Path], None]:
    texts = {"products": products, "queries": queries, "judgements": judgements}
    return b.all_of(*(b.content(f"{OWN}/{name}.csv", text) for name, text in texts.items()))


def parquet(**columns: object) -> Callable[[Path], None]:
    """Write products.parquet too."""

    def write(folder: Path) -> None:
        shop()(folder)
        pq.write_table(pa.table(columns), folder / OWN / "products.parquet")

    return write


IN_PARQUET = {"--products": f"{OWN}/products.parquet"}
CASES = [
    Case(
        "own products gone", "import_catalogue", b.all_of(shop(), b.gone(f"{OWN}/products.csv")),
        ("products.csv: no such file",),
    ),
    Case("own products empty", "import_catalogue", shop(products=b""), ("products.csv: an empty file", "header")),
    Case("own products header alone", "import_catalogue", shop(products=b"id,name,path\n"), ("products.csv: no rows",)),
    Case(
        "own products no id", "import_catalogue", shop(products=b"sku,name,path\n1,a,b\n"),
        ("products.csv: column 'id' is missing", "it has sku, name, path"),
    ),
    Case(
        "own header repeats a name", "import_catalogue", shop(products=b"id,name,path,id\n1,a,b,2\n"),
        ("products.csv: column 'id' is there twice",),
    ),
    Case(
        "own product twice", "import_catalogue", shop(products=PRODUCTS + b"p1,Shoe,A > B > C\n"),
        ("products.csv: column 'id', line 5: 'p1' is there twice, before in line 2", "keep one"),
    ),
    Case(
        "own product without id", "import_catalogue", shop(products=PRODUCTS + b",Shoe,A\n"),
        ("products.csv: column 'id', line 5: null", "every row"),
    ),
    Case(
        "own quote not closed", "import_catalogue", shop(products=PRODUCTS + b'p4,"Shoe,A\np5,Hat,A\n'),
        ("products.csv: line 5: the record that starts there is not CSV", "close every quote"),
    ),
    Case(
        "own quote within", "import_catalogue", shop(products=PRODUCTS + b'p4,"Shoe" x,A\n'),
        ("products.csv: line 5", "double those within"),
    ),
    Case(
        "own row too long", "import_catalogue", shop(products=PRODUCTS + b"p4,Shoe,small,A\n"),
        ("products.csv: line 5 has 4 fields, the header 3", "csv_delimiter"),
    ),
    Case(
        "own text not UTF-8", "import_catalogue", shop(products=PRODUCTS + b"p4,Caf\xe9,A\n"),
        ("products.csv: column 'name', line 5: not UTF-8", "as UTF-8"),
    ),
    Case(
        "own products a spreadsheet", "import_catalogue", shop(),
        ("products.xlsx: the ending of its name is not known", "known are .parquet"),
        {"--products": f"{OWN}/products.xlsx"},
    ),
    Case(
        "own parquet cut", "import_catalogue",
        b.all_of(parquet(id=["a"], name=["b"], path=[["c"]]), b.cut(f"{OWN}/products.parquet")),
        ("products.parquet: not a complete parquet file",), IN_PARQUET,
    ),
    Case(
        "own ids are fractions", "import_catalogue", parquet(id=[1.0, 2.5], name=["a", "b"], path=["A", "B"]),
        ("products.parquet: column 'id' is double, but not of whole numbers", "as texts or integers"), IN_PARQUET,
    ),
    Case(
        "own ids are large floats", "import_catalogue", parquet(id=[1.0, 2.0**53], name=["a", "b"], path=["A", "B"]),
        ("products.parquet: column 'id' is double", "too large to be exact"), IN_PARQUET,
    ),
    Case(
        "own categories are numbers", "import_catalogue", parquet(id=["a"], name=["b"], path=[[1, 2]]),
        ("column 'path' is list<", "not list or string"), IN_PARQUET,
    ),
    Case(
        "own category of one text", "import_catalogue", shop(),
        ("products.csv: column 'path', line 2: 'A > B > C' is text", "category_separator in the config, such as ' > '"),
        {"--config": '{"columns": {"products": {"product_id": "id", "category": "path"}}}'},
    ),
    Case(
        "own query twice", "import_catalogue", shop(queries=QUERIES + b"q1,boot,train\n"),
        ("queries.csv: column 'query_id', line 4: 'q1' is there twice",),
    ),
    Case(
        "own query without text", "import_catalogue", shop(queries=QUERIES + b"q3, ,train\n"),
        ("queries.csv: column 'query', line 4: ' '",),
    ),
    Case(
        "own split unknown", "import_catalogue", shop(queries=QUERIES + b"q3,boot,dev\n"),
        ("queries.csv: column 'split', line 4: 'dev'", "'train', 'test'"),
    ),
    Case(
        "own judgement of no query", "import_catalogue", shop(judgements=JUDGEMENTS + b"q9,p1,3\n"),
        ("judgements.csv: column 'query_id', line 5: 'q9' is not in", "queries.csv; add it there"),
    ),
    Case(
        "own judgements of no product", "import_catalogue", shop(judgements=b"query_id,product_id,label\nq1,x,3\n"),
        ("judgements.csv: column 'product_id', line 2: 'x' is not in", "belong together"),
    ),
    Case(
        "own grade unknown", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p2,5\n"),
        ("judgements.csv: column 'label', line 5: '5'", "allowed are 3, 0"),
    ),
    Case(
        "own label null", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p2,\n"),
        ("judgements.csv: column 'label', line 5: null",),
    ),
    Case(
        "own pair with two labels", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p1,0\n"),
        ("judgements.csv: column 'product_id', line 5: 'p1' has another label", "keep one"),
    ),
    Case(
        "own queries without judgements", "import_catalogue", shop(),
        ("one without the other", "both or neither"), {"--judgements": None},
    ),
    Case(
        "own column misspelt", "import_catalogue", shop(products=PRODUCTS.replace(b"path", b"Paths")),
        ("products.csv: column 'path' is missing", "did you mean 'Paths'? it has id, name, Paths"),
    ),
    Case(
        "own file is a spreadsheet", "import_catalogue", shop(products=b"PK\x03\x04\x14\x00"),
        ("products.csv: it is a spreadsheet", "save it as CSV"),
    ),
    Case(
        "own gzip cut", "import_catalogue", shop(products=gzip.compress(PRODUCTS)[:-12]),
        ("products.csv: a damaged gzip file", "compress or download it again"),
    ),
    Case(
        "own delimiter of the config wrong", "import_catalogue", shop(products=PRODUCTS.replace(b",", b";")),
        ("products.csv: the header has the columns by csv_delimiter ';', not by ','", "leave it out"),
        settings("import_catalogue", csv_delimiter=","),
    ),
    Case(
        "own separator wrong", "import_catalogue", shop(),
        ("column 'path': category_separator '/' is in none of 3 texts", "such as ' > ' in 'A > B > C'"),
        settings("import_catalogue", category_separator="/"),
    ),
    Case(
        "own list cut", "import_catalogue", shop(products=PRODUCTS + b"p4,Shoe,\"[\"\"A\"\", \"\"B\"\n"),
        ("column 'path', line 5: '[\"A\", \"B' starts as a list, but is none", "a complete list"),
    ),
    Case(
        "own lists of paths", "import_catalogue", shop(products=PRODUCTS + b"p4,Shoe,\"['A > B', 'C > D']\"\n"),
        ("column 'path', line 5: 2 paths in one cell ('A > B, C > D')", "set path_separator"),
    ),
    Case(
        "own paths in one text", "import_catalogue", shop(products=PRODUCTS + b"p4,Shoe,\"A > B > C, Sale > New\"\n"),
        ("column 'path': 'A > B > C, Sale > New' looks like several paths", "path_separator: ', '"),
    ),
    Case(
        "own JSON broken", "import_catalogue",
        b.all_of(shop(), b.content(f"{OWN}/products.jsonl", b'{"id": "a", "path": []}\n\n{"id": "b"\n')),
        ("products.jsonl: line 3 is not JSON", "JSON lines"), {"--products": f"{OWN}/products.jsonl"},
    ),
    Case(
        "own JSON without a column", "import_catalogue",
        b.all_of(shop(), b.content(f"{OWN}/products.json", b'{"id": "a", "path": []}\n{"id": "b"}\n')),
        ("products.json: column 'name' is missing", "it has id, path"), {"--products": f"{OWN}/products.json"},
    ),
    Case(
        "own products in a folder", "import_catalogue",
        b.all_of(shop(), b.content(f"{OWN}/a.csv/part-0.csv", PRODUCTS)),
        ("a.csv: a folder, not a file", "name"), {"--products": f"{OWN}/a.csv"},
    ),
    Case(
        "own ids lost their zeros", "import_catalogue",
        shop(products=PRODUCTS.replace(b"\np", b"\n00"), judgements=b"query_id,product_id,label\nq1,3.0,3\nq2,X,3\n"),
        ("judgements.csv: column 'product_id', line 2: '3.0' is not in", "which has '003'", "leading zeros"),
    ),
]  # fmt: skip
