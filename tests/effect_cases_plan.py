"""What the keys of a configuration file put into the plan of a run: one dry run shows them all."""

import re
from pathlib import Path

from effect_cases_corpus import JUDGEMENTS, PRODUCTS, QUERIES
from effects import Table, planned, shown

from catid2.config import entries, fetch, grids, pretrained, sources
from catid2.config.efficiency import EfficiencyConfig
from catid2.config.file import PipelineConfig
from workflow import Project, job_name

# Every value is written nowhere else: where a plan has it, it has come from its key.
CONFIG = """
fetch_esci:
  examples: {url: "https://a.test/e.parquet", size: 9001, sha256: "%(e)s"}
  products: {url: "https://a.test/p.parquet", sha256: "%(p)s"}
fetch_esci_s: {esci_s: {url: "https://a.test/s.zst"}}
sources:
  esci: {kind: esci}
  mine: {kind: esci, examples: own/examples.parquet, products: own/records.parquet, esci_s: own/records.zst}
  made: {kind: simulated, seed: 701, simulate: {locales: {es: {products: 702}, jp: {}}, shared_share: 0}}
  few: {kind: esci_sample, products: own/few.json.gz, judgements: own/few.json, pairs: own/more.json}
  shop:
    kind: catalogue
    locale: jp
    columns: {products: {product_id: id, category: path, tags: tags}}
    category_separator: ">"
    tag_separator: "|"
    split_seed: 703
    products: own/products.csv
    queries: own/queries.csv
    judgements: own/judgements.csv
datasets:
  first: {source: esci, locale: us}
  own: {source: mine, locale: us}
  second:
    source: made
    locale: es
    corpus: {seen_labels: [C]}
    views: {text: {max_characters: 711}}
    taxonomy: {share: 0.712}
    rqvae: {hidden: [713]}
    docids: {sinkhorn_rounds: 714}
    retriever: {max_query_tokens: 715}
    retrieve: {beams: 716}
    bm25: {b: 0.717}
    dual_encoder: {max_characters: 718}
    dense: {top_k: 719}
    fuse: {k: 720}
  third: {source: shop, locale: jp}
  fourth: {source: few, locale: us}
corpus: {seen_labels: [S]}
views:
  text: {max_characters: 721, encoder: {kind: hf, model: some/encoder, revision: of722}}
  other: {max_characters: 723, encoder: {kind: tfidf_svd, dims: 24}}
view: text
taxonomy: {kind: noisy, share: 0.725}
rqvae: {hidden: [726]}
docids: {sinkhorn_rounds: 727}
retriever: {pretrained: some/t5, revision: of728, max_query_tokens: 729}
retrieve: {beams: 730}
bm25: {b: 0.731}
dual_encoder: {pretrained: some/bert, revision: of732, max_characters: 733}
dense: {top_k: 734}
fuse: {k: 753}
evaluate: {n_resamples: 735}
efficiency: {study: recall, batches: [1, 7], searches: 736, warm_up: 737}
geometry: {ridge: 0.738, studies: [recall]}
report: {folder: results/of739, metric: recall@20, stable_share: 0.74}
methods:
  main: {}
  words: {search: bm25, bm25: {k1: 0.741}}
  vectors: {search: dense, view: other, dense: {top_k: 742}}
  plain: {search: dense}
  dpr: {search: dual_encoder, dual_encoder: {max_tokens: 43}, dense: {top_k: 744}}
  fused: {search: fuse, runs: [{method: main, weight: 7.54}, {method: main, seed_offset: 755}], fuse: {top_k: 756}}
  changed:
    view: other
    taxonomy: {share: 0.745}
    rqvae: {hidden: [746], align_to: own/docids.parquet}
    docids: {sinkhorn_rounds: 747}
    retriever: {max_query_tokens: 748, tasks: [{source: query}, {source: pairs, path: own/pairs.parquet}]}
    retrieve: {beams: 749}
variants: {varied: {rqvae: {hidden: [751]}}}
studies:
  recall: {methods: [main, words, vectors, dpr, fused], seeds: [5, 6]}
  changes: {methods: [changed, plain], seeds: [7], datasets: [second]}
  grid:
    methods: [main, plain]
    seeds: [8]
    datasets: [third]
    variant: varied
    grids: [{method: main, over: {rqvae.mu: [0.752]}}]
""" % {"e": "e" * 64, "p": "a" * 64}  # noqa: UP031 - braces are YAML's
SAMPLE = ("few.json.gz", "few.json", "more.json")
TARGETS = ("all", "results/first/efficiency.tsv")


def plan(folder: Path) -> dict[str, str]:
    """Return the planned jobs, their inputs and commands, by rule and wildcards."""
    project = Project(folder, stub=False)
    (folder / "plan.yaml").write_text(CONFIG)
    (folder / "own").mkdir()
    for name, text in {"products": PRODUCTS, "queries": QUERIES, "judgements": JUDGEMENTS}.items():
        (folder / "own" / f"{name}.csv").write_text(text)
    for name in (
        "examples.parquet",
        "records.parquet",
        "records.zst",
        "pairs.parquet",
        "docids.parquet",
        *SAMPLE,
    ):
        (folder / "own" / name).write_bytes(b"")
    text = project.snakemake("--dry-run", "--printshellcmds", *TARGETS, "--configfile", "plan.yaml").stdout
    jobs = {}
    for body in re.split(r"^\[.*\]\n", text, flags=re.MULTILINE)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", body)
        jobs[job_name(rule[1], body)] = body
    return jobs


SECOND = "dataset=second"
FETCHED = "test_the_sample_is_three_files_of_two_formats"
RUN = f"{SECOND} method=changed seed=7"

TABLES = [
    Table(
        fetch.FetchEsciConfig,
        [
            planned("examples", "fetch_esci", '"examples":{"url":"https://a.test/e.parquet"'),
            planned("products", "fetch_esci", '"products":{"url":"https://a.test/p.parquet"'),
        ],
    ),
    Table(fetch.FetchEsciSConfig, [planned("esci_s", "fetch_esci_s", "https://a.test/s.zst")]),
    Table(
        fetch.FetchEsciSampleConfig,
        [shown(key, f"tests/test_fetch.py::{FETCHED}") for key in ("products", "judgements", "pairs")],
    ),
    Table(
        fetch.RemoteFile,
        [
            shown("url", "tests/test_fetch.py::test_a_file_arrives_whole_and_alone"),
            shown(
                "size",
                "tests/test_fetch.py::test_a_size_that_differs_from_the_expected_is_refused_before_the_download",
            ),
            shown("sha256", "tests/test_fetch.py::test_a_wrong_checksum_names_both_and_leaves_nothing"),
        ],
    ),
    Table(
        sources.EsciSource,
        [
            planned("examples", "build_corpus dataset=own", "--examples own/examples.parquet"),
            planned("products", "build_corpus dataset=own", "--products own/records.parquet"),
            planned("esci_s", "extract_categories source=mine", "--esci-s own/records.zst"),
        ],
    ),
    Table(
        sources.EsciSampleSource,
        [
            planned("products", "import_esci_sample source=few", "--products own/few.json.gz"),
            planned("judgements", "import_esci_sample source=few", "--judgements own/few.json"),
            planned("pairs", "import_esci_sample source=few", "--pairs own/more.json"),
        ],
    ),
    Table(
        sources.SimulatedSource,
        [
            planned("seed", "simulate_esci source=made", "--seed 701"),
            planned("simulate", "simulate_esci source=made", '"products":702'),
        ],
    ),
    Table(
        sources.CatalogueSource,
        [
            planned("locale", "import_catalogue source=shop", "--locale jp"),
            planned("products", "import_catalogue source=shop", "--products own/products.csv"),
            planned("queries", "import_catalogue source=shop", "--queries own/queries.csv"),
            planned("judgements", "import_catalogue source=shop", "--judgements own/judgements.csv"),
        ],
    ),
    Table(
        pretrained.PretrainedModel,
        [
            planned("name", "fetch_model model=some/encoder@of722", "some/encoder"),
            planned("revision", "fetch_model model=some/encoder@of722", "of722"),
        ],
    ),
    Table(
        PipelineConfig,
        [
            planned("fetch_esci", "fetch_esci", "https://a.test/e.parquet"),
            planned("fetch_esci_s", "fetch_esci_s", "https://a.test/s.zst"),
            shown("fetch_esci_sample", f"tests/test_fetch.py::{FETCHED}"),
            planned("sources", "simulate_esci source=made", "--seed 701"),
            planned("datasets", "build_corpus dataset=third", "resources/shop/"),
            planned("corpus", "build_corpus dataset=first", '"seen_labels":["S"]'),
            planned("views", "embed dataset=first view=text", '"max_characters":721'),
            planned("view", "train_rqvae dataset=first method=main seed=5", "embeddings/text.npy"),
            planned("taxonomy", "make_taxonomy dataset=first method=main seed=5", '"share":0.725'),
            planned("rqvae", "train_rqvae dataset=first method=main seed=5", '"hidden":[726]'),
            planned("docids", "assign_docids dataset=first method=main seed=5", '"sinkhorn_rounds":727'),
            planned(
                "retriever", "train_retriever dataset=first method=main seed=5", '"max_query_tokens":729'
            ),
            planned("retrieve", "retrieve dataset=first method=main seed=5", '"beams":730'),
            planned("bm25", "search_bm25 dataset=first method=words seed=5", '"b":0.731'),
            planned(
                "dual_encoder", "train_dual_encoder dataset=first method=dpr seed=5", '"max_characters":733'
            ),
            planned("dense", "search_dense dataset=third method=plain seed=8", '"top_k":734'),
            planned("fuse", "fuse_runs dataset=first method=fused seed=5", '"k":753'),
            planned("evaluate", "evaluate dataset=first study=recall", '"n_resamples":735'),
            planned("efficiency", "measure_latency dataset=first method=main seed=5", "--searches 736"),
            planned("geometry", "measure_geometry dataset=first method=main seed=5", '"ridge":0.738'),
            planned("report", "report_locales", '"stable_share":0.74'),
            planned("methods", "search_bm25 dataset=first method=words seed=5", '"k1":0.741'),
            planned("variants", "train_rqvae dataset=third method=main-varied seed=8", '"hidden":[751]'),
            planned("studies", "evaluate dataset=first study=recall", "--run=main:5:"),
        ],
    ),
    Table(
        entries.Dataset,
        [
            planned("source", f"build_corpus {SECOND}", "resources/made/"),
            planned("locale", f"build_corpus {SECOND}", "--locale es"),
            planned("corpus", f"build_corpus {SECOND}", '"seen_labels":["C"]'),
            planned("views", f"embed {SECOND} view=text", '"max_characters":711'),
            planned("taxonomy", f"make_taxonomy {SECOND} method=main seed=5", '"share":0.712'),
            planned("rqvae", f"train_rqvae {SECOND} method=main seed=5", '"hidden":[713]'),
            planned("docids", f"assign_docids {SECOND} method=main seed=5", '"sinkhorn_rounds":714'),
            planned("retriever", f"train_retriever {SECOND} method=main seed=5", '"max_query_tokens":715'),
            planned("retrieve", f"retrieve {SECOND} method=main seed=5", '"beams":716'),
            planned("bm25", f"search_bm25 {SECOND} method=words seed=5", '"b":0.717'),
            planned("dual_encoder", f"train_dual_encoder {SECOND} method=dpr seed=5", '"max_characters":718'),
            planned("dense", f"search_dense {SECOND} method=plain seed=7", '"top_k":719'),
            planned("fuse", f"fuse_runs {SECOND} method=fused seed=5", '"k":720'),
        ],
    ),
    Table(
        entries.GenerativeMethod,
        [
            planned("view", f"train_rqvae {RUN}", "embeddings/other.npy"),
            planned("taxonomy", f"make_taxonomy {RUN}", '"share":0.745'),
            planned("rqvae", f"train_rqvae {RUN}", '"hidden":[746]'),
            planned("docids", f"assign_docids {RUN}", '"sinkhorn_rounds":747'),
            planned("retriever", f"train_retriever {RUN}", '"max_query_tokens":748'),
            planned("retrieve", f"retrieve {RUN}", '"beams":749'),
        ],
    ),
    Table(
        entries.Bm25Method, [planned("bm25", "search_bm25 dataset=first method=words seed=5", '"k1":0.741')]
    ),
    Table(
        entries.DenseMethod,
        [
            planned("view", "search_dense dataset=first method=vectors seed=5", "embeddings/other.npy"),
            planned("dense", "search_dense dataset=first method=vectors seed=5", '"top_k":742'),
        ],
    ),
    Table(
        entries.DualEncoderMethod,
        [
            planned("dual_encoder", "train_dual_encoder dataset=first method=dpr seed=6", '"max_tokens":43'),
            planned("dense", "search_dense dataset=first method=dpr seed=6", '"top_k":744'),
        ],
    ),
    Table(
        entries.FuseMethod,
        [
            planned(
                "runs", "fuse_runs dataset=first method=fused seed=5", "--run=7.54:results/first/main/seed5/"
            ),
            planned("fuse", "fuse_runs dataset=first method=fused seed=5", '"top_k":756'),
        ],
    ),
    Table(
        entries.FusedRun,
        [
            planned(
                "method",
                "fuse_runs dataset=first method=fused seed=5",
                "results/first/main/seed5/run.parquet",
            ),
            planned("weight", "fuse_runs dataset=first method=fused seed=5", "--run=7.54:"),
            planned(
                "seed_offset",
                "fuse_runs dataset=first method=fused seed=5",
                "--run=1.0:results/first/main/seed760/",
            ),
        ],
    ),
    Table(
        entries.Study,
        [
            planned("methods", "evaluate dataset=first study=recall", "--run=main:5:", "--run=dpr:5:"),
            planned("seeds", "evaluate dataset=first study=recall", "--run=main:5:", "--run=main:6:"),
            planned("datasets", f"evaluate {SECOND} study=changes", "--run=changed:7:"),
            planned("grids", "summarize_grids dataset=third study=grid", "main-varied-mu0.752"),
            planned("variant", "evaluate dataset=third study=grid", "--run=main-varied:8:"),
        ],
    ),
    Table(
        grids.Grid,
        [
            planned("method", "train_rqvae dataset=third method=main-varied-mu0.752 seed=8", '"mu":0.752'),
            planned("over", "summarize_grids dataset=third study=grid", '"keys":["rqvae.mu"]'),
        ],
    ),
    Table(
        EfficiencyConfig,
        [
            planned("study", "summarize_efficiency dataset=first", "--stage=words:search_bm25"),
            planned("batches", "measure_latency dataset=first method=main seed=5", "--batches 1 7"),
            planned("searches", "measure_latency dataset=first method=main seed=5", "--searches 736"),
            planned("warm_up", "measure_latency dataset=first method=main seed=5", "--warm-up 737"),
        ],
    ),
]
