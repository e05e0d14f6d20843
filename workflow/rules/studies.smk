"""Studies. Requires runs; yields one table of recall per study and dataset."""


def all_tables():
    """Return the tables of all studies of all datasets."""
    return [
        f"results/{dataset}/{study}.tsv"
        for study in pipeline.config.studies
        for dataset in pipeline.study_datasets(study)
    ]


def study_runs(wildcards):
    """Return the runs of the methods and seeds of the job's study."""
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
    methods = [name for name in pipeline.config.studies[wildcards.study].methods if name in pipeline.methods("bm25")]
    notes = {method: pipeline.stage("bm25", wildcards.dataset, method).note() for method in methods}
    return [f"--note {shlex.quote(f'{method}={note}')}" for method, note in notes.items()]


rule evaluate:
    """Compare the methods of a study on the test queries: recall, intervals, significance."""
    input:
        script="scripts/evaluate.py",
        modules=modules("evaluate"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        judgements=corpus("judgements.parquet"),
        runs=study_runs,
    output:
        table=report(
            "results/{dataset}/{study}.tsv",
            caption="../report/recall.rst",
            category="Recall",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
        per_query="results/{dataset}/{study}_per_query.parquet",
    params:
        config=pipeline.config.evaluate.model_dump_json(),
        runs=run_options,
        notes=note_options,
    log:
        "logs/{dataset}/evaluate_{study}.log",
    conda:
        ENVIRONMENT
    shell:
        "python {input.script} --config {params.config:q} --dataset {wildcards.dataset}"
        " --products {input.products} --queries {input.queries} --judgements {input.judgements} {params.runs} {params.notes}"
        " --output {output.table} --per-query {output.per_query} > {log} 2>&1"
