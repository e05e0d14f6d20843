"""What all rules share. Requires the loaded `config`; yields the validated `pipeline` and input functions."""

import shlex
import sys
from pathlib import Path

from catid2.artifacts import InputError
from catid2.config.pipeline import EsciSource, Pipeline
from catid2.imports import imported_modules

ENVIRONMENT = "../envs/catid2.yaml"

# One process, or one per GPU of the job. The shell decides, so that another number of GPUs is no change of params.
LAUNCH = (
    "$(if [ {resources.gpu} -gt 1 ]; "
    "then echo torchrun --standalone --nproc-per-node={resources.gpu}; else echo python; fi)"
)

try:
    pipeline = Pipeline(config, ", ".join(map(str, workflow.overwrite_configfiles)) or "config/config.yaml")
except InputError as error:
    sys.exit(f"error: {error}")


def names(values):
    """Return a wildcard constraint that allows just these names (a pattern that matches nothing if none)."""
    return "|".join(values) or "(?!)"


wildcard_constraints:
    dataset=names(pipeline.config.datasets),
    view=names(pipeline.config.views),
    method=names(pipeline.methods("generative")),
    study=names(pipeline.config.studies),
    source=names(pipeline.config.sources),
    seed=r"\d+",


def modules(rule):
    """Return the package modules that scripts/{rule}.py imports: an edit of one reruns the rule."""
    return imported_modules(f"scripts/{rule}.py", workflow.basedir + "/..")


def settings(stage):
    """Return a params function: the settings of `stage` for the job's dataset and method, as JSON."""

    def of_job(wildcards):
        return pipeline.stage(stage, wildcards.dataset, wildcards.method).model_dump_json()

    return of_job


def corpus(table):
    """Return the path pattern of a table of the job's corpus."""
    return f"results/{{dataset}}/corpus/{table}"


def from_owner(stage, *names):
    """Return an input function: files of `stage`, made by the first method that has the same settings up to it."""

    def of_job(wildcards):
        owner = pipeline.owner(stage, wildcards.dataset, wildcards.method)
        paths = [f"results/{wildcards.dataset}/{owner}/seed{wildcards.seed}/{name}" for name in names]
        return paths[0] if len(paths) == 1 else paths

    return of_job


SIMULATED_FILES = {
    "examples": "shopping_queries_dataset_examples.parquet",
    "products": "shopping_queries_dataset_products.parquet",
    "esci_s": "esci.json.zst",
}


def source_name(wildcards):
    """Return the name of the source that the job's dataset is made from, or that the job itself reads."""
    if "source" in wildcards.keys():
        return wildcards.source
    return pipeline.config.datasets[wildcards.dataset].source


def raw_file(kind):
    """Return an input function: the raw file `kind` (examples, products or esci_s) of the job's source."""

    def of_job(wildcards):
        name = source_name(wildcards)
        source = pipeline.config.sources[name]
        if not isinstance(source, EsciSource):
            return f"resources/{name}/{SIMULATED_FILES[kind]}"
        path = getattr(source, kind)
        if path != EsciSource.model_fields[kind].default and not Path(path).is_file():
            sys.exit(f"error: {pipeline.where}: sources.{name}.{kind}: no file {path}; correct the path or drop the key")
        return path

    return of_job
