"""The files that a job reads, derived from the configuration.

A rule passes the first parameters. The others are named like wildcards, and `of_job` (workflow/rules/common.smk) fills
them in; `source` is that of the job's dataset. What a job does not have is an empty list.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from catid2.config.pretrained import RECORD, PretrainedModel
from catid2.config.sources import EsciSampleSource, EsciSource
from catid2.plan.settings import Pipeline
from catid2.runtime.contents import contents
from catid2.runtime.errors import InputError
from catid2.runtime.tables import parquet_parts, require_file

# below resources/{source}, where they are not Amazon's: simulated, or made of a sample or a catalogue
RAW_FILES = {
    "examples": "shopping_queries_dataset_examples.parquet",
    "products": "shopping_queries_dataset_products.parquet",
    "esci_s": "esci.json.zst",
}
# Amazon's, made by a rule where the configuration names no others
DOWNLOADED = {kind: EsciSource.model_fields[kind].default for kind in RAW_FILES}
# the files that a sample of ESCI is made of; a rule downloads them where the configuration names no others
SAMPLE_FILES = {
    key: EsciSampleSource.model_fields[key].default for key in ("products", "judgements", "pairs")
}
# of a view: documents and queries, each with its description
VECTORS = (".npy", ".json", "_queries.npy", "_queries.json")
_WILDCARD = re.compile(r"\{\s*\w+\s*(,.*)?\}")  # as Snakemake finds one in a path


class OwnFile(str):
    """The path of a file of the user's: no rule makes it, and contents count instead of time stamps."""


# --- raw files


def raw_path(pipeline: Pipeline, kind: str, source: str) -> str:
    """Return the path of the raw file `kind` (a key of RAW_FILES)."""
    entry = pipeline.config.sources[source]
    return getattr(entry, kind) if isinstance(entry, EsciSource) else f"resources/{source}/{RAW_FILES[kind]}"


def raw_file(pipeline: Pipeline, kind: str, source: str) -> Sequence[str]:
    """Return the raw file `kind`, or the parts that it consists of."""
    path = raw_path(pipeline, kind, source)
    if path == DOWNLOADED[kind] or not isinstance(pipeline.config.sources[source], EsciSource):
        return [path]
    return _found(pipeline, path, f"sources.{source}.{kind}", in_parts=kind != "esci_s")


def sample_file(pipeline: Pipeline, key: str, source: str) -> Sequence[str]:
    """Return the file `key` (of SAMPLE_FILES) that a sample of ESCI is made of."""
    path = getattr(pipeline.config.sources[source], key)
    if path == SAMPLE_FILES[key]:
        return [path]
    return _found(pipeline, path, f"sources.{source}.{key}", in_parts=False)


def contents_of_sample(pipeline: Pipeline, source: str) -> dict[str, str]:
    """Return the contents of these files."""
    return contents(getattr(pipeline.config.sources[source], key) for key in SAMPLE_FILES)


def contents_of_raw_files(pipeline: Pipeline, *kinds: str, source: str) -> dict[str, str]:
    """Return the contents of the raw files `kinds`, unless a rule simulates or imports them.

    Snakemake alone does not notice a file that was replaced by an older one.
    """
    entry = pipeline.config.sources[source]
    return contents(getattr(entry, kind) for kind in kinds) if isinstance(entry, EsciSource) else {}


def category_paths(pipeline: Pipeline, source: str) -> str:
    """Return the category paths of the products."""
    return f"resources/{source}/category_paths.parquet"


def own_path(pipeline: Pipeline, key: str, source: str) -> Sequence[str]:
    """Return the path `key` (products, queries or judgements) of a catalogue."""
    path = getattr(pipeline.config.sources[source], key)
    return [path] if path else []


def own_file(pipeline: Pipeline, key: str, source: str) -> Sequence[str]:
    """Return the file `key` of a catalogue, or the parts that it consists of."""
    paths = own_path(pipeline, key, source)
    return [part for path in paths for part in _found(pipeline, path, f"sources.{source}.{key}")]


def contents_of_catalogue(pipeline: Pipeline, source: str) -> dict[str, str]:
    """Return the contents of the files of a catalogue."""
    keys = ("products", "queries", "judgements")
    return contents(path for key in keys for path in own_path(pipeline, key, source))


def _found(
    pipeline: Pipeline, path: str, place: str, part: str = "key", in_parts: bool = True
) -> list[OwnFile]:
    """Return the file `path`, which the configuration names at `place`, or the parts of a table.

    Raises:
        InputError: there is none.
    """
    where = f"{pipeline.where}: {place}"
    if _WILDCARD.search(path):
        what = f"Snakemake takes the braces in {path} for a wildcard"
        raise InputError(where, what, "rename it, or name a link")
    if not Path(path).exists():
        raise InputError(where, f"no file {path}", f"correct the path or drop the {part}")
    return [OwnFile(file) for file in (parquet_parts(path) if in_parts else [require_file(path)])]


# --- pretrained models


def pretrained(
    pipeline: Pipeline, stage: str, dataset: str, view: str | None = None, method: str | None = None
) -> PretrainedModel | None:
    """Return the pretrained model that `stage` (retriever, dual_encoder, or embed of a view) reads.

    Raises:
        InputError: it is a folder that is not there.
    """
    if view:
        model, key = pipeline.view(dataset, view).encoder.pretrained_model, "encoder.model"
    else:
        model, key = pipeline.stage(stage, dataset, method).pretrained_model, f"{stage}.pretrained"
    if model:
        model.require_folder(f"{pipeline.where}: {key}")
    return model


def fetched(
    pipeline: Pipeline, stage: str, dataset: str, view: str | None = None, method: str | None = None
) -> Sequence[str]:
    """Return the record of the model, if it is fetched from the hub."""
    model = pretrained(pipeline, stage, dataset, view, method)
    return [f"{model.folder}/{RECORD}"] if model and model.on_hub else []


def contents_of_model(
    pipeline: Pipeline,
    files_in: Callable[[Path], Iterable[str]],
    stage: str,
    dataset: str,
    view: str | None = None,
    method: str | None = None,
    seed: str | None = None,
) -> dict[str, str]:
    """Return the contents of the model's files (`files_in` its folder), if it is a folder of the user's own.

    As inputs, the model's size would count as the catalogue's, and the job would ask for too much memory and time.
    """
    model = pretrained(pipeline, stage, dataset, view, method)
    if not model or model.on_hub:
        return {}
    folder = Path(model.folder)
    if seed:
        _require_elsewhere(pipeline, model.folder, f"{stage}.pretrained", dataset, method, seed)
    return contents(str(folder / name) for name in files_in(folder))


def encoder_of_method(pipeline: Pipeline, dataset: str, method: str) -> Sequence[str]:
    """Return the record of the model that encodes the method's view, if it is fetched from the hub."""
    return fetched(pipeline, "embed", dataset, pipeline.method_view(method))


def contents_of_encoder(
    pipeline: Pipeline, files_in: Callable[[Path], Iterable[str]], dataset: str, method: str
) -> dict[str, str]:
    """Return the contents of that model's files, if it is a folder of the user's own."""
    return contents_of_model(pipeline, files_in, "embed", dataset, pipeline.method_view(method))


# --- stages


def of_stage(
    pipeline: Pipeline, stage: str, name: str, dataset: str, method: str, seed: str
) -> Sequence[str]:
    """Return the file `name` of `stage`, made by the first method that has the same settings up to it.

    There is none if the job's method does not run through the stage.
    """
    if stage not in pipeline.run_stages(dataset, method):
        return []
    return [f"results/{dataset}/{pipeline.owner(stage, dataset, method)}/seed{seed}/{name}"]


def categories(pipeline: Pipeline, dataset: str, method: str, seed: str) -> Sequence[str]:
    """Return the table of the categories that the method's ID scheme learns from."""
    made = of_stage(pipeline, "taxonomy", "taxonomy.parquet", dataset, method, seed)
    return made or [f"results/{dataset}/corpus/products.parquet"]


def documents(pipeline: Pipeline, dataset: str, method: str) -> str:
    """Return the embeddings of documents in the view of the method."""
    return f"results/{dataset}/embeddings/{pipeline.method_view(method)}.npy"


def read_by_taxonomy(pipeline: Pipeline, what: str, dataset: str, method: str, source: str) -> Sequence[str]:
    """Return the `vectors` or the `tags` that make_taxonomy reads, if the method's kind of tree does."""
    if pipeline.stage("taxonomy", dataset, method).reads != what:
        return []
    return [documents(pipeline, dataset, method) if what == "vectors" else f"resources/{source}/tags.parquet"]


def read_by_training(pipeline: Pipeline, dataset: str, method: str) -> Sequence[str]:
    """Return the vectors that the retriever reads, if it is of a kind that does; those of documents come first."""
    reads = pipeline.stage("retriever", dataset, method).reads_vectors
    return _vectors(documents(pipeline, dataset, method)) if reads else []


def read_by_search(pipeline: Pipeline, dataset: str, method: str) -> Sequence[str]:
    """Return the vectors that `retrieve` reads or ranks by, if it does; those of documents come first."""
    ranks = pipeline.stage("retrieve", dataset, method).rank_below_level is not None
    return (
        _vectors(documents(pipeline, dataset, method))
        if ranks
        else read_by_training(pipeline, dataset, method)
    )


def read_by_dense_search(pipeline: Pipeline, dataset: str, method: str, seed: str) -> Sequence[str]:
    """Return the vectors that search_dense compares, documents first: of a view, or of the method's own encoder."""
    if pipeline.method_view(method):
        return _vectors(documents(pipeline, dataset, method))
    return _vectors(f"results/{dataset}/{method}/seed{seed}/embeddings/own.npy")


def fused_runs(pipeline: Pipeline, dataset: str, method: str, seed: str) -> list[str]:
    """Return the runs that fuse_runs reads."""
    return [
        f"results/{dataset}/{run.method}/seed{own}/run.parquet"
        for run, own in pipeline.fused(method, int(seed))
    ]


def weighted_runs(pipeline: Pipeline, dataset: str, method: str, seed: str) -> list[str]:
    """Return WEIGHT:PATH of these."""
    paths = fused_runs(pipeline, dataset, method, seed)
    runs = pipeline.fused(method, int(seed))
    return [f"{run.weight}:{path}" for (run, _), path in zip(runs, paths, strict=True)]


def _vectors(path: str) -> list[str]:
    """Return the vectors of documents and queries next to each other, those at `path` first."""
    return [path.removesuffix(".npy") + end for end in VECTORS]


def aligned_to(pipeline: Pipeline, dataset: str, method: str, seed: str) -> Sequence[str]:
    """Return the DocIDs of an earlier catalogue that the method's RQ-VAE is aligned to, if it has one and is."""
    path = _align_to(pipeline, dataset, method)
    if path is None:
        return []
    _require_elsewhere(pipeline, path, "rqvae.align_to", dataset, method, seed)
    return _found(pipeline, path, "rqvae.align_to", in_parts=False)


def contents_of_aligned_to(pipeline: Pipeline, dataset: str, method: str) -> dict[str, str]:
    """Return the contents of this file."""
    path = _align_to(pipeline, dataset, method)
    return contents([path] if path else [])


def _align_to(pipeline: Pipeline, dataset: str, method: str) -> str | None:
    if "rqvae" not in pipeline.run_stages(dataset, method):
        return None
    return pipeline.stage("rqvae", dataset, method).align_to


def _require_elsewhere(pipeline: Pipeline, path: str, key: str, dataset: str, method: str, seed: str) -> None:
    """Raise InputError if `path`, which a job of these wildcards reads, is among the files that its method writes.

    Snakemake would remove it before the job starts.
    """
    folder = Path(f"results/{dataset}/{method}/seed{seed}")
    if Path(path).resolve().is_relative_to(folder.resolve()):
        remedy = "copy it to another place, and name that"
        raise InputError(f"{pipeline.where}: {key}", f"this run replaces {path}", remedy)


def pairs(pipeline: Pipeline, dataset: str, method: str) -> Sequence[str]:
    """Return the files of pairs that the retriever is taught."""
    paths = pipeline.stage("retriever", dataset, method).pairs_files
    return [file for path in paths for file in _found(pipeline, path, "retriever.tasks", "task")]


def contents_of_pairs(pipeline: Pipeline, dataset: str, method: str) -> dict[str, str]:
    """Return the contents of these files."""
    return contents(pipeline.stage("retriever", dataset, method).pairs_files)
