"""Write the three raw files of ESCI and ESCI-S, a chunk at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from catid2.corpus.esci import EXAMPLES_SCHEMA, PRODUCTS_SCHEMA
from catid2.runtime.progress import Progress
from catid2.runtime.writing import atomic
from catid2.simulate.catalogue import Catalogue, draw_catalogue, product_ids
from catid2.simulate.draws import Draws
from catid2.simulate.judgements import LABELS, draw_judgements
from catid2.simulate.queries import draw_queries
from catid2.simulate.records import RecordMaker
from catid2.simulate.texts import TextMaker
from catid2.simulate.tree import Tree, build_tree
from catid2.simulate.words import LOCALES

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

ROW_GROUP = 32_768  # rows; fixed, so that the bytes of a file do not depend on the chunk


def simulate(
    config: "SimulateConfig", seed: int, examples: Path, products: Path, esci_s: Path, chunk: int = 16_384
) -> None:
    """Write examples and products (parquet) and ESCI-S (JSON lines, zstd), complete or not at all.

    Memory is bounded by about 60 bytes a product, 40 a judgement of one locale, and the texts of `chunk` products.
    The same config and seed give the same bytes, whatever the chunk.

    Raises:
        InputError: the config asks for more distinct queries than the words give.
    """
    draws = Draws(seed)
    tree = build_tree(draws, config)
    catalogues = _catalogues(config, tree, draws)
    with atomic(examples, products, esci_s) as (examples_aside, products_aside, records_aside):
        _write_examples(examples_aside, catalogues, config, tree, draws)
        _write_products(products_aside, records_aside, catalogues, config, tree, draws, chunk)


def _catalogues(config: "SimulateConfig", tree: Tree, draws: Draws) -> list[tuple[int, Catalogue]]:
    """Return (first identity, catalogue) of each locale, us first."""
    found: list[tuple[int, Catalogue]] = []
    first = 0
    for locale in (locale for locale in LOCALES if locale in config.locales):
        us = found[0][1] if found and found[0][1].locale == "us" else None
        found.append((first, draw_catalogue(locale, config, tree, draws, first, us)))
        first += config.locales[locale].products
    return found


def _write_examples(
    path: Path, catalogues: list[tuple[int, Catalogue]], config: "SimulateConfig", tree: Tree, draws: Draws
) -> None:
    first_example, first_query = 0, 0
    with pq.ParquetWriter(path, EXAMPLES_SCHEMA, compression="zstd") as writer:
        for _, catalogue in catalogues:
            queries = draw_queries(catalogue, config, tree, draws)
            judged = draw_judgements(catalogue, queries, config, tree, draws)
            texts = pa.array(queries.text)
            for start in range(0, len(judged.query), ROW_GROUP):
                query, product, label = (column[start : start + ROW_GROUP] for column in judged)
                identity, kind = catalogue.identity[product], catalogue.type[product]
                columns = [
                    first_example + start + np.arange(len(query)),
                    texts.take(pa.array(query)),
                    first_query + query,
                    _ids(identity, tree.is_book[kind]),
                    _constant(catalogue.locale, len(query)),
                    pa.array(list(LABELS)).take(pa.array(label)),
                    queries.small[query].astype(np.int64),
                    np.ones(len(query), dtype=np.int64),
                    pa.array(["train", "test"]).take(pa.array(queries.test[query].astype(np.int8))),
                ]
                writer.write_table(pa.table(columns, schema=EXAMPLES_SCHEMA))
            first_example += len(judged.query)
            first_query += len(queries.text)


def _write_products(
    products: Path,
    records: Path,
    catalogues: list[tuple[int, Catalogue]],
    config: "SimulateConfig",
    tree: Tree,
    draws: Draws,
    chunk: int,
) -> None:
    total = sum(len(catalogue.type) for _, catalogue in catalogues)
    progress = Progress(desc="simulate", total=total, unit=" products")
    compressor = zstandard.ZstdCompressor(level=3)
    with (
        progress,
        _RowGroups(products, PRODUCTS_SCHEMA) as table,
        records.open("wb") as raw,
        compressor.stream_writer(raw) as out,
    ):
        for first, catalogue in catalogues:
            text_maker = TextMaker(catalogue, config, tree, draws)
            record_maker = RecordMaker(catalogue, config, tree, draws)
            for rows in _chunks(len(catalogue.type), chunk):
                texts = text_maker.texts(rows)
                ids = _ids(catalogue.identity[rows], tree.is_book[catalogue.type[rows]])
                table.write(
                    pa.table([ids, *texts, _constant(catalogue.locale, len(rows))], schema=PRODUCTS_SCHEMA)
                )
                kept = record_maker.has_record(rows, first)
                mask = pa.array(kept)
                shown = type(texts)(*(column.filter(mask) for column in texts))
                out.write(record_maker.lines(rows[kept], ids.filter(mask).to_pylist(), shown))
                progress.update(len(rows))


class _RowGroups:
    """A parquet writer that gathers what it is given into row groups of ROW_GROUP rows."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> "_RowGroups":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._write_out(least=1)
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Take rows; whole row groups are written."""
        self._waiting.append(table)
        self._write_out(least=ROW_GROUP)

    def _write_out(self, least: int) -> None:
        table = pa.concat_tables(self._waiting)
        while table.num_rows >= least:
            self._writer.write_table(table.slice(0, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
            table = table.slice(ROW_GROUP)
        self._waiting = [table]


def _chunks(total: int, chunk: int) -> Iterator[np.ndarray]:
    for start in range(0, total, chunk):
        yield np.arange(start, min(start + chunk, total))


def _ids(identity: np.ndarray, is_book: np.ndarray) -> pa.Array:
    return pa.array(product_ids(identity, is_book)).cast(pa.string())


def _constant(value: str, n: int) -> pa.Array:
    return pa.repeat(value, n)
