"""Pretrained models. Requires a model hub; yields resources/models: a folder for each model and revision of the config."""

from catid2.config.pretrained import MODELS, RECORD
from catid2.model_files import files_in

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


rule fetch_model:
    """Fetch a pretrained model from the Hugging Face hub, the files that are read; complete ones of an earlier attempt stay."""
    output:
        f"{MODELS}/{{model}}/{RECORD}",
    log:
        "logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=names(HUB_MODELS),
    retries: 3
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: HUB_MODELS[wildcards.model].model_dump_json(),
        folder=f"{MODELS}/{{model}}",
    shell:
        'python "$CATID2_SCRIPTS/fetch_model.py" --config {params.config:q} --output {params.folder:q}'
        " 2>&1 | tee {log:q}"
