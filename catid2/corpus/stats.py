"""The counts of stats.json: what was kept, what was dropped and why, and properties of the corpus.

They come from the tables that catid2.corpus.build makes: `example`, `product`, `pair`, `judged`, `catalogue`,
`document` and `judgement`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from catid2.corpus.esci_s import STATES
from catid2.corpus.tree import PLACEHOLDER
from catid2.runtime.errors import warn

_WITHOUT_PATH = ("no_esci_s_record", "no_category", "path_too_short")
_REMEDIES = {  # what to do about the rows that are lost, by reason; other rows are not asked for, or are there twice
    "no_product": "check that judgements and products belong together",
    "no_esci_s_record": "check that products and ESCI-S belong together",
    "no_category": "give their products a category",
    "path_too_short": "lower corpus.levels",
}
_LOSS = 0.1  # share of rows above which a loss is a warning
_LABEL_SETS = {"E+S+C": ["E", "S", "C"], "E+S": ["E", "S"]}


def dropped_pairs(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the rows of `example` that became no judgement, by the first reason that holds."""
    return _reasons(
        connection,
        """
        SELECT coalesce(pair.dropped, catalogue.dropped,
            CASE WHEN catalogue.product_id IS NULL THEN 'no_product' END) AS reason
        FROM pair LEFT JOIN catalogue USING (product_id)
        """,
        ("label_not_kept", "repeated_row", "no_product", *_WITHOUT_PATH, "text_in_train"),
    )


def dropped_products(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the rows of the products file, of this locale, that became no document, by the first reason."""
    [(repeated,)] = connection.execute("SELECT sum(copies - 1)::BIGINT FROM product").fetchall()
    reasons = _reasons(connection, "SELECT dropped AS reason FROM catalogue", ("not_judged", *_WITHOUT_PATH))
    return {"repeated_row": repeated} | reasons


def _reasons(connection: duckdb.DuckDBPyConnection, query: str, reasons: tuple[str, ...]) -> dict[str, int]:
    counts = connection.execute(
        f"SELECT reason, count(*) FROM ({query}) WHERE reason IS NOT NULL GROUP BY reason"
    ).fetchall()
    return dict.fromkeys(reasons, 0) | dict(counts)


def balance(rows: dict[str, int], locale: str, kept: int, dropped: dict[str, int]) -> dict[str, Any]:
    """Return the account of a raw file with `rows` per locale: rows = kept + what was dropped."""
    other = sum(count for name, count in rows.items() if name != locale)
    return {"rows": sum(rows.values()), "kept": kept, "dropped": {"other_locale": other} | dropped}


def warn_of_loss(path: Path, what: str, account: Mapping[str, Any]) -> None:
    """Warn if more than a tenth of the rows that the configuration asks for were lost.

    Args:
        path: the raw file.
        what: name of its rows, in the plural.
        account: the result of `balance`.
    """
    lost = {reason: account["dropped"].get(reason, 0) for reason in _REMEDIES}
    rows = account["kept"] + sum(lost.values())
    if sum(lost.values()) > _LOSS * rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in lost.items() if count)
        remedy = _REMEDIES[max(lost, key=lost.__getitem__)]
        warn(path, f"{sum(lost.values()):,} of {rows:,} {what} are lost ({reasons})", remedy)


def esci_s_account(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the account of the lines of ESCI-S, all locales: rows = kept (with a path) + what was dropped."""
    counts = connection.execute("SELECT state, count(*) FROM raw_category_paths GROUP BY state")
    states = dict.fromkeys(STATES, 0) | dict(counts.fetchall())
    [(blank, records, keys)] = connection.execute(
        """
        SELECT count(*) FILTER (blank_names > 0), count(asin), count(DISTINCT (asin, locale)) FILTER (asin IS NOT NULL)
        FROM raw_category_paths
        """
    ).fetchall()
    return {
        "rows": sum(states.values()),
        "kept": states.pop("usable"),
        "dropped": states,
        "blank_names_removed": blank,
        "repeated_keys": records - keys,
    }


def judgement_counts(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Any]:
    """Count documents, queries and judgements of `table` ("judged" or "judgement"), as papers on ESCI do."""
    pairs: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    for split, label, count in connection.execute(
        f"SELECT split, label, count(*) FROM {table} GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        pairs[split][label] = count
    queries = {"train": 0, "test": 0} | dict(
        connection.execute(f"SELECT split, count(DISTINCT query_id) FROM {table} GROUP BY split").fetchall()
    )
    [(documents,)] = connection.execute(f"SELECT count(DISTINCT product_id) FROM {table}").fetchall()
    return {
        "documents": documents,
        "queries": queries | {"all": sum(queries.values())},
        "judgements": {split: labels | {"all": sum(labels.values())} for split, labels in pairs.items()},
        "labels": {
            name: _label_set_counts(connection, table, labels) for name, labels in _LABEL_SETS.items()
        },
    }


def _label_set_counts(connection: duckdb.DuckDBPyConnection, table: str, labels: list[str]) -> dict[str, int]:
    [counts] = connection.execute(
        f"""
        SELECT {{
            documents: count(DISTINCT product_id),
            train_pairs: count(*) FILTER (split = 'train'),
            test_pairs: count(*) FILTER (split = 'test'),
            seen_test_pairs: count(*) FILTER (split = 'test' AND seen),
            train_queries: count(DISTINCT query_id) FILTER (split = 'train'),
            test_queries: count(DISTINCT query_id) FILTER (split = 'test'),
            seen_test_queries: count(DISTINCT query_id) FILTER (split = 'test' AND seen)
        }} FROM {table} WHERE list_contains($labels, label)
        """,
        {"labels": labels},
    ).fetchone()
    return counts


def queries_without_documents(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many queries of the locale and version kept no judgement and are therefore not in the corpus."""
    [(queries,)] = connection.execute(
        "SELECT count(DISTINCT query_id) FROM example ANTI JOIN judgement USING (query_id)"
    ).fetchall()
    return queries


def repeated_texts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Make `repeated`, the test queries of `judgement` whose text a train query also has; return their counts.

    Texts are compared by `catid2.corpus.cleaning.text_key`.
    """
    connection.execute(
        """
        CREATE TEMP TABLE repeated AS
        WITH asked AS (
            SELECT DISTINCT query_id, split, text_key(query) AS key FROM example SEMI JOIN judgement USING (query_id)
        )
        SELECT query_id FROM asked WHERE split = 'test' AND key IN (SELECT key FROM asked WHERE split = 'train')
        """
    )
    [(queries, judgements)] = connection.execute(
        "SELECT count(DISTINCT query_id), count(*) FROM judgement SEMI JOIN repeated USING (query_id)"
    ).fetchall()
    return {"queries": queries, "judgements": judgements}


def path_counts(connection: duckdb.DuckDBPyConnection, locale: str) -> dict[str, Any]:
    """Count the sources of the documents' category paths, and their depths before they were cut."""
    depths = connection.execute(
        "SELECT depth, count(*) FROM document GROUP BY depth ORDER BY depth"
    ).fetchall()
    [(foreign, repeating, placeholders)] = connection.execute(
        """
        SELECT count(*) FILTER (record_locale IS DISTINCT FROM $locale), count(*) FILTER (repeats_a_name),
            count(*) FILTER (depth = len($placeholder) AND list_distinct(path) = list_distinct($placeholder))
        FROM document
        """,
        {"locale": locale, "placeholder": list(PLACEHOLDER)},
    ).fetchall()
    return {
        "documents_by_depth": {str(depth): count for depth, count in depths},
        "path_of_another_locale": foreign,
        "path_repeats_a_name": repeating,
        "path_is_a_placeholder": placeholders,  # of a catalogue without categories
    }


def tree_counts(nodes: pa.Table) -> list[dict[str, int]]:
    """Return, for each level of a tree (columns CATEGORIES), its nodes and how many documents they hold."""
    level, n_docs = nodes.column("level").to_numpy(), nodes.column("n_docs").to_numpy()
    counts = []
    for number in range(1, level.max() + 1):
        sizes = n_docs[level == number]
        counts.append(
            {
                "level": number,
                "nodes": len(sizes),
                "fewest_documents": int(sizes.min()),
                "median_documents": int(np.median(sizes)),
                "most_documents": int(sizes.max()),
            }
        )
    return counts
