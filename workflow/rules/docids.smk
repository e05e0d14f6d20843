"""DocIDs. Requires a corpus; yields embeddings, trained quantisers and unique DocIDs."""


rule embed:
    """Encode every document of a dataset with the text template and encoder of a view."""
    input:
        products=corpus("products.parquet"),
        model=fetched(model_of_view),
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
        config=view_settings,
        model=contents_of_model(model_of_view),
        checkpoints="results/{dataset}/embeddings/checkpoints/{view}",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/embed.py"'
        " --config {params.config:q} --products {input.products}"
        " --checkpoints {params.checkpoints} --output {output.embeddings} --metadata {output.metadata} > {log} 2>&1"


rule embed_queries:
    """Encode every query of a dataset in the space of a view's documents."""
    input:
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        embeddings="results/{dataset}/embeddings/{view}.npy",
        description="results/{dataset}/embeddings/{view}.json",
        model=fetched(model_of_view),
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
        prefix=query_prefix,
        model=contents_of_model(model_of_view),
    shell:
        'python "$CATID2_SCRIPTS/embed_queries.py" --embeddings {input.embeddings} --products {input.products} --queries {input.queries}'
        " --prefix={params.prefix:q} --output {output.embeddings} --metadata {output.metadata} > {log} 2>&1"


rule make_taxonomy:
    """Make the category tree of a method that does not learn from the corpus's."""
    input:
        products=corpus("products.parquet"),
        embeddings=vectors_of_taxonomy,
        tags=tags_of_taxonomy,
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
        config=settings("taxonomy"),
        inputs=taxonomy_options,
    shell:
        'python "$CATID2_SCRIPTS/make_taxonomy.py" --config {params.config:q} --seed {wildcards.seed} --products {input.products}'
        " {params.inputs} --output {output.table} --report {output.report} > {log} 2>&1"


rule train_rqvae:
    """Train the residual-quantised autoencoder of a method (paper: the four losses)."""
    input:
        embeddings=view_of_method,
        products=categories_of_method,
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
        config=settings("rqvae"),
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/rqvae",
    shell:
        'python "$CATID2_SCRIPTS/torchrun.py" --nnodes {resources.nodes} --gpus {resources.gpu} "$CATID2_SCRIPTS/train_rqvae.py"'
        " --config {params.config:q} --seed {wildcards.seed}"
        " --embeddings {input.embeddings} --products {input.products} --checkpoints {params.checkpoints}"
        " --model {output.model} --model-config {output.model_config} --history {output.history} > {log} 2>&1"


rule assign_docids:
    """Give every document a DocID of its own: code it as the method's ID scheme says, then repair collisions."""
    input:
        embeddings=view_of_method,
        products=corpus("products.parquet"),
        taxonomy=from_owner("taxonomy", "taxonomy.parquet"),
        model=from_owner("rqvae", "rqvae/model.safetensors"),
        model_config=from_owner("rqvae", "rqvae/config.json"),
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
        config=settings("docids"),
        taxonomy=taxonomy_option,
        model=model_options,
    shell:
        'python "$CATID2_SCRIPTS/assign_docids.py" --config {params.config:q} --seed {wildcards.seed} --embeddings {input.embeddings}'
        " --products {input.products} {params.taxonomy} {params.model}"
        " --output {output.docids} --report {output.report} > {log} 2>&1"
