"""The raw files of Amazon's ESCI: judgements ("examples") and products, both parquet.

DuckDB reads them out of core, and checks each when it is opened: a wrong file, column or value is a one-line error
that names it. Rows are counted from 0.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from catid2.corpus.database import BLANKS, open_parquet, reading
from catid2.runtime.errors import InputError
from catid2.runtime.tables import LABELS, SPLITS, is_text, read_footer, require_column

LOCALES = ("us", "es", "jp")
VERSIONS = ("small", "large")

EXAMPLES = {
    "query_id": "integer",
    "query": "string",
    "product_id": "string",
    "product_locale": "string",
    "esci_label": "string",
    "small_version": "integer",
    "large_version": "integer",
    "split": "string",
}
TEXT_COLUMNS = {  # field of the corpus → column of ESCI
    "title": "product_title",
    "brand": "product_brand",
    "color": "product_color",
    "bullets": "product_bullet_point",
    "description": "product_description",
}
PRODUCTS = {"product_id": "string", "product_locale": "string"} | dict.fromkeys(TEXT_COLUMNS.values(), "text")
# As Amazon's files have them.
EXAMPLES_SCHEMA = pa.schema(
    [
        ("example_id", pa.int64()),
        ("query", pa.string()),
        ("query_id", pa.int64()),
        ("product_id", pa.string()),
        ("product_locale", pa.string()),
        ("esci_label", pa.string()),
        ("small_version", pa.int64()),
        ("large_version", pa.int64()),
        ("split", pa.string()),
    ]
)
PRODUCTS_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in (
            "product_id",
            "product_title",
            "product_description",
            "product_bullet_point",
            "product_brand",
            "product_color",
            "product_locale",
        )
    ]
)


def check_columns(path: str | Path, columns: Mapping[str, str]) -> None:
    """Check that `path` is a complete parquet table with `columns`, each "string", "integer" or "text".

    "text" is a string column that may also have type null, as pandas writes a column of nulls.

    Raises:
        InputError: naming the file and the column.
    """
    schema, _ = read_footer(path)
    for name, kind in columns.items():
        require_column(path, name, schema.names)
        found = schema.field(name).type
        if kind != _kind(found) and not (kind == "text" and _kind(found) in ("string", "null")):
            raise InputError(path, f"column {name!r} is {found}, not {kind}", "write it with that type")


def _kind(found: pa.DataType) -> str:
    if is_text(found):
        return "string"
    if pa.types.is_dictionary(found):
        found = found.value_type
    return "integer" if pa.types.is_integer(found) else str(found)


def load_examples(
    connection: duckdb.DuckDBPyConnection,
    path: str | Path,
    locale: str,
    version: str,
    may_be_empty: bool = False,
) -> dict[str, int]:
    """Load the judgements of `locale` and `version` into a table `example`; return the file's rows per locale.

    Columns: row, query_id, query, product_id, label, split.

    Raises:
        InputError: the file or a column is unusable; a value is null or not an allowed one (checked for all
            locales); no row is of `locale` (unless the file has no rows and `may_be_empty`); in its rows a
            query has two texts or splits, or a pair two labels.
    """
    check_columns(path, EXAMPLES)
    view = "raw_examples"
    open_parquet(connection, view, path, {name: name for name in EXAMPLES})
    with reading(path):
        _check_values(
            connection, view, path, {"product_locale": LOCALES, "esci_label": LABELS, "split": SPLITS}
        )
        _check_values(connection, view, path, {f"{version}_version": ("0", "1") for version in VERSIONS})
        _check_filled(connection, view, path, ("query_id", "query", "product_id"))
        rows = {locale: 0} if may_be_empty and not read_footer(path)[1] else None
        rows = rows or _rows_per_locale(connection, view, path, locale)
        connection.execute(
            f"""
            CREATE TEMP TABLE example AS
            SELECT row, query_id::BIGINT AS query_id, query, product_id, esci_label AS label, split
            FROM {view} WHERE product_locale = $locale AND {version}_version = 1
            """,
            {"locale": locale},
        )
    for column in ("query", "split"):
        _check_agreement(connection, path, "query_id", column)
    _check_agreement(connection, path, "query_id, product_id", "label")
    return rows


def load_products(connection: duckdb.DuckDBPyConnection, path: str | Path, locale: str) -> dict[str, int]:
    """Load the keys of the products of `locale` into a table `product`; return the file's rows per locale.

    Columns: product_id, row (the first row with that id), copies (rows with that id). The texts stay in the file,
    which the view `raw_products` reads.

    Raises:
        InputError: the file or a column is unusable; a key is null or of an unknown locale (checked for all
            locales); no row is of `locale`; two rows have the same key and different content.
    """
    check_columns(path, PRODUCTS)
    view = "raw_products"
    open_parquet(connection, view, path, {name: name for name in PRODUCTS})
    with reading(path):
        _check_values(connection, view, path, {"product_locale": LOCALES})
        _check_filled(connection, view, path, ("product_id",))
        rows = _rows_per_locale(connection, view, path, locale)
        connection.execute(
            f"""
            CREATE TEMP TABLE product AS
            SELECT product_id, min(row) AS row, count(*) AS copies
            FROM {view} WHERE product_locale = $locale GROUP BY product_id
            """,
            {"locale": locale},
        )
        _check_copies(connection, path, locale)
    return rows


def _check_copies(connection: duckdb.DuckDBPyConnection, path: str | Path, locale: str) -> None:
    """Raise InputError if products of `locale` with the same id differ in a text."""
    repeated = connection.execute("SELECT product_id FROM product WHERE copies > 1").fetchall()
    if not repeated:
        return  # or DuckDB would read every text to find nothing
    found = connection.execute(
        f"""
        WITH copy AS (
            SELECT product_id, row, ({", ".join(TEXT_COLUMNS.values())}) AS content
            FROM raw_products
            WHERE product_locale = $locale AND product_id IN (SELECT unnest($repeated))
        )
        SELECT product_id, arg_min(row, content), arg_max(row, content)
        FROM copy GROUP BY product_id HAVING count(DISTINCT content) > 1 ORDER BY product_id LIMIT 1
        """,
        {"locale": locale, "repeated": [product_id for (product_id,) in repeated]},
    ).fetchall()
    for product_id, row, other in found:
        what = f"product {product_id!r} of locale {locale!r} has different content in rows {row} and {other}"
        raise InputError(path, what, "keep one of them")


def _check_values(
    connection: duckdb.DuckDBPyConnection, view: str, path: str | Path, allowed: Mapping[str, Sequence[str]]
) -> None:
    for column, values in allowed.items():
        check_view(
            connection,
            view,
            path,
            column,
            f"{column} IS NULL OR {column}::VARCHAR NOT IN ({', '.join(repr(value) for value in values)})",
            f"allowed are {', '.join(values)}",
        )


def _check_filled(
    connection: duckdb.DuckDBPyConnection, view: str, path: str | Path, columns: Sequence[str]
) -> None:
    for column in columns:
        wrong = f"{column} IS NULL OR regexp_full_match({column}::VARCHAR, '({BLANKS})?')"
        check_view(connection, view, path, column, wrong, "every row needs one")


def check_view(
    connection: duckdb.DuckDBPyConnection, view: str, path: str | Path, column: str, wrong: str, remedy: str
) -> None:
    """Raise InputError for the first row of `view`, made of `path`, for which the SQL condition `wrong` holds."""
    found = connection.execute(
        f"SELECT row, {column}::VARCHAR FROM {view} WHERE {wrong} ORDER BY row LIMIT 1"
    ).fetchall()
    for row, value in found:
        raise InputError(
            path, f"column {column!r}, row {row}: {'null' if value is None else repr(value)}", remedy
        )


def _rows_per_locale(
    connection: duckdb.DuckDBPyConnection, view: str, path: str | Path, locale: str
) -> dict[str, int]:
    rows = dict(
        connection.execute(
            f"SELECT product_locale, count(*) FROM {view} GROUP BY product_locale ORDER BY 1"
        ).fetchall()
    )
    if locale not in rows:
        remedy = f"it has {', '.join(rows) or 'no rows'}"
        raise InputError(path, f"no row of locale {locale!r}", remedy)
    return rows


def _check_agreement(connection: duckdb.DuckDBPyConnection, path: str | Path, key: str, column: str) -> None:
    """Raise InputError if rows of `example` with the same `key` differ in `column`."""
    found = connection.execute(
        f"""
        SELECT {key}, min({column}), max({column}), arg_min(row, {column}), arg_max(row, {column})
        FROM example GROUP BY {key} HAVING min({column}) <> max({column}) ORDER BY {key} LIMIT 1
        """
    ).fetchall()
    for *values, one, other, row, other_row in found:
        names = ", ".join(f"{name} {value!r}" for name, value in zip(key.split(", "), values, strict=True))
        what = f"{names} has two values of {column!r}: {one!r} in row {row}, {other!r} in row {other_row}"
        raise InputError(path, what, "keep one of them")
