"""The report. Requires every dataset's tables and retrievers; yields one table and one page that compare locales."""


rule plot_recall:
    """Draw the recall of a study's methods with intervals."""
    input:
        recall="results/{dataset}/{study}.tsv",
    output:
        report(
            "results/{dataset}/figures/{study}.svg",
            caption="../report/recall.rst",
            category="Recall",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
    log:
        "logs/{dataset}/plot_recall_{study}.log",
    conda:
        ENVIRONMENT
    params:
        code=code("plot_recall"),
        simulated=of_job(tables.simulated),
    shell:
        'python "$CATID2_SCRIPTS/plot_recall.py" --recall {input.recall} --simulated {params.simulated} --output {output} > {log} 2>&1'


rule plot_layers:
    """Draw which categories the codes of each layer hold."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        categories="results/{dataset}/corpus/categories.parquet",
        docids=of_job(tables.docids_by_owner),
    output:
        report(
            "results/{dataset}/figures/layers.svg",
            caption="../report/layers.rst",
            category="DocIDs",
            subcategory="{dataset}",
        ),
    log:
        "logs/{dataset}/plot_layers.log",
    wildcard_constraints:
        dataset=names(dataset.name for dataset in REPORTED.datasets),
    conda:
        ENVIRONMENT
    params:
        code=code("plot_layers"),
        config=fixed(pipeline.config.report),
        docids=lines(docids=tables.named_docids_by_owner),
        simulated=of_job(tables.simulated),
    shell:
        'python "$CATID2_SCRIPTS/plot_layers.py" --config {params.config:q} --corpus results/{wildcards.dataset}/corpus @/dev/stdin'
        " --simulated {params.simulated} --output {output} <<< {params.docids:q} > {log} 2>&1"


rule trace_beams:
    """Follow the relevant documents of the queries that the report shows through the beams of a method's search."""
    input:
        retriever=of_job(files.of_stage, "retriever", "retriever"),
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        per_query="results/{dataset}/recall_per_query.parquet",
        embeddings=of_job(files.read_by_search),
    output:
        "results/{dataset}/{method}/seed{seed}/beam_trace.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/trace_beams.log",
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
    params:
        code=code("trace_beams"),
        config=of_job(Pipeline.stage, "retrieve"),
        embeddings=first("embeddings"),
        metric=pipeline.config.report.metric,
        shown=pipeline.config.report.queries,
    shell:
        'python "$CATID2_SCRIPTS/trace_beams.py" --config {params.config:q} --retriever {input.retriever}'
        " --docids {input.docids} --products {input.products} --queries {input.queries} --judgements {input.judgements}"
        " --per-query {input.per_query} --metric {params.metric} --shown {params.shown} --embeddings {params.embeddings}"
        " --output {output} > {log} 2>&1"


rule report_locales:
    """Put the locales side by side: a table, and a page that stands alone."""
    input:
        tables=of_job(tables.reported_recall),
        corpora=tables.of_datasets(
            REPORTED, "corpus/products.parquet", "corpus/categories.parquet", "corpus/stats.json"
        ),
        queries=tables.of_datasets(
            REPORTED, "corpus/queries.parquet", "corpus/judgements.parquet", "recall_per_query.parquet"
        ),
        runs=tables.first_runs(REPORTED),
        traces=tables.traces(REPORTED, pipeline.config.report.queries),
        views=tables.of_views(REPORTED),
        docids=tables.of_methods(REPORTED, "docids", "docids.parquet", "docids.json"),
        histories=tables.of_methods(REPORTED, "rqvae", "rqvae/history.tsv"),
        retrievers=tables.of_methods(REPORTED, "retriever", "retriever"),
        studies=tables.of_other_studies(REPORTED),
        times=tables.of_datasets(REPORTED, "efficiency.tsv") if pipeline.config.report.efficiency else [],
    output:
        table=report(tables.report_files(pipeline)[0], caption="../report/locales.rst", category="Locales"),
        page=report(tables.report_files(pipeline)[1], caption="../report/page.rst", category="Locales"),
    log:
        "logs/report_locales.log",
    conda:
        ENVIRONMENT
    params:
        code=code("report_locales"),
        config=fixed(pipeline.config.report),
        comparison=fixed(REPORTED),
    shell:
        'python "$CATID2_SCRIPTS/report_locales.py" --config {params.config:q} --comparison - --results results'
        " --table {output.table} --page {output.page} <<< {params.comparison:q} > {log} 2>&1"
