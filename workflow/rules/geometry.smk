"""Geometry. Requires embeddings and DocIDs; yields what vectors and codes know of the categories, per study and dataset."""


rule measure_geometry:
    """Probe a method's embeddings, latents, residuals and codes for the categories of each level."""
    input:
        embeddings=of_job(files.documents),
        products="results/{dataset}/corpus/products.parquet",
        docids=of_job(files.of_stage, "docids", "docids.parquet"),
        model=of_job(files.of_stage, "rqvae", "rqvae/model.safetensors"),
        model_config=of_job(files.of_stage, "rqvae", "rqvae/config.json"),
    output:
        "results/{dataset}/{method}/seed{seed}/geometry.json",
    log:
        "logs/{dataset}/{method}/seed{seed}/measure_geometry.log",
    conda:
        ENVIRONMENT
    params:
        code=code("measure_geometry"),
        config=fixed(pipeline.config.geometry.of_method()),
    shell:
        'python "$CATID2_SCRIPTS/measure_geometry.py" --config {params.config:q} --embeddings {input.embeddings} --products {input.products}'
        " --docids {input.docids} --model {input.model} --output {output} > {log} 2>&1"


rule compare_geometry:
    """Put the geometry of a study's methods and seeds into one table; those without DocIDs have none."""
    input:
        geometry=of_job(tables.geometry),
    output:
        report(
            "results/{dataset}/{study}_geometry.tsv",
            caption="../report/geometry_table.rst",
            category="DocIDs",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
    log:
        "logs/{dataset}/compare_geometry_{study}.log",
    conda:
        ENVIRONMENT
    params:
        code=code("compare_geometry"),
        geometry=lines(geometry=tables.named_geometry),
    shell:
        'python "$CATID2_SCRIPTS/compare_geometry.py" --dataset {wildcards.dataset} @/dev/stdin --output {output} <<< {params.geometry:q} > {log} 2>&1'


rule plot_geometry:
    """Draw how well vectors and codes tell the categories, a panel per method of a study."""
    input:
        geometry="results/{dataset}/{study}_geometry.tsv",
    output:
        report(
            "results/{dataset}/figures/{study}_geometry.svg",
            caption="../report/geometry.rst",
            category="DocIDs",
            subcategory="{dataset}",
            labels={"study": "{study}"},
        ),
    log:
        "logs/{dataset}/plot_geometry_{study}.log",
    conda:
        ENVIRONMENT
    params:
        code=code("plot_geometry"),
        simulated=of_job(tables.simulated),
    shell:
        'python "$CATID2_SCRIPTS/plot_geometry.py" --geometry {input.geometry} --simulated {params.simulated} --output {output} > {log} 2>&1'
