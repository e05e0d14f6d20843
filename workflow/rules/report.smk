"""The report. Requires every dataset's tables; yields one table and one page that compare locales."""

from catid2.config.comparison import comparison

REPORTED = comparison(pipeline, "recall")
RECALL_TABLES = [f"results/{dataset.name}/recall.tsv" for dataset in REPORTED.datasets]


def shared(stage, *names):
    """Return the files `names` of a stage, for every dataset, method and seed of the report, each once."""
    files = [
        f"results/{dataset.name}/{getattr(method, stage)}/seed{seed}/{name}"
        for dataset in REPORTED.datasets
        for method in dataset.methods
        if getattr(method, stage)
        for seed in method.seeds
        for name in names
    ]
    return sorted(set(files))


rule report_locales:
    """Put the locales side by side: a table, and a page that stands alone."""
    input:
        script="scripts/report_locales.py",
        modules=modules("report_locales"),
        tables=RECALL_TABLES,
        stats=[f"results/{dataset.name}/corpus/stats.json" for dataset in REPORTED.datasets],
        docids=shared("docids", "docids.parquet", "docids.json"),
        histories=shared("rqvae", "rqvae/history.tsv"),
        retrievers=shared("retriever", "retriever"),
    output:
        table=report("results/locales.tsv", caption="../report/locales.rst", category="Locales"),
        page=report("results/report.html", caption="../report/page.rst", category="Locales"),
    params:
        config=pipeline.config.report.model_dump_json(),
        comparison=REPORTED.model_dump_json(),
    log:
        "logs/report_locales.log",
    conda:
        ENVIRONMENT
    shell:
        "python {input.script} --config {params.config:q} --comparison {params.comparison:q} --results results"
        " --table {output.table} --page {output.page} > {log} 2>&1"
