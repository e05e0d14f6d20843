"""What tables, figures and the report are made of, derived from the configuration.

Parameters with the names of wildcards are passed as catid2.plan.files says.
"""

from functools import cache

from catid2.config.report import Comparison
from catid2.plan.comparison import comparison, require_own_report
from catid2.plan.settings import Pipeline
from catid2.plan.stage_logs import StageLog, stage_logs
from catid2.runtime.errors import InputError

DOCIDS = ("docids.parquet", "docids.json")
GEOMETRY = ("geometry.json",)
TIMED = ("generative", "bm25")  # ways to search whose latency is measured


# --- studies


def runs(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return the runs of the methods and seeds of a study.

    Raises:
        InputError: the dataset has no queries.
    """
    if not pipeline.config.has_queries(dataset):
        what = f"nothing to evaluate, sources.{pipeline.config.datasets[dataset].source} has no queries"
        remedy = "name its queries and judgements, or make docids.parquet of a method"
        raise InputError(f"{pipeline.where}: datasets.{dataset}", what, remedy)
    return [f"results/{dataset}/{method}/seed{seed}/run.parquet" for method, seed in pipeline.runs(study)]


def named_runs(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return METHOD:SEED:PATH of each run of a study, in its order."""
    paths = runs(pipeline, dataset, study)
    return [
        f"{method}:{seed}:{path}" for (method, seed), path in zip(pipeline.runs(study), paths, strict=True)
    ]


def notes(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return METHOD=TEXT of the methods of a study that need words next to their figures."""
    found = {method: pipeline.note(dataset, method) for method in pipeline.config.studies[study].methods}
    return [f"{method}={note}" for method, note in found.items() if note]


def simulated(pipeline: Pipeline, dataset: str) -> str:
    """Return whether the data are simulated, as the title of a figure has to say."""
    return "yes" if pipeline.source(dataset).kind == "simulated" else "no"


def studies_with_grids(pipeline: Pipeline) -> list[str]:
    """Return the names of the studies that vary settings."""
    return [name for name, study in pipeline.config.studies.items() if study.grids]


def studies_beyond_bm25(pipeline: Pipeline) -> list[str]:
    """Return the names of the studies that have a method of kind bm25, and others to compare with it."""
    methods = {name: study.methods for name, study in pipeline.config.studies.items()}
    return [name for name, found in methods.items() if bm25(pipeline, name) and len(found) > 1]


def bm25(pipeline: Pipeline, study: str) -> list[str]:
    """Return the first method of a study that is of kind bm25; there may be none."""
    return [name for name in pipeline.config.studies[study].methods if name in pipeline.methods("bm25")][:1]


def docids(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return tables and statistics of the DocIDs of a study, those of methods that share them once."""
    return sorted({path for _, _, files in _with_docids(pipeline, dataset, study) for path in files})


def named_docids(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return METHOD:PARQUET:JSON of each method and seed of a study that has DocIDs."""
    return [":".join([method, *files]) for method, _, files in _with_docids(pipeline, dataset, study)]


def geometry(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return the geometry of the methods and seeds of a study; methods that share DocIDs share it."""
    return [path for _, _, [path] in _with_docids(pipeline, dataset, study, GEOMETRY)]


def named_geometry(pipeline: Pipeline, dataset: str, study: str) -> list[str]:
    """Return METHOD:SEED:PATH of these."""
    found = _with_docids(pipeline, dataset, study, GEOMETRY)
    return [f"{method}:{seed}:{path}" for method, seed, [path] in found]


def _with_docids(
    pipeline: Pipeline, dataset: str, study: str, names: tuple[str, ...] = DOCIDS
) -> list[tuple[str, int, list[str]]]:
    """Return (method, seed, files `names` next to its DocIDs) of a study's methods that have DocIDs, in its order."""
    return [
        (method, seed, [f"results/{dataset}/{owner}/seed{seed}/{name}" for name in names])
        for method, seed in pipeline.runs(study)
        if "docids" in pipeline.stages(method)
        for owner in [pipeline.owner("docids", dataset, method)]
    ]


# --- times


def stages(pipeline: Pipeline, dataset: str) -> list[tuple[str, StageLog]]:
    """Return (method, stage) of every stage of the methods whose times are tabulated."""
    study = pipeline.config.efficiency.study
    seed = pipeline.first_seed(study)
    return [
        (method, stage)
        for method in pipeline.config.studies[study].methods
        for stage in stage_logs(pipeline, dataset, method, seed)
    ]


def benchmarks(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return Snakemake's measures of these stages, each once: a stage that has none is run again."""
    return [
        f"{log}.benchmark.tsv" for log in dict.fromkeys(stage.log for _, stage in stages(pipeline, dataset))
    ]


def named_stages(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return METHOD:RULE:OWNER:LOG of these stages."""
    return [":".join([method, *stage]) for method, stage in stages(pipeline, dataset)]


def latencies(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return the latency of each method of the table of times that searches in a way that is timed."""
    return list(_latencies(pipeline, dataset).values())


def named_latencies(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return METHOD:PATH of these."""
    return [f"{method}:{path}" for method, path in _latencies(pipeline, dataset).items()]


def _latencies(pipeline: Pipeline, dataset: str) -> dict[str, str]:
    study = pipeline.config.efficiency.study
    seed = pipeline.first_seed(study)
    return {
        method: f"results/{dataset}/{method}/seed{seed}/latency.json"
        for method in pipeline.config.studies[study].methods
        if pipeline.config.methods[method].search in TIMED
    }


# --- report


@cache
def reported(pipeline: Pipeline) -> Comparison:
    """Return what the report compares."""
    return comparison(pipeline, "recall")


def report_files(pipeline: Pipeline) -> tuple[str, str]:
    """Return the paths of the report's table and page."""
    folder = pipeline.config.report.folder
    return f"{folder}/locales.tsv", f"{folder}/report.html"


def reported_recall(pipeline: Pipeline) -> list[str]:
    """Return the tables of the report's datasets.

    Raises:
        InputError: the report would replace another configuration's.
    """
    require_own_report(pipeline, report_files(pipeline)[0])
    return [f"results/{dataset.name}/recall.tsv" for dataset in reported(pipeline).datasets]


def of_datasets(compared: Comparison, *names: str) -> list[str]:
    """Return the files `names` of every dataset of the report."""
    return [f"results/{dataset.name}/{name}" for dataset in compared.datasets for name in names]


def of_methods(compared: Comparison, stage: str, *names: str) -> list[str]:
    """Return the files `names` of a stage, for every dataset, method and seed of the report, each once."""
    files = {
        f"results/{dataset.name}/{getattr(method, stage)}/seed{seed}/{name}"
        for dataset in compared.datasets
        for method in dataset.methods
        if getattr(method, stage)
        for seed in method.seeds
        for name in names
    }
    return sorted(files)


def first_runs(compared: Comparison) -> list[str]:
    """Return the run of the first seed of every dataset and method of the report."""
    return [
        f"results/{dataset.name}/{method.name}/seed{method.seeds[0]}/run.parquet"
        for dataset in compared.datasets
        for method in dataset.methods
    ]


def traces(compared: Comparison, queries: int) -> list[str]:
    """Return the first seeds' beam traces of the methods with DocIDs; none if no `queries` are shown in detail."""
    return [
        f"results/{dataset.name}/{method.name}/seed{method.seeds[0]}/beam_trace.parquet"
        for dataset in compared.datasets
        for method in dataset.methods
        if queries and method.retriever and len(dataset.methods) > 1
    ]


def of_views(compared: Comparison) -> list[str]:
    """Return the descriptions of the embedding views that the report's methods read."""
    files = {
        f"results/{dataset.name}/embeddings/{method.view}.json"
        for dataset in compared.datasets
        for method in dataset.methods
        if method.view
    }
    return sorted(files)


def of_other_studies(compared: Comparison) -> list[str]:
    """Return the tables of the studies that the report shows besides its own."""
    return [
        f"results/{dataset.name}/{study.name}{end}.tsv"
        for study in compared.studies
        for dataset in study.datasets
        for end in ("", *(["_grids"] if study.grids else []))
    ]


def docids_by_owner(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return the distinct DocIDs of a dataset of the report, of each the table and statistics of its first seed."""
    return [path for files in _by_owner(pipeline, dataset).values() for path in files]


def named_docids_by_owner(pipeline: Pipeline, dataset: str) -> list[str]:
    """Return NAME:PARQUET:JSON of these, by the names of their owners."""
    return [":".join([owner, *files]) for owner, files in _by_owner(pipeline, dataset).items()]


def _by_owner(pipeline: Pipeline, dataset: str) -> dict[str, list[str]]:
    [entry] = [entry for entry in reported(pipeline).datasets if entry.name == dataset]
    return {
        method.docids: [f"results/{dataset}/{method.docids}/seed{method.seeds[0]}/{name}" for name in DOCIDS]
        for method in entry.methods
        if method.docids
    }


# --- everything


def everything(pipeline: Pipeline) -> list[str]:
    """Return every study's tables and figures, the report, and DocIDs of the datasets that no study can cover."""
    config, compared = pipeline.config, reported(pipeline)
    covered = [(study, dataset) for study in config.studies for dataset in pipeline.study_datasets(study)]
    measured = [
        (study, dataset) for study in config.geometry.studies for dataset in pipeline.study_datasets(study)
    ]
    grids, beyond = studies_with_grids(pipeline), studies_beyond_bm25(pipeline)
    with_docids = [entry for entry in compared.datasets if any(method.docids for method in entry.methods)]
    timed = compared.datasets if config.report.efficiency else ()
    return [
        *(f"results/{dataset}/{study}.tsv" for study, dataset in covered),
        *(f"results/{dataset}/{study}_beyond_bm25.tsv" for study, dataset in covered if study in beyond),
        *(f"results/{dataset}/figures/{study}.svg" for study, dataset in covered),
        *(f"results/{dataset}/figures/{study}_grids.svg" for study, dataset in covered if study in grids),
        *(f"results/{entry.name}/figures/layers.svg" for entry in with_docids),
        *(f"results/{entry.name}/figures/efficiency.svg" for entry in timed),
        *(f"results/{dataset}/{study}_geometry.tsv" for study, dataset in measured),
        *(f"results/{dataset}/figures/{study}_geometry.svg" for study, dataset in measured),
        *(report_files(pipeline) if compared.datasets else ()),
        *(
            files[0]
            for dataset in config.datasets
            if not config.has_queries(dataset)
            for _, _, files in _with_docids(pipeline, dataset, "recall")
        ),
    ]
