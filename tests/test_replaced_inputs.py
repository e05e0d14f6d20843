"""The user's own files: what is replaced is planned again whatever its time stamp says, what is the same is not."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from test_contents import write

from workflow import Project

CATALOGUE = """
sources: {shop: {kind: catalogue, products: own/products.csv, queries: own/queries.csv, judgements: own/judgements.csv,
                 columns: {products: {product_id: id, title: name, category: path}}, category_separator: ">"}}
datasets: {shop_us: {source: shop, locale: us}}
"""
ESCI = """
sources: {esci: {kind: esci, examples: own/examples.parquet, products: own/products.parquet, esci_s: own/esci_s.zst}}
datasets: {shop_us: {source: esci, locale: us}}
"""
REST = """
views: {text: {encoder: {kind: tfidf_svd, dims: 32}}}
view: text
rqvae: {align_to: own/docids.parquet}
retriever: {pretrained: null, tasks: [{source: query}, {source: pairs, path: own/pairs.parquet}]}
methods: {catid2: {}, bm25: {search: bm25}}
studies: {recall: {methods: [catid2, bm25]}}
"""
CONFIG = ("--configfile", "config/own.yaml", "--", "results/shop_us/recall.tsv")
# which rule reads which files
CATALOGUE_READERS = {
    "import_catalogue": [f"own/{name}.csv" for name in ("products", "queries", "judgements")],
    "train_rqvae": ["own/docids.parquet"],
    "train_retriever": ["own/pairs.parquet"],
}
ESCI_READERS = {
    "extract_categories": ["own/esci_s.zst"],
    "build_corpus": ["own/examples.parquet", "own/products.parquet"],
    "train_rqvae": ["own/docids.parquet"],
    "train_retriever": ["own/pairs.parquet"],
}
OLD = 1_000_000_000  # a time stamp before everything else
OTHER = hashlib.sha256(b"other").hexdigest()


def finished(folder: Path, sources: str, files: Iterable[str]) -> Project:
    """Return a project in which all jobs of a configuration with these files have run, with empty outputs."""
    project = Project(folder, stub=True)
    (folder / "config/own.yaml").write_text(sources + REST)
    for path in files:
        write(str(folder / path), "first", OLD)
    project.snakemake(*CONFIG)
    return project


@pytest.mark.parametrize(("sources", "readers"), [(CATALOGUE, CATALOGUE_READERS), (ESCI, ESCI_READERS)])
def test_replaced_files_are_read_again_and_touched_or_copied_ones_are_not(tmp_path, sources, readers):
    project = finished(tmp_path / "project", sources, [path for paths in readers.values() for path in paths])
    for reader, paths in readers.items():
        for path in paths:
            file = project.folder / path
            file.rename(f"{file}.first")
            # as old as before, of the same size
            write(f"{file}.other", "other", OLD).rename(file)
        plan = project.snakemake("--dry-run", *CONFIG).stdout
        [reason] = re.findall(rf"rule {reader}:\n(?:    .*\n)*?    reason: (.*)\n", plan)
        for path in paths:
            assert f"'{path}': '{OTHER}'" in reason
            # the bytes of before, made now
            shutil.copyfile(f"{project.folder / path}.first", project.folder / path)
        assert "rule evaluate:" in plan
    assert project.planned(*CONFIG) == set()


def test_what_has_read_a_replaced_file_is_finished(tmp_path):
    files = [path for paths in CATALOGUE_READERS.values() for path in paths]
    project = finished(tmp_path / "project", CATALOGUE, files)
    write(str(project.folder / "own/products.csv"), "other", OLD)
    assert "import_catalogue source=shop: starts" in project.snakemake(*CONFIG).stderr
    assert project.planned(*CONFIG) == set()


def test_downloads_may_be_deleted_and_are_noticed_when_replaced(tmp_path):
    named = ESCI[ESCI.index(", examples") : ESCI.index("}}")]
    downloads = [
        f"resources/esci/shopping_queries_dataset_{name}.parquet" for name in ("examples", "products")
    ]
    downloads.append("resources/esci_s/esci.json.zst")
    files = [*downloads, "own/pairs.parquet", "own/docids.parquet"]
    project = finished(tmp_path / "project", ESCI.replace(named, ""), files)
    for path in downloads:
        (project.folder / path).unlink()
    assert project.planned(*CONFIG) == set()
    for path in downloads:
        write(str(project.folder / path), "other" if "products" in path else "first", OLD)
    planned = {job.split()[0] for job in project.planned(*CONFIG)}
    assert {"build_corpus", "evaluate"} <= planned
    assert "extract_categories" not in planned


@pytest.mark.parametrize(
    ("key", "old", "output"),
    [
        ("rqvae.align_to", "own/docids.parquet", "docids.parquet"),
        ("retriever.pretrained", "null", "retriever"),
    ],
)
def test_what_a_run_would_replace_is_no_input_of_it(tmp_path, key, old, output):
    project = Project(tmp_path / "project", stub=True)
    output = f"results/shop_us/catid2/seed0/{output}"
    settings = (CATALOGUE + REST).replace(f"{key.split('.')[1]}: {old}", f"{key.split('.')[1]}: {output}")
    (project.folder / "config/own.yaml").write_text(settings)
    for path in [path for paths in CATALOGUE_READERS.values() for path in paths]:
        write(str(project.folder / path), "first", OLD)
    (project.folder / output).mkdir(parents=True)
    done = project.snakemake("--dry-run", *CONFIG, check=False)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert line.endswith(
        f"config/own.yaml: {key}: this run replaces {output}; copy it to another place, and name that"
    )
