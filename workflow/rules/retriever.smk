"""Generative retrieval. Requires a corpus and DocIDs; yields a retriever and its ranked lists (run)."""


rule train_retriever:
    """Train T5 or the light retriever to write DocIDs that answer queries; keep the checkpoint best on held-out ones."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        embeddings=of_job(files.read_by_training),
        pairs=of_job(files.pairs),
        model=of_job(files.fetched, "retriever"),
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
        contents=of_job(files.contents_of_pairs),
        config=of_job(Pipeline.stage, "retriever"),
        model=of_job(files.contents_of_model, files_in, "retriever"),
        embeddings=first("embeddings"),
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/retriever",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/train_retriever.py"'
        " --config {params.config:q} --seed {wildcards.seed}"
        " --products {input.products} --queries {input.queries} --judgements {input.judgements}"
        " --docids {input.docids} --embeddings {params.embeddings} --checkpoints {params.checkpoints} --output {output} > {log} 2>&1"


rule retrieve:
    """Decode the DocIDs of the test queries with constrained beam search."""
    input:
        retriever=of_job(files.of_stage, "retriever", "retriever"),
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        embeddings=of_job(files.read_by_search),
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
        config=of_job(Pipeline.stage, "retrieve"),
        embeddings=first("embeddings"),
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/retrieve.py"'
        " --config {params.config:q} --retriever {input.retriever}"
        " --docids {input.docids} --products {input.products} --queries {input.queries}"
        " --embeddings {params.embeddings} --output {output} > {log} 2>&1"
