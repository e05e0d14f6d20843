r"""Cross-validate methods on the train queries of a dataset; no test query is read.

    snakemake --cores all --configfile config/sample.yaml -- results/sample_us/embeddings/text{,_queries}.npy
    python benchmarks/recipes.py sample_us --configfile config/sample.yaml config/candidates.yaml \
        --methods tiger disl structured --output results/sample_us/recipes.parquet

The text of a query decides its fold, as it decides what a retriever holds out. Fold f is left out of training with seed
f and searched afterwards, so every query is searched once. The retriever is that of the variant `light`, which the
configuration must have, or with `--t5` that of the configuration itself; its last weights are used. The output has a
row per retriever, method and query: recall over all its relevant documents, and over those that a query of the other
folds has (`seen`, null if there is none). Printed are the means, the differences from the first method, and p of the
paired randomization test. What is in the output already is not measured again.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from snakemake.utils import update_config

from catid2.config.file import read_settings
from catid2.config.retriever import LightConfig, RetrieverConfig
from catid2.corpus.products import canonical_order, read_categories, read_products
from catid2.docids.assign import assign_coded, require_unique
from catid2.docids.schemes.coding import Documents
from catid2.docids.schemes.registry import SCHEMES
from catid2.docids.table import Docids, docids_table
from catid2.evaluation.significance import randomization_test
from catid2.plan.settings import Pipeline
from catid2.quantizer.training import train
from catid2.retriever import light_training, t5_training
from catid2.retriever.light import load_light
from catid2.retriever.t5 import load_retriever
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.tables import read_embeddings, write_table
from catid2.search.decode import Search, search
from catid2.search.rankings import Rankings
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.examples import TrainQueries, hashed_share, make_validation, read_train_queries

FOLDS = 5
CUTOFFS = (10, 50, 100)
SEARCH = Search(beams=100, top_k=100, batch_size=32)
FIGURES = [f"{protocol}@{k}" for protocol in ("seen", "all") for k in CUTOFFS]


class Part(NamedTuple):
    """What one retriever is trained on, and where."""

    docids: Path
    embeddings: Path
    queries: TrainQueries  # those of the fold are held out
    seed: int
    folder: Path  # for files that may go afterwards


class Recipes:
    """The methods of a configuration on one dataset, whose corpus and vectors lie in `results`."""

    def __init__(self, pipeline: Pipeline, dataset: str, results: Path, t5: bool = False):
        self.pipeline, self.dataset, self.results = pipeline, dataset, results
        self.kind = "t5" if t5 else "light"
        corpus = results / "corpus"
        self.products = corpus / "products.parquet"
        self.queries, self.judgements = corpus / "queries.parquet", corpus / "judgements.parquet"

    def measure(self, method: str, fold: int, folder: Path) -> pl.DataFrame:
        """Return the rows of the queries of `fold`; `folder` is for files that may go afterwards."""
        embeddings = self.results / "embeddings" / f"{self.pipeline.method_view(method)}.npy"
        docids = write_docids(self.pipeline, self.dataset, method, fold, self.products, embeddings, folder)
        queries = self._of_fold(fold)
        config = self.pipeline.stage("retriever", self.dataset, method)
        config = config.model_copy(update={"select_by": "last"})
        part = Part(docids, embeddings, queries, fold, folder)
        found = (self._t5(config, part) if self.kind == "t5" else self._light(config, part)).doc_ids
        return self._rows(queries, found).with_columns(
            method=pl.lit(method), fold=pl.lit(fold), retriever=pl.lit(self.kind)
        )

    def _t5(self, config: RetrieverConfig, part: Part) -> Rankings:
        inputs = t5_training.Inputs(self.products, self.queries, self.judgements, part.docids)
        state, output = part.folder / "checkpoints", part.folder / "retriever"
        t5_training.train_retriever(config, inputs, state, output, part.seed, 1e9, queries=part.queries)
        retriever, tokenizer = load_retriever(output)
        held_out = make_validation(config, tokenizer, part.queries).tokens
        docids = Docids.read(part.docids)
        trie = Trie.from_codes(docids.codes, docids.sizes, docids.doc_ids)
        return search(retriever, trie, held_out, SEARCH)

    def _light(self, config: RetrieverConfig, part: Part) -> Rankings:
        settings = config.model_dump() | self.pipeline.config.variants["light"]["retriever"]
        settings |= {"select_by": config.select_by, "pretrained": None}
        own = {key: value for key, value in settings.items() if key in LightConfig.model_fields}
        light = LightConfig.model_validate(own)
        inputs = light_training.Inputs(
            self.products, self.queries, self.judgements, part.docids, part.embeddings
        )
        state, output = part.folder / "checkpoints", part.folder / "retriever"
        light_training.train_light(light, inputs, state, output, part.seed, 1e9, part.queries)
        data = light_training.read_data(light, inputs, part.queries)
        return search(load_light(output), data.trie, data.held_out, SEARCH)

    def _of_fold(self, fold: int) -> TrainQueries:
        queries = read_train_queries(self.queries, self.judgements, ("E", "S"), 0)
        folds = np.array([int(FOLDS * hashed_share(text)) for text in queries.texts])
        return queries._replace(held_out=folds == fold)

    def _rows(self, queries: TrainQueries, found: np.ndarray) -> pl.DataFrame:
        taught = np.unique(queries.doc[~queries.held_out[queries.query]])
        rows = []
        for listed, query in zip(found, np.flatnonzero(queries.held_out), strict=True):
            relevant = queries.doc[queries.query == query]
            parts = {"seen": np.intersect1d(relevant, taught), "all": relevant}
            rows.append(
                {"query_id": int(queries.ids[query])}
                | {
                    f"{name}@{k}": float(np.isin(part, listed[:k]).mean()) if len(part) else None
                    for name, part in parts.items()
                    for k in CUTOFFS
                }
            )
        return pl.DataFrame(rows, schema={"query_id": pl.Int64} | dict.fromkeys(FIGURES, pl.Float64))


def write_docids(
    pipeline: Pipeline,
    dataset: str,
    method: str,
    seed: int,
    products: Path,
    embeddings: Path,
    folder: Path,
) -> Path:
    """Write a method's DocIDs, and the RQ-VAE that they need, into `folder`; return the path of the DocIDs."""
    product_ids, categories = read_products(products)
    vectors, output = read_embeddings(embeddings, rows=len(product_ids)), folder / "docids.parquet"
    config = pipeline.stage("docids", dataset, method)
    if config.scheme.kind == "rqvae":
        rqvae = pipeline.stage("rqvae", dataset, method)
        known = read_categories(products, rqvae.levels)
        trained = train(vectors, known, rqvae, seed, Group(), Checkpoints(folder / "rqvae", {}))
        trained.model.save(folder / "model.safetensors", folder / "config.json", {})
    documents = Documents(vectors, categories, canonical_order(product_ids, products), embeddings, folder)
    assignment = assign_coded(
        SCHEMES[config.scheme.kind](documents, config.scheme, seed), product_ids, config
    )
    require_unique(assignment, config)
    write_table(output, docids_table(product_ids, assignment))
    return output


def read_pipeline(paths: Sequence[str]) -> Pipeline:
    """Return the configuration of files that are laid over each other, as Snakemake does it."""
    values: dict[str, Any] = {}
    for path in paths:
        update_config(values, read_settings(path))
    return Pipeline(values, "+".join(paths))


def compare(table: pl.DataFrame, methods: list[str]) -> None:
    """Print each method's means in percent, and its difference from the first one with p."""
    reference = table.filter(method=methods[0]).sort("query_id")
    print("method", *FIGURES, sep="\t")
    for method in methods:
        own = table.filter(method=method).sort("query_id")
        cells = []
        for figure in FIGURES:
            values, base = (part[figure].drop_nulls().to_numpy() for part in (own, reference))
            difference = values - base
            [p] = randomization_test(difference[:, None], 10_000, 0)
            cells.append(f"{100 * values.mean():.1f} ({100 * difference.mean():+.1f}, p {p:.3f})")
        print(method, *cells, sep="\t")


def main() -> None:
    """Measure what is missing, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument(
        "--configfile", nargs="+", required=True, help="laid over each other, as for Snakemake"
    )
    parser.add_argument(
        "--methods", nargs="+", required=True, help="the first is what the others are compared with"
    )
    parser.add_argument(
        "--t5", action="store_true", help="train the configuration's T5 instead of its light retriever"
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, required=True, help="parquet, a row per method and query")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    pipeline = read_pipeline(options.configfile)
    recipes = Recipes(pipeline, options.dataset, options.results / options.dataset, options.t5)
    table = pl.read_parquet(options.output) if options.output.exists() else None
    for fold in range(FOLDS):
        for method in options.methods:
            if table is not None and len(table.filter(method=method, fold=fold, retriever=recipes.kind)):
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows = recipes.measure(method, fold, Path(folder))
            table = rows if table is None else pl.concat([table, rows])
            table.write_parquet(options.output)
    compare(table.filter(retriever=recipes.kind), options.methods)


if __name__ == "__main__":
    main()
