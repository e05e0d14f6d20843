"""Broken files of a catalogue of one's own; each case writes whole ones and puts a fault into one of them."""

from collections.abc import Callable
from pathlib import Path

import breakage as b
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs import OWN, Case

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
        ("products.csv: column 'id', row 3: 'p1' is there twice", "keep one"),
    ),
    Case(
        "own product without id", "import_catalogue", shop(products=PRODUCTS + b",Shoe,A\n"),
        ("products.csv: column 'id', row 3: null", "every row"),
    ),
    Case(
        "own quote not closed", "import_catalogue", shop(products=PRODUCTS + b'p4,"Shoe,A\np5,Hat,A\n'),
        ("products.csv: line 5: a record starts there that is not CSV", "close every quote"),
    ),
    Case(
        "own quote within", "import_catalogue", shop(products=PRODUCTS + b'p4,"Shoe" x,A\n'),
        ("products.csv: line 5", "double those within"),
    ),
    Case(
        "own row too long", "import_catalogue", shop(products=PRODUCTS + b"p4,Shoe,small,A\n"),
        ("products.csv: row 3 has 4 fields, the header 3", "csv_delimiter"),
    ),
    Case(
        "own text not UTF-8", "import_catalogue", shop(products=PRODUCTS + b"p4,Caf\xe9,A\n"),
        ("products.csv: column 'name', row 3: not UTF-8", "as UTF-8"),
    ),
    Case(
        "own products a spreadsheet", "import_catalogue", shop(),
        ("products.xlsx: neither .parquet nor .csv",), {"--products": f"{OWN}/products.xlsx"},
    ),
    Case(
        "own parquet cut", "import_catalogue",
        b.all_of(parquet(id=["a"], name=["b"], path=[["c"]]), b.cut(f"{OWN}/products.parquet")),
        ("products.parquet: not a whole parquet file",), IN_PARQUET,
    ),
    Case(
        "own ids are floats", "import_catalogue", parquet(id=[1.0, 2.0], name=["a", "b"], path=["A", "B"]),
        ("products.parquet: column 'id' is double, not string or integer", "write it"), IN_PARQUET,
    ),
    Case(
        "own categories are numbers", "import_catalogue", parquet(id=["a"], name=["b"], path=[[1, 2]]),
        ("column 'path' is list<", "not list or string"), IN_PARQUET,
    ),
    Case(
        "own category of one text", "import_catalogue", shop(),
        ("products.csv: column 'path' is text", "category_separator"),
        {"--config": '{"columns": {"products": {"product_id": "id", "category": "path"}}}'},
    ),
    Case(
        "own query twice", "import_catalogue", shop(queries=QUERIES + b"q1,boot,train\n"),
        ("queries.csv: column 'query_id', row 2: 'q1' is there twice",),
    ),
    Case(
        "own query without text", "import_catalogue", shop(queries=QUERIES + b"q3, ,train\n"),
        ("queries.csv: column 'query', row 2: ' '",),
    ),
    Case(
        "own split unknown", "import_catalogue", shop(queries=QUERIES + b"q3,boot,dev\n"),
        ("queries.csv: column 'split', row 2: 'dev'", "'train', 'test'"),
    ),
    Case(
        "own judgement of no query", "import_catalogue", shop(judgements=JUDGEMENTS + b"q9,p1,3\n"),
        ("judgements.csv: column 'query_id', row 3: 'q9' is not in", "queries.csv; add the query"),
    ),
    Case(
        "own judgements of no product", "import_catalogue", shop(judgements=b"query_id,product_id,label\nq1,x,3\n"),
        ("judgements.csv: column 'product_id', row 0: 'x' is not in", "belong together"),
    ),
    Case(
        "own grade unknown", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p2,5\n"),
        ("judgements.csv: column 'label', row 3: '5'", "allowed are 3, 0"),
    ),
    Case(
        "own label null", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p2,\n"),
        ("judgements.csv: column 'label', row 3: null",),
    ),
    Case(
        "own pair with two labels", "import_catalogue", shop(judgements=JUDGEMENTS + b"q1,p1,0\n"),
        ("judgements.csv: column 'product_id', row 3: 'p1' has another label", "keep one"),
    ),
    Case(
        "own queries without judgements", "import_catalogue", shop(),
        ("one without the other", "both or neither"), {"--judgements": None},
    ),
]  # fmt: skip
