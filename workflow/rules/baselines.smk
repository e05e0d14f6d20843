"""Search without DocIDs. Requires a corpus; yields ranked lists (run) as the generative methods do."""


rule search_bm25:
    """Rank documents for the test queries by BM25."""
    input:
        script="scripts/search_bm25.py",
        modules=modules("search_bm25"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
    output:
        "results/{dataset}/{method}/seed{seed}/run.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/search_bm25.log",
    wildcard_constraints:
        method=names(pipeline.methods("bm25")),
    conda:
        ENVIRONMENT
    params:
        config=settings("bm25"),
    shell:
        "python {input.script} --config {params.config:q} --products {input.products} --queries {input.queries}"
        " --output {output} > {log} 2>&1"
