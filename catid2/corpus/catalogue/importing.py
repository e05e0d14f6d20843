"""Your own catalogue as raw files in ESCI's format, which build_corpus reads like ESCI.

Products must be unique, and the query of every judgement must exist, because training and search need its text. A
judgement of an unknown product is kept here; build_corpus drops and counts it ("no_product" in stats.json), because
products leave a shop before its logs do.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa

from catid2.corpus.catalogue.columns import Column
from catid2.corpus.catalogue.files import Table, check_filled, check_once, check_rows, load_table
from catid2.corpus.catalogue.ids import check_known
from catid2.corpus.catalogue.names import Splitting
from catid2.corpus.database import Resources, connect, write_stream
from catid2.corpus.esci import EXAMPLES, TEXT_COLUMNS
from catid2.corpus.esci_s import CATEGORY_PATHS
from catid2.corpus.tree import PLACEHOLDER
from catid2.runtime.errors import InputError, warn
from catid2.runtime.tables import LABELS, SPLITS, TAGS
from catid2.runtime.writing import atomic

if TYPE_CHECKING:
    from catid2.config.catalogue import CatalogueConfig

_LOG = logging.getLogger(__name__)
_ROWS_PER_GROUP = 2**15  # of the parquet files
_INTEGER = "0|-?[1-9][0-9]{0,17}"  # of 64 bits, written in the one usual way
# A number in [0, 1) of a query: the first 52 bits of MD5 of "seed:text", the text without differences of case and
# white space. A text that several ids have is of one split, and no other query matters.
_UNIFORM = "('0x' || left(md5($seed || ':' || text_key(query)), 13))::BIGINT / 2^52"

QUERY_IDS = {"query_id": pa.int64(), "own_id": pa.string()}  # by query_id


class OwnFiles(NamedTuple):
    """A catalogue: parquet, CSV or JSON lines, recognised by the endings of the names."""

    products: Path
    queries: Path | None = None
    judgements: Path | None = None


class ImportedFiles(NamedTuple):
    """What is made. All but the last two have the format that simulate_esci and extract_categories write."""

    examples: Path
    products: Path
    category_paths: Path
    tags: Path  # columns TAGS; no rows where the catalogue has no tags
    query_ids: Path  # columns QUERY_IDS: which query of the catalogue a query_id is


def import_catalogue(
    own: OwnFiles, locale: str, config: "CatalogueConfig", files: ImportedFiles, resources: Resources
) -> dict[str, int]:
    """Write the raw files of a catalogue, all or none; return what is counted in the log.

    Integer query ids are kept; if one is no integer, all queries are numbered from 0 in byte order. A catalogue without
    queries and judgements has no examples.

    Raises:
        InputError: a file, column or value is unusable (as load_table says); an id is null, blank or not unique; a
            label is unknown; a judgement is of no query, or all are of no product; a pair has two labels.
    """
    if (own.queries is None) != (own.judgements is None):
        raise InputError("--queries, --judgements", "one without the other", "name both or neither")
    with connect(resources) as connection:
        tables = [products := _load_products(connection, own.products, config)]
        if own.queries and own.judgements:
            tables.append(queries := _load_queries(connection, own.queries, config))
            tables.append(_load_judgements(connection, own.judgements, queries, products, config))
        else:
            connection.execute(
                "CREATE TEMP TABLE query (own_id VARCHAR, query_id BIGINT, query VARCHAR, split VARCHAR)"
            )
            connection.execute(
                "CREATE TEMP TABLE judgement (row BIGINT, own_id VARCHAR, product_id VARCHAR, label VARCHAR)"
            )
        counts = _counts(connection)
        with atomic(*files) as paths:
            _write(connection, locale, config.columns.products.category is None, ImportedFiles(*paths))
    for table in tables:
        for what, remedy in table.doubts:
            warn(table.path, what, remedy)
    _LOG.info("%s", ", ".join(f"{count} {what}" for what, count in counts.items()))
    return counts


# --- the tables ---------------------------------------------------------------------------------------


def _load_products(connection: duckdb.DuckDBPyConnection, path: Path, config: "CatalogueConfig") -> Table:
    """Make `item`: row, product_id, the text fields, category and tags."""
    names = config.columns.products
    columns = {"product_id": Column(names.product_id, "id")}
    columns |= {field: Column(getattr(names, field)) for field in TEXT_COLUMNS}
    paths = Splitting("category_separator", config.category_separator, True, config.path_separator)
    columns["category"] = Column(names.category, "names", paths)
    columns["tags"] = Column(names.tags, "names", Splitting("tag_separator", config.tag_separator))
    table = load_table(connection, "item", path, columns, config)
    check_filled(connection, table, "product_id")
    check_once(connection, table, "product_id")
    return table


def _load_queries(connection: duckdb.DuckDBPyConnection, path: Path, config: "CatalogueConfig") -> Table:
    """Make `query`: own_id, query_id, query and split."""
    names = config.columns.queries
    columns = {
        "own_id": Column(names.query_id, "id"),
        "query": Column(names.query),
        "split": Column(names.split, "code"),
    }
    table = load_table(connection, "own_query", path, columns, config)
    check_filled(connection, table, "own_id", "query")
    check_once(connection, table, "own_id")
    if names.split:
        known = ", ".join(repr(split) for split in SPLITS)
        wrong = f"split IS NULL OR split NOT IN ({known})"
        check_rows(connection, table, "split", wrong, "", f"allowed are {known}")
    connection.execute(
        f"""
        CREATE TEMP TABLE query AS
        SELECT own_id, query,
            CASE WHEN bool_and(regexp_full_match(own_id, '{_INTEGER}')) OVER () THEN own_id::BIGINT
                ELSE row_number() OVER (ORDER BY own_id) - 1 END AS query_id,
            coalesce(split, CASE WHEN {_UNIFORM} < $share THEN 'test' ELSE 'train' END) AS split
        FROM own_query
        """,
        {"share": config.test_share, "seed": str(config.split_seed)},
    )
    return table


def _load_judgements(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    queries: Table,
    products: Table,
    config: "CatalogueConfig",
) -> Table:
    """Make `judgement`: row, own_id (of the query), product_id and label (E, S, C or I)."""
    names = config.columns.judgements
    columns = {
        "query_id": Column(names.query_id, "id"),
        "product_id": Column(names.product_id, "id"),
        "label": Column(names.label, "grade"),
    }
    table = load_table(connection, "own_judgement", path, columns, config)
    check_filled(connection, table, "query_id", "product_id")
    check_known(connection, table, "query_id", queries, "own_id")
    check_known(connection, table, "product_id", products, "product_id", some_are_enough=True)
    labels = _labels(connection, config) if names.label else {None: "E"}
    schema = pa.schema({"own": pa.string(), "label": pa.string()})
    connection.register("meaning", pa.table([list(labels), list(labels.values())], schema=schema))
    if names.label:
        allowed = ", ".join(config.labels or LABELS)
        wrong = "label IS NULL OR label NOT IN (SELECT own FROM meaning)"
        check_rows(connection, table, "label", wrong, "", f"allowed are {allowed} (labels in the config)")
    connection.execute(
        """
        CREATE TEMP TABLE judgement AS
        SELECT row, query_id AS own_id, product_id, meaning.label
        FROM own_judgement JOIN meaning ON own_judgement.label IS NOT DISTINCT FROM meaning.own
        """
    )
    two = """
        row IN (SELECT max(row) FROM judgement GROUP BY own_id, product_id HAVING count(DISTINCT label) > 1)
    """
    fault = " has another label for this query in an earlier row"
    check_rows(connection, table, "product_id", two, fault, "keep one")
    return table


def _labels(connection: duckdb.DuckDBPyConnection, config: "CatalogueConfig") -> dict[str, str]:
    """Return the ESCI label of each label in the file that has one; 3, 3.0 and "3" are one grade."""
    meaning = {
        _grade(own): label for own, label in (config.labels or {label: label for label in LABELS}).items()
    }
    found = connection.execute("SELECT DISTINCT label FROM own_judgement WHERE label IS NOT NULL").fetchall()
    return {own: meaning[_grade(own)] for (own,) in found if _grade(own) in meaning}


def _grade(label: str) -> str | float:
    try:
        return float(label)
    except ValueError:
        return label


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    queries = {
        "products": "FROM item",
        "without a category path": "FROM item WHERE category IS NULL",
        "with tags": "FROM item WHERE tags IS NOT NULL",
        "train queries": "FROM query WHERE split = 'train'",
        "test queries": "FROM query WHERE split = 'test'",
        "queries whose text another has": "FROM "
        "(SELECT 1 FROM query QUALIFY count(*) OVER (PARTITION BY text_key(query)) > 1)",
        "queries without a judgement (left out)": "FROM query ANTI JOIN judgement USING (own_id)",
        "judgements": "FROM judgement",
        "of an unknown product (build_corpus drops them)": "FROM judgement ANTI JOIN item USING (product_id)",
    }
    return {
        what: connection.execute(f"SELECT count(*) {rows}").fetchall()[0][0] for what, rows in queries.items()
    }


# --- the files ----------------------------------------------------------------------------------------


def _write(
    connection: duckdb.DuckDBPyConnection, locale: str, no_categories: bool, files: ImportedFiles
) -> None:
    texts = ", ".join(f"{field} AS {column}" for field, column in TEXT_COLUMNS.items())
    path = f"{list(PLACEHOLDER)}" if no_categories else "category"
    strings = dict.fromkeys(["product_id", *TEXT_COLUMNS.values(), "product_locale"], pa.string())
    integers = {"query_id": pa.int64(), "small_version": pa.int64(), "large_version": pa.int64()}
    examples = {name: integers.get(name, pa.string()) for name in EXAMPLES}
    tables = {
        files.products: (
            strings,
            f"SELECT product_id, {texts}, {locale!r} AS product_locale FROM item ORDER BY row",
        ),
        files.examples: (
            examples,
            f"""
            SELECT query_id, query, product_id, {locale!r} AS product_locale, label AS esci_label,
                1 AS small_version, 1 AS large_version, split
            FROM judgement JOIN query USING (own_id) ORDER BY row
            """,
        ),
        files.category_paths: (
            CATEGORY_PATHS,
            f"""
            SELECT product_id AS asin, {locale!r} AS locale, {path} AS path,
                CASE WHEN path IS NULL THEN 'no_category' ELSE 'usable' END AS state, category_blank AS blank_names
            FROM item ORDER BY ALL
            """,
        ),
        files.tags: (TAGS, "SELECT product_id, tags FROM item WHERE tags IS NOT NULL ORDER BY product_id"),
        files.query_ids: (QUERY_IDS, "SELECT query_id, own_id FROM query ORDER BY query_id"),
    }
    for target, (columns, query) in tables.items():
        rows = connection.sql(query)
        write_stream(target, rows.to_arrow_reader(_ROWS_PER_GROUP), pa.schema(columns))
