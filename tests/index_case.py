"""Tiny indexes of a trained T5 and a trained light retriever, and what they were made from."""

import io
from pathlib import Path
from typing import NamedTuple

import light_case
import numpy as np
import pyarrow as pa
import retriever_case

from catid2.config.bm25 import Bm25Config
from catid2.config.docids import DocidsConfig
from catid2.config.embed import View
from catid2.config.fuse import FuseConfig
from catid2.config.index import IndexSettings
from catid2.config.retrieve import RetrieveConfig
from catid2.index.export import Parts, export_index
from catid2.retriever.retrieve import Corpus
from catid2.runtime.tables import products_columns, read_table, write_table

KINDS = ("light", "t5")
# Two levels of categories; the third department has no second level's name.
PATHS = (("Home", "Lamps"), ("Home", "Rugs"), ("Shoes", "Boots"), ("Shoes", None))


class IndexCase(NamedTuple):
    """An index, the retriever in it, and the corpus."""

    folder: Path
    config: IndexSettings
    retriever: Path
    corpus: Corpus


def index_config(**changes: object) -> IndexSettings:
    """Return settings that fit the tiny corpora of retriever_case."""
    return IndexSettings(
        dataset="tiny_us",
        method="catid2",
        seed=0,
        source="simulated",
        view=View.model_validate(
            {"template": "{title}", "encoder": {"kind": "tfidf_svd", "dims": light_case.DIMS}}
        ),
        docids=DocidsConfig(),
        retrieve=RetrieveConfig.model_validate({"beams": 20, "top_k": 20} | changes),
        bm25=Bm25Config(template="{title}"),
        fuse=FuseConfig(),
    )


def write_index(root: Path, kind: str, **changes: object) -> IndexCase:
    """Train a retriever of `kind` on a tiny corpus in `root` and export its index; `changes` are of RetrieveConfig."""
    case = retriever_case.write_case(root)
    give_categories(case.products)
    embeddings = light_case.embed_case(case, root / "vectors")
    if kind == "t5":
        retriever = retriever_case.train(retriever_case.TINY, case, root)
    else:
        retriever = light_case.train(light_case.SMALL, light_case.Inputs(*case, embeddings), root)
    corpus = Corpus(case.docids, case.products, case.queries, embeddings)
    config = index_config(**changes)
    export_index(config, Parts(retriever, None), corpus, root / "index")
    return IndexCase(root / "index", config, retriever, corpus)


def give_categories(products: Path) -> None:
    """Put the products of a table into PATHS, at random."""
    table = read_table(products, products_columns(1))
    chosen = np.random.default_rng(3).integers(0, len(PATHS), len(table))
    columns = {name: table[name] for name in products_columns(1) if not name.startswith("category")}
    nodes = [[0, 0, 1, 1], [2, 3, 4, 5]]
    for level in (1, 2):
        columns[f"category_{level}"] = pa.array([PATHS[row][level - 1] for row in chosen], pa.string())
    for level in (1, 2):
        columns[f"category_id_{level}"] = pa.array([nodes[level - 1][row] for row in chosen], pa.int32())
    write_table(products, pa.table(columns, pa.schema(products_columns(2))))


def run_command(monkeypatch, capsys, *arguments: object, typed: str = "") -> tuple[int, str, str]:
    """Run `python -m catid2` in this process; return its exit code and what it printed."""
    from catid2.__main__ import main

    monkeypatch.setattr("sys.argv", ["catid2", *map(str, arguments)])
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()
