"""Times. Requires what the stages of a study have measured; yields a table and a figure per dataset, only when they are asked for."""


rule measure_latency:
    """Time the search of the test queries, one at a time and in batches."""
    input:
        script="scripts/measure_latency.py",
        modules=modules("measure_latency"),
        retriever=from_owner("retriever", "retriever"),
        docids=from_owner("docids", "docids.parquet"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        embeddings=vectors_of_search,
    output:
        "results/{dataset}/{method}/seed{seed}/latency.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/measure_latency.log",
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
    params:
        config=settings("retrieve"),
        searched=searched_by_retriever,
        plan=latency_options,
    shell:
        "python {input.script} --config {params.config:q} {params.searched}"
        " --products {input.products} --queries {input.queries} {params.plan} --output {output} > {log} 2>&1"


use rule measure_latency as measure_latency_of_bm25 with:
    input:
        script="scripts/measure_latency.py",
        modules=modules("measure_latency"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
    wildcard_constraints:
        method=names(pipeline.methods("bm25")),
    params:
        config=settings("bm25"),
        searched="",
        plan=latency_options,


rule summarize_efficiency:
    """Put what the stages of a study's methods took into one table."""
    input:
        script="scripts/summarize_efficiency.py",
        modules=modules("summarize_efficiency"),
        benchmarks=benchmarks_of_study,
        latencies=latencies_of_study,
    output:
        report(
            "results/{dataset}/efficiency.tsv",
            caption="../report/efficiency_table.rst",
            category="Times",
            subcategory="{dataset}",
        ),
    log:
        "logs/{dataset}/summarize_efficiency.log",
    conda:
        ENVIRONMENT
    params:
        stages=stage_options,
        latencies=latency_of_method_options,
        seed=pipeline.first_seed(pipeline.config.efficiency.study),
    shell:
        "python {input.script} --dataset {wildcards.dataset} --seed {params.seed} {params.stages} {params.latencies}"
        " --output {output} > {log} 2>&1"


rule plot_efficiency:
    """Draw what the stages took and how long a query waits."""
    input:
        script="scripts/plot_efficiency.py",
        modules=modules("plot_efficiency"),
        efficiency="results/{dataset}/efficiency.tsv",
    output:
        report(
            "results/{dataset}/figures/efficiency.svg",
            caption="../report/efficiency.rst",
            category="Times",
            subcategory="{dataset}",
        ),
    log:
        "logs/{dataset}/plot_efficiency.log",
    conda:
        ENVIRONMENT
    params:
        simulated=simulated_option,
    shell:
        "python {input.script} --efficiency {input.efficiency} {params.simulated} --output {output} > {log} 2>&1"
