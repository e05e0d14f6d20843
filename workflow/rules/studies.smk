"""Studies. Requires runs; yields, per study and dataset, a table of recall, and of grids a summary and a figure."""


rule evaluate:
    """Compare the methods of a study on the test queries: recall, intervals, significance."""
    input:
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
        code=code("evaluate"),
        config=fixed(pipeline.config.evaluate),
        runs=run_options,
        notes=note_options,
    shell:
        'python "$CATID2_SCRIPTS/evaluate.py" --config {params.config:q} --dataset {wildcards.dataset}'
        " --products {input.products} --queries {input.queries} --judgements {input.judgements} {params.runs} {params.notes}"
        " --output {output.table} --per-query {output.per_query} > {log} 2>&1"


rule summarize_grids:
    """Put recall and DocID quality of the points of a study's grids side by side."""
    input:
        recall="results/{dataset}/{study}.tsv",
        products=corpus("products.parquet"),
        categories=corpus("categories.parquet"),
        docids=study_docids_files,
    output:
        report(
            "results/{dataset}/{study}_grids.tsv",
            caption="../report/grids_table.rst",
            category="Studies",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
    log:
        "logs/{dataset}/summarize_grids_{study}.log",
    wildcard_constraints:
        study=names(GRID_STUDIES),
    conda:
        ENVIRONMENT
    params:
        code=code("summarize_grids"),
        config=grid_settings,
        docids=study_docids_options,
    shell:
        'python "$CATID2_SCRIPTS/summarize_grids.py" --config - --recall {input.recall}'
        " --corpus results/{wildcards.dataset}/corpus {params.docids} --output {output} <<< {params.config:q} > {log} 2>&1"


rule plot_grids:
    """Draw recall over the grids of a study."""
    input:
        grids="results/{dataset}/{study}_grids.tsv",
    output:
        report(
            "results/{dataset}/figures/{study}_grids.svg",
            caption="../report/grids.rst",
            category="Studies",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
    log:
        "logs/{dataset}/plot_grids_{study}.log",
    wildcard_constraints:
        study=names(GRID_STUDIES),
    conda:
        ENVIRONMENT
    params:
        code=code("plot_grids"),
        cutoff=pipeline.config.report.cutoff,
        protocol=pipeline.config.evaluate.protocols[-1],
        simulated=simulated_option,
    shell:
        'python "$CATID2_SCRIPTS/plot_grids.py" --grids {input.grids} --cutoff {params.cutoff} --protocol {params.protocol}'
        " {params.simulated} --output {output} > {log} 2>&1"
