"""What all rules share. Loads the configuration; yields the validated `pipeline` and input functions."""

import functools
import os
import re
import shlex
import sys
from pathlib import Path

# The checkout, wherever Snakemake is started: scripts and the package are in it, data and results in the working directory.
ROOT = Path(str(workflow.current_basedir)).parents[1]
sys.path.insert(0, str(ROOT))
# For the rules' shell commands. The scripts find the package through a link next to them, whether or not it is installed.
os.environ.update(CATID2_SCRIPTS=str(ROOT / "scripts"))

from snakemake.io import contains_wildcard

from catid2.config.file import read_settings
from catid2.config.pretrained import MODELS, RECORD
from catid2.config.sources import EsciSource
from catid2.plan.comparison import comparison, require_own_report
from catid2.plan.settings import Pipeline
from catid2.plan.stage_logs import stage_logs
from catid2.pretrained.files import files_in
from catid2.runtime.code import code_digest
from catid2.runtime.contents import contents
from catid2.runtime.job_lines import show_job_lines
from catid2.runtime.tables import InputError, parquet_parts, require_file

ENVIRONMENT = "../envs/catid2.yaml"

show_job_lines()


def or_exit(read, *given):
    """Return `read(*given)`; where that finds a bad input, end with its one line."""
    try:
        return read(*given)
    except InputError as error:
        sys.exit(f"error: {error}")


# A --configfile replaces config/config.yaml, it is not laid over it. Without one the working directory's own comes
# before the checkout's. An importing workflow (`module:`) gives the configuration itself.
if workflow.modifier.skip_configfile:
    configured = "config of the module"
elif workflow.overwrite_configfiles:
    configured = ", ".join(map(str, workflow.overwrite_configfiles))
else:
    configured = "config/config.yaml"
    if not Path(configured).is_file():
        configured = str(ROOT / configured)
    # Snakemake's own word on a broken file names neither the file nor the line.
    or_exit(read_settings, configured)

    configfile: configured


pipeline = or_exit(Pipeline, config, configured)


def names(values):
    """Return a wildcard constraint that allows just these names (a pattern that matches nothing if none)."""
    return "|".join(map(re.escape, values)) or "(?!)"


wildcard_constraints:
    dataset=names(pipeline.config.datasets),
    view=names(pipeline.config.views),
    method=names(pipeline.methods("generative")),
    study=names(pipeline.config.studies),
    source=names(pipeline.config.sources),
    seed=r"\d+",


@functools.cache
def digest(rule):
    """Return a digest of what scripts/{rule}.py does: a change of it reruns the rule, a comment does not."""
    return code_digest(f"scripts/{rule}.py", ROOT)


def code(rule):
    """Return a params function: the digest. It takes a while, and no rule without a job needs it."""

    def of_job(wildcards):
        return digest(rule)

    return of_job


def settings(stage):
    """Return a params function: the settings of `stage` for the job's dataset and method, as JSON."""

    def of_job(wildcards):
        return pipeline.stage(stage, wildcards.dataset, wildcards.method).model_dump_json()

    return of_job


def fixed(model):
    """Return a params function: settings that are the same for all jobs of a rule, as JSON.

    In plain text Snakemake would take a template's {title} for a wildcard.
    """

    def of_job(wildcards):
        return model.model_dump_json()

    return of_job


def corpus(table):
    """Return the path pattern of a table of the job's corpus."""
    return f"results/{{dataset}}/corpus/{table}"


def from_owner(stage, *names):
    """Return an input function: files of `stage`, made by the first method that has the same settings up to it.

    There are none if the job's method does not run through the stage.
    """

    def of_job(wildcards):
        if stage not in pipeline.chain(wildcards.dataset, wildcards.method):
            return []
        owner = pipeline.owner(stage, wildcards.dataset, wildcards.method)
        paths = [f"results/{wildcards.dataset}/{owner}/seed{wildcards.seed}/{name}" for name in names]
        return paths[0] if len(paths) == 1 else paths

    return of_job


# below resources/{source}, where they are not Amazon's: simulated, or of a catalogue
RAW_FILES = {
    "examples": "shopping_queries_dataset_examples.parquet",
    "products": "shopping_queries_dataset_products.parquet",
    "esci_s": "esci.json.zst",
}


def source_name(wildcards):
    """Return the name of the source that the job's dataset is made from, or that the job itself reads."""
    if "source" in wildcards.keys():
        return wildcards.source
    return pipeline.config.datasets[wildcards.dataset].source


def raw_path(kind):
    """Return a params function: the path of the raw file `kind` (examples, products or esci_s) of the job's source."""

    def of_job(wildcards):
        name = source_name(wildcards)
        source = pipeline.config.sources[name]
        return (
            getattr(source, kind) if isinstance(source, EsciSource) else f"resources/{name}/{RAW_FILES[kind]}"
        )

    return of_job


def raw_file(kind):
    """Return an input function: the raw file `kind` of the job's source, or the parts that it consists of."""

    def of_job(wildcards):
        name, path = source_name(wildcards), raw_path(kind)(wildcards)
        if path == DOWNLOADED[kind] or not isinstance(pipeline.config.sources[name], EsciSource):
            return path
        return found(path, f"sources.{name}.{kind}", in_parts=kind != "esci_s")

    return of_job


def found(path, place, part="key", in_parts=True):
    """Return the files of `path`, which the configuration names at `place`; end with one line if there are none.

    There are several where a table may be in parts, and is. They are the user's: time stamps do not count (`ancient`),
    contents do, as a parameter (below).
    """
    if contains_wildcard(path):
        sys.exit(
            f"error: {pipeline.where}: {place}: Snakemake takes the braces in {path} for a wildcard; rename it, or name a link"
        )
    if not Path(path).exists():
        sys.exit(f"error: {pipeline.where}: {place}: no file {path}; correct the path or drop the {part}")
    parts = or_exit(parquet_parts, path) if in_parts else [or_exit(require_file, path)]
    return ancient(list(map(str, parts)))


def own_path(key):
    """Return a params function: the path `key` (products, queries or judgements) of a catalogue, "" if it has none."""

    def of_job(wildcards):
        return getattr(pipeline.config.sources[wildcards.source], key) or ""

    return of_job


def own_file(key):
    """Return an input function: the file `key` of a catalogue, if it has one, or the parts that it consists of."""

    def of_job(wildcards):
        path = own_path(key)(wildcards)
        return found(path, f"sources.{wildcards.source}.{key}") if path else []

    return of_job


def contents_of_raw_files(*kinds):
    """Return a params function: the contents of the raw files `kinds` of the job's source; none where a rule makes them.

    Snakemake alone does not notice a file that was replaced by an older one.
    """

    def of_job(wildcards):
        source = pipeline.config.sources[source_name(wildcards)]
        paths = [getattr(source, kind) for kind in kinds] if isinstance(source, EsciSource) else []
        return or_exit(contents, paths)

    return of_job


def contents_of_catalogue(wildcards):
    """Return the contents of the files of the job's catalogue."""
    source = pipeline.config.sources[wildcards.source]
    return or_exit(contents, filter(None, (source.products, source.queries, source.judgements)))


def contents_of_pairs(wildcards):
    """Return the contents of the files of pairs that the job's retriever is taught."""
    paths = pipeline.stage("retriever", wildcards.dataset, wildcards.method).pairs_files
    return or_exit(contents, paths)


# --- raw files and corpus


def source_settings(field):
    """Return a params function: the key `field` of the job's source, as JSON."""

    def of_job(wildcards):
        return getattr(pipeline.config.sources[wildcards.source], field).model_dump_json()

    return of_job


def import_settings(wildcards):
    """Return what import_catalogue runs with, as JSON."""
    return pipeline.config.sources[wildcards.source].importing()


def source_locale(wildcards):
    """Return the locale of a catalogue."""
    return pipeline.config.sources[wildcards.source].locale


def judged_options(wildcards):
    """Return `--queries PATH --judgements PATH` if the job's catalogue has them."""
    paths = {key: own_path(key)(wildcards) for key in ("queries", "judgements")}
    return " ".join(f"--{key} {shlex.quote(path)}" for key, path in paths.items() if path)


def source_seed(wildcards):
    """Return the seed of a simulated source."""
    return pipeline.config.sources[wildcards.source].seed


def corpus_settings(wildcards):
    """Return what build_corpus runs with for the job's dataset, as JSON."""
    return pipeline.corpus(wildcards.dataset).model_dump_json()


def locale(wildcards):
    """Return the locale of the job's dataset."""
    return pipeline.config.datasets[wildcards.dataset].locale


def category_paths(wildcards):
    """Return the category paths of the job's source."""
    return f"resources/{source_name(wildcards)}/category_paths.parquet"


DOWNLOADED = {kind: field.default for kind, field in EsciSource.model_fields.items() if kind != "kind"}


# --- pretrained models

HUB_MODELS = pipeline.hub_models()


def model_of_view(wildcards):
    """Return the pretrained model of the job's view, None if it has none, and the key that names it."""
    return pipeline.view(wildcards.dataset, wildcards.view).encoder.pretrained_model, "encoder.model"


def model_of_stage(stage):
    """Return a function like `model_of_view` for a stage that trains a model further."""

    def of_job(wildcards):
        settings = pipeline.stage(stage, wildcards.dataset, wildcards.method)
        return settings.pretrained_model, f"{stage}.pretrained"

    return of_job


def fetched(model_of):
    """Return an input function: the record of the job's model, if it is fetched from the hub.

    End with one line if it is a folder that is not there.
    """

    def of_job(wildcards):
        model, key = model_of(wildcards)
        if model is None:
            return []
        or_exit(model.require_folder, f"{configured}: {key}")
        return f"{model.folder}/{RECORD}" if model.on_hub else []

    return of_job


def contents_of_model(model_of):
    """Return a params function: the contents of the files of the job's model, if it is a folder of the user's own.

    As inputs, the model's size would count as the catalogue's, and the job would ask for too much memory and time.
    """

    def of_job(wildcards):
        model, _ = model_of(wildcards)
        if model is None or model.on_hub:
            return {}
        folder = Path(model.folder)
        return or_exit(contents, [str(folder / name) for name in files_in(folder)])

    return of_job


# --- DocIDs


def view_settings(wildcards):
    """Return what embed runs with for the job's view, as JSON."""
    return pipeline.view(wildcards.dataset, wildcards.view).of_documents().model_dump_json()


def query_prefix(wildcards):
    """Return what is put before queries in the job's view."""
    return pipeline.view(wildcards.dataset, wildcards.view).query_prefix


def view_of_method(wildcards):
    """Return the path of the embeddings that the job's method reads."""
    return f"results/{wildcards.dataset}/embeddings/{pipeline.method_view(wildcards.method)}.npy"


def categories_of_method(wildcards):
    """Return the table of the categories that the ID scheme of the job's method learns from."""
    return from_owner("taxonomy", "taxonomy.parquet")(wildcards) or corpus("products.parquet").format(
        **wildcards
    )


def vectors_of_taxonomy(wildcards):
    """Return the embeddings that make_taxonomy reads, if the job's kind of tree does."""
    reads = pipeline.stage("taxonomy", wildcards.dataset, wildcards.method).reads
    return view_of_method(wildcards) if reads == "vectors" else []


def tags_of_taxonomy(wildcards):
    """Return the tags that make_taxonomy reads, if the job's kind of tree does."""
    reads = pipeline.stage("taxonomy", wildcards.dataset, wildcards.method).reads
    return f"resources/{source_name(wildcards)}/tags.parquet" if reads == "tags" else []


def taxonomy_options(wildcards, input):
    """Return `--embeddings PATH` or `--tags PATH`, what the job has."""
    given = {"--embeddings": input.embeddings, "--tags": input.tags}
    return " ".join(f"{option} {path}" for option, path in given.items() if path)


# of a view: documents and queries, each with its description
VECTORS = (".npy", ".json", "_queries.npy", "_queries.json")


def vectors_of_method(wildcards):
    """Return the vectors of documents and queries in the view of the job's method, documents first."""
    path = view_of_method(wildcards).removesuffix(".npy")
    return [f"{path}{name}" for name in VECTORS]


def taxonomy_option(wildcards, input):
    """Return `--taxonomy PATH` if the job's method does not learn from the corpus's categories."""
    return f"--taxonomy {input.taxonomy}" if input.taxonomy else ""


def model_options(wildcards, input):
    """Return `--model PATH --model-config PATH` if the job has a model."""
    return f"--model {input.model} --model-config {input.model_config}" if input.model else ""


def vectors_of_training(wildcards):
    """Return the vectors that the job's retriever reads, if it is of a kind that does."""
    reads = pipeline.stage("retriever", wildcards.dataset, wildcards.method).reads_vectors
    return vectors_of_method(wildcards) if reads else []


def pairs_of_training(wildcards):
    """Return the files of pairs that the job's retriever is taught; end with one line if one is not there."""
    paths = pipeline.stage("retriever", wildcards.dataset, wildcards.method).pairs_files
    return [file for path in paths for file in found(path, "retriever.tasks", "task")]


def vectors_of_search(wildcards):
    """Return the vectors that `retrieve` reads or ranks by, if it does."""
    ranks = pipeline.stage("retrieve", wildcards.dataset, wildcards.method).rank_below_level is not None
    return vectors_of_method(wildcards) if ranks else vectors_of_training(wildcards)


def embeddings_option(wildcards, input):
    """Return `--embeddings PATH` if the job has vectors."""
    return f"--embeddings {input.embeddings[0]}" if input.embeddings else ""


# --- search without DocIDs

SEARCHED_BY_VECTORS = pipeline.methods("dense") + pipeline.methods("dual_encoder")


def vectors_of_dense_search(wildcards):
    """Return the vectors that search_dense compares, documents first: of a view, or of the method's own encoder."""
    if wildcards.method in pipeline.methods("dense"):
        return vectors_of_method(wildcards)
    path = f"results/{wildcards.dataset}/{wildcards.method}/seed{wildcards.seed}/embeddings/own"
    return [f"{path}{name}" for name in VECTORS]


def own_view_settings(wildcards):
    """Return what embed runs with for the encoder that the job's method has trained, as JSON."""
    config = pipeline.stage("dual_encoder", wildcards.dataset, wildcards.method)
    encoder = f"results/{wildcards.dataset}/{wildcards.method}/seed{wildcards.seed}/encoder"
    return config.view(encoder).model_dump_json()


# --- studies


def all_tables():
    """Return the tables of all studies of all datasets."""
    return [
        f"results/{dataset}/{study}.tsv"
        for study in pipeline.config.studies
        for dataset in pipeline.study_datasets(study)
    ]


def study_runs(wildcards):
    """Return the runs of the methods and seeds of the job's study."""
    if not pipeline.config.has_queries(wildcards.dataset):
        source = pipeline.config.datasets[wildcards.dataset].source
        sys.exit(
            f"error: {pipeline.where}: datasets.{wildcards.dataset}: nothing to evaluate, sources.{source} has no"
            " queries; name its queries and judgements, or make docids.parquet of a method"
        )
    return [
        f"results/{wildcards.dataset}/{method}/seed{seed}/run.parquet"
        for method, seed in pipeline.runs(wildcards.study)
    ]


def run_options(wildcards, input):
    """Return `--run METHOD:SEED:PATH` for each run of the study, in its order."""
    pairs = pipeline.runs(wildcards.study)
    return [f"--run {method}:{seed}:{path}" for (method, seed), path in zip(pairs, input.runs, strict=True)]


def note_options(wildcards):
    """Return `--note METHOD=TEXT` for the methods of the study that need words beside their figures."""
    notes = {
        method: pipeline.note(wildcards.dataset, method)
        for method in pipeline.config.studies[wildcards.study].methods
    }
    return [f"--note {shlex.quote(f'{method}={note}')}" for method, note in notes.items() if note]


GRID_STUDIES = [name for name, study in pipeline.config.studies.items() if study.grids]


def grid_settings(wildcards):
    """Return what summarize_grids runs with for the job's study, as JSON."""
    return pipeline.grid_summary(wildcards.dataset, wildcards.study).model_dump_json()


def runs_with_docids(study):
    """Return the (method, seed) of a study whose method has DocIDs, in its order."""
    generative = pipeline.methods("generative")
    return [(method, seed) for method, seed in pipeline.runs(study) if method in generative]


def study_docids(wildcards):
    """Return, by method and seed of the job's study, the table and the statistics of its DocIDs."""
    files = {}
    for method, seed in runs_with_docids(wildcards.study):
        owner = pipeline.owner("docids", wildcards.dataset, method)
        folder = f"results/{wildcards.dataset}/{owner}/seed{seed}"
        files[method, seed] = (f"{folder}/docids.parquet", f"{folder}/docids.json")
    return files


def study_docids_files(wildcards):
    """Return the DocIDs of the job's study, those of methods that share them once."""
    return sorted({path for pair in study_docids(wildcards).values() for path in pair})


def study_docids_options(wildcards):
    """Return `--docids METHOD:PARQUET:JSON` for each method and seed of the job's study."""
    return [f"--docids {method}:{':'.join(pair)}" for (method, _), pair in study_docids(wildcards).items()]


def docids_without_study():
    """Return the DocIDs of the datasets that no study can cover, of the methods and seeds of the main study."""
    return [
        f"results/{dataset}/{pipeline.owner('docids', dataset, method)}/seed{seed}/docids.parquet"
        for dataset in pipeline.config.datasets
        if not pipeline.config.has_queries(dataset)
        for method, seed in runs_with_docids("recall")
    ]


# --- times


def stages_of_study(dataset):
    """Return (method, StageLog) of every stage of the methods whose times are tabulated."""
    study = pipeline.config.efficiency.study
    seed = pipeline.first_seed(study)
    return [
        (method, stage)
        for method in pipeline.config.studies[study].methods
        for stage in stage_logs(pipeline, dataset, method, seed)
    ]


def benchmarks_of_study(wildcards):
    """Return Snakemake's measures of the stages of the job's table, each once: a stage that has none is run again."""
    logs = dict.fromkeys(stage.log for _, stage in stages_of_study(wildcards.dataset))
    return [f"{log}.benchmark.tsv" for log in logs]


def latency_paths(dataset):
    """Return the latency of each method of the table that searches in a way that is timed."""
    study = pipeline.config.efficiency.study
    timed = pipeline.methods("generative") + pipeline.methods("bm25")
    seed = pipeline.first_seed(study)
    return {
        method: f"results/{dataset}/{method}/seed{seed}/latency.json"
        for method in pipeline.config.studies[study].methods
        if method in timed
    }


def latencies_of_study(wildcards):
    """Return the paths of `latency_paths` for the job's dataset."""
    return list(latency_paths(wildcards.dataset).values())


def stage_options(wildcards):
    """Return `--stage METHOD:RULE:OWNER:LOG` for every stage of the job's table."""
    pairs = stages_of_study(wildcards.dataset)
    return [f"--stage {shlex.quote(':'.join([method, *stage]))}" for method, stage in pairs]


def latency_of_method_options(wildcards):
    """Return `--latency METHOD:PATH` for every method whose latency is in the job's table."""
    return [f"--latency {method}:{path}" for method, path in latency_paths(wildcards.dataset).items()]


def latency_options(wildcards):
    """Return how measure_latency measures."""
    plan = pipeline.config.efficiency
    batches = " ".join(map(str, plan.batches))
    return f"--batches {batches} --searches {plan.searches} --warm-up {plan.warm_up}"


def searched_by_retriever(wildcards, input):
    """Return the options that say what a generative method searches with."""
    return f"--retriever {input.retriever} --docids {input.docids} {embeddings_option(wildcards, input)}".rstrip()


# --- geometry


def geometry_tables():
    """Return the tables of geometry that the config asks for, and their figures."""
    pairs = [
        (dataset, study)
        for study in pipeline.config.geometry.studies
        for dataset in pipeline.study_datasets(study)
    ]
    tables = [f"results/{dataset}/{study}_geometry.tsv" for dataset, study in pairs]
    return tables + [f"results/{dataset}/figures/{study}_geometry.svg" for dataset, study in pairs]


def geometry_files(wildcards):
    """Return the geometry of the methods and seeds of the job's study; methods that share DocIDs share it."""
    return [
        f"results/{wildcards.dataset}/{pipeline.owner('docids', wildcards.dataset, method)}/seed{seed}/geometry.json"
        for method, seed in runs_with_docids(wildcards.study)
    ]


def geometry_options(wildcards):
    """Return `--geometry METHOD:SEED:PATH` for each run of the study that has DocIDs."""
    pairs = zip(runs_with_docids(wildcards.study), geometry_files(wildcards), strict=True)
    return [f"--geometry {method}:{seed}:{path}" for (method, seed), path in pairs]


# --- report

REPORTED = comparison(pipeline, "recall")
REPORTED_NAMES = [dataset.name for dataset in REPORTED.datasets]
REPORT_TABLE = f"{pipeline.config.report.folder}/locales.tsv"
REPORT_PAGE = f"{pipeline.config.report.folder}/report.html"


def reported_tables(wildcards):
    """Return the tables of the report's datasets; end with one line if it would replace another configuration's report."""
    or_exit(require_own_report, pipeline, REPORT_TABLE)
    return [f"results/{dataset}/recall.tsv" for dataset in REPORTED_NAMES]


def shared(stage, *names):
    """Return the files `names` of a stage, for every dataset, method and seed of the report, each once."""
    files = [
        f"results/{dataset.name}/{getattr(method, stage)}/seed{seed}/{name}"
        for dataset in REPORTED.datasets
        for method in dataset.methods
        if getattr(method, stage)
        for seed in method.seeds
        for name in names
    ]
    return sorted(set(files))


def tables_of_other_studies():
    """Return the tables of the studies that the report shows beside its own."""
    return [
        f"results/{dataset.name}/{study.name}{end}.tsv"
        for study in REPORTED.studies
        for dataset in study.datasets
        for end in ("", *(["_grids"] if study.grids else []))
    ]


def corpus_tables(dataset):
    """Return the tables of a dataset's corpus that the report shows."""
    return [
        f"results/{dataset}/corpus/{name}"
        for name in ("products.parquet", "categories.parquet", "stats.json")
    ]


def views():
    """Return the descriptions of the embedding views that the report's methods read."""
    pairs = {
        (dataset.name, method.view)
        for dataset in REPORTED.datasets
        for method in dataset.methods
        if method.view
    }
    return [f"results/{dataset}/embeddings/{view}.json" for dataset, view in sorted(pairs)]


def docids_by_owner(wildcards):
    """Return the owners of the distinct DocIDs of the job's dataset and, of each, the files of its first seed."""
    dataset = next(entry for entry in REPORTED.datasets if entry.name == wildcards.dataset)
    folders = {
        method.docids: f"results/{dataset.name}/{method.docids}/seed{method.seeds[0]}"
        for method in dataset.methods
        if method.docids
    }
    return {owner: [f"{folder}/docids.parquet", f"{folder}/docids.json"] for owner, folder in folders.items()}


def all_figures():
    """Return the figures of every study and dataset, what the codes of the report's methods hold, and times."""
    figures = [
        f"results/{dataset}/figures/{study}{end}.svg"
        for study in pipeline.config.studies
        for dataset in pipeline.study_datasets(study)
        for end in ("", *(["_grids"] if study in GRID_STUDIES else []))
    ]
    figures += [
        f"results/{dataset.name}/figures/layers.svg"
        for dataset in REPORTED.datasets
        if any(method.docids for method in dataset.methods)
    ]
    if pipeline.config.report.efficiency:
        figures += [f"results/{name}/figures/efficiency.svg" for name in REPORTED_NAMES]
    return figures


def docids_files(wildcards):
    """Return the files of `docids_by_owner` in one list."""
    return [path for files in docids_by_owner(wildcards).values() for path in files]


def docids_options(wildcards):
    """Return `--docids NAME:PARQUET:JSON` for each owner."""
    return [f"--docids {owner}:{table}:{text}" for owner, (table, text) in docids_by_owner(wildcards).items()]


def simulated_option(wildcards):
    """Return `--simulated` if the job's dataset is not real."""
    return "--simulated" if pipeline.source(wildcards.dataset).kind == "simulated" else ""
