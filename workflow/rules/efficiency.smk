"""Times. Requires what the stages of a study have measured; yields a table and a figure per dataset, only when they are asked for."""


rule measure_latency:
    """Time the search of the test queries, one at a time and in batches."""
    input:
        retriever=of_job(files.of_stage, "retriever", "retriever"),
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        embeddings=of_job(files.read_by_search),
    output:
        "results/{dataset}/{method}/seed{seed}/latency.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/measure_latency.log",
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
    params:
        code=code("measure_latency"),
        config=of_job(Pipeline.stage, "retrieve"),
        embeddings=first("embeddings"),
        batches=pipeline.config.efficiency.batches,
        searches=pipeline.config.efficiency.searches,
        warm_up=pipeline.config.efficiency.warm_up,
    shell:
        'python "$CATID2_SCRIPTS/measure_latency.py" --config {params.config:q} --retriever {input.retriever}'
        " --docids {input.docids} --embeddings {params.embeddings} --products {input.products} --queries {input.queries}"
        " --batches {params.batches} --searches {params.searches} --warm-up {params.warm_up} --output {output} > {log} 2>&1"


use rule measure_latency as measure_latency_of_bm25 with:
    input:
        retriever=[],
        docids=[],
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
    wildcard_constraints:
        method=names(pipeline.methods("bm25")),
    params:
        code=code("measure_latency"),
        config=of_job(Pipeline.stage, "bm25"),
        embeddings=[],
        batches=pipeline.config.efficiency.batches,
        searches=pipeline.config.efficiency.searches,
        warm_up=pipeline.config.efficiency.warm_up,


rule summarize_efficiency:
    """Put what the stages of a study's methods took into one table."""
    input:
        benchmarks=of_job(tables.benchmarks),
        latencies=of_job(tables.latencies),
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
        code=code("summarize_efficiency"),
        stages=lines(stage=tables.named_stages, latency=tables.named_latencies),
        seed=pipeline.first_seed(pipeline.config.efficiency.study),
    shell:
        'python "$CATID2_SCRIPTS/summarize_efficiency.py" --dataset {wildcards.dataset} --seed {params.seed} @/dev/stdin'
        " --output {output} <<< {params.stages:q} > {log} 2>&1"


rule plot_efficiency:
    """Draw what the stages took and how long a query waits."""
    input:
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
        code=code("plot_efficiency"),
        simulated=of_job(tables.simulated),
    shell:
        'python "$CATID2_SCRIPTS/plot_efficiency.py" --efficiency {input.efficiency} --simulated {params.simulated} --output {output} > {log} 2>&1'
