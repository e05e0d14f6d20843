"""What each job is given: inputs, seed, settings, code. All tests read one dry run of tests/plan.yaml."""

import json
import re
from pathlib import Path

import pytest
import yaml
from plan import Job, plan

from catid2.config.fetch import FetchEsciSampleConfig
from catid2.config.report import Comparison
from catid2.plan import tables
from catid2.plan.comparison import comparison
from catid2.plan.settings import Pipeline
from catid2.runtime.code import code_digest
from workflow import ROOT

CONFIG = Path(__file__).parent / "plan.yaml"
REPORTED = ("real", "own")  # the datasets of the study `recall`
FOLDER_OF_SEED = re.compile(r"\bseed(\d+)\b")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> list[Job]:
    """Every job that makes all of tests/plan.yaml from nothing but the shop's own files."""
    folder = tmp_path_factory.mktemp("plan")
    shop = folder / "shop"
    shop.mkdir()
    for name in ("products", "queries", "judgements", "pairs", "docids"):
        (shop / f"{name}.parquet").touch()
    return plan(CONFIG, folder)


def one(jobs: list[Job], rule: str, **wildcards: str) -> Job:
    """Return the one job of a rule that has these wildcards."""
    [job] = [job for job in jobs if job.rule == rule and wildcards.items() <= job.wildcards.items()]
    return job


# --- inputs

MT5 = "resources/models/google/mt5-small@main/fetched.json"
BERT = "resources/models/google-bert/bert-base-cased@main/fetched.json"
TAUGHT = "corpus/{products,queries,judgements}.parquet"  # what every training on queries reads
SEARCHED = "corpus/{products,queries}.parquet"
RQVAE = "SEED/rqvae/{model.safetensors,config.json}"
TEXT_VECTORS = "embeddings/text{,_queries}.{npy,json}"
PLAIN_VECTORS = "embeddings/plain{,_queries}.{npy,json}"
OWN_VECTORS = "dpr/SEED/embeddings/own{,_queries}.{npy,json}"
ESCI = "shopping_queries_dataset_{examples,products}.parquet"
SAMPLE = "{ubi_ecommerce_products.json.gz,esci_us_judgments.json,esci.test.json}"

# By rule and what it is of. Paths without resources/, logs/ and shop/ are below results/DATASET; SEED is the job's own.
# light, ranked and taught have the DocIDs of catid2; digit has its RQ-VAE; ranked has its retriever.
INPUTS = {
    "fetch_esci": "",
    "fetch_esci_s": "",
    "fetch_esci_sample": "",
    "fetch_model google/mt5-small@main": "",
    "fetch_model google-bert/bert-base-cased@main": "",
    "simulate_esci toys": "",
    "import_esci_sample few": f"resources/esci_sample/{SAMPLE}",
    "import_catalogue shop": "shop/{products,queries,judgements}.parquet",
    "extract_categories esci": "resources/esci_s/esci.json.zst",
    "extract_categories toys": "resources/toys/esci.json.zst",
    "extract_categories few": "resources/few/esci.json.zst",
    "build_corpus real": f"resources/esci/{ESCI} resources/esci/category_paths.parquet",
    "build_corpus own": f"resources/shop/{ESCI} resources/shop/category_paths.parquet",
    "build_corpus toy": f"resources/toys/{ESCI} resources/toys/category_paths.parquet",
    "build_corpus sample": f"resources/few/{ESCI} resources/few/category_paths.parquet",
    "embed text": "corpus/products.parquet",
    "embed plain": f"corpus/products.parquet {MT5}",
    "embed_queries text": f"{SEARCHED} embeddings/text.{{npy,json}}",
    "embed_queries plain": f"{SEARCHED} embeddings/plain.{{npy,json}} {MT5}",
    "make_taxonomy clustered": "corpus/products.parquet embeddings/text.npy",
    "make_taxonomy tagged": "corpus/products.parquet resources/shop/tags.parquet",
    "train_rqvae catid2": "corpus/products.parquet embeddings/text.npy",
    "train_rqvae tiger": "corpus/products.parquet embeddings/plain.npy",
    "train_rqvae tiger-mu0.1": "corpus/products.parquet embeddings/plain.npy",
    "train_rqvae tiger-mu0.2": "corpus/products.parquet embeddings/plain.npy",
    "train_rqvae clustered": "clustered/SEED/taxonomy.parquet embeddings/text.npy shop/docids.parquet",
    "assign_docids catid2": f"corpus/products.parquet embeddings/text.npy catid2/{RQVAE}",
    "assign_docids digit": f"corpus/products.parquet embeddings/text.npy catid2/{RQVAE}",
    "assign_docids tiger": f"corpus/products.parquet embeddings/plain.npy tiger/{RQVAE}",
    "assign_docids tiger-mu0.1": f"corpus/products.parquet embeddings/plain.npy tiger-mu0.1/{RQVAE}",
    "assign_docids tiger-mu0.2": f"corpus/products.parquet embeddings/plain.npy tiger-mu0.2/{RQVAE}",
    "assign_docids clustered": "corpus/products.parquet embeddings/text.npy clustered/SEED/taxonomy.parquet"
    f" clustered/{RQVAE} shop/docids.parquet",
    "assign_docids tagged": "corpus/products.parquet embeddings/text.npy tagged/SEED/taxonomy.parquet",
    "train_retriever catid2": f"{TAUGHT} catid2/SEED/docids.parquet {MT5}",
    "train_retriever tiger": f"{TAUGHT} tiger/SEED/docids.parquet {MT5}",
    "train_retriever tiger-mu0.1": f"{TAUGHT} tiger-mu0.1/SEED/docids.parquet {MT5}",
    "train_retriever tiger-mu0.2": f"{TAUGHT} tiger-mu0.2/SEED/docids.parquet {MT5}",
    "train_retriever light": f"{TAUGHT} catid2/SEED/docids.parquet {TEXT_VECTORS}",
    "train_retriever digit": f"{TAUGHT} digit/SEED/docids.parquet {MT5}",
    "train_retriever taught": f"{TAUGHT} catid2/SEED/docids.parquet shop/pairs.parquet {MT5}",
    "train_retriever clustered": f"{TAUGHT} clustered/SEED/docids.parquet {MT5}",
    "train_retriever tagged": f"{TAUGHT} tagged/SEED/docids.parquet {MT5}",
    "retrieve catid2": f"{SEARCHED} catid2/SEED/{{retriever,docids.parquet}}",
    "retrieve tiger": f"{SEARCHED} tiger/SEED/{{retriever,docids.parquet}}",
    "retrieve tiger-mu0.1": f"{SEARCHED} tiger-mu0.1/SEED/{{retriever,docids.parquet}}",
    "retrieve tiger-mu0.2": f"{SEARCHED} tiger-mu0.2/SEED/{{retriever,docids.parquet}}",
    "retrieve light": f"{SEARCHED} light/SEED/retriever catid2/SEED/docids.parquet {TEXT_VECTORS}",
    "retrieve digit": f"{SEARCHED} digit/SEED/{{retriever,docids.parquet}}",
    "retrieve ranked": f"{SEARCHED} catid2/SEED/{{retriever,docids.parquet}} {TEXT_VECTORS}",
    "retrieve taught": f"{SEARCHED} taught/SEED/retriever catid2/SEED/docids.parquet",
    "retrieve clustered": f"{SEARCHED} clustered/SEED/{{retriever,docids.parquet}}",
    "retrieve tagged": f"{SEARCHED} tagged/SEED/{{retriever,docids.parquet}}",
    "search_bm25 bm25": SEARCHED,
    "search_dense dense": f"{SEARCHED} {PLAIN_VECTORS}",
    "search_dense dpr": f"{SEARCHED} {OWN_VECTORS}",
    "train_dual_encoder dpr": f"{TAUGHT} {BERT}",
    "embed_by_own_encoder dpr": "corpus/products.parquet dpr/SEED/encoder",
    "embed_queries_by_own_encoder dpr": f"{SEARCHED} dpr/SEED/encoder dpr/SEED/embeddings/own.{{npy,json}}",
    # the one run of BM25 for both seeds
    "fuse_runs fused": f"{SEARCHED} catid2/SEED/run.parquet bm25/seed8/run.parquet",
    "fuse_runs searches": f"{SEARCHED} {{bm25,dense}}/seed8/run.parquet",
    "evaluate recall": f"{TAUGHT} {{tiger,catid2,light,dpr,fused}}/seed{{8,3}}/run.parquet"
    " {bm25,dense}/seed8/run.parquet",
    "evaluate others": f"{TAUGHT} {{digit,ranked,taught,clustered,tagged}}/seed{{8,3}}/run.parquet"
    " searches/seed8/run.parquet",
    "evaluate weights": f"{TAUGHT} {{catid2,tiger-mu0.1,tiger-mu0.2}}/seed{{8,3}}/run.parquet",
    "evaluate toys": f"{TAUGHT} bm25/seed5/run.parquet",
    # toys has nothing besides BM25, the others have no BM25
    "compare_with_bm25 recall": f"{TAUGHT} {{tiger,catid2,light,dpr,fused}}/seed{{8,3}}/run.parquet"
    " {bm25,dense}/seed8/run.parquet",
    "summarize_grids weights": "weights.tsv corpus/{products,categories}.parquet"
    " {catid2,tiger-mu0.1,tiger-mu0.2}/seed{8,3}/docids.{parquet,json}",
    "measure_geometry catid2": f"corpus/products.parquet embeddings/text.npy catid2/SEED/docids.parquet catid2/{RQVAE}",
    "measure_geometry tiger": f"corpus/products.parquet embeddings/plain.npy tiger/SEED/docids.parquet tiger/{RQVAE}",
    "compare_geometry recall": "{tiger,catid2}/seed{8,3}/geometry.json",
    "measure_latency catid2": f"{SEARCHED} catid2/SEED/{{retriever,docids.parquet}}",
    "measure_latency tiger": f"{SEARCHED} tiger/SEED/{{retriever,docids.parquet}}",
    "measure_latency light": f"{SEARCHED} light/SEED/retriever catid2/SEED/docids.parquet {TEXT_VECTORS}",
    "measure_latency_of_bm25 bm25": SEARCHED,
    "trace_beams catid2": f"{TAUGHT} recall_per_query.parquet catid2/SEED/{{retriever,docids.parquet}}",
    "trace_beams tiger": f"{TAUGHT} recall_per_query.parquet tiger/SEED/{{retriever,docids.parquet}}",
    "trace_beams light": f"{TAUGHT} recall_per_query.parquet light/SEED/retriever catid2/SEED/docids.parquet"
    f" {TEXT_VECTORS}",
    "plot_recall recall": "recall.tsv",
    "plot_recall others": "others.tsv",
    "plot_recall weights": "weights.tsv",
    "plot_recall toys": "toys.tsv",
    "plot_grids weights": "weights_grids.tsv",
    "plot_geometry recall": "recall_geometry.tsv",
    "plot_efficiency": "efficiency.tsv",
    "plot_layers": "corpus/{products,categories}.parquet {tiger,catid2}/seed8/docids.{parquet,json}",
    # in the first seed, the stages that a method is made by
    "summarize_efficiency": "{tiger,catid2,light,bm25}/seed8/latency.json"
    " logs/DATASET/{embed,embed_queries}/{text,plain}.benchmark.tsv"
    " logs/DATASET/{tiger,catid2}/seed8/{train_rqvae,assign_docids}.benchmark.tsv"
    " logs/DATASET/{tiger,catid2,light}/seed8/{train_retriever,retrieve}.benchmark.tsv"
    " logs/DATASET/bm25/seed8/search_bm25.benchmark.tsv"
    " logs/DATASET/{dense,dpr}/seed8/search_dense.benchmark.tsv logs/DATASET/fused/seed8/fuse_runs.benchmark.tsv"
    " logs/DATASET/dpr/seed8/{train_dual_encoder,embed,embed_queries}.benchmark.tsv",
}
OF_ALL = ("report_locales", "all")  # below


def expand(patterns: str) -> set[str]:
    """Return the paths that a shell makes of patterns with braces: a{b,c} is ab and ac."""
    found: set[str] = set()
    for pattern in patterns.split():
        before, brace, rest = pattern.partition("{")
        inside, _, after = rest.partition("}")
        found |= (
            {path for part in inside.split(",") for path in expand(before + part + after)}
            if brace
            else {pattern}
        )
    return found


def name(job: Job) -> str:
    """Return the rule and what the job is of, as in INPUTS."""
    keys = ("method", "view", "study", "source", "model")
    if job.rule == "build_corpus":
        keys = ("dataset",)
    return " ".join([job.rule, *(job.wildcards[key] for key in keys if key in job.wildcards)])


def relative(job: Job) -> set[str]:
    """Return the inputs of a job as in INPUTS: what is the job's own dataset and seed goes, others' stay."""
    dataset, seed = (job.wildcards.get(key, "none") for key in ("dataset", "seed"))
    paths = [path.removeprefix(f"results/{dataset}/") for path in job.inputs]
    paths = [path.replace(f"logs/{dataset}/", "logs/DATASET/") for path in paths]
    return {path.replace(f"/seed{seed}/", "/SEED/") for path in paths}


@pytest.mark.parametrize("which", INPUTS)
def test_a_job_reads_what_it_should_and_nothing_else(jobs, which):
    """In every dataset and with every seed the same: nothing of one comes from another."""
    found = [job for job in jobs if name(job) == which]
    assert found
    for job in found:
        own = f"/seed{job.wildcards.get('seed')}/"
        assert relative(job) == {path.replace(own, "/SEED/") for path in expand(INPUTS[which])}


# nothing is trained, or the first seed is enough
IN_THE_FIRST_SEED = (
    *("search_bm25 bm25", "search_dense dense", "fuse_runs searches", "measure_latency", "trace_beams"),
)


def test_every_job_is_in_the_table_and_is_there_for_its_seeds(jobs):
    assert {name(job) for job in jobs if job.rule not in OF_ALL} == set(INPUTS)
    seeds: dict[tuple[str, str], set[str]] = {}
    for job in jobs:
        if "seed" in job.wildcards:
            seeds.setdefault((job.wildcards["dataset"], name(job)), set()).add(job.wildcards["seed"])
    for (dataset, which), found in seeds.items():
        both = {"8"} if which.startswith(IN_THE_FIRST_SEED) else {"8", "3"}
        assert found == ({"5"} if dataset in ("toy", "sample") else both), which
    assert {dataset for dataset, which in seeds if which == "retrieve tiger"} == set(REPORTED)


def test_the_report_reads_all_that_it_shows(jobs):
    report = one(jobs, "report_locales")
    expected = (
        "corpus/{products,categories}.parquet corpus/stats.json embeddings/{text,plain}.json recall.tsv"
    )
    expected += " efficiency.tsv {catid2,tiger}/seed{8,3}/docids.{parquet,json}"
    expected += " corpus/{queries,judgements}.parquet recall_per_query.parquet"
    expected += " {tiger,catid2,light,bm25,dense,dpr,fused}/seed8/run.parquet"
    expected += " {tiger,catid2,light}/seed8/beam_trace.parquet"
    expected += " {catid2,tiger}/seed{8,3}/rqvae/history.tsv {catid2,tiger,light}/seed{8,3}/retriever"
    paths = {f"results/{dataset}/{path}" for dataset in REPORTED for path in expand(expected)}
    assert set(report.inputs) == paths | expand(
        "results/own/{others,weights,weights_grids}.tsv results/{toy,sample}/toys.tsv"
    )


def test_all_is_every_table_figure_and_report(jobs):
    own = "{recall,others,weights,recall_geometry,recall_beyond_bm25}.tsv"
    own += " figures/{recall,others,weights,weights_grids,layers,efficiency,recall_geometry}.svg"
    real = "{recall,recall_geometry,recall_beyond_bm25}.tsv figures/{recall,layers,efficiency,recall_geometry}.svg"
    expected = {
        "own": own,
        "real": real,
        "toy": "toys.tsv figures/toys.svg",
        "sample": "toys.tsv figures/toys.svg",
        "all": "locales.tsv report.html",
    }
    assert set(one(jobs, "all").inputs) == {
        f"results/{folder}/{path}" for folder, paths in expected.items() for path in expand(paths)
    }


# --- commands


def test_a_job_touches_its_own_dataset_and_seed_alone(jobs):
    for job in jobs:
        words = [*job.inputs, *job.outputs, *job.command, *map(str, job.params.values())]
        for word in words if "dataset" in job.wildcards else ():
            assert set(re.findall(r"\b(?:results|logs)/(real|own|toy|sample)\b", word)) <= {
                job.wildcards["dataset"]
            }, job
        if "seed" in job.wildcards:
            others = {"8"} if job.rule == "fuse_runs" else set()  # a run that does not differ by seed
            for word in words:
                assert set(FOLDER_OF_SEED.findall(word)) <= {job.wildcards["seed"]} | others, job


def test_what_is_drawn_at_random_gets_the_jobs_seed(jobs):
    drawn = ("make_taxonomy", "train_rqvae", "assign_docids", "train_retriever", "train_dual_encoder")
    seen = set()
    for job in jobs:
        if job.rule in drawn:
            assert job.options("--seed") == [job.wildcards["seed"]], job
            seen.add((job.rule, job.wildcards["seed"]))
    assert seen == {(rule, seed) for rule in drawn for seed in ("8", "3")}
    assert one(jobs, "simulate_esci").options("--seed") == ["41"]
    assert one(jobs, "summarize_efficiency", dataset="own").options("--seed") == ["8"]


# by option: the end of the file, or of the files, that it names
FILES = {
    "--products": r"products\.(parquet|json\.gz)|/taxonomy\.parquet",
    "--queries": r"/queries\.parquet",
    "--judgements": r"/judgements\.parquet|/esci_us_judgments\.json",
    "--pairs": r"/esci\.test\.json",
    "--examples": r"_examples\.parquet",
    "--category-paths": r"/category_paths\.parquet",
    "--esci-s": r"/esci\.json\.zst",
    "--embeddings": r"/(text|plain|own)\.npy",
    "--tags": r"/tags\.parquet",
    "--taxonomy": r"/taxonomy\.parquet",
    "--align-to": r"shop/docids\.parquet",
    "--model": r"/rqvae/model\.safetensors",
    "--model-config": r"/rqvae/config\.json",
    "--history": r"/rqvae/history\.tsv",
    "--retriever": r"/retriever",
    "--per-query": r"/(recall|others|weights|toys)_per_query\.parquet",
    "--recall": r"/(recall|others|weights|toys)\.tsv",
    "--grids": r"/weights_grids\.tsv",
    "--efficiency": r"/efficiency\.tsv",
    "--products-out": r"products\.parquet",
    "--queries-out": r"/queries\.parquet",
    "--judgements-out": r"/judgements\.parquet",
    "--categories-out": r"/categories\.parquet",
    "--stats-out": r"/stats\.json",
    "--examples-out": r"_examples\.parquet",
    "--esci-s-out": r"/esci\.json\.zst",
    "--category-paths-out": r"/category_paths\.parquet",
    "--tags-out": r"/tags\.parquet",
    "--query-ids-out": r"/query_ids\.parquet",
}


def test_an_option_names_a_file_of_its_kind(jobs):
    used = set()
    for job in jobs:
        for option, value in zip(job.command, job.command[1:], strict=False):
            if option in FILES and not value.startswith(
                "--"
            ):  # as after an option for a path that the job has not
                used.add(option)
                assert re.search(rf"(?:{FILES[option]})$", value), job
    assert used == set(FILES)


def test_a_command_names_inputs_and_every_output(jobs):
    for job in jobs:
        # fetch_model gets the folder of its record, and the report that of all results
        outputs = {path.removesuffix("/fetched.json") for path in job.outputs}
        folders = {"resources/models", "results", f"results/{job.wildcards.get('dataset')}/corpus"}
        named = {word for word in job.command if word.startswith(("results/", "resources/", "shop/"))}
        assert outputs <= named, job
        assert named - outputs - folders <= {*job.inputs, job.params.get("checkpoints")}, job


@pytest.mark.parametrize("dataset", REPORTED)
def test_names_stand_beside_their_own_files(jobs, dataset):
    folder = f"results/{dataset}"
    owner = {"tiger": "tiger", "catid2": "catid2", "light": "catid2"}  # of the DocIDs
    with_docids = [(method, seed) for method in owner for seed in (8, 3)]
    runs = [*with_docids, ("bm25", 8), ("dense", 8), ("dpr", 8), ("dpr", 3), ("fused", 8), ("fused", 3)]
    for rule in ("evaluate", "compare_with_bm25"):
        assert one(jobs, rule, dataset=dataset, study="recall").options("--run") == [
            f"{method}:{seed}:{folder}/{method}/seed{seed}/run.parquet" for method, seed in runs
        ]
    assert one(jobs, "compare_with_bm25", dataset=dataset).options("--bm25") == ["bm25"]
    for seed in (8, 3):
        assert one(jobs, "fuse_runs", dataset=dataset, method="fused", seed=str(seed)).options("--run") == [
            f"2.0:{folder}/catid2/seed{seed}/run.parquet",
            f"1.0:{folder}/bm25/seed8/run.parquet",
        ]
    assert one(jobs, "compare_geometry", dataset=dataset).options("--geometry") == [
        f"{method}:{seed}:{folder}/{owner[method]}/seed{seed}/geometry.json" for method, seed in with_docids
    ]
    assert one(jobs, "plot_layers", dataset=dataset).options("--docids") == [
        f"{method}:{folder}/{method}/seed8/docids.parquet:{folder}/{method}/seed8/docids.json"
        for method in ("tiger", "catid2")
    ]
    times = one(jobs, "summarize_efficiency", dataset=dataset)
    assert times.options("--latency") == [
        f"{method}:{folder}/{method}/seed8/latency.json" for method in (*owner, "bm25")
    ]
    logs = f"logs/{dataset}"
    assert [stage for stage in times.options("--stage") if stage.startswith(("light", "dpr"))] == [
        f"light:embed:view text:{logs}/embed/text",
        f"light:embed_queries:view text:{logs}/embed_queries/text",
        f"light:train_rqvae:catid2:{logs}/catid2/seed8/train_rqvae",
        f"light:assign_docids:catid2:{logs}/catid2/seed8/assign_docids",
        f"light:train_retriever:light:{logs}/light/seed8/train_retriever",
        f"light:retrieve:light:{logs}/light/seed8/retrieve",
        *(
            f"dpr:{rule}:dpr:{logs}/dpr/seed8/{rule}"
            for rule in ("train_dual_encoder", "embed", "embed_queries", "search_dense")
        ),
    ]


def test_points_of_a_grid_stand_beside_their_own_docids_and_values(jobs):
    job = one(jobs, "summarize_grids")
    assert job.options("--docids") == [
        f"{method}:results/own/{method}/seed{seed}/docids.parquet:results/own/{method}/seed{seed}/docids.json"
        for method in ("catid2", "tiger-mu0.1", "tiger-mu0.2")
        for seed in (8, 3)
    ]
    [grid] = json.loads(job.params["config"])["grids"]
    assert (grid["keys"], grid["points"]) == (["rqvae.mu"], {"tiger-mu0.1": [0.1], "tiger-mu0.2": [0.2]})


def test_a_study_and_a_dataset_say_their_names(jobs):
    for job in jobs:
        if named := job.options("--dataset"):
            assert named == [job.wildcards["dataset"]]
        if job.rule.startswith("plot_"):
            assert job.options("--simulated") == ["yes" if job.wildcards["dataset"] == "toy" else "no"], job
    locales = {
        job.wildcards["dataset"]: job.options("--locale") for job in jobs if job.rule == "build_corpus"
    }
    assert locales == {"real": ["es"], "own": ["jp"], "toy": ["us"], "sample": ["us"]}
    assert one(jobs, "import_catalogue").options("--locale") == ["jp"]
    for rule in ("evaluate", "compare_with_bm25"):
        notes = one(jobs, rule, dataset="own", study="recall").options("--note")
        assert {note.partition("=")[0] for note in notes} == {"bm25", "dense", "dpr", "fused"}


# --- settings

# by rule and wildcards: some of the settings, among them those by which datasets and methods differ
SETTINGS = [
    ("train_rqvae", {"dataset": "own", "method": "catid2", "seed": "3"}, {"alpha": 0.1, "beta": 0.3, "gamma": 0.3}),
    ("train_rqvae", {"dataset": "own", "method": "tiger", "seed": "3"}, {"alpha": 0, "beta": 0, "gamma": 0}),
    ("train_rqvae", {"dataset": "own", "method": "tiger-mu0.2", "seed": "3"}, {"alpha": 0, "mu": 0.2}),
    ("assign_docids", {"dataset": "own", "method": "catid2", "seed": "8"}, {"repair": "transport"}),
    ("assign_docids", {"dataset": "own", "method": "digit", "seed": "8"}, {"repair": "digit"}),
    ("make_taxonomy", {"method": "clustered", "seed": "8"}, {"kind": "clusters"}),
    ("make_taxonomy", {"method": "tagged", "seed": "8"}, {"kind": "tags"}),
    ("train_retriever", {"dataset": "own", "method": "light", "seed": "8"}, {"kind": "light"}),
    ("train_retriever", {"dataset": "own", "method": "tiger", "seed": "8"}, {"pretrained": "google/mt5-small"}),
    ("retrieve", {"dataset": "real", "method": "tiger", "seed": "8"}, {"beams": 110, "rank_below_level": None}),
    ("retrieve", {"dataset": "own", "method": "tiger", "seed": "8"}, {"beams": 120, "rank_below_level": None}),
    ("retrieve", {"dataset": "own", "method": "ranked", "seed": "8"}, {"beams": 120, "rank_below_level": 2}),
    ("measure_latency", {"dataset": "own", "method": "light"}, {"beams": 120}),
    ("trace_beams", {"dataset": "real", "method": "light"}, {"beams": 110}),
    ("search_bm25", {"dataset": "own"}, {"k1": 1.7, "b": 0.75}),
    ("search_bm25", {"dataset": "toy"}, {"k1": 1.2}),
    ("measure_latency_of_bm25", {"dataset": "own"}, {"k1": 1.7}),
    ("search_dense", {"dataset": "own", "method": "dense"}, {"top_k": 100}),
    ("fuse_runs", {"dataset": "own", "method": "fused", "seed": "3"}, {"k": 50, "top_k": 70}),
    ("fuse_runs", {"dataset": "real", "method": "fused", "seed": "3"}, {"k": 60, "top_k": 70}),
    ("search_dense", {"dataset": "own", "method": "dpr", "seed": "3"}, {"top_k": 100}),
    ("train_dual_encoder", {"dataset": "own", "seed": "3"}, {"pretrained": "google-bert/bert-base-cased"}),
    ("embed", {"dataset": "own", "view": "plain"}, {"template": "{title}"}),
    ("evaluate", {"dataset": "own", "study": "recall"}, {"protocols": ["seen", "all"], "labels": ["ES"]}),
    # the cutoffs of all metrics, whatever these measure
    ("compare_with_bm25", {"dataset": "own"}, {"metrics": [f"recall@{k}" for k in (5, 10, 20, 50, 100)]}),
    ("measure_geometry", {"dataset": "own", "method": "tiger", "seed": "3"}, {"documents": 5000, "ridge": 0.01}),
    ("build_corpus", {"dataset": "real"}, {"documents": "judged", "levels": 3}),
    ("build_corpus", {"dataset": "own"}, {"documents": "all", "levels": 3}),
    ("plot_layers", {"dataset": "own"}, {"category_level": 1, "folder": "results/all"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "wildcards", "expected"), SETTINGS)
def test_a_job_runs_with_the_settings_of_its_stage_dataset_and_method(jobs, rule, wildcards, expected):
    job = one(jobs, rule, **wildcards)
    [text] = job.options("--config")
    assert text == job.params["config"]
    settings = json.loads(text)
    assert {key: settings.get(key, "no such key") for key in expected} == expected
    if rule == "search_dense":
        assert settings.keys() == {"top_k"}


def test_queries_get_the_prefix_of_their_datasets_view(jobs):
    prefixes = {"real": "consulta: ", "own": "query: "}
    for dataset, prefix in prefixes.items():
        assert f"--prefix={prefix}" in one(jobs, "embed_queries", dataset=dataset, view="plain").command
        assert "--prefix=" in one(jobs, "embed_queries", dataset=dataset, view="text").command


def test_an_own_encoder_is_the_one_of_its_seed(jobs):
    for seed in ("8", "3"):
        job = one(jobs, "embed_by_own_encoder", dataset="own", seed=seed)
        assert json.loads(job.params["config"])["encoder"]["model"] == f"results/own/dpr/seed{seed}/encoder"


# --- code and downloads


def test_a_rule_carries_the_code_of_the_script_that_it_runs(jobs):
    carried = {job.rule: (job.scripts[-1], job.params.get("code")) for job in jobs if job.rule != "all"}
    # a file that is downloaded does not depend on how
    downloads = [rule for rule, (_, code) in carried.items() if code is None]
    assert sorted(downloads) == ["fetch_esci", "fetch_esci_s", "fetch_esci_sample", "fetch_model"]
    for rule, (script, code) in carried.items():
        if rule not in downloads:
            assert code == code_digest(f"scripts/{script}", ROOT), rule


def test_what_can_have_several_processes_is_launched(jobs):
    launched = {job.rule for job in jobs if "torchrun.py" in job.scripts}
    assert launched == {
        *("embed", "embed_by_own_encoder", "train_rqvae", "train_retriever", "train_dual_encoder", "retrieve")
    }


# the Git LFS pointers of Amazon's repository have them
SHA256 = {
    "examples": "4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a",
    "products": "25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265",
}


def test_a_download_counts_only_with_its_checksum(jobs):
    esci = one(jobs, "fetch_esci")
    for file, checksum in SHA256.items():
        required = esci.outputs[f"resources/esci/shopping_queries_dataset_{file}.parquet"]
        assert (required["checksum_algorithm"], required["checksum"]) == ("sha256", checksum)
        assert json.loads(esci.params["config"])[file]["sha256"] == checksum
    sample = one(jobs, "fetch_esci_sample")
    config = FetchEsciSampleConfig.model_validate_json(sample.params["config"])
    assert [path["checksum"] for path in sample.outputs.values()] == [
        getattr(config, key).sha256 for key in ("products", "judgements", "pairs")
    ]
    # its authors publish none
    assert one(jobs, "fetch_esci_s").outputs == {
        "resources/esci_s/esci.json.zst": {"non_empty": True, "checksum": None, "checksum_algorithm": None}
    }


# --- what the report is told


def test_the_report_compares_what_was_run(jobs):
    told = Comparison.model_validate_json(one(jobs, "report_locales").params["comparison"])
    assert [(d.name, d.locale, d.simulated) for d in told.datasets] == [
        ("real", "es", False),
        ("own", "jp", False),
    ]
    for dataset in told.datasets:
        methods = {method.name: method for method in dataset.methods}
        assert {name: method.seeds for name, method in methods.items()} == {
            "tiger": (8, 3), "catid2": (8, 3), "light": (8, 3), "bm25": (8,), "dense": (8,), "dpr": (8, 3),
            "fused": (8, 3),
        }  # fmt: skip
        owners = {name: (m.view, m.rqvae, m.docids, m.retriever) for name, m in methods.items()}
        assert owners == {
            "tiger": ("plain", "tiger", "tiger", "tiger"), "catid2": ("text", "catid2", "catid2", "catid2"),
            "light": ("text", "catid2", "catid2", "light"), "bm25": (None,) * 4, "dense": ("plain", None, None, None),
            "dpr": (None,) * 4, "fused": (None,) * 4,
        }  # fmt: skip
        beams = {"retrieve.beams": {"real": 110, "own": 120}[dataset.name]}
        no_losses = {f"rqvae.{weight}": 0 for weight in ("alpha", "beta", "gamma")}
        assert methods["catid2"].changes == beams
        assert methods["tiger"].changes == beams | no_losses | {"docids.repair": "digit"}
        assert methods["light"].changes["retriever.kind"] == "light"
        assert methods["bm25"].changes == ({"bm25.k1": 1.7} if dataset.name == "own" else {})
    assert told.defaults["rqvae.alpha"] == 0.1
    assert told.defaults["retrieve.beams"] == 100
    studies = {
        study.name: ([dataset.name for dataset in study.datasets], study.grids) for study in told.studies
    }
    assert studies == {
        "others": (["own"], False),
        "weights": (["own"], True),
        "toys": (["toy", "sample"], False),
    }


def test_the_queries_that_are_traced_are_those_of_the_report(jobs):
    traced = [job for job in jobs if job.rule == "trace_beams"]
    assert {(*job.options("--metric"), *job.options("--shown")) for job in traced} == {("ndcg@10", "7")}
    values = yaml.safe_load(CONFIG.read_text())
    reported = comparison(Pipeline(values, "plan.yaml"), "recall")
    assert {path for job in traced for path in job.outputs} == set(tables.traces(reported, 7))
    assert tables.traces(reported, 0) == []
    [alone, _] = reported.datasets
    alone = alone.model_copy(update={"methods": alone.methods[:1]})
    assert tables.traces(Comparison(datasets=(alone,)), 7) == []


def test_the_page_names_checksums_of_what_was_downloaded_alone():
    values = yaml.safe_load(CONFIG.read_text())
    values["sources"]["esci"]["products"] = "shop/products.parquet"
    told = comparison(Pipeline(values, "plan.yaml"), "recall")
    esci = {Path(path).name: text for path, text in told.datasets[0].inputs.items()}
    assert esci == {
        "shopping_queries_dataset_examples.parquet": f"sha256 {SHA256['examples']}",
        "products.parquet": "as found on disk, no checksum known",
        "esci.json.zst": "as found on disk, no checksum known",
    }
    values["datasets"]["real"] = {"source": "few", "locale": "us"}
    values["sources"]["few"]["pairs"] = "shop/pairs.json"
    [sample, _] = comparison(Pipeline(values, "plan.yaml"), "recall").datasets
    assert (sample.sample, sample.simulated) == (True, False)
    assert [(Path(path).name, text.partition(" ")[0]) for path, text in sample.inputs.items()] == [
        ("ubi_ecommerce_products.json.gz", "sha256"),
        ("esci_us_judgments.json", "sha256"),
        ("pairs.json", "as"),
    ]
    own = told.datasets[1].inputs
    assert set(own) == {f"shop/{name}.parquet" for name in ("products", "queries", "judgements")}
    assert not any("sha256" in text for text in own.values())
