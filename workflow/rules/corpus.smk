"""Raw files and the corpus. Requires nothing, or raw files on disk; yields resources/ and results/{dataset}/corpus."""


rule simulate_esci:
    """Write ESCI-shaped raw files: the same names, columns and dirt, invented products."""
    output:
        examples=f"resources/{{source}}/{RAW_FILES['examples']}",
        products=f"resources/{{source}}/{RAW_FILES['products']}",
        esci_s=f"resources/{{source}}/{RAW_FILES['esci_s']}",
    log:
        "logs/{source}/simulate_esci.log",
    wildcard_constraints:
        source=names(pipeline.sources("simulated")),
    conda:
        ENVIRONMENT
    params:
        code=code("simulate_esci"),
        config=lambda wildcards: pipeline.config.sources[wildcards.source].simulate.model_dump_json(),
        seed=lambda wildcards: pipeline.config.sources[wildcards.source].seed,
    shell:
        'python "$CATID2_SCRIPTS/simulate_esci.py" --config {params.config:q} --seed {params.seed} --examples {output.examples}'
        " --products {output.products} --esci-s {output.esci_s} > {log} 2>&1"


rule import_catalogue:
    """Write the user's own catalogue as raw files of ESCI's shape, with its category paths and tags."""
    input:
        products=of_job(files.own_file, "products"),
        queries=of_job(files.own_file, "queries"),
        judgements=of_job(files.own_file, "judgements"),
    output:
        examples=f"resources/{{source}}/{RAW_FILES['examples']}",
        products=f"resources/{{source}}/{RAW_FILES['products']}",
        category_paths="resources/{source}/category_paths.parquet",
        tags="resources/{source}/tags.parquet",
        query_ids="resources/{source}/query_ids.parquet",
    log:
        "logs/{source}/import_catalogue.log",
    wildcard_constraints:
        source=names(pipeline.sources("catalogue")),
    conda:
        ENVIRONMENT
    params:
        code=code("import_catalogue"),
        contents=of_job(files.contents_of_catalogue),
        config=lambda wildcards: pipeline.config.sources[wildcards.source].importing(),
        locale=lambda wildcards: pipeline.config.sources[wildcards.source].locale,
        products=of_job(files.own_path, "products"),
        queries=of_job(files.own_path, "queries"),
        judgements=of_job(files.own_path, "judgements"),
    shell:
        'python "$CATID2_SCRIPTS/import_catalogue.py" --config {params.config:q} --locale {params.locale} --products {params.products:q}'
        " --queries {params.queries:q} --judgements {params.judgements:q} --examples-out {output.examples} --products-out {output.products}"
        " --category-paths-out {output.category_paths} --tags-out {output.tags} --query-ids-out {output.query_ids}"
        " --threads {threads} --temp-dir {resources.tmpdir:q} > {log} 2>&1"


rule fetch_esci:
    """Download the Shopping Queries Dataset (1.2 GB), resuming what an earlier attempt left."""
    output:
        examples=ensure(DOWNLOADED["examples"], sha256=pipeline.config.fetch_esci.examples.sha256),
        products=ensure(DOWNLOADED["products"], sha256=pipeline.config.fetch_esci.products.sha256),
    log:
        "logs/fetch_esci.log",
    retries: 3
    conda:
        ENVIRONMENT
    params:
        config=fixed(pipeline.config.fetch_esci),
    shell:
        'python "$CATID2_SCRIPTS/fetch_esci.py" --config {params.config:q} --examples {output.examples}'
        " --products {output.products} 2>&1 | tee {log}"


rule fetch_esci_s:
    """Download the ESCI-S records with the category paths (3.4 GB), resuming what an earlier attempt left."""
    output:
        ensure(DOWNLOADED["esci_s"], non_empty=True),
    log:
        "logs/fetch_esci_s.log",
    retries: 3
    conda:
        ENVIRONMENT
    params:
        config=fixed(pipeline.config.fetch_esci_s),
    shell:
        'python "$CATID2_SCRIPTS/fetch_esci_s.py" --config {params.config:q} --output {output} 2>&1 | tee {log}'


rule fetch_esci_sample:
    """Download a small sample of ESCI us (6.3 MB), resuming what an earlier attempt left."""
    output:
        **{
            key: ensure(path, sha256=getattr(pipeline.config.fetch_esci_sample, key).sha256)
            for key, path in SAMPLE_FILES.items()
        },
    log:
        "logs/fetch_esci_sample.log",
    retries: 3
    conda:
        ENVIRONMENT
    params:
        config=fixed(pipeline.config.fetch_esci_sample),
    shell:
        'python "$CATID2_SCRIPTS/fetch_esci_sample.py" --config {params.config:q} --products {output.products}'
        " --judgements {output.judgements} --pairs {output.pairs} 2>&1 | tee {log}"


rule import_esci_sample:
    """Write the sample as raw files of ESCI's shape, with the real query ids, labels and category paths."""
    input:
        products=of_job(files.sample_file, "products"),
        judgements=of_job(files.sample_file, "judgements"),
        pairs=of_job(files.sample_file, "pairs"),
    output:
        examples=f"resources/{{source}}/{RAW_FILES['examples']}",
        products=f"resources/{{source}}/{RAW_FILES['products']}",
        esci_s=f"resources/{{source}}/{RAW_FILES['esci_s']}",
    log:
        "logs/{source}/import_esci_sample.log",
    wildcard_constraints:
        source=names(pipeline.sources("esci_sample")),
    conda:
        ENVIRONMENT
    params:
        code=code("import_esci_sample"),
        contents=of_job(files.contents_of_sample),
    shell:
        'python "$CATID2_SCRIPTS/import_esci_sample.py" --products {input.products:q} --judgements {input.judgements:q}'
        " --pairs {input.pairs:q} --examples-out {output.examples} --products-out {output.products}"
        " --esci-s-out {output.esci_s} > {log} 2>&1"


rule extract_categories:
    """Read the category paths out of the ESCI-S records, once for all locales of a source."""
    input:
        esci_s=of_job(files.raw_file, "esci_s"),
    output:
        "resources/{source}/category_paths.parquet",
    log:
        "logs/{source}/extract_categories.log",
    wildcard_constraints:
        source=names(
            pipeline.sources("esci") + pipeline.sources("esci_sample") + pipeline.sources("simulated")
        ),
    conda:
        ENVIRONMENT
    params:
        code=code("extract_categories"),
        contents=of_job(files.contents_of_raw_files, "esci_s"),
    shell:
        'python "$CATID2_SCRIPTS/extract_categories.py" --esci-s {input.esci_s:q} --output {output} --threads {threads}'
        " --temp-dir {resources.tmpdir:q} > {log} 2>&1"


rule build_corpus:
    """Join judgements, products and category paths of one locale into documents, queries and a tree."""
    input:
        examples=of_job(files.raw_file, "examples"),
        products=of_job(files.raw_file, "products"),
        category_paths=of_job(files.category_paths),
    output:
        products="results/{dataset}/corpus/products.parquet",
        queries="results/{dataset}/corpus/queries.parquet",
        judgements="results/{dataset}/corpus/judgements.parquet",
        categories="results/{dataset}/corpus/categories.parquet",
        stats="results/{dataset}/corpus/stats.json",
    log:
        "logs/{dataset}/build_corpus.log",
    conda:
        ENVIRONMENT
    params:
        code=code("build_corpus"),
        contents=of_job(files.contents_of_raw_files, "examples", "products"),
        config=of_job(Pipeline.corpus),
        locale=lambda wildcards: pipeline.config.datasets[wildcards.dataset].locale,
        examples=of_job(files.raw_path, "examples"),
        products=of_job(files.raw_path, "products"),
    shell:
        'python "$CATID2_SCRIPTS/build_corpus.py" --config {params.config:q} --locale {params.locale}'
        " --examples {params.examples:q} --products {params.products:q} --category-paths {input.category_paths:q}"
        " --products-out {output.products} --queries-out {output.queries}"
        " --judgements-out {output.judgements} --categories-out {output.categories}"
        " --stats-out {output.stats} --threads {threads} --temp-dir {resources.tmpdir:q} > {log} 2>&1"
