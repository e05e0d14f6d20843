"""DocIDs. Requires a corpus; yields embeddings, trained quantisers and unique DocIDs."""


rule embed:
    """Encode every document of a dataset with the text template and encoder of a view."""
    input:
        script="scripts/embed.py",
        modules=modules("embed"),
        products=corpus("products.parquet"),
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
        config=view_settings,
        checkpoints="results/{dataset}/embeddings/checkpoints/{view}",
        timings="logs/{dataset}/embed/{view}.timings.json",
    shell:
        "python -m catid2.launch --gpus {resources.gpu} --nodes {resources.nodes} {input.script}"
        " --config {params.config:q} --products {input.products}"
        " --checkpoints {params.checkpoints} --output {output.embeddings} --metadata {output.metadata}"
        " --timings {params.timings} > {log} 2>&1"


rule embed_queries:
    """Encode every query of a dataset in the space of a view's documents."""
    input:
        script="scripts/embed_queries.py",
        modules=modules("embed_queries"),
        products=corpus("products.parquet"),
        queries=corpus("queries.parquet"),
        embeddings="results/{dataset}/embeddings/{view}.npy",
        description="results/{dataset}/embeddings/{view}.json",
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
        prefix=query_prefix,
        timings="logs/{dataset}/embed_queries/{view}.timings.json",
    shell:
        "python {input.script} --embeddings {input.embeddings} --products {input.products} --queries {input.queries}"
        " --prefix={params.prefix:q} --output {output.embeddings} --metadata {output.metadata}"
        " --timings {params.timings} > {log} 2>&1"


rule make_taxonomy:
    """Make the category tree of a method that does not learn from the corpus's."""
    input:
        script="scripts/make_taxonomy.py",
        modules=modules("make_taxonomy"),
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
        config=settings("taxonomy"),
        inputs=taxonomy_options,
        timings="logs/{dataset}/{method}/seed{seed}/make_taxonomy.timings.json",
    shell:
        "python {input.script} --config {params.config:q} --seed {wildcards.seed} --products {input.products}"
        " {params.inputs} --output {output.table} --report {output.report} --timings {params.timings} > {log} 2>&1"


rule train_rqvae:
    """Train the residual-quantised autoencoder of a method (paper: the four losses)."""
    input:
        script="scripts/train_rqvae.py",
        modules=modules("train_rqvae"),
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
        config=settings("rqvae"),
        checkpoints="results/{dataset}/{method}/seed{seed}/checkpoints/rqvae",
        timings="logs/{dataset}/{method}/seed{seed}/train_rqvae.timings.json",
    shell:
        "python -m catid2.launch --gpus {resources.gpu} --nodes {resources.nodes} {input.script}"
        " --config {params.config:q} --seed {wildcards.seed}"
        " --embeddings {input.embeddings} --products {input.products} --checkpoints {params.checkpoints}"
        " --model {output.model} --model-config {output.model_config} --history {output.history}"
        " --timings {params.timings} > {log} 2>&1"


rule assign_docids:
    """Give every document a DocID of its own: code it as the method's ID scheme says, then repair collisions."""
    input:
        script="scripts/assign_docids.py",
        modules=modules("assign_docids"),
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
        config=settings("docids"),
        taxonomy=taxonomy_option,
        model=model_options,
        timings="logs/{dataset}/{method}/seed{seed}/assign_docids.timings.json",
    shell:
        "python {input.script} --config {params.config:q} --seed {wildcards.seed} --embeddings {input.embeddings}"
        " --products {input.products} {params.taxonomy} {params.model}"
        " --output {output.docids} --report {output.report} --timings {params.timings} > {log} 2>&1"
