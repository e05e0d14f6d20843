r"""Refresh a catalogue: what DocIDs keep, and how far a retriever that starts from the old one gets in how many steps.

    snakemake --cores all --configfile config/sample.yaml -- results/sample_us/embeddings/text{,_queries}.npy
    python benchmarks/refresh.py sample_us --configfile config/sample.yaml config/evidence.yaml \
        --output results/sample_us/refresh.tsv

A tenth of the products, drawn by the seed, is new, and another tenth leaves: the old catalogue and the new one have
nine tenths of the products each, and eight in common. The encoder stays: vectors are those that the workflow made of
all products. The old catalogue has an RQ-VAE, DocIDs and a retriever of the seed. The new one gets DocIDs

    retrained    by an RQ-VAE of another seed
    aligned      by the same, aligned to the old DocIDs
    continued    by the old RQ-VAE after another half of the epochs, with the learning rates of the second half;
                 products that are coded as before keep their DocIDs
    kept         by the old RQ-VAE as it is: products of the old catalogue keep their DocIDs, new ones get free ones

and a retriever that starts from random weights (`retrained` alone) or from the old one. Each number of epochs is a
training of its own, with its own learning rates. The retriever is that of the variant `light`, which the configuration
must have; it is taught all train queries and keeps the last weights. The output has a row per seed, way, start and
number of epochs: the shares of common products that keep 1, 2, … codes, and recall of the test queries over the new
catalogue, `seen` over products that a train query has. Seeds that are in the output are not measured again. Printed
are the means as Markdown.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from recipes import read_pipeline

from catid2.config.retriever import LightConfig
from catid2.config.rqvae import RqvaeConfig
from catid2.corpus.products import canonical_order, read_categories, read_products
from catid2.corpus.queries import read_judgements, read_queries
from catid2.docids.align import align, kept_shares, read_earlier
from catid2.docids.assign import assign, require_unique
from catid2.docids.table import Docids, docids_table
from catid2.embedding.vectors import read_vectors
from catid2.plan.settings import Pipeline
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE
from catid2.quantizer.training import Training, train
from catid2.retriever.light import LightRetriever, QueryVectors, build_light, load_light
from catid2.retriever.light_training import Inputs, train_light
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.tables import read_embeddings, write_table
from catid2.search.decode import Search, search
from catid2.search.rankings import recall
from catid2.search.trie import Trie
from catid2.training.distributed import Group

CUTOFFS = (10, 100)
FIGURES = [f"{protocol}@{k}" for protocol in ("seen", "all") for k in CUTOFFS]
RELEVANT = ("E", "S")


class Catalogue(NamedTuple):
    """Some products of a dataset, as files of their own."""

    products: Path
    queries: Path
    judgements: Path
    embeddings: Path

    @classmethod
    def write(cls, results: Path, view: str, rows: np.ndarray, folder: Path) -> "Catalogue":
        """Write the products `rows` (sorted) of a dataset below `folder`."""
        folder.mkdir()
        files = cls(
            *(
                folder / name
                for name in ("products.parquet", "queries.parquet", "judgements.parquet", "v.npy")
            )
        )
        products = pq.read_table(results / "corpus/products.parquet").take(rows)
        field = products.schema.get_field_index("doc_id")
        ids = np.arange(len(rows), dtype=np.int32)
        write_table(files.products, products.set_column(field, products.schema.field(field), [ids]))
        copy(results / "corpus/queries.parquet", files.queries)
        judged = pq.read_table(results / "corpus/judgements.parquet")
        doc = judged["doc_id"].to_numpy()
        judged = judged.filter(np.isin(doc, rows))
        field = judged.schema.get_field_index("doc_id")
        ids = np.searchsorted(rows, judged["doc_id"].to_numpy()).astype(np.int32)
        write_table(files.judgements, judged.set_column(field, judged.schema.field(field), [ids]))
        np.save(files.embeddings, read_embeddings(results / f"embeddings/{view}.npy")[rows])
        for end in (".json", "_queries.npy", "_queries.json"):
            copy(results / f"embeddings/{view}{end}", folder / f"v{end}")
        return files


class Refresh:
    """A method of a configuration on one dataset, refreshed; `folder` is for files that may go afterwards."""

    def __init__(self, pipeline: Pipeline, dataset: str, method: str, results: Path, seed: int, folder: Path):
        self.rqvae: RqvaeConfig = pipeline.stage("rqvae", dataset, method)
        self.docids = pipeline.stage("docids", dataset, method)
        variant = pipeline.config.variants["light"]["retriever"]
        self.light = LightConfig.model_validate(variant | {"valid_share": 0, "select_by": "last"})
        self.seed, self.folder = seed, folder
        view = pipeline.method_view(method)
        count = len(read_embeddings(results / f"embeddings/{view}.npy"))
        drawn, tenth = np.random.default_rng(seed).permutation(count), count // 10
        self.old, self.new = (
            Catalogue.write(results, view, np.sort(rows), folder / name)
            for name, rows in (("old", drawn[tenth:]), ("new", np.r_[drawn[:tenth], drawn[2 * tenth :]]))
        )

    def rows(self, budgets: list[int]) -> Iterator[dict[str, Any]]:
        """Yield a row per way, start and number of epochs; the old retriever also searches before it is trained."""
        first = self.quantizer(self.old, self.seed)
        old_docids = self.assign(self.old, first, "old", None)
        old = self.trained(self.old, old_docids, self.light.epochs, None)
        retrained = self.quantizer(self.new, self.seed + 1000)  # no other seed of the study
        # In this order, because aligning renames the codes of `retrained`.
        models = {
            "retrained": retrained,
            "aligned": retrained,
            "continued": self.continued(first),
            "kept": first,
        }
        for way, model in models.items():
            docids = self.assign(self.new, model, way, None if way == "retrained" else old_docids)
            what = {"seed": self.seed, "way": way} | self.kept(old_docids, docids)
            yield (
                what
                | {"start": "old", "epochs": 0, "steps": 0}
                | self.recall(docids, self.untrained(docids, old))
            )
            for start in ("scratch", "old") if way == "retrained" else ("old",):
                for epochs in budgets if start == "old" else (*budgets, self.light.epochs):
                    folder = self.trained(self.new, docids, epochs, old if start == "old" else None)
                    steps = pl.read_csv(folder / "history.tsv", separator="\t")["step"].max()
                    trained = {"start": start, "epochs": epochs, "steps": steps}
                    yield what | trained | self.recall(docids, load_light(folder))

    def quantizer(self, catalogue: Catalogue, seed: int) -> RQVAE:
        """Return an RQ-VAE of the catalogue."""
        checkpoints = Checkpoints(self.folder / f"state{seed}", {})
        return train(*self.data(catalogue), self.rqvae, seed, Group(), checkpoints, 1e9).model

    def continued(self, model: RQVAE) -> RQVAE:
        """Return the model after half of the epochs on the new catalogue."""
        training = Training(*self.data(self.new), self.rqvae, self.seed, Group())
        training.model.load_state_dict(model.state_dict())
        for epoch in range(max(self.rqvae.epochs // 2, self.rqvae.warmup_epochs + 1), self.rqvae.epochs):
            training.run_epoch(epoch)
        return training.model.eval()

    def data(self, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors and categories."""
        return read_embeddings(catalogue.embeddings), read_categories(catalogue.products, self.rqvae.levels)

    def assign(self, catalogue: Catalogue, model: RQVAE, way: str, old: Path | None) -> Path:
        """Write the DocIDs of a way and return their file; the way `aligned` renames the codes of `model`."""
        product_ids, _ = read_products(catalogue.products)
        order, vectors = canonical_order(product_ids), read_embeddings(catalogue.embeddings)
        earlier = old and read_earlier(old, product_ids, self.rqvae.layers, self.rqvae.codebook_size)
        if way == "aligned":
            align(model, vectors, order, catalogue.embeddings, earlier)
        latents = encode(model, vectors, order, catalogue.embeddings)
        assignment = assign(latents, model.codebooks.numpy(), product_ids, self.docids, earlier)
        require_unique(assignment, self.docids)
        path = self.folder / f"{way}.parquet"
        write_table(path, docids_table(product_ids, assignment))
        return path

    def kept(self, old: Path, new: Path) -> dict[str, float]:
        """Return the shares of common products that keep 1, 2, … codes."""
        docids = Docids.read(new)
        earlier = read_earlier(
            old, docids.product_ids.combine_chunks(), self.rqvae.layers, self.rqvae.codebook_size
        )
        shares = kept_shares(earlier.codes[earlier.known], docids.codes[earlier.known])
        return {f"kept_{depth}": share for depth, share in enumerate(shares, start=1)}

    def trained(self, catalogue: Catalogue, docids: Path, epochs: int, start: Path | None) -> Path:
        """Train a retriever of these DocIDs and return its folder; with 0 epochs it is `start`."""
        changes = {"epochs": epochs, "valid_every": epochs, "pretrained": start and str(start)}
        config = LightConfig.model_validate(self.light.model_dump() | changes)
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "retriever"
        inputs = Inputs(
            catalogue.products, catalogue.queries, catalogue.judgements, docids, catalogue.embeddings
        )
        train_light(config, inputs, output.with_name("checkpoints"), output, self.seed, 1e9)
        return output

    def untrained(self, docids: Path, start: Path) -> LightRetriever:
        """Return the retriever in `start` as training on these DocIDs of the new catalogue begins with it."""
        config = self.light.model_copy(update={"pretrained": str(start)})
        vectors = read_embeddings(self.new.embeddings)
        return build_light(config, Docids.read(docids).sizes, vectors, {}, self.seed).eval()

    def recall(self, docids: Path, retriever: LightRetriever) -> dict[str, float]:
        """Return recall of the test queries over the new catalogue."""
        table = Docids.read(docids)
        trie = Trie.from_codes(table.codes, retriever.sizes, table.doc_ids)
        ids = read_queries(self.new.queries, "test")["query_id"].to_numpy()
        vectors = read_vectors(self.new.embeddings, self.new.queries, len(trie)).of_queries(ids)
        found = search(retriever, trie, QueryVectors(vectors), Search(100, 100, 32)).doc_ids
        judged = pl.from_arrow(read_judgements(self.new.judgements, "test")).filter(
            pl.col("label").is_in(RELEVANT)
        )
        judged = judged.sort("query_id")
        figures = {}
        for protocol, pairs in (("seen", judged.filter("seen")), ("all", judged)):
            rows = np.searchsorted(ids, pairs["query_id"].to_numpy()), pairs["doc_id"].to_numpy()
            figures |= {f"{protocol}@{k}": recall(found, *rows, k) for k in CUTOFFS}
        return figures


def show(table: pl.DataFrame) -> None:
    """Print the means over seeds as Markdown tables: what is kept, and recall in percent by epochs (steps)."""
    kept = [name for name in table.columns if name.startswith("kept_")]
    shares = table.group_by("way", maintain_order=True).agg(pl.col(kept).mean())
    print("| way |", " | ".join(f"{depth} codes" for depth in range(1, len(kept) + 1)), "|")
    print("|---" * (1 + len(kept)) + "|")
    for way, *values in shares.iter_rows():
        print(f"| {way} |", " | ".join(f"{100 * value:.1f}" for value in values), "|")
    steps = dict(table.group_by("epochs").agg(pl.col("steps").mean()).sort("epochs").iter_rows())
    for figure in FIGURES:
        print(f"\n| {figure} |", " | ".join(f"{epochs} ({mean:.0f})" for epochs, mean in steps.items()), "|")
        print("|---" * (1 + len(steps)) + "|")
        for (way, start), rows in table.group_by("way", "start", maintain_order=True):
            means = dict(rows.group_by("epochs").agg(pl.col(figure).mean()).iter_rows())
            cells = [f"{100 * means[epochs]:.1f}" if epochs in means else "–" for epochs in steps]
            print(f"| {way}, from {start} |", " | ".join(cells), "|")


def main() -> None:
    """Measure the seeds that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument(
        "--configfile", nargs="+", required=True, help="laid over each other, as for Snakemake"
    )
    parser.add_argument("--method", default="catid2", help="a method with an RQ-VAE (default catid2)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--epochs", nargs="+", type=int, default=[1, 2, 4], help="of a retriever (default 1 2 4)"
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, required=True, help="TSV")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    pipeline, results = read_pipeline(options.configfile), options.results / options.dataset
    rows = pl.read_csv(options.output, separator="\t").to_dicts() if options.output.exists() else []
    for seed in sorted(set(options.seeds) - {row["seed"] for row in rows}):
        with tempfile.TemporaryDirectory() as folder:
            refresh = Refresh(pipeline, options.dataset, options.method, results, seed, Path(folder))
            rows += refresh.rows(options.epochs)
        pl.DataFrame(rows).write_csv(options.output, separator="\t")
    show(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
