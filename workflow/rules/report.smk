"""The report. Requires every dataset's tables; yields one table and one page that compare locales."""


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
        simulated=simulated_option,
    shell:
        'python "$CATID2_SCRIPTS/plot_recall.py" --recall {input.recall} {params.simulated} --output {output} > {log} 2>&1'


rule plot_layers:
    """Draw which categories the codes of each layer hold."""
    input:
        products=corpus("products.parquet"),
        categories=corpus("categories.parquet"),
        docids=docids_files,
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
        dataset=names(REPORTED_NAMES),
    conda:
        ENVIRONMENT
    params:
        code=code("plot_layers"),
        config=fixed(pipeline.config.report),
        docids=docids_options,
        simulated=simulated_option,
    shell:
        'python "$CATID2_SCRIPTS/plot_layers.py" --config {params.config:q} --corpus results/{wildcards.dataset}/corpus {params.docids}'
        " {params.simulated} --output {output} > {log} 2>&1"


rule report_locales:
    """Put the locales side by side: a table, and a page that stands alone."""
    input:
        tables=reported_tables,
        corpora=[path for dataset in REPORTED.datasets for path in corpus_tables(dataset.name)],
        views=views(),
        docids=shared("docids", "docids.parquet", "docids.json"),
        histories=shared("rqvae", "rqvae/history.tsv"),
        retrievers=shared("retriever", "retriever"),
        studies=tables_of_other_studies(),
        times=[
            f"results/{name}/efficiency.tsv" for name in REPORTED_NAMES if pipeline.config.report.efficiency
        ],
    output:
        table=report(REPORT_TABLE, caption="../report/locales.rst", category="Locales"),
        page=report(REPORT_PAGE, caption="../report/page.rst", category="Locales"),
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
