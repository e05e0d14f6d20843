"""Runs and judgements as the files that trec_eval and ir_measures read.

Documents are named by product_id, so that the files can be compared with others for the same data.
"""

import re
from pathlib import Path

import polars as pl

from catid2.corpus.products import read_products
from catid2.evaluation.metrics import judged_pairs
from catid2.evaluation.recall import read_run, read_searched, read_test_judgements
from catid2.runtime.errors import InputError
from catid2.runtime.writing import atomic


def write_trec_run(output: Path, run: Path, queries: Path, products: Path, tag: str) -> None:
    """Write a run, a line per query and document, sorted by query_id and rank.

    The score is -rank: trec_eval ignores the ranks and the order of the lines, and reorders documents whose scores are
    equal as 32-bit numbers.

    Raises:
        InputError: as read_run; or the tag or a product_id cannot be written to such a file.
    """
    if not re.fullmatch(r"\S+", tag):
        raise InputError(
            "--tag", f"{tag!r} is empty or holds white space", "give the run a name without white space"
        )
    names = _names(products)
    listed = read_run(run, *read_searched(queries, products)).sort("query_id", "rank")
    columns = [listed["query_id"], names.gather(listed["doc_id"]), listed["rank"], -listed["rank"]]
    with atomic(output) as aside:
        _write(aside, [columns[0], "Q0", *columns[1:], tag])


def write_trec_qrels(
    relevant: Path, gains: Path, judgements: Path, queries: Path, products: Path, protocol: str, labels: str
) -> None:
    """Write the judged pairs of `protocol` of queries with a relevant document under `labels`; both files or neither.

    `relevant` holds 1 or 0, for recall and success; `gains` holds the gains of nDCG.

    Raises:
        InputError: as read_test_judgements and judged_pairs; or a product_id cannot be written to such a file.
    """
    names = _names(products)
    judged = read_test_judgements(judgements, *read_searched(queries, products))
    pairs = judged_pairs(judged, protocol, labels, judgements)
    with atomic(relevant, gains) as asides:
        for aside, column in zip(asides, ("relevant", "gain"), strict=True):
            _write(aside, [pairs["query_id"], "0", names.gather(pairs["doc_id"]), pairs[column]])


def _names(products: Path) -> pl.Series:
    names = pl.Series(read_products(products)[0])
    wrong = ~names.str.contains(r"^\S+$").fill_null(False)
    if wrong.any():
        row = wrong.arg_max()
        what = f"row {row}: the product_id {names[row]!r} is empty or holds white space"
        raise InputError(products, what, "give it another: white space parts the columns of TREC's files")
    return names


def _write(path: Path, columns: list[pl.Series | str]) -> None:
    named = {
        str(i): pl.lit(column) if isinstance(column, str) else column for i, column in enumerate(columns)
    }
    pl.select(**named).write_csv(path, separator=" ", include_header=False, quote_style="never")
