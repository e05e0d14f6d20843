"""A results tree as the stages would leave it, small and seeded, for the tests of the report.

Tables that have a writer are written by it, so that a change of their form shows here.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from catid2.config.docids import DocidsConfig
from catid2.config.evaluate import EvaluateConfig
from catid2.config.report import Comparison, ReportDataset, ReportMethod
from catid2.docids.assign import assign, describe
from catid2.docids.schemes.coding import Quantised
from catid2.docids.table import docids_table
from catid2.evaluation.table import ENDS, KEYS, Evaluation, write_evaluation
from catid2.quantizer.codes import distortion
from catid2.runtime.tables import (
    CATEGORIES,
    JUDGEMENTS,
    QUERIES,
    RUN,
    TRACE,
    products_columns,
    write_json,
    write_table,
)

METRICS = EvaluateConfig().metrics
BRANCHES, DEPTH = (9, 2, 2), 3
NAMES = {
    "us": "Home & Kitchen|Electronics|Clothing, Shoes & Jewelry|Toys|Sports|Garden|Pets|Tools|Office",
    "jp": "ホーム&キッチン|家電&カメラ|ファッション|おもちゃ|スポーツ|ガーデン|ペット用品|工具|文房具・オフィス用品",
}
TITLES = {
    "us": "Stainless steel lunch box number {} with two compartments, leak-proof, dishwasher safe",
    "jp": "ステンレス製弁当箱 {} 二段 保温 食洗機対応 大容量 送料無料",
}
DROPPED = {"catid2": (0.0, 0.25, 0.975)}  # share of documents at each level; the others have no HCCL
ASKED = "<script>alert('no')</script> & lunch box"  # one of the queries
RELIEF = {"catid2": 2.0, "tiger": 0.6, "wo_hccl": 0.8}  # how far categories lie apart in the latents


def write_tree(
    results: Path,
    products: int = 160,
    codes: int = 8,
    seeds: tuple[int, ...] = (0, 1),
    locales: tuple[str, ...] = ("us", "jp"),
) -> Comparison:
    """Write the tables of some locales and four methods below `results`; return their description."""
    datasets = []
    for place, locale in enumerate(locales):
        random = np.random.default_rng(place)
        folder = results / f"demo_{locale}"
        tree = _write_corpus(folder, locale, products, random)
        for method in RELIEF:
            for seed in seeds:
                _write_run(folder / method / f"seed{seed}", method, tree, codes, random)
        other = np.random.default_rng(100 + place)
        pairs = _write_queries(folder, products, other)
        for method in (*RELIEF, "bm25"):
            _write_found(folder / method / "seed0", pairs, products, method in RELIEF, other)
        _write_recall(folder, seeds, _per_query(folder.name, seeds, pairs, other), random)
        methods = [
            ReportMethod(
                name=name, seeds=seeds, view="title", rqvae=name, docids=name, retriever=name,
                changes={} if name == "catid2" else {"rqvae.losses.hccl": 0.0},
            )
            for name in RELIEF
        ]  # fmt: skip
        methods.append(ReportMethod(name="bm25", seeds=(0,), changes={"bm25.k1": 1.2}))
        datasets.append(
            ReportDataset(
                name=folder.name, locale=locale, simulated=locale != "us", methods=tuple(methods),
                inputs={"examples.parquet sha256": "4a735b69" * 8},
            )
        )  # fmt: skip
    return Comparison(datasets=tuple(datasets), defaults={"rqvae.losses.hccl": 0.05, "bm25.k1": 0.9})


def _write_corpus(folder: Path, locale: str, products: int, random: np.random.Generator) -> np.ndarray:
    """Write corpus and view; return the node of each product per level, (N, DEPTH)."""
    weights = 1 / np.arange(1, BRANCHES[0] + 1)
    index = random.choice(BRANCHES[0], products, p=weights / weights.sum())
    nodes, parents, levels, names = [], [], [], []
    paths = [(name,) for name in NAMES[locale].split("|")]
    columns, first = [], 0
    for level in range(1, DEPTH + 1):
        if level > 1:
            paths = [
                (*path, f"{path[-1]} {branch}") for path in paths for branch in range(BRANCHES[level - 1])
            ]
            index = index * BRANCHES[level - 1] + random.integers(0, BRANCHES[level - 1], products)
        before = first - len(paths) // BRANCHES[level - 1]
        nodes += range(first, first + len(paths))
        parents += [
            -1 if level == 1 else before + place // BRANCHES[level - 1] for place in range(len(paths))
        ]
        levels += [level] * len(paths)
        names += [path[-1] for path in paths]
        columns.append(first + index)
        first += len(paths)
    tree = np.stack(columns, axis=1)
    counts = np.bincount(tree.reshape(-1), minlength=first)
    content = [nodes, parents, levels, names, counts]
    write_table(folder / "corpus" / "categories.parquet", _table(CATEGORIES, content))
    titles = [TITLES[locale].format(number) for number in range(products)]
    titles[3] = "<script>alert('no')</script> & more"
    product_ids = [f"B{number:05d}" for number in range(products)]
    empty = [""] * products
    texts = [product_ids, titles, empty, empty, empty, empty]
    category_names = [[names[node] for node in column] for column in columns]
    schema = products_columns(DEPTH)
    table = _table(schema, [range(products), *texts, *category_names, *columns])
    write_table(folder / "corpus" / "products.parquet", table)
    write_json(
        folder / "corpus" / "stats.json",
        {
            "documents": products,
            "queries": {"train": 900, "test": 402},
            "labels": {
                "E+S": {
                    "train_pairs": 700,
                    "test_pairs": 300,
                    "seen_test_pairs": 90,
                    "seen_test_queries": 60,
                }
            },
            "products": {"dropped": {"no category": 12}},
        },
    )
    view = {"encoder": "tfidf_svd", "dims": 64, "view": {"template": "{title} {brand}"}}
    write_json(folder / "embeddings" / "title.json", view)
    return tree


def _write_run(folder: Path, method: str, tree: np.ndarray, size: int, random: np.random.Generator) -> None:
    """Write DocIDs of latents that lie around their categories, and training histories."""
    width, layers = 6, 4
    centres = random.normal(size=(tree.max() + 1, width))
    latents = RELIEF[method] * centres[tree].sum(axis=1) + random.normal(size=(len(tree), width))
    residual, codebooks = latents.copy(), []
    for _ in range(layers):
        codebook = residual[random.choice(len(residual), size, replace=False)]
        residual = residual - codebook[((residual[:, None] - codebook) ** 2).sum(axis=-1).argmin(axis=1)]
        codebooks.append(codebook)
    product_ids = [f"B{number:05d}" for number in range(len(tree))]
    config = DocidsConfig(repair="digit", allow_collisions=True) if method == "tiger" else DocidsConfig()
    stack = np.stack(codebooks)
    assignment = assign(latents, stack, product_ids, config)
    coded = Quantised(latents, stack, lambda codes: distortion(latents, stack, codes))
    write_table(folder / "docids.parquet", docids_table(product_ids, assignment))
    write_json(folder / "docids.json", describe(assignment, coded, config, tree, DROPPED.get(method, ())))
    decay = np.exp(-np.arange(30) / 8)
    collisions = np.where(
        np.arange(30) < 3, np.nan, 0.2 + decay / 2
    )  # nan in the warm-up, as train_rqvae has it
    noise = random.normal(scale=0.01, size=(2, 30))
    _history(
        folder / "rqvae",
        {
            "reconstruction": 0.6 + decay + noise[0],
            "collision_rate": collisions,
            "perplexity_0": 7 - 6 * decay,
        },
    )
    _history(
        folder / "retriever",
        {
            "loss": 1.5 + 3 * decay + noise[1],
            "recall@10": [0.1 - 0.1 * value if epoch % 5 == 4 else None for epoch, value in enumerate(decay)],
        },
    )


def _write_queries(folder: Path, products: int, random: np.random.Generator) -> pl.DataFrame:
    """Write 12 test queries, each with six judged documents, one of them relevant at least; return the judgements."""
    texts = [ASKED, *(f"lunch box {number}" for number in range(1, 12))]
    write_table(folder / "corpus" / "queries.parquet", _table(QUERIES, [range(12), texts, ["test"] * 12]))
    pairs = [
        (query, doc, "E" if place == 0 else random.choice(list("ESCI")), "test", place < 2 and query > 3)
        for query in range(12)
        for place, doc in enumerate(random.choice(products, 6, replace=False).tolist())
    ]
    table = _table(JUDGEMENTS, list(zip(*pairs, strict=True)))
    write_table(folder / "corpus" / "judgements.parquet", table)
    return pl.from_arrow(table)


def _write_found(
    folder: Path, pairs: pl.DataFrame, products: int, traced: bool, random: np.random.Generator
) -> None:
    """Write a run of 20 documents a query, half of the judged ones among them, and where beams lost relevant ones."""
    run, trace = [], []
    for (query,), judged in pairs.group_by("query_id", maintain_order=True):
        own = judged["doc_id"].to_list()
        others = [doc for doc in random.permutation(products).tolist() if doc not in own]
        listed = random.permutation([*random.permutation(own)[:3], *others[:17]]).tolist()
        run += [(query, doc, place + 1, -float(place)) for place, doc in enumerate(listed)]
        for doc in judged.filter(pl.col("label").is_in(["E", "S"]))["doc_id"]:
            last = 4 if doc in listed else int(random.integers(1, 5))
            trace += [
                (query, doc, place, int(random.integers(1, 9000)), 9000, doc in listed or place < last, -1.0)
                for place in range(1, last + 1)
            ]
    write_table(folder / "run.parquet", _table(RUN, list(zip(*run, strict=True))))
    if traced:
        write_table(folder / "beam_trace.parquet", _table(TRACE, list(zip(*trace, strict=True))))


def _per_query(
    dataset: str, seeds: tuple[int, ...], pairs: pl.DataFrame, random: np.random.Generator
) -> pl.DataFrame:
    """Return metrics of each query: quarters, so that some methods are level."""
    tables = []
    for protocol in ("seen", "all"):
        relevant = pairs.filter(pl.col("label").is_in(["E", "S"]) & (pl.col("seen") | (protocol == "all")))
        counts = relevant.group_by("query_id").len("n_relevant").sort("query_id")
        for method in (*RELIEF, "bm25"):
            for seed in seeds[:1] if method == "bm25" else seeds:
                keys = {"dataset": dataset, "method": method, "protocol": protocol, "labels": "ES"}
                values = {metric: random.integers(0, 5, len(counts)) / 4 for metric in METRICS}
                named = [pl.lit(value).alias(name) for name, value in keys.items()]
                named += [pl.lit(seed, pl.Int64).alias("seed"), pl.col("n_relevant").cast(pl.Int32)]
                tables.append(counts.with_columns(*named, **{k: pl.Series(v) for k, v in values.items()}))
    return pl.concat(tables)


def _history(folder: Path, columns: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    table = pl.DataFrame({"epoch": range(1, 31)} | columns, strict=False)
    (folder / "history.tsv").write_text(table.write_csv(separator="\t"))


def _write_recall(
    folder: Path, seeds: tuple[int, ...], single: pl.DataFrame, random: np.random.Generator
) -> None:
    rows = []
    for protocol, queries in (("seen", 310), ("all", 402)):
        for place, method in enumerate((*RELIEF, "bm25")):
            names = ["0"] if method == "bm25" else [str(seed) for seed in seeds] + ["mean"] * (len(seeds) > 1)
            for name in names:
                row = {
                    "dataset": folder.name,
                    "method": method,
                    "retriever": "none" if method == "bm25" else "t5",
                    "seed": name,
                    "protocol": protocol,
                    "labels": "ES",
                }
                row |= {"n_queries": queries, "n_docs": 160}
                for metric in METRICS:
                    k = int(metric.partition("@")[2])
                    value = float(min(0.045 * k**0.5 * (1 + random.normal(scale=0.1)), 0.95))
                    half = 1.96 * (value * (1 - value) / queries) ** 0.5 * 0.7
                    row |= {metric: value, f"{metric}_low": value - half, f"{metric}_high": value + half}
                    row |= {f"{metric}_std": 0.01 if name == "mean" else None}
                    row[f"{metric}_p"] = None if place == 0 else float(random.uniform(0, 0.1))
                    row[f"{metric}_p_holm"] = None if place == 0 else 2 * row[f"{metric}_p"]
                    row[f"{metric}_ceiling"] = min(0.1 * k, 1.0)
                rows.append(row)
    schema = KEYS | {f"{metric}{end}": pl.Float64 for metric in METRICS for end in ("", *ENDS)}
    header = ["recall@k: share of relevant documents among the first k", "bm25: k1 1.2, b 0.75"]
    evaluation = Evaluation(pl.DataFrame(rows, schema=schema), header, single)
    write_evaluation(evaluation, folder / "recall.tsv", folder / "recall_per_query.parquet")


def _table(schema: dict[str, pa.DataType], columns: list) -> pa.Table:
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, schema.values(), strict=True)]
    return pa.table(arrays, schema=pa.schema(list(schema.items())))
