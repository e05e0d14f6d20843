"""Generative retrieval. Requires a corpus and DocIDs; yields a retriever and its ranked lists (run)."""


rule train_retriever:
    """Train T5 or the light retriever to write DocIDs that answer queries; keep the checkpoint best on held-out ones."""
    input:
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        judgements=corpus("judgements.parquet"),
        docids=from_owner("docids", "docids.parquet"),
        embeddings=vectors_of_training,
        pairs=pairs_of_training,
        model=fetched(model_of_stage("retriever")),
    output:
        directory("results/{dataset}/{method}/seed{seed}/retriever"),
    log:
        "logs/{dataset}/{method}/seed{seed}/train_retriever.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/train_retriever.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
        nodes=1,
    params:
        code=code("train_retriever"),
        contents=contents_of_pairs,
        config=settings("retriever"),
        model=contents_of_model(model_of_stage("retriever")),
        embeddings=embeddings_option,
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/retriever",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/train_retriever.py"'
        " --config {params.config:q} --seed {wildcards.seed}"
        " --products {input.products} --queries {input.queries} --judgements {input.judgements}"
        " --docids {input.docids} {params.embeddings} --checkpoints {params.checkpoints} --output {output} > {log} 2>&1"


rule retrieve:
    """Decode the DocIDs of the test queries with constrained beam search."""
    input:
        retriever=from_owner("retriever", "retriever"),
        docids=from_owner("docids", "docids.parquet"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        embeddings=vectors_of_search,
    output:
        "results/{dataset}/{method}/seed{seed}/run.parquet",
    log:
        "logs/{dataset}/{method}/seed{seed}/retrieve.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/retrieve.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
        nodes=1,
    params:
        code=code("retrieve"),
        config=settings("retrieve"),
        embeddings=embeddings_option,
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/retrieve.py"'
        " --config {params.config:q} --retriever {input.retriever}"
        " --docids {input.docids} --products {input.products} --queries {input.queries}"
        " {params.embeddings} --output {output} > {log} 2>&1"
