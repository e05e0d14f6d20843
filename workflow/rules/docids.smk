"""DocIDs. Requires a corpus; yields embeddings, trained quantisers and unique DocIDs."""


rule embed:
    """Encode every document of a dataset with the text template and encoder of a view."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        model=of_job(files.fetched, "embed"),
    output:
        embeddings="results/{dataset}/embeddings/{view}.npy",
        metadata="results/{dataset}/embeddings/{view}.json",
    log:
        "logs/{dataset}/embed/{view}.log",
    benchmark:
        "logs/{dataset}/embed/{view}.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
        nodes=1,
    params:
        code=code("embed"),
        config=of_job(Pipeline.documents_view),
        model=of_job(files.contents_of_model, files_in, "embed"),
        checkpoints="results/{dataset}/embeddings/checkpoints/{view}",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/embed.py"'
        " --config {params.config:q} --products {input.products}"
        " --checkpoints {params.checkpoints} --output {output.embeddings} --metadata {output.metadata} > {log} 2>&1"


rule embed_queries:
    """Encode every query of a dataset in the space of a view's documents."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        embeddings="results/{dataset}/embeddings/{view}.npy",
        description="results/{dataset}/embeddings/{view}.json",
        model=of_job(files.fetched, "embed"),
    output:
        embeddings="results/{dataset}/embeddings/{view}_queries.npy",
        metadata="results/{dataset}/embeddings/{view}_queries.json",
    log:
        "logs/{dataset}/embed_queries/{view}.log",
    benchmark:
        "logs/{dataset}/embed_queries/{view}.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
    params:
        code=code("embed_queries"),
        prefix=lambda wildcards: pipeline.view(wildcards.dataset, wildcards.view).query_prefix,
        model=of_job(files.contents_of_model, files_in, "embed"),
    shell:
        'python "$CATID2_SCRIPTS/embed_queries.py" --embeddings {input.embeddings} --products {input.products} --queries {input.queries}'
        " --prefix={params.prefix:q} --output {output.embeddings} --metadata {output.metadata} > {log} 2>&1"


rule make_taxonomy:
    """Make the category tree of a method that does not learn from the corpus's."""
    input:
        products="results/{dataset}/corpus/products.parquet",
        embeddings=of_job(files.read_by_taxonomy, "vectors"),
        tags=of_job(files.read_by_taxonomy, "tags"),
    output:
        table="results/{dataset}/{method}/seed{seed}/taxonomy.parquet",
        report="results/{dataset}/{method}/seed{seed}/taxonomy.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/make_taxonomy.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/make_taxonomy.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_taxonomy"),
        config=of_job(Pipeline.stage, "taxonomy"),
    shell:
        'python "$CATID2_SCRIPTS/make_taxonomy.py" --config {params.config:q} --seed {wildcards.seed} --products {input.products}'
        " --embeddings {input.embeddings} --tags {input.tags} --output {output.table} --report {output.report} > {log} 2>&1"


rule train_rqvae:
    """Train the residual-quantised autoencoder of a method (paper: the four losses)."""
    input:
        embeddings=of_job(files.documents),
        products=of_job(files.categories),
        align_to=of_job(files.aligned_to),
    output:
        model="results/{dataset}/{method}/seed{seed}/rqvae/model.safetensors",
        model_config="results/{dataset}/{method}/seed{seed}/rqvae/config.json",
        history="results/{dataset}/{method}/seed{seed}/rqvae/history.tsv",
    log:
        "logs/{dataset}/{method}/seed{seed}/train_rqvae.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/train_rqvae.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=0,
        nodes=1,
    params:
        code=code("train_rqvae"),
        contents=of_job(files.contents_of_aligned_to),
        config=of_job(Pipeline.stage, "rqvae"),
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/rqvae",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/train_rqvae.py"'
        " --config {params.config:q} --seed {wildcards.seed}"
        " --embeddings {input.embeddings} --products {input.products} --checkpoints {params.checkpoints}"
        " --model {output.model} --model-config {output.model_config} --history {output.history} > {log} 2>&1"


rule assign_docids:
    """Give every document a DocID of its own: code it as the method's ID scheme says, then repair collisions."""
    input:
        embeddings=of_job(files.documents),
        products="results/{dataset}/corpus/products.parquet",
        taxonomy=of_job(files.of_stage, "taxonomy", "taxonomy.parquet"),
        model=of_job(files.of_stage, "rqvae", "rqvae/model.safetensors"),
        model_config=of_job(files.of_stage, "rqvae", "rqvae/config.json"),
        align_to=of_job(files.aligned_to),
    output:
        docids="results/{dataset}/{method}/seed{seed}/docids.parquet",
        report="results/{dataset}/{method}/seed{seed}/docids.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/assign_docids.log",
    benchmark:
        "logs/{dataset}/{method}/seed{seed}/assign_docids.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("assign_docids"),
        contents=of_job(files.contents_of_aligned_to),
        config=of_job(Pipeline.stage, "docids"),
    shell:
        'python "$CATID2_SCRIPTS/assign_docids.py" --config {params.config:q} --seed {wildcards.seed} --embeddings {input.embeddings}'
        " --products {input.products} --taxonomy {input.taxonomy} --model {input.model} --align-to {input.align_to}"
        " --output {output.docids} --report {output.report} > {log} 2>&1"
