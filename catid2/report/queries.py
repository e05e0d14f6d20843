"""The page's section of wins and losses: a table of queries, and what each method found for some of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from catid2.corpus.queries import read_queries
from catid2.docids.table import Docids
from catid2.evaluation.per_query import (
    PerQuery,
    in_turn,
    read_per_query,
    require_test_queries,
    telling_queries,
)
from catid2.evaluation.recall import read_run, read_test_judgements
from catid2.report.inputs import Catalogue
from catid2.report.sections import LANGUAGES, TITLE_COLUMNS, label
from catid2.report.svg import shorten
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TRACE, read_table

if TYPE_CHECKING:
    from catid2.config.report import ReportConfig, ReportDataset, ReportMethod


class Compared(NamedTuple):
    """A dataset whose methods are compared."""

    folder: Path  # of its results
    dataset: "ReportDataset"
    docids: Mapping[str, Docids]  # of the first seed, by the methods that have them
    catalogue: Catalogue


class Found(NamedTuple):
    """What the first seed of a method found."""

    name: str
    ranks: Mapping[int, Mapping[int, int]]  # of documents, by query; in rising order
    docids: Docids | None  # None: it searches without
    ends: Mapping[
        tuple[int, int], Mapping[str, Any]
    ]  # of a query and a relevant document the last row of TRACE


def queries_section(compared: Compared, study: str, config: "ReportConfig") -> dict[str, Any]:
    """Return how often the first method wins against each other one, the table of queries, and some in detail.

    Raises:
        InputError: a table is missing or incomplete, or of other queries.
    """
    folder, dataset = compared.folder, compared.dataset
    names = [method.name for method in dataset.methods]
    path = folder / f"{study}_per_query.parquet"
    every = read_per_query(path, config.metric, names)
    table = read_queries(folder / "corpus" / "queries.parquet", "test")
    require_test_queries(path, every, table.column("query_id").to_numpy())
    texts = dict(zip(table.column("query_id").to_pylist(), table.column("query").to_pylist(), strict=True))
    shown = telling_queries(every, config.queries)
    return {
        "name": label(dataset),
        "key": dataset.name,
        "language": LANGUAGES.get(dataset.locale, ""),
        "methods": names,
        "kinds": [
            {
                "title": f"protocol {one.protocol}, labels {one.labels}",
                "queries": len(one.query_ids),
                "balance": balance(one),
                "rows": table_rows(one, texts, shown, config.query_rows),
            }
            for one in every
        ],
        "details": _details(compared, config, every, texts, shown) if shown else [],
    }


def balance(one: PerQuery) -> list[dict[str, Any]]:
    """Return, of each method but the first, how many queries the first wins, and by how much on average."""
    return [
        {
            "method": method,
            "wins": int((differences > 0).sum()),
            "level": int((differences == 0).sum()),
            "losses": int((differences < 0).sum()),
            "mean": signed(differences.mean()),
        }
        for method, differences in zip(list(one.values)[1:], one.differences().T, strict=True)
    ]


def table_rows(one: PerQuery, texts: Mapping[int, str], shown: Sequence[int], n: int) -> list[dict[str, Any]]:
    """Return up to `n` queries, those at the top that the first method wins against the second by most.

    Those that are `shown` in detail have their ids.
    """
    reference, *others = one.values.values()
    differences = one.differences()
    rows = []
    for row in sorted(one.telling(n), key=lambda row: (-differences[row, 0], row)):
        query = int(one.query_ids[row])
        cells = [
            {
                "value": values[row],
                "difference": signed(difference),
                "compared": "above" if difference > 0 else "below" if difference < 0 else "",
            }
            for values, difference in zip(others, differences[row], strict=True)
        ]
        named = {"id": query if query in shown else None, "query": texts[query]}
        rows.append(named | {"relevant": one.n_relevant[row], "value": reference[row], "others": cells})
    return rows


def signed(difference: float) -> str:
    """Return a difference of two shares, in points, with its sign unless it is 0 when rounded."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0" if text[1:] == "0.0" else text


# --- queries in detail


def _details(
    compared: Compared,
    config: "ReportConfig",
    every: Sequence[PerQuery],
    texts: Mapping[int, str],
    shown: Sequence[int],
) -> list[dict[str, Any]]:
    """Return, of the queries `shown`, relevant documents and what became of them, and the first of each method."""
    catalogue = compared.catalogue
    known, documents = pl.Series(list(texts)), len(catalogue.titles)
    path = compared.folder / "corpus" / "judgements.parquet"
    judgements = read_test_judgements(path, known, documents)
    judged = {
        (query, doc): {"label": letter, "seen": seen}
        for query, doc, letter, seen in judgements.select("query_id", "doc_id", "label", "seen").iter_rows()
    }
    by_kind = [one.relevant(judgements, path) for one in every]
    relevant = {query: sorted({doc for docs in by_kind for doc in docs.get(query, ())}) for query in shown}
    methods = [_found(compared, method, relevant, known) for method in compared.dataset.methods]

    def product(query: int, doc: int) -> dict[str, Any]:
        own = {"title": shorten(catalogue.titles[doc], TITLE_COLUMNS), "path": catalogue.path(doc)}
        return own | judged.get((query, doc), {"label": "–", "seen": False})

    details = []
    for query in shown:
        best = {
            doc: min(method.ranks[query].get(doc, documents) for method in methods) for doc in relevant[query]
        }
        highest = [sorted(docs.get(query, ()), key=best.__getitem__) for docs in by_kind]
        chosen = sorted(in_turn(highest, 2 * config.query_documents), key=best.__getitem__)
        lists = {
            method.name: [
                product(query, doc) | {"rank": rank, "docid": " ".join(_codes(method, doc))}
                for doc, rank in list(method.ranks[query].items())[: config.query_documents]
            ]
            for method in methods
        }
        details.append(
            {
                "id": query,
                "query": texts[query],
                "metrics": [_metrics(one, query) for one in every if query in one.query_ids],
                "relevant": len(relevant[query]),
                "documents": [
                    product(query, doc) | {"cells": [_cell(method, query, doc) for method in methods]}
                    for doc in chosen
                ],
                "summaries": [_summary(method, query, relevant[query]) for method in methods],
                "lists": lists,
            }
        )
    return details


def _found(
    compared: Compared, method: "ReportMethod", relevant: Mapping[int, Sequence[int]], known: pl.Series
) -> Found:
    """Return what a method found for the queries of `relevant`, the relevant documents of each."""
    folder = compared.folder / method.name / f"seed{method.seeds[0]}"
    run = read_run(folder / "run.parquet", known, len(compared.catalogue.titles)).sort("query_id", "rank")
    ranks: dict[int, dict[int, int]] = {query: {} for query in relevant}
    for query, doc, rank, _ in run.filter(pl.col("query_id").is_in(list(relevant))).iter_rows():
        ranks[query][doc] = rank
    docids = compared.docids.get(method.name)
    if docids is None:
        return Found(method.name, ranks, None, {})
    path = folder / "beam_trace.parquet"
    rows = pl.from_arrow(read_table(path, TRACE)).sort("position").iter_rows(named=True)
    ends = {(row["query_id"], row["doc_id"]): row for row in rows}
    for query, docs in relevant.items():
        if missing := [doc for doc in docs if (query, doc) not in ends]:
            what = f"no row of query {query} and document {missing[0]}"
            raise InputError(path, what, "run trace_beams again, with the report's metric and queries")
    return Found(method.name, ranks, docids, ends)


def _metrics(one: PerQuery, query: int) -> dict[str, Any]:
    [row] = (one.query_ids == query).nonzero()[0]
    values = [values[row] for values in one.values.values()]
    return {
        "title": f"{one.protocol}, {one.labels}",
        "relevant": one.n_relevant[row],
        "values": values,
    }


def _codes(method: Found, doc: int) -> list[str]:
    """Return the DocID of a document; no codes if the method has no DocIDs."""
    return [] if method.docids is None else [str(code) for code in method.docids.codes[doc]]


def _cell(method: Found, query: int, doc: int) -> dict[str, Any]:
    """Return the rank of a document, or how its prefix stood where the beams lost it; and its DocID, parted there."""
    lost = _lost(method, query, doc)
    codes = _codes(method, doc)
    kept = lost["position"] - 1 if lost else len(codes)
    parted = {"kept": " ".join(codes[:kept]), "lost": " ".join(codes[kept:])}
    return {"rank": method.ranks[query].get(doc), "end": lost} | parted


def _lost(method: Found, query: int, doc: int) -> Mapping[str, Any] | None:
    """Return the last row of the trace of a document that the beams lost; None if it is listed, or they kept it."""
    if method.docids is None or doc in method.ranks[query]:
        return None
    end = method.ends[query, doc]
    return None if end["kept"] else end


def _summary(method: Found, query: int, relevant: Sequence[int]) -> dict[str, Any]:
    """Return how many relevant documents are listed, and how many the beams lose at each position."""
    lost = (_lost(method, query, doc) for doc in relevant)
    return {
        "listed": sum(doc in method.ranks[query] for doc in relevant),
        "lost": sorted(Counter(end["position"] for end in lost if end).items()),
    }
