"""What is made of a trained method for use. Requires its retriever and DocIDs; yields an index, a folder to search in."""


rule export_index:
    """Put all that a search needs into one folder."""
    input:
        retriever=of_job(files.of_stage, "retriever", "retriever"),
        model=of_job(files.of_stage, "rqvae", "rqvae/model.safetensors"),
        model_config=of_job(files.of_stage, "rqvae", "rqvae/config.json"),
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        embeddings=of_job(files.documents),
        vectors=of_job(files.read_by_search),
        encoder=of_job(files.encoder_of_method),
    output:
        directory("results/{dataset}/{method}/seed{seed}/index"),
    log:
        "logs/{dataset}/{method}/seed{seed}/export_index.log",
    conda:
        ENVIRONMENT
    params:
        code=code("export_index"),
        config=of_job(Pipeline.index),
        encoder=of_job(files.contents_of_encoder, files_in),
        # No input: it depends on all methods, and the index of one must not wait for the others.
        recall="results/{dataset}/recall.tsv",
    shell:
        'python "$CATID2_SCRIPTS/export_index.py" --config {params.config:q} --retriever {input.retriever}'
        " --model {input.model} --docids {input.docids} --products {input.products} --queries {input.queries}"
        " --embeddings {input.embeddings} --recall {params.recall} --output {output} > {log} 2>&1"
