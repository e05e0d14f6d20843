"""Every script on a finished tiny run: its command line, running it in this process, and what an error may leave."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from in_process import Done, run_here

from catid2.plan.comparison import comparison
from catid2.plan.stage_logs import stage_logs
from workflow import EFFICIENCY, EFFICIENCY_FIGURE, tiny_pipeline

RAW = "resources/tiny"
EXAMPLES, PRODUCTS, ESCI_S = (
    f"{RAW}/shopping_queries_dataset_{name}.parquet" if name != "esci_s" else f"{RAW}/esci.json.zst"
    for name in ("examples", "products", "esci_s")
)
PATHS = f"{RAW}/category_paths.parquet"
OWN = "resources/own"  # a user's own catalogue; no run has one: bad_input_cases_catalogue writes it
SAMPLE = "resources/esci_sample"  # no run has one either: bad_input_cases_sample writes it
DATASET = "results/tiny_es"
CORPUS = f"{DATASET}/corpus"
VIEW = f"{DATASET}/embeddings/text"
METHOD = f"{DATASET}/catid2/seed0"
PRODUCT_TABLE, QUERIES, JUDGEMENTS, TREE = (
    f"{CORPUS}/{name}.parquet" for name in ("products", "queries", "judgements", "categories")
)
EMBEDDINGS = f"{VIEW}.npy"
DOCIDS, FIGURES = f"{METHOD}/docids.parquet", f"{METHOD}/docids.json"
RQVAE, RQVAE_CONFIG = f"{METHOD}/rqvae/model.safetensors", f"{METHOD}/rqvae/config.json"
RETRIEVER = f"{METHOD}/retriever"
WEIGHTS, LAYOUT = f"{RETRIEVER}/model.safetensors", f"{RETRIEVER}/config.json"
NOISY = f"{DATASET}/noisy-share0.2/seed0"
GRIDS = f"{DATASET}/noise_grids.tsv"
RUN, RECALL = f"{METHOD}/run.parquet", f"{DATASET}/recall.tsv"
PER_QUERY, TRACE = f"{DATASET}/recall_per_query.parquet", f"{METHOD}/beam_trace.parquet"
GEOMETRY, GEOMETRY_TABLE = f"{METHOD}/geometry.json", f"{DATASET}/recall_geometry.tsv"
Options = Mapping[str, str | list[str] | None]  # None: the option is left out; "": a flag


NONE: Options = MappingProxyType({})


class Case(NamedTuple):
    """One broken input. `says`: the file or setting, the place and the remedy, as they stand in the line."""

    id: str
    script: str
    broken: Callable[[Path], None]
    says: tuple[str, ...]
    options: Options = NONE


def commands() -> dict[str, dict[str, str | list[str]]]:
    """Return the options of every script, as the rules give them for the tiny run, from the folder of the run."""
    pipeline = tiny_pipeline()
    corpus = {f"--{name}": f"{CORPUS}/{name}.parquet" for name in ("products", "queries", "judgements")}
    products, queries = {"--products": corpus["--products"]}, {"--queries": corpus["--queries"]}

    def settings(stage: str, method: str = "catid2") -> dict[str, str]:
        return {"--config": pipeline.stage(stage, "tiny_es", method).model_dump_json()}

    raw = {"--examples": EXAMPLES, "--products": PRODUCTS}
    sample = {"--products": f"{SAMPLE}/products.json.gz"}
    sample |= {f"--{name}": f"{SAMPLE}/{name}.json" for name in ("judgements", "pairs")}
    source = pipeline.source("tiny_es")
    report = {"--config": pipeline.config.report.model_dump_json()}
    embeddings, docids = {"--embeddings": f"{VIEW}.npy"}, {"--docids": f"{METHOD}/docids.parquet"}
    model = {"--model": RQVAE}
    runs = [
        f"{method}:{seed}:{DATASET}/{method}/seed{seed}/run.parquet"
        for method, seed in pipeline.runs("recall")
    ]
    points = pipeline.config.studies["noise"].grids[0].points()
    geometries = [
        f"{method}:0:{DATASET}/{pipeline.owner('docids', 'tiny_es', method)}/seed0/geometry.json"
        for method in pipeline.config.studies["recall"].methods
        if method in pipeline.methods("generative")
    ]
    return {
        "fetch_esci": {"--config": "{}"} | raw,
        "fetch_esci_s": {"--config": "{}", "--output": ESCI_S},
        "fetch_esci_sample": {"--config": "{}"} | sample,
        "import_esci_sample": sample
        | {f"{option}-out": path for option, path in (raw | {"--esci-s": ESCI_S}).items()},
        "fetch_model": {"--config": '{"name": "google/mt5-base"}', "--output": "models/mt5"},
        "simulate_esci": {"--config": source.simulate.model_dump_json(), "--seed": "3", "--esci-s": ESCI_S}
        | raw,
        "import_catalogue": {
            "--config": json.dumps(
                {
                    "columns": {
                        "products": {"product_id": "id", "title": "name", "category": "path"},
                        "queries": {"split": "split"},
                        "judgements": {"label": "label"},
                    },
                    "category_separator": ">",
                    "labels": {"3": "E", "0": "I"},
                }
            ),
            "--locale": "us",
            "--threads": "1",
        }
        | {f"--{name}": f"{OWN}/{name}.csv" for name in ("products", "queries", "judgements")}
        | {
            f"--{name}-out": f"{OWN}/imported-{name}.parquet"
            for name in ("examples", "products", "category-paths")
        }
        | {f"--{name}-out": f"{OWN}/imported-{name}.parquet" for name in ("tags", "query-ids")},
        "extract_categories": {"--esci-s": ESCI_S, "--output": PATHS, "--threads": "1"},
        "build_corpus": {
            "--config": pipeline.corpus("tiny_es").model_dump_json(),
            "--locale": "es",
            "--threads": "1",
        }
        | raw
        | {"--category-paths": PATHS}
        | {f"{option}-out": path for option, path in corpus.items()}
        | {"--categories-out": f"{CORPUS}/categories.parquet", "--stats-out": f"{CORPUS}/stats.json"},
        "embed": {
            "--config": pipeline.view("tiny_es", "text").of_documents().model_dump_json(),
            "--checkpoints": "state/embed",
        }
        | products
        | {"--output": f"{VIEW}.npy", "--metadata": f"{VIEW}.json"},
        "embed_queries": (embeddings | products | queries)
        | {"--output": f"{VIEW}_queries.npy", "--metadata": f"{VIEW}_queries.json"},
        "make_taxonomy": {"--config": '{"kind": "noisy", "share": 0.2}', "--seed": "0"}
        | products
        | {"--output": f"{NOISY}/taxonomy.parquet", "--report": f"{NOISY}/taxonomy.json"},
        "train_rqvae": settings("rqvae")
        | {"--seed": "0", "--checkpoints": "state/rqvae", "--history": f"{METHOD}/rqvae/history.tsv"}
        | (embeddings | products | model | {"--model-config": RQVAE_CONFIG}),
        "assign_docids": settings("docids")
        | (embeddings | products | model)
        | {"--output": f"{METHOD}/docids.parquet", "--report": f"{METHOD}/docids.json"},
        "train_retriever": settings("retriever")
        | (corpus | docids)
        | {"--seed": "0", "--checkpoints": "state/retriever", "--output": f"{METHOD}/retriever"},
        "retrieve": settings("retrieve")
        | (docids | products | queries)
        | {"--retriever": f"{METHOD}/retriever", "--output": f"{METHOD}/run.parquet"},
        "search_bm25": settings("bm25", "bm25")
        | (products | queries)
        | {"--output": f"{DATASET}/bm25/seed0/run.parquet"},
        "search_dense": settings("dense", "dense")
        | (embeddings | products | queries)
        | {"--output": f"{DATASET}/dense/seed0/run.parquet"},
        "fuse_runs": settings("fuse", "fused")
        | (products | queries)
        | {
            "--run": [f"1:{RUN}", f"1:{DATASET}/bm25/seed0/run.parquet"],
            "--output": f"{DATASET}/fused/seed0/run.parquet",
        },
        "train_dual_encoder": settings("dual_encoder", "dpr")
        | corpus
        | {"--seed": "0", "--checkpoints": "state/encoder", "--output": f"{DATASET}/dpr/seed0/encoder"},
        "evaluate": {
            "--config": pipeline.config.evaluate.model_dump_json(),
            "--dataset": "tiny_es",
            "--run": runs,
        }
        | corpus
        | {"--output": f"{DATASET}/recall.tsv", "--per-query": PER_QUERY},
        "compare_with_bm25": {
            "--config": pipeline.config.evaluate.model_dump_json(),
            "--dataset": "tiny_es",
            "--run": runs,
            "--bm25": "bm25",
            "--output": f"{DATASET}/recall_beyond_bm25.tsv",
        }
        | corpus,
        "export_index": {
            "--config": pipeline.index("tiny_es", "catid2", "0").model_dump_json(),
            "--retriever": f"{METHOD}/retriever",
            "--output": f"{METHOD}/index",
        }
        | (model | docids | products | queries | embeddings),
        "export_run": products
        | queries
        | {"--run": RUN, "--tag": "catid2", "--output": f"{METHOD}/run.trec"},
        "export_qrels": corpus
        | {"--protocol": "all", "--labels": "ES"}
        | {f"--{name}": f"{DATASET}/{name}.trec" for name in ("relevant", "gains")},
        "measure_latency": settings("retrieve")
        | (docids | products | queries)
        | {"--retriever": f"{METHOD}/retriever", "--searches": "2", "--output": f"{METHOD}/latency.json"},
        "trace_beams": settings("retrieve")
        | (docids | corpus)
        | {
            "--retriever": f"{METHOD}/retriever",
            "--per-query": PER_QUERY,
            "--metric": "recall@10",
            "--shown": "2",
        }
        | {"--output": TRACE},
        "summarize_efficiency": {
            "--dataset": "tiny_es",
            "--stage": [
                ":".join([method, *stage])
                for method in ("catid2", "bm25")
                for stage in stage_logs(pipeline, "tiny_es", method, 0)
            ],
            "--latency": f"catid2:{METHOD}/latency.json",
            "--output": EFFICIENCY,
        },
        "measure_geometry": {"--config": pipeline.config.geometry.of_method().model_dump_json()}
        | (embeddings | products | docids | model)
        | {"--output": GEOMETRY},
        "compare_geometry": {"--dataset": "tiny_es", "--geometry": geometries, "--output": GEOMETRY_TABLE},
        "plot_geometry": {
            "--geometry": GEOMETRY_TABLE,
            "--output": f"{DATASET}/figures/recall_geometry.svg",
            "--simulated": "",
        },
        "plot_efficiency": {
            "--efficiency": EFFICIENCY,
            "--output": EFFICIENCY_FIGURE,
            "--simulated": "",
        },
        "plot_recall": {
            "--recall": f"{DATASET}/recall.tsv",
            "--output": f"{DATASET}/figures/recall.svg",
            "--simulated": "",
        },
        "plot_layers": report
        | {"--corpus": CORPUS, "--docids": [f"catid2:{METHOD}/docids.parquet:{METHOD}/docids.json"]}
        | {"--output": f"{DATASET}/figures/layers.svg", "--simulated": ""},
        "summarize_grids": {
            "--config": pipeline.grid_summary("tiny_es", "noise").model_dump_json(),
            "--recall": f"{DATASET}/noise.tsv",
            "--corpus": CORPUS,
            "--docids": [f"{name}:{NOISY}/docids.parquet:{NOISY}/docids.json" for name in points],
            "--output": GRIDS,
        },
        "plot_grids": {"--grids": GRIDS, "--metric": "recall@10", "--protocol": "all", "--simulated": ""}
        | {"--output": f"{DATASET}/figures/noise_grids.svg"},
        "report_locales": report
        | {"--comparison": comparison(pipeline, "recall").model_dump_json(), "--results": "results"}
        | {"--table": "results/locales.tsv", "--page": "results/report.html"},
    }


COMMANDS = commands()


def command(script: str, changes: Options | None = None) -> list[str]:
    """Return the arguments of `script` on the tiny run, some options changed."""
    words = []
    for option, value in (COMMANDS[script] | dict(changes or {})).items():
        for each in value if isinstance(value, list) else [value]:
            words += [] if each is None else [option] if each == "" else [option, each]
    return words


def settings(script: str, **changes: object) -> dict[str, str]:
    """Return the option --config of `script` with some keys changed."""
    return {"--config": json.dumps(json.loads(COMMANDS[script]["--config"]) | changes)}


def run_script(script: str, folder: Path, changes: Options | None = None) -> Done:
    """Run a script in this process, from `folder`."""
    return run_here(script, command(script, changes), folder)


def copy_of(run: Path, folder: Path) -> Path:
    """Return `folder`, with hard links to the files of a finished run: replace files there, never write into them."""
    for name in ("resources", "results", "logs"):
        shutil.copytree(run / name, folder / name, copy_function=os.link)
    return folder


def state(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what tells whether anything below `folder` was made, replaced, changed or removed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        stat = path.lstat()
        changes = () if path.is_dir() else (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        found[str(path.relative_to(folder))] = changes
    return found


def refused(script: str, folder: Path, broken: Callable[[Path], None], changes: Options | None = None) -> str:
    """Break an input, run the script, and return its one line; nothing in the folder may have changed."""
    broken(folder)
    before = state(folder)
    done = run_script(script, folder, changes)
    assert (done.code, len(done.errors)) == (1, 1), done
    assert "Traceback" not in done.stderr
    assert state(folder) == before
    return done.errors[0]
