"""From the raw files to a corpus: documents, queries, judgements, the category tree, and what was dropped.

A document is a product of the locale whose category path has at least H levels and that a kept judgement names (with
`documents: all`, any product). If several ESCI-S records have a product's asin, the product takes one whose path has H
levels, if possible; among these one of its own locale, else of the first locale by name; among these the longest path,
then the first by name. Names that differ only in spelling are one category. Documents are numbered in the byte order of
product_id, so nothing depends on the order of the raw rows.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pyarrow as pa

from catid2.corpus.cleaning import clean_text
from catid2.corpus.database import Resources, connect, open_parquet, reading, write_stream
from catid2.corpus.esci import TEXT_COLUMNS, check_view, load_examples, load_products
from catid2.corpus.esci_s import CATEGORY_PATHS, STATES
from catid2.corpus.stats import (
    balance,
    dropped_pairs,
    dropped_products,
    esci_s_account,
    judgement_counts,
    path_counts,
    queries_without_documents,
    repeated_texts,
    tree_counts,
    warn_of_loss,
)
from catid2.corpus.tree import Tree, build_tree, one_spelling
from catid2.runtime.errors import InputError, warn
from catid2.runtime.tables import (
    JUDGEMENTS,
    QUERIES,
    TEXT_FIELDS,
    products_columns,
    read_footer,
    write_json,
    write_table,
)
from catid2.runtime.writing import atomic

if TYPE_CHECKING:
    from catid2.config.corpus import CorpusConfig

_LOG = logging.getLogger(__name__)
REPEATED_SHARE = 0.1  # of the test queries: more with a train query's text are worth a warning
_DOCUMENTS_PER_BATCH = 2**14  # cleaned and written together; about 30 MB of text


class RawFiles(NamedTuple):
    """What a corpus is made from."""

    examples: Path  # ESCI's judgements, parquet
    products: Path  # ESCI's products, parquet
    categories: Path  # what extract_categories made of ESCI-S, parquet


class CorpusFiles(NamedTuple):
    """What a corpus consists of; columns as in catid2.runtime.tables."""

    products: Path
    queries: Path
    judgements: Path
    categories: Path
    stats: Path


def build_corpus(
    raw: RawFiles, locale: str, config: "CorpusConfig", files: CorpusFiles, resources: Resources
) -> dict[str, Any]:
    """Write the corpus of `locale`, all files or none; return the content of stats.json.

    In stats.json each of examples, products and esci_s has rows = kept + the sum of dropped.

    Raises:
        InputError: a raw file is unusable (as load_examples and load_products say), or nothing is left.
    """
    with connect(resources) as connection:
        check_category_paths(connection, raw.categories)
        every = config.documents == "all"
        example_rows = load_examples(connection, raw.examples, locale, config.version, may_be_empty=every)
        product_rows = load_products(connection, raw.products, locale)
        _judge_pairs(connection, config)
        table = "product" if every else "judged"
        connection.execute(f"CREATE TEMP TABLE wanted AS SELECT DISTINCT product_id FROM {table}")
        _choose_records(connection, raw.categories, locale, config.levels)
        _choose_documents(connection, config.levels)
        repeated = repeated_texts(connection)
        if config.drop_repeated_texts:
            _drop_repeated_texts(connection)
        counts = judgement_counts(connection, "judgement") | {"documents": _rows(connection, "document")}
        kept = _rows(connection, "judgement")
        other_version = {"other_version": example_rows[locale] - _rows(connection, "example")}
        examples = balance(example_rows, locale, kept, other_version | dropped_pairs(connection))
        products = balance(product_rows, locale, counts["documents"], dropped_products(connection))
        if not counts["documents"] and products["dropped"]["path_too_short"]:
            raise _too_shallow(connection, raw.categories, config.levels)
        if not examples["kept"] and examples["rows"]:
            raise _nothing_left(raw.examples, f"judgement of locale {locale!r}", examples["dropped"])
        if not counts["documents"]:
            raise _nothing_left(raw.products, f"product of locale {locale!r}", products["dropped"])
        tree, spellings = _place_documents(connection)
        with atomic(*files) as paths:
            aside = CorpusFiles(*paths)
            text = _write_products(connection, raw.products, config, aside.products)
            _write_queries(connection, aside.queries)
            _write_judgements(connection, aside.judgements)
            write_table(aside.categories, tree.nodes)
            stats = {
                "locale": locale,
                "config": config.model_dump(mode="json"),
                "examples": examples,
                "products": products,
                "esci_s": esci_s_account(connection),
                "before_categories": judgement_counts(connection, "judged"),
                **counts,
                "queries_without_documents": queries_without_documents(connection),
                "test_texts_in_train": repeated,
                **path_counts(connection, locale),
                "spellings_merged": spellings,
                "tree": tree_counts(tree.nodes),
                "text": text,
            }
            write_json(aside.stats, stats)
    warn_of_loss(raw.examples, "judgements", examples)
    warn_of_loss(raw.products, "products", products)
    _LOG.info(
        "%s: %d documents, %d queries, %d judgements, %d category nodes",
        locale,
        counts["documents"],
        counts["queries"]["all"],
        examples["kept"],
        tree.nodes.num_rows,
    )
    _warn_of(stats, raw, config)
    return stats


def _warn_of(stats: dict[str, Any], raw: RawFiles, config: "CorpusConfig") -> None:
    """Warn of properties that a corpus probably should not have."""
    repeated, asked = stats["test_texts_in_train"]["queries"], stats["queries"]["test"]
    if not config.drop_repeated_texts and repeated > REPEATED_SHARE * asked:
        what = f"{repeated} of {asked} test queries have the text of a train query"
        warn(raw.examples, what, "set corpus.drop_repeated_texts: true to leave them out of test")
    single = [level["level"] for level in stats["tree"] if level["nodes"] == 1]
    if single and stats["path_is_a_placeholder"] < stats["documents"]:
        levels = " and ".join(map(str, single))
        what = f"all products lie in one node at level {levels} of the category tree"
        remedy = "take such names out of the category paths, so that they tell products apart"
        warn(raw.categories, what, remedy)


def _nothing_left(path: Path, what: str, dropped: dict[str, int]) -> InputError:
    why = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
    remedy = "check that the raw files belong together, and the corpus settings"
    return InputError(path, f"no {what} is left ({why})", remedy)


def _too_shallow(connection: duckdb.DuckDBPyConnection, categories: Path, levels: int) -> InputError:
    """Return the error of a corpus whose category paths are all shorter than its tree."""
    depths = connection.execute(
        "SELECT depth, count(*), min(path) FROM catalogue WHERE depth > 0 GROUP BY depth ORDER BY depth"
    ).fetchall()
    found = ", ".join(f"{count:,} have {depth}, such as {path}" for depth, count, path in depths)
    what = f"corpus.levels is {levels}, but no category path has so many names ({found})"
    remedy = f"set corpus.levels to at most {depths[-1][0]}, or split the paths into more names (category_separator)"
    return InputError(categories, what, remedy)


def check_category_paths(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the view `raw_category_paths` of a table of CATEGORY_PATHS, checked; InputError if it is none."""
    schema, _ = read_footer(path)
    if not schema.equals(pa.schema(CATEGORY_PATHS)):
        found = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise InputError(path, f"not a table of category paths (it has {found})", "run extract_categories")
    view = "raw_category_paths"
    open_parquet(connection, view, path, {name: name for name in CATEGORY_PATHS})
    usable = "state = 'usable'"
    wrong = {
        "state": f"state IS NULL OR NOT list_contains({list(STATES)}, state)",
        "asin": f"{usable} AND asin IS NULL",
        "path": f"({usable}) <> (path IS NOT NULL) OR {usable} AND "
        "(len(path) = 0 OR len(list_filter(path, lambda name: coalesce(trim(name), '') = '')) > 0)",
        "blank_names": "blank_names IS NULL OR blank_names < 0",
    }
    with reading(path):
        for column, condition in wrong.items():
            check_view(connection, view, path, column, condition, "run extract_categories again")


def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return rows


# --- which pairs, records and documents ---------------------------------------------------------------


def _judge_pairs(connection: duckdb.DuckDBPyConnection, config: "CorpusConfig") -> None:
    """Make `pair` (every example; `dropped` null or why) and `judged` (those kept so far, with `seen`)."""
    connection.execute(
        """
        CREATE TEMP TABLE pair AS
        SELECT query_id, product_id, label, split,
            CASE WHEN NOT list_contains($labels, label) THEN 'label_not_kept'
                WHEN row_number() OVER (PARTITION BY query_id, product_id ORDER BY row) > 1 THEN 'repeated_row'
            END AS dropped
        FROM example
        """,
        {"labels": list(config.labels)},
    )
    connection.execute(
        """
        CREATE TEMP TABLE judged AS
        WITH trained AS (
            SELECT DISTINCT product_id FROM pair
            WHERE dropped IS NULL AND split = 'train' AND list_contains($labels, label)
        )
        SELECT query_id, product_id, label, split, trained.product_id IS NOT NULL AS seen
        FROM pair SEMI JOIN product USING (product_id) LEFT JOIN trained USING (product_id)
        WHERE dropped IS NULL
        """,
        {"labels": list(config.seen_labels)},
    )


def _choose_records(
    connection: duckdb.DuckDBPyConnection, categories: Path, locale: str, levels: int
) -> None:
    """Make `record`: the ESCI-S record of each wanted product, by the rule at the top."""
    with reading(categories):
        connection.execute(
            """
            CREATE TEMP TABLE record AS
            SELECT asin AS product_id, locale, path
            FROM raw_category_paths SEMI JOIN wanted ON wanted.product_id = asin
            QUALIFY row_number() OVER (
                PARTITION BY asin
                ORDER BY coalesce(len(path), 0) >= $levels DESC, coalesce(locale = $locale, false) DESC,
                    locale, coalesce(len(path), 0) DESC, path
            ) = 1
            """,
            {"levels": levels, "locale": locale},
        )


def _choose_documents(connection: duckdb.DuckDBPyConnection, levels: int) -> None:
    """Make `catalogue` (every product; `dropped` null or why), `document` (numbered) and `judgement`."""
    connection.execute(
        """
        CREATE TEMP TABLE catalogue AS
        SELECT product.product_id, product.row, record.locale AS record_locale, record.path[1:$levels] AS path,
            len(record.path) AS depth, len(list_distinct(record.path)) < len(record.path) AS repeats_a_name,
            CASE WHEN wanted.product_id IS NULL THEN 'not_judged'
                WHEN record.product_id IS NULL THEN 'no_esci_s_record'
                WHEN record.path IS NULL THEN 'no_category'
                WHEN len(record.path) < $levels THEN 'path_too_short'
            END AS dropped
        FROM product LEFT JOIN wanted USING (product_id) LEFT JOIN record USING (product_id)
        """,
        {"levels": levels},
    )
    connection.execute(
        """
        CREATE TEMP TABLE document AS
        SELECT (row_number() OVER (ORDER BY product_id) - 1)::INTEGER AS doc_id, * EXCLUDE (dropped)
        FROM catalogue WHERE dropped IS NULL
        """
    )
    connection.execute(
        "CREATE TEMP TABLE judgement AS SELECT judged.*, doc_id FROM judged JOIN document USING (product_id)"
    )


def _drop_repeated_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove test queries whose text a train query has (`repeated`) from `judgement`; documents stay."""
    connection.execute(
        """
        UPDATE pair SET dropped = 'text_in_train'
        WHERE dropped IS NULL AND query_id IN (FROM repeated) AND product_id IN (SELECT product_id FROM document)
        """
    )
    connection.execute("DELETE FROM judgement WHERE query_id IN (FROM repeated)")


def _place_documents(connection: duckdb.DuckDBPyConnection) -> tuple[Tree, dict[str, int]]:
    """Make `place`, the names and nodes of each path of the documents; return their tree and the merged spellings."""
    counts = connection.execute("SELECT path, count(*) FROM document GROUP BY path").fetchall()
    paths, n_docs = [tuple(path) for path, _ in counts], [count for _, count in counts]
    spelled = one_spelling(paths, n_docs)
    tree = build_tree(spelled.paths, n_docs)
    columns = {"path": paths, "names": spelled.paths}
    arrays = {name: pa.array(values, pa.list_(pa.string())) for name, values in columns.items()}
    nodes = {f"category_id_{level}": column for level, column in enumerate(tree.ancestors.T, start=1)}
    connection.register("place", pa.table(arrays | nodes))
    respelled = [
        count for path, shown, count in zip(paths, spelled.paths, n_docs, strict=True) if path != shown
    ]
    return tree, {"nodes": spelled.merged, "documents_respelled": sum(respelled)}


# --- the files of the corpus --------------------------------------------------------------------------


def _write_products(
    connection: duckdb.DuckDBPyConnection, products: Path, config: "CorpusConfig", target: Path
) -> dict[str, dict[str, int]]:
    """Write products.parquet by doc_id, texts cleaned; return for each text field what cleaning did."""
    levels = range(1, config.levels + 1)
    columns = ["doc_id", "document.product_id"]
    columns += [f"{TEXT_COLUMNS[field]}::VARCHAR AS {field}" for field in TEXT_FIELDS]
    columns += [f"names[{level}] AS category_{level}" for level in levels]
    columns += [f"category_id_{level}" for level in levels]
    text = {field: {"missing": 0, "emptied": 0, "changed": 0} for field in TEXT_FIELDS}
    schema = pa.schema(products_columns(config.levels))

    def cleaned(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            for field in TEXT_FIELDS:
                raw = arrays[field].to_pylist()
                clean = [clean_text(value, config.clean_html) for value in raw]
                text[field]["missing"] += raw.count(None)
                text[field]["emptied"] += clean.count(None) - raw.count(None)
                text[field]["changed"] += sum(
                    a != b for a, b in zip(raw, clean, strict=True) if b is not None
                )
                arrays[field] = pa.array(clean, pa.string())
            yield pa.RecordBatch.from_arrays(
                [arrays[name].cast(kind) for name, kind in zip(schema.names, schema.types, strict=True)],
                schema=schema,
            )

    with reading(products):
        rows = connection.sql(
            f"""
            SELECT {", ".join(columns)}
            FROM raw_products JOIN document USING (row) JOIN place USING (path)
            ORDER BY doc_id
            """
        )
        write_stream(target, cleaned(rows.to_arrow_reader(_DOCUMENTS_PER_BATCH)), schema)
    return text


def _write_queries(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    rows = connection.execute(
        """
        SELECT query_id, any_value(query), any_value(split)
        FROM example SEMI JOIN judgement USING (query_id) GROUP BY query_id ORDER BY query_id
        """
    ).fetchall()
    queries = [
        {"query_id": query_id, "query": clean_text(text, markup=False), "split": split}
        for query_id, text, split in rows
    ]
    write_table(target, pa.Table.from_pylist(queries, pa.schema(QUERIES)))


def _write_judgements(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    columns = ", ".join(JUDGEMENTS)
    rows = connection.sql(f"SELECT {columns} FROM judgement ORDER BY query_id, doc_id")
    write_table(target, rows.to_arrow_table().cast(pa.schema(JUDGEMENTS)))
