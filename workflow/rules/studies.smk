"""Studies. Requires runs; yields, per study and dataset, a table of metrics, one of what is found beyond BM25, and of
grids a summary and a figure.

On request: runs and judgements as trec_eval reads them.
"""


rule evaluate:
    """Compare the methods of a study on the test queries: metrics, intervals, significance."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        runs=of_job(tables.runs),
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
        runs=lines(run=tables.named_runs, note=tables.notes),
    shell:
        'python "$CATID2_SCRIPTS/evaluate.py" --config {params.config:q} --dataset {wildcards.dataset}'
        " --products {input.products} --queries {input.queries} --judgements {input.judgements} @/dev/stdin"
        " --output {output.table} --per-query {output.per_query} <<< {params.runs:q} > {log} 2>&1"


rule compare_with_bm25:
    """Measure how many relevant documents each method of a study finds that BM25 does not."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        runs=of_job(tables.runs),
    output:
        report(
            "results/{dataset}/{study}_beyond_bm25.tsv",
            caption="../report/beyond_bm25.rst",
            category="Recall",
            subcategory="{dataset}",
            labels={"study": "{study}, beyond BM25"},
        ),
    log:
        "logs/{dataset}/compare_with_bm25_{study}.log",
    wildcard_constraints:
        study=names(tables.studies_beyond_bm25(pipeline)),
    conda:
        ENVIRONMENT
    params:
        code=code("compare_with_bm25"),
        config=fixed(pipeline.config.evaluate.beyond_bm25()),
        bm25=of_job(tables.bm25),
        runs=lines(run=tables.named_runs, note=tables.notes),
    shell:
        'python "$CATID2_SCRIPTS/compare_with_bm25.py" --config {params.config:q} --dataset {wildcards.dataset}'
        " --products {input.products} --queries {input.queries} --judgements {input.judgements} --bm25 {params.bm25} @/dev/stdin"
        " --output {output} <<< {params.runs:q} > {log} 2>&1"


rule export_run:
    """Write a run as trec_eval and ir_measures read it."""
    input:
        run="results/{dataset}/{method}/seed{seed}/run.parquet",
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
    output:
        "results/{dataset}/{method}/seed{seed}/run.trec",
    log:
        "logs/{dataset}/{method}/seed{seed}/export_run.log",
    wildcard_constraints:
        method=names(pipeline.config.methods),
    conda:
        ENVIRONMENT
    params:
        code=code("export_run"),
    shell:
        'python "$CATID2_SCRIPTS/export_run.py" --run {input.run} --products {input.products} --queries {input.queries}'
        " --tag {wildcards.method}-seed{wildcards.seed} --output {output} > {log} 2>&1"


rule export_qrels:
    """Write the test judgements as trec_eval and ir_measures read them."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
    output:
        relevant="results/{dataset}/qrels/{protocol}_{labels}/relevant.trec",
        gains="results/{dataset}/qrels/{protocol}_{labels}/gains.trec",
    log:
        "logs/{dataset}/export_qrels_{protocol}_{labels}.log",
    wildcard_constraints:
        protocol=names(pipeline.config.evaluate.protocols),
        labels=names(pipeline.config.evaluate.labels),
    conda:
        ENVIRONMENT
    params:
        code=code("export_qrels"),
    shell:
        'python "$CATID2_SCRIPTS/export_qrels.py" --products {input.products} --queries {input.queries} --judgements {input.judgements}'
        " --protocol {wildcards.protocol} --labels {wildcards.labels} --relevant {output.relevant} --gains {output.gains}"
        " > {log} 2>&1"


rule summarize_grids:
    """Put metrics and DocID quality of the points of a study's grids side by side."""
    input:
        recall="results/{dataset}/{study}.tsv",
        products="results/{dataset}/corpus/products.parquet",
        categories="results/{dataset}/corpus/categories.parquet",
        docids=of_job(tables.docids),
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
        study=names(tables.studies_with_grids(pipeline)),
    conda:
        ENVIRONMENT
    params:
        code=code("summarize_grids"),
        config=of_job(Pipeline.grid_summary),
        docids=lines(docids=tables.named_docids),
    shell:
        'python "$CATID2_SCRIPTS/summarize_grids.py" --config - --recall {input.recall}'
        " --corpus results/{wildcards.dataset}/corpus @/dev/fd/3 --output {output} <<< {params.config:q} 3<<< {params.docids:q} > {log} 2>&1"


rule plot_grids:
    """Draw a metric over the grids of a study."""
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
        study=names(tables.studies_with_grids(pipeline)),
    conda:
        ENVIRONMENT
    params:
        code=code("plot_grids"),
        metric=pipeline.config.report.metric,
        protocol=pipeline.config.evaluate.protocols[-1],
        simulated=of_job(tables.simulated),
    shell:
        'python "$CATID2_SCRIPTS/plot_grids.py" --grids {input.grids} --metric {params.metric} --protocol {params.protocol}'
        " --simulated {params.simulated} --output {output} > {log} 2>&1"
