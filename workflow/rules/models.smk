"""Pretrained models. Requires a model hub; yields resources/models: a folder for each model and revision of the config."""


rule fetch_model:
    """Fetch a pretrained model from the Hugging Face hub, the files that are read; complete ones of an earlier attempt stay."""
    output:
        f"{MODELS}/{{model}}/{RECORD}",
    log:
        "logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=names(pipeline.hub_models()),
    retries: 3
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: pipeline.hub_models()[wildcards.model].model_dump_json(),
        folder=f"{MODELS}/{{model}}",
    shell:
        'python "$CATID2_SCRIPTS/fetch_model.py" --config {params.config:q} --output {params.folder:q}'
        " 2>&1 | tee {log:q}"
