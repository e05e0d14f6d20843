"""Time and memory of every stage against the number of documents, on simulated catalogues.

    python benchmarks/scaling.py --work DIR                          # every stage and size; hours
    python benchmarks/scaling.py --work DIR --stages trie --sizes 20000 132000
    python benchmarks/scaling.py --work DIR --plot scaling.svg       # draws what has been measured, runs nothing

Each stage runs as its script, in a process of its own, on what the stages before it left in DIR; a measurement that
stands in DIR/scaling.tsv is not taken again. A catalogue is one locale whose products are nearly all judged. The
RQ-VAE sees random vectors of 256 dimensions around the nodes of the catalogue's tree, because texts take hours to
encode on a CPU; it trains one epoch before k-means and one after. Stages that answer queries (retrieve, search_bm25)
answer 256; the retriever and the encoder of `embed_transformer` are small and have random weights.

Two memories are told: `peak_gb`, the largest resident set of the process, which counts the pages of memory-mapped
files that the kernel can take back; and `private_gb`, the largest anonymous part of it, sampled every 50 ms.
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SIZES = (20_000, 132_000, 386_000, 1_800_000, 5_000_000)
DIMENSIONS = 256
QUERIES = 256  # that are searched for
SAMPLING = 0.05  # s between two looks at a process's memory


class Cost(NamedTuple):
    """What a stage took on a catalogue; the fields are the columns of scaling.tsv."""

    stage: str
    size: int  # documents asked for
    documents: int  # documents there are
    wall_s: float
    cpu_s: float  # user and system, all threads
    peak_gb: float
    private_gb: float


class Catalogue:
    """The files of one size, under `folder`."""

    def __init__(self, work: Path, size: int):
        self.size, self.folder = size, work / str(size)
        self.raw = {
            "--examples": self.folder / "examples.parquet",
            "--products": self.folder / "products.parquet",
            "--esci-s": self.folder / "esci.json.zst",
        }
        self.paths = self.folder / "category_paths.parquet"
        self.corpus = self.folder / "corpus"
        self.products = self.corpus / "products.parquet"
        self.embeddings = self.folder / "random.npy"
        self.rqvae = self.folder / "rqvae"
        self.docids = self.folder / "docids.parquet"
        self.retriever = self.folder / "retriever"
        self.encoder = work / "encoder"

    @property
    def documents(self) -> int:
        """Documents of the corpus; before it is built, the size."""
        import pyarrow.parquet as pq

        return pq.read_metadata(self.products).num_rows if self.products.exists() else self.size


def main() -> None:
    """Measure what is asked for and not yet measured, or draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for catalogues and scaling.tsv")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--plot", type=Path, help="SVG file to draw; print the fitted exponents")
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)  # what a measured process runs
    arguments = parser.parse_args()
    catalogues = [Catalogue(arguments.work.resolve(), size) for size in arguments.sizes]
    if arguments.inside:
        INSIDE[arguments.inside](catalogues[0])
    elif arguments.plot:
        plot(read_costs(arguments.work / "scaling.tsv"), arguments.plot)
    else:
        for stage in arguments.stages:
            for catalogue in catalogues:
                measure(stage, catalogue, arguments.work / "scaling.tsv")


def measure(stage: str, catalogue: Catalogue, table: Path) -> None:
    """Run a stage on a catalogue and add a line to the table, unless it has one or the size is too long for it."""
    done = {(cost.stage, cost.size) for cost in read_costs(table)}
    if (stage, catalogue.size) in done or catalogue.size > LARGEST.get(stage, catalogue.size):
        return
    catalogue.folder.mkdir(parents=True, exist_ok=True)
    cost = run(stage, catalogue, STAGES[stage](catalogue))
    with table.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if not done:
            writer.writerow(Cost._fields)
        writer.writerow(format(value, ".4g") if isinstance(value, float) else value for value in cost)
    print(*cost, sep="\t", flush=True)


def read_costs(table: Path) -> list[Cost]:
    """Return the lines of the table; none if there is no table yet."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [
            Cost(**{name: kind(row[name]) for name, kind in Cost.__annotations__.items()})
            for row in csv.DictReader(file, delimiter="\t")
        ]


def run(stage: str, catalogue: Catalogue, command: list[str | Path]) -> Cost:
    """Run a script of the project in a process of its own; return what it took."""
    private, ended = [0], threading.Event()
    log = (catalogue.folder / f"{stage}.log").open("wb")
    # One thread of torch and BLAS: threads that wait for each other on a busy machine count as processor time.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
    sampler = threading.Thread(target=_sample, args=(process.pid, private, ended))
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    ended.set()
    sampler.join()
    if status:
        sys.exit(f"{stage} failed, see {log.name}")
    cpu = usage.ru_utime + usage.ru_stime
    # Linux counts ru_maxrss in KiB
    return Cost(
        stage,
        catalogue.size,
        catalogue.documents,
        wall,
        cpu,
        usage.ru_maxrss * 1024 / 1e9,
        private[0] * 1024 / 1e9,
    )


def _sample(process: int, largest: list[int], ended: threading.Event) -> None:
    """Keep the largest RssAnon of a process in largest[0], in KiB, until `ended`."""
    status = Path(f"/proc/{process}/status")
    while not ended.wait(SAMPLING):
        try:
            lines = status.read_text().splitlines()
        except OSError:  # it has just ended
            return
        for line in lines:  # a process that ends has no such line
            if line.startswith("RssAnon"):
                largest[0] = max(largest[0], int(line.split()[1]))


# --- stages: the command line of each, after making what it needs next to the pipeline's own files -----------


def simulate(catalogue: Catalogue) -> list[str | Path]:
    size = catalogue.size
    locale = {"products": size * 1025 // 1000, "queries": size // 25, "judgements_per_query": 32}
    whole = {"record_share": 1, "cut_paths": {"none": 0, "one": 0, "two": 0}}
    config = {"locales": {"us": locale | {"small_share": 1}}} | whole
    raw = [part for option in catalogue.raw.items() for part in option]
    return ["scripts/simulate_esci.py", "--config", json.dumps(config), *raw]


def extract_categories(catalogue: Catalogue) -> list[str | Path]:
    source = ("--esci-s", catalogue.raw["--esci-s"])
    return ["scripts/extract_categories.py", *source, "--output", catalogue.paths]


def build_corpus(catalogue: Catalogue) -> list[str | Path]:
    tables = ("products", "queries", "judgements", "categories")
    outputs = [f"--{name}-out={catalogue.corpus / name}.parquet" for name in tables]
    raw = [part for option in list(catalogue.raw.items())[:2] for part in option]
    stats = f"--stats-out={catalogue.corpus / 'stats.json'}"
    paths = ("--category-paths", catalogue.paths)
    return ["scripts/build_corpus.py", "--locale", "us", *raw, *paths, *outputs, stats]


def embed_tfidf(catalogue: Catalogue) -> list[str | Path]:
    return _embed(catalogue, "tfidf", {"kind": "tfidf_svd", "dims": DIMENSIONS})


def embed_transformer(catalogue: Catalogue) -> list[str | Path]:
    _make_encoder(catalogue)
    encoder = {"kind": "hf", "model": str(catalogue.encoder), "max_tokens": 128}
    return _embed(catalogue, "transformer", encoder)


def _embed(catalogue: Catalogue, name: str, encoder: dict) -> list[str | Path]:
    view = catalogue.folder / name
    outputs = [f"--output={view}.npy", f"--metadata={view}.json", f"--checkpoints={view}.checkpoints"]
    config = ("--config", json.dumps({"encoder": encoder}))
    return ["scripts/embed.py", *config, "--products", catalogue.products, *outputs]


def train_rqvae(catalogue: Catalogue) -> list[str | Path]:
    _make_embeddings(catalogue)
    config = {"epochs": 2, "warmup_epochs": 1, "hidden": [128, 64]}
    folder = catalogue.rqvae
    outputs = [
        f"--model={folder}/model.safetensors",
        f"--model-config={folder}/config.json",
        f"--history={folder}/history.tsv",
        f"--checkpoints={folder}.checkpoints",
    ]
    inputs = ("--embeddings", catalogue.embeddings, "--products", catalogue.products)
    return ["scripts/train_rqvae.py", "--config", json.dumps(config), "--seed", "0", *inputs, *outputs]


def assign_docids(catalogue: Catalogue) -> list[str | Path]:
    model = ("--model", catalogue.rqvae / "model.safetensors")
    inputs = ("--embeddings", catalogue.embeddings, "--products", catalogue.products, *model)
    outputs = ("--output", catalogue.docids, "--report", catalogue.docids.with_suffix(".json"))
    return ["scripts/assign_docids.py", "--config", "{}", *inputs, *outputs]


def trie(catalogue: Catalogue) -> list[str | Path]:
    return _inside("trie", catalogue)


def retriever_examples(catalogue: Catalogue) -> list[str | Path]:
    _make_encoder(catalogue)
    return _inside("examples", catalogue)


def retrieve(catalogue: Catalogue) -> list[str | Path]:
    _make_retriever(catalogue)
    files = [f"--{name}={catalogue.folder / name}" for name in ("retriever",)]
    files += [f"--docids={catalogue.docids}", f"--products={catalogue.products}"]
    return [
        "scripts/retrieve.py",
        "--config",
        "{}",
        *files,
        f"--queries={_few_queries(catalogue)}",
        f"--output={catalogue.folder / 'run.parquet'}",
    ]


def search_bm25(catalogue: Catalogue) -> list[str | Path]:
    queries = _few_queries(catalogue)
    inputs = ("--products", catalogue.products, "--queries", queries)
    output = catalogue.folder / "bm25.parquet"
    return ["scripts/search_bm25.py", "--config", "{}", *inputs, "--output", output]


def evaluate(catalogue: Catalogue) -> list[str | Path]:
    run_file = _make_run(catalogue)
    inputs = [f"--{name}={catalogue.corpus / name}.parquet" for name in ("judgements", "queries", "products")]
    outputs = [
        f"--output={catalogue.folder / 'recall.tsv'}",
        f"--per-query={catalogue.folder / 'per.parquet'}",
    ]
    given = ("--config", "{}", "--dataset", "simulated", "--run", f"random:0:{run_file}")
    return ["scripts/evaluate.py", *given, *inputs, *outputs]


def _inside(name: str, catalogue: Catalogue) -> list[str | Path]:
    return [__file__, "--work", catalogue.folder.parent, "--sizes", str(catalogue.size), "--inside", name]


STAGES: dict[str, Callable[[Catalogue], list[str | Path]]] = {
    stage.__name__: stage
    for stage in (
        simulate,
        extract_categories,
        build_corpus,
        embed_tfidf,
        embed_transformer,
        train_rqvae,
        assign_docids,
        trie,
        retriever_examples,
        retrieve,
        search_bm25,
        evaluate,
    )
}
# Sizes that a stage is not run beyond: hours, or on two cores for no new knowledge (both are linear).
LARGEST = {"embed_transformer": 132_000, "search_bm25": 1_800_000}


# --- stages without a script of their own --------------------------------------------------------------------


def build_trie(catalogue: Catalogue) -> None:
    """Build the prefix tree of all DocIDs, as train_retriever and retrieve do at their start."""
    from catid2.docids.table import Docids
    from catid2.search.trie import Trie

    docids = Docids.read(catalogue.docids)
    Trie.from_codes(docids.codes, docids.sizes, docids.doc_ids)


def make_examples(catalogue: Catalogue) -> None:
    """Read and tokenise all that the retriever is taught, as train_retriever does before its first step."""
    from transformers import AutoTokenizer

    from catid2.config.retriever import RetrieverConfig
    from catid2.retriever import t5_training as retriever_training
    from catid2.training.examples import make_examples, read_train_queries

    config = RetrieverConfig()
    task = config.query_task
    tables = [catalogue.corpus / f"{name}.parquet" for name in ("queries", "judgements")]
    queries = read_train_queries(*tables, task.labels, config.valid_share)
    documents = retriever_training._document_texts(config, catalogue.products)
    make_examples(config, AutoTokenizer.from_pretrained(catalogue.encoder), queries, documents)


INSIDE: dict[str, Callable[[Catalogue], None]] = {"trie": build_trie, "examples": make_examples}


# --- what stands in for weights and texts that this machine cannot make ----------------------------------------


def _make_embeddings(catalogue: Catalogue) -> None:
    """Write random vectors around the nodes of the tree: (N, DIMENSIONS) float16, 2% of them exact duplicates."""
    if catalogue.embeddings.exists():
        return
    import numpy as np

    from catid2.corpus.products import read_categories
    from catid2.runtime.writing import atomic

    rng = np.random.default_rng(0)
    levels = read_categories(catalogue.products, 3)
    centres = [rng.standard_normal((column.max() + 1, DIMENSIONS), np.float32) for column in levels.T]
    lines = rng.standard_normal((len(levels) // 6 + 1, DIMENSIONS), np.float32)  # of about six products each
    of_line = rng.integers(0, len(lines), len(levels))
    with atomic(catalogue.embeddings) as aside, aside.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(levels), DIMENSIONS)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(levels), 65_536):
            rows = slice(start, start + 65_536)
            vectors = sum(own[column] for own, column in zip(centres, levels[rows].T, strict=True))
            vectors += 0.7 * lines[of_line[rows]]
            vectors += 0.4 * rng.standard_normal(vectors.shape, np.float32)
            twins = np.flatnonzero(rng.random(len(vectors)) < 0.02)
            vectors[twins] = vectors[twins - 1]
            file.write(vectors.astype(np.float16).tobytes())


def _make_encoder(catalogue: Catalogue) -> None:
    """Save a BERT of two layers and 128 dimensions with random weights, and a tokenizer of this catalogue's titles."""
    if catalogue.encoder.exists():
        return
    import pyarrow.parquet as pq
    import torch
    from transformers import BertConfig, BertModel

    from catid2.retriever.tokenizer import train_tokenizer

    titles = pq.read_table(catalogue.products, columns=["title"]).column("title").slice(0, 20_000).to_pylist()
    tokenizer = train_tokenizer([title or "" for title in titles], 8000)
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **sizes))
    model.save_pretrained(catalogue.encoder)
    tokenizer.save_pretrained(catalogue.encoder)


def _make_retriever(catalogue: Catalogue) -> None:
    """Save a small T5 with random weights that knows the codes of this catalogue."""
    if catalogue.retriever.exists():
        return
    from catid2.config.retriever import RetrieverConfig
    from catid2.docids.table import Docids
    from catid2.retriever.t5 import build_retriever

    docids = Docids.read(catalogue.docids)
    texts = ["words of a query", "and of another"] * 1000
    retriever, tokenizer = build_retriever(RetrieverConfig(pretrained=None), docids.sizes, texts, 0)
    retriever.t5.config.docid_sha256 = docids.digest
    retriever.t5.save_pretrained(catalogue.retriever)
    tokenizer.save_pretrained(catalogue.retriever)


def _few_queries(catalogue: Catalogue) -> Path:
    """Write the first QUERIES test queries of the corpus to a file of their own."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = catalogue.folder / "few_queries.parquet"
    queries = pq.read_table(catalogue.corpus / "queries.parquet")
    pq.write_table(queries.filter(pc.equal(queries["split"], "test")).slice(0, QUERIES), path)
    return path


def _make_run(catalogue: Catalogue) -> Path:
    """Write a run of a hundred random documents for every test query."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from catid2.runtime.tables import RUN

    queries = pq.read_table(catalogue.corpus / "queries.parquet")
    query_id = queries.filter(pc.equal(queries["split"], "test"))["query_id"].to_numpy()
    first = np.random.default_rng(0).integers(0, catalogue.documents, len(query_id))
    doc_id = (first[:, None] + np.arange(100)) % catalogue.documents
    columns = [np.repeat(query_id, 100), doc_id.ravel(), np.tile(np.arange(1, 101), len(query_id))]
    run_table = pa.table([*columns, -columns[2].astype(np.float32)], names=list(RUN)).cast(pa.schema(RUN))
    path = catalogue.folder / "random_run.parquet"
    pq.write_table(run_table, path)
    return path


# --- the figure ------------------------------------------------------------------------------------------------


def plot(costs: list[Cost], path: Path) -> None:
    """Draw processor time and memory against documents, both axes logarithmic, and print the fitted exponents.

    Processor time, because it hardly notices what else the machine does.
    """
    from matplotlib.figure import Figure

    from catid2.report.svg import INK, MARKERS, MUTED, SERIES, save_svg, styled

    stages = [stage for stage in STAGES if any(cost.stage == stage for cost in costs)]
    with styled("scaling"):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for place, stage in enumerate(stages):
            own = sorted((cost for cost in costs if cost.stage == stage), key=lambda cost: cost.documents)
            documents = [cost.documents for cost in own]
            look = {"color": SERIES[place % len(SERIES)], "marker": MARKERS[place // len(SERIES)], "ms": 3.5}
            panels[0].plot(documents, [cost.cpu_s for cost in own], label=stage, **look)
            panels[1].plot(documents, [cost.peak_gb for cost in own], **look)
            print(stage, *(f"{exponent(own, name):.2f}" for name in ("cpu_s", "peak_gb")), sep="\t")
        panels[1].axhline(16, color=MUTED, linestyle="--", linewidth=0.8)
        panels[1].text(SIZES[0], 16.8, "16 GB", color=MUTED)
        for panel, title in zip(panels, ("processor time, s", "peak memory, GB"), strict=True):
            panel.set(xscale="log", yscale="log", xlabel="documents")
            panel.set_title(title, loc="left", color=INK)
            panel.grid(True)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        save_svg(path, figure)


def exponent(costs: list[Cost], name: str) -> float:
    """Return b of cost = a · documents^b between the two largest catalogues; nan of fewer than two."""
    if len(costs) < 2:
        return math.nan
    (before, last) = costs[-2:]
    ratio = getattr(last, name) / getattr(before, name)
    return math.log(ratio) / math.log(last.documents / before.documents)


if __name__ == "__main__":
    main()
