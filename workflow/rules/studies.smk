"""Studies. Requires runs; yields one table of recall per study and dataset."""


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
            caption="../report/table.rst",
            category="Recall",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
        per_query="results/{dataset}/{study}_per_query.parquet",
    log:
        "logs/{dataset}/evaluate_{study}.log",
    conda:
        ENVIRONMENT
    params:
        config=pipeline.config.evaluate.model_dump_json(),
        runs=run_options,
        notes=note_options,
    shell:
        "python {input.script} --config {params.config:q} --dataset {wildcards.dataset}"
        " --products {input.products} --queries {input.queries} --judgements {input.judgements} {params.runs} {params.notes}"
        " --output {output.table} --per-query {output.per_query} > {log} 2>&1"
