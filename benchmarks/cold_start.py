r"""What a retriever finds of products that came after its training, against the same products trained.

    snakemake --cores all --configfile config/sample.yaml -- results/sample_us/embeddings/text{,_queries}.npy
    python benchmarks/cold_start.py sample_us --configfile config/sample.yaml --output results/cold_start.parquet

With each seed another tenth of the products is left out of everything: the encoder (TF-IDF + SVD), the RQ-VAE, the
DocIDs, and the documents and pairs that the light retriever learns from. Then the products are added: encoded, coded
and given free DocIDs (catid2.docids.extend). Test queries are searched among all products. `trained` is the same
method with all products from the start. Each is also measured with two positions decoded and the documents below them
ranked by their vectors (`below 2`), and fused with dense search (`+ dense`). Dense search is exact search over all
vectors; `dense, added` has those of the encoder that was fitted without the new products.

The output has a row per system, seed, query and group: recall over the query's relevant products of the group (labels
E and S). Groups are the new products, those of them that no training query has (`unasked`), and the old products. What
is in the output already is not measured again.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from recipes import read_pipeline, write_docids

from catid2.baselines.bm25 import search_bm25
from catid2.corpus.products import canonical_order
from catid2.corpus.queries import read_judgements, read_queries
from catid2.corpus.text import document_texts
from catid2.docids.extend import extend
from catid2.docids.table import Docids
from catid2.embedding import documents, queries
from catid2.embedding.vectors import ViewVectors, read_vectors
from catid2.evaluation.fusion import fused
from catid2.evaluation.significance import randomization_test
from catid2.plan.settings import Pipeline
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE
from catid2.retriever import light_training
from catid2.retriever.light import LightRetriever, QueryVectors, load_light
from catid2.runtime.tables import write_table
from catid2.search.below_node import dense_ranking
from catid2.search.decode import Search, search
from catid2.search.exact_search import nearest
from catid2.search.rankings import run_table
from catid2.search.trie import Trie
from catid2.training.distributed import CPU

SHARE = 0.1  # of the products that are new
CUTOFFS = (10, 100)
GROUPS = ("new", "unasked", "old")
SEARCHES = ("", ", below 2", " + dense")
SYSTEMS = (
    *(f"{name}{how}" for name in ("added", "trained") for how in SEARCHES),
    *("dense, added", "dense, trained", "bm25"),
)
RELEVANT = pa.array(["E", "S"])


class Files(NamedTuple):
    """A corpus, and the vectors of its documents (VIEW.npy, with its description and those of the queries)."""

    products: Path
    queries: Path
    judgements: Path
    embeddings: Path


class Study:
    """A method on one dataset, whose corpus and vectors lie in `results`."""

    def __init__(self, pipeline: Pipeline, dataset: str, method: str, results: Path):
        self.pipeline, self.dataset, self.method = pipeline, dataset, method
        self.view = pipeline.method_view(method)
        corpus = results / "corpus"
        names = (corpus / f"{name}.parquet" for name in ("products", "queries", "judgements"))
        self.files = Files(*names, results / "embeddings" / f"{self.view}.npy")
        self.products = pq.read_table(self.files.products)
        self.query_ids = read_queries(self.files.queries, "test")["query_id"].to_numpy()

    def measure(self, seed: int, folder: Path) -> pl.DataFrame:
        """Return the rows of a seed; `folder` is for files that may go afterwards."""
        order = np.random.default_rng(seed).permutation(len(self.products))
        new, old = np.split(order, [round(SHARE * len(order))])
        new, old = np.sort(new), np.sort(old)
        found = self._added(seed, folder, new, old) | self._trained(seed, folder)
        found["bm25"] = self._bm25()
        return self._rows(found, new).with_columns(seed=pl.lit(seed))

    def _train(self, files: Files, seed: int, folder: Path) -> tuple[Docids, LightRetriever]:
        folder.mkdir()
        docids = write_docids(
            self.pipeline, self.dataset, self.method, seed, files.products, files.embeddings, folder
        )
        config = self.pipeline.stage("retriever", self.dataset, f"{self.method}-light")
        inputs = light_training.Inputs(
            files.products, files.queries, files.judgements, docids, files.embeddings
        )
        light_training.train_light(config, inputs, folder / "checkpoints", folder / "retriever", seed, 1e9)
        return Docids.read(docids), load_light(folder / "retriever")

    def _added(self, seed: int, folder: Path, new: np.ndarray, old: np.ndarray) -> dict[str, np.ndarray]:
        files = self._without(old, folder)
        docids, retriever = self._train(files, seed, folder / "added")
        vectors = read_vectors(files.embeddings, files.queries, len(old))
        view = self.pipeline.view(self.dataset, self.view)
        encoder = queries.load_encoder(view.of_documents(), files.embeddings, files.products)
        products = self.products.take(new)
        own = encoder.encode(document_texts(products, view.template, view.max_characters)).astype(np.float16)
        model = RQVAE.load(folder / "added")
        order = canonical_order(products["product_id"].combine_chunks())
        codes = extend(
            encode(model, own, order, files.embeddings),
            model.codebooks.numpy(),
            products["product_id"].combine_chunks(),
            docids.codes,
            retriever.sizes,
            self.pipeline.stage("docids", self.dataset, self.method),
        )
        doc_ids = np.concatenate([old, new])
        trie = Trie.from_codes(np.concatenate([docids.codes, codes]), retriever.sizes, doc_ids)
        every = np.concatenate([vectors.documents, own])[np.argsort(doc_ids)]
        return self._search("added", retriever, trie, vectors._replace(documents=every))

    def _trained(self, seed: int, folder: Path) -> dict[str, np.ndarray]:
        docids, retriever = self._train(self.files, seed, folder / "trained")
        vectors = read_vectors(self.files.embeddings, self.files.queries, len(self.products))
        return self._search("trained", retriever, Trie.from_codes(docids.codes, retriever.sizes), vectors)

    def _search(
        self, name: str, retriever: LightRetriever, trie: Trie, vectors: ViewVectors
    ) -> dict[str, np.ndarray]:
        """Return the doc_ids (Q, k) that each search finds for the test queries."""
        config = self.pipeline.stage("retrieve", self.dataset, self.method)
        asked, how = vectors.of_queries(self.query_ids), Search(config.beams, max(CUTOFFS), batch_size=32)
        below = dense_ranking(2, vectors, self.query_ids, CPU)
        plain, below_2 = (search(retriever, trie, QueryVectors(asked), how, dense=by) for by in (None, below))
        dense = nearest(asked, vectors.documents, max(CUTOFFS))
        runs = [(1.0, pl.from_arrow(run_table(self.query_ids, found))) for found in (plain, dense)]
        both = self._lists(fused(runs, 60, max(CUTOFFS)))
        lists = (plain.doc_ids, below_2.doc_ids, both)
        found = {f"{name}{end}": one for end, one in zip(SEARCHES, lists, strict=True)}
        return found | {f"dense, {name}": dense.doc_ids}

    def _bm25(self) -> np.ndarray:
        config = self.pipeline.stage("bm25", self.dataset, "bm25")
        return self._lists(pl.from_arrow(search_bm25(config, self.files.products, self.files.queries)))

    def _lists(self, run: pl.DataFrame) -> np.ndarray:
        """Return the doc_ids (Q, k) of a run, padded with -1."""
        found = np.full((len(self.query_ids), run["rank"].max()), -1)
        found[np.searchsorted(self.query_ids, run["query_id"]), run["rank"] - 1] = run["doc_id"]
        return found

    def _without(self, old: np.ndarray, folder: Path) -> Files:
        """Write the corpus of the documents `old` alone, and the vectors that an encoder fitted to it gives."""
        names = (folder / f"{name}.parquet" for name in ("products", "queries", "judgements"))
        files = Files(*names, folder / "text.npy")
        numbers = np.full(len(self.products), -1, np.int32)
        numbers[old] = np.arange(len(old))
        products = self.products.take(old)
        write_table(files.products, products.set_column(0, "doc_id", pa.array(numbers[old])))
        write_table(files.queries, pq.read_table(self.files.queries))
        judgements = pq.read_table(self.files.judgements)
        number = pa.array(numbers[judgements["doc_id"].to_numpy()])
        place = judgements.column_names.index("doc_id")
        kept = judgements.set_column(place, "doc_id", number).filter(pc.greater_equal(number, 0))
        write_table(files.judgements, kept)
        view, description = self.pipeline.view(self.dataset, self.view), files.embeddings.with_suffix(".json")
        outputs = documents.Outputs(files.embeddings, description, folder / "shards")
        documents.embed(view.of_documents(), files.products, outputs)
        asked = [files.embeddings.with_name(f"text_queries{end}") for end in (".npy", ".json")]
        corpus = queries.Corpus(files.embeddings, files.products, files.queries)
        queries.embed_queries(view.query_prefix, corpus, queries.Outputs(*asked))
        return files

    def _rows(self, found: dict[str, np.ndarray], new: np.ndarray) -> pl.DataFrame:
        def relevant(split: str) -> pa.Table:
            table = read_judgements(self.files.judgements, split)
            return table.filter(pc.is_in(table["label"], value_set=RELEVANT))

        test, asked = relevant("test"), np.unique(relevant("train")["doc_id"].to_numpy())
        query, doc = test["query_id"].to_numpy(), test["doc_id"].to_numpy()
        is_new = np.isin(doc, new)
        groups = dict(zip(GROUPS, (is_new, is_new & ~np.isin(doc, asked), ~is_new), strict=True))
        rows = []
        for group, pairs in groups.items():
            for query_id in np.unique(query[pairs]).tolist():
                wanted = doc[pairs & (query == query_id)]
                place = np.searchsorted(self.query_ids, query_id)
                for system, lists in found.items():
                    recall = {f"@{k}": float(np.isin(wanted, lists[place, :k]).mean()) for k in CUTOFFS}
                    rows.append({"system": system, "query_id": query_id, "group": group, **recall})
        return pl.DataFrame(rows)


def show(table: pl.DataFrame) -> None:
    """Print each system's recall in percent: mean ± deviation over the seeds, and p against `added`."""
    figures = [f"@{k}" for k in CUTOFFS]
    print("system", *(f"{group} {figure}" for group in GROUPS for figure in figures), sep="\t")
    for system in SYSTEMS:
        cells = []
        for group in GROUPS:
            own = table.filter(system=system, group=group).sort("seed", "query_id")
            added = table.filter(system="added", group=group).sort("seed", "query_id")
            for figure in figures:
                of_seeds = 100 * own.group_by("seed").agg(pl.col(figure).mean())[figure]
                # A query's figures are averaged over the seeds that have new products of it.
                differences = own.with_columns(pl.col(figure) - added[figure])
                differences = differences.group_by("query_id", maintain_order=True).agg(pl.col(figure).mean())
                [p] = randomization_test(differences[figure].to_numpy()[:, None], 10_000, 0)
                spread = f" ± {of_seeds.std():.1f}" if len(of_seeds) > 1 else ""
                cells.append(f"{of_seeds.mean():.1f}{spread} (p {p:.3f})")
        print(system, *cells, sep="\t")
    counts = table.filter(system="added").group_by("group").agg(pl.col("query_id").n_unique())
    print("queries:", ", ".join(f"{group} {number}" for group, number in sorted(counts.iter_rows())))


def main() -> None:
    """Measure what is missing, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument(
        "--configfile", nargs="+", required=True, help="laid over each other; a study has METHOD-light"
    )
    parser.add_argument("--method", default="catid2")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, required=True, help="parquet")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    pipeline = read_pipeline(options.configfile)
    study = Study(pipeline, options.dataset, options.method, options.results / options.dataset)
    table = pl.read_parquet(options.output) if options.output.exists() else None
    for seed in range(options.seeds):
        if table is not None and len(table.filter(seed=seed)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = study.measure(seed, Path(folder))
        table = rows if table is None else pl.concat([table, rows])
        table.write_parquet(options.output)
    show(table)


if __name__ == "__main__":
    main()
