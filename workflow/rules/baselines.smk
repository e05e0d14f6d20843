"""Search without DocIDs, and fusion. Requires a corpus, and embeddings, runs or nothing; yields ranked lists (run) as the generative methods do."""


rule search_bm25:
    """Rank documents for the test queries by BM25."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
    output:
        "results/{dataset}/{method}/seed{seed}/run.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/search_bm25.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/search_bm25.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("bm25")),
    conda:
        ENVIRONMENT
    params:
        code=code("search_bm25"),
        config=of_job(Pipeline.stage, "bm25"),
    shell:
        'python "$CATID2_SCRIPTS/search_bm25.py" --config {params.config:q} --products {input.products} --queries {input.queries}'
        " --output {output} > {log} 2>&1"


rule search_dense:
    """Rank documents for the test queries by the inner product of their vectors, exactly."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        vectors=of_job(files.read_by_dense_search),
    output:
        "results/{dataset}/{method}/seed{seed}/run.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/search_dense.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/search_dense.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("dense") + pipeline.methods("dual_encoder")),
    conda:
        ENVIRONMENT
    params:
        code=code("search_dense"),
        config=of_job(Pipeline.stage, "dense"),
    shell:
        'python "$CATID2_SCRIPTS/search_dense.py" --config {params.config:q} --embeddings {input.vectors[0]} --products {input.products}'
        " --queries {input.queries} --output {output} > {log} 2>&1"


rule fuse_runs:
    """Fuse the runs of other methods by reciprocal rank."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        runs=of_job(files.fused_runs),
    output:
        "results/{dataset}/{method}/seed{seed}/run.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/fuse_runs.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/fuse_runs.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("fuse")),
    conda:
        ENVIRONMENT
    params:
        code=code("fuse_runs"),
        config=of_job(Pipeline.stage, "fuse"),
        runs=lines(run=files.weighted_runs),
    shell:
        'python "$CATID2_SCRIPTS/fuse_runs.py" --config {params.config:q} --products {input.products} --queries {input.queries}'
        " @/dev/stdin --output {output} <<< {params.runs:q} > {log} 2>&1"


rule train_dual_encoder:
    """Fine-tune an encoder on the train queries with in-batch negatives; keep the checkpoint best on held-out queries."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        model=of_job(files.fetched, "dual_encoder"),
    output:
        directory("results/{dataset}/{method}/seed{seed}/encoder"),
    log:
        "logs/{dataset}/{method}/seed{seed}/train_dual_encoder.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/train_dual_encoder.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("dual_encoder")),
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
        nodes=1,
    params:
        code=code("train_dual_encoder"),
        config=of_job(Pipeline.stage, "dual_encoder"),
        model=of_job(files.contents_of_model, files_in, "dual_encoder"),
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/encoder",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/train_dual_encoder.py"'
        " --config {params.config:q} --seed {wildcards.seed}"
        " --products {input.products} --queries {input.queries} --judgements {input.judgements}"
        " --checkpoints {params.checkpoints} --output {output} > {log} 2>&1"


# A trained encoder is a view of its own: the rules of views encode documents and queries with it.


use rule embed as embed_by_own_encoder with:
    input:
        products="results/{dataset}/corpus/products.parquet",
        encoder="results/{dataset}/{method}/seed{seed}/encoder",
    output:
        embeddings="results/{dataset}/{method}/seed{seed}/embeddings/own.npy",
        metadata="results/{dataset}/{method}/seed{seed}/embeddings/own.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/embed.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/embed.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("dual_encoder")),
    params:
        code=code("embed"),
        config=of_job(Pipeline.own_view),
        model={},
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/embed",


use rule embed_queries as embed_queries_by_own_encoder with:
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        embeddings="results/{dataset}/{method}/seed{seed}/embeddings/own.npy",
        description="results/{dataset}/{method}/seed{seed}/embeddings/own.json",
        encoder="results/{dataset}/{method}/seed{seed}/encoder",
    output:
        embeddings="results/{dataset}/{method}/seed{seed}/embeddings/own_queries.npy",
        metadata="results/{dataset}/{method}/seed{seed}/embeddings/own_queries.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/embed_queries.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/embed_queries.benchmark.tsv"
    wildcard_constraints:
        method=names(pipeline.methods("dual_encoder")),
    params:
        code=code("embed_queries"),
        prefix="",
        model={},
