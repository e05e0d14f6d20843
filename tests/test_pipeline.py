"""The whole path on a tiny dataset, with real jobs: what it leaves, and what a bad raw file does."""

import json
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from bad_inputs import run_script, settings
from svg_reader import read_svg

from catid2.docids.schemes.registry import SCHEMES
from catid2.evaluation.table import read_recall
from workflow import ROOT, TINY_CONFIG


def test_leaves_every_table_and_no_temporary_file(tiny_run):
    results = tiny_run.folder / "results"
    recall = read_recall(results / "tiny_es" / "recall.tsv")
    kinds = dict(recall.select("method", "retriever").iter_rows())
    t5 = dict.fromkeys(("catid2", "tiger", "gradient", "fused"), "t5")
    assert kinds == t5 | {"light": "light"} | dict.fromkeys(("bm25", "dense", "dpr"), "none")
    assert set(recall["protocol"]) == {"seen", "all"}
    assert recall["recall@100"].is_between(0, 1).all()
    for name in ("locales.tsv", "tiny_es/figures/layers.svg"):
        assert (results / name).is_file()
    seen = recall.filter(protocol="seen", method="catid2")["recall@10"].item()
    assert f"catid2 in tiny_es {100 * seen:.2f}%" in (results / "report.html").read_text()
    # the methods from top to bottom, each with its metrics
    drawn = read_svg((results / "tiny_es" / "figures" / "recall.svg").read_text())
    for protocol, plot in zip(("seen", "all"), drawn.plots, strict=True):
        rows = recall.filter(protocol=protocol).select("^[a-z]+@[0-9]+$").rows()
        marks = sorted(plot.marks, key=lambda mark: mark.y)
        assert [plot.x.value(mark.x) for mark in marks] == pytest.approx(100 * np.ravel(rows), abs=0.01)
    left = [
        path
        for path in tiny_run.folder.rglob("*")
        if path.name.startswith((".tmp-", ".owner-")) or path.name == "checkpoints"
    ]
    assert [path for path in left if path.is_file() or any(path.iterdir())] == []


@pytest.mark.parametrize("method", ["catid2", "tiger", "gradient"])
def test_docids_are_unique_and_runs_hold_documents_of_the_corpus(tiny_run, method):
    folder = tiny_run.folder / "results" / "tiny_es"
    table = pq.read_table(folder / method / "seed0" / "docids.parquet").to_pydict()
    codes = np.array([table[name] for name in table if name.startswith("c_")]).T
    products = pq.read_table(
        folder / "corpus" / "products.parquet", columns=["doc_id", "product_id"]
    ).to_pydict()
    assert len(np.unique(codes, axis=0)) == len(codes)
    assert dict(zip(table["doc_id"], table["product_id"], strict=True)) == dict(
        zip(products["doc_id"], products["product_id"], strict=True)
    )
    run = pq.read_table(folder / method / "seed0" / "run.parquet").to_pydict()
    assert set(run["doc_id"]) <= set(products["doc_id"])
    pairs = list(zip(run["query_id"], run["doc_id"], strict=True))
    assert len(set(pairs)) == len(pairs)


def test_every_id_scheme_goes_the_whole_way_without_an_rqvae_of_its_own(tiny_run, tmp_path):
    project = tiny_run.copy(tmp_path / "copy")
    studies = yaml.safe_load((ROOT / "config" / "studies.yaml").read_text())["studies"]
    chains = {method: f"results/tiny_es/{method}/seed0" for method in studies["id_schemes"]["methods"]}
    docids = [f"{chain}/docids.parquet" for chain in chains.values()]
    project.snakemake(*docids, *TINY_CONFIG, "config/studies.yaml")
    kinds = set()
    for chain in chains.values():
        report = json.loads((project.folder / chain / "docids.json").read_text())
        kinds.add(report["scheme"])
        assert (project.folder / chain / "rqvae").exists() == (report["scheme"] == "rqvae")
        assert report["after"]["collisions"]["documents"] == 0
        if report["scheme"] != "rqvae":
            own, retriever = {"--docids": f"{chain}/docids.parquet"}, f"{chain}/retriever"
            short = own | settings("train_retriever", epochs=1) | {"--output": retriever}
            assert run_script("train_retriever", project.folder, short).code == 0
            places = own | {"--retriever": retriever, "--output": f"{chain}/run.parquet"}
            assert run_script("retrieve", project.folder, places).code == 0
            run = pl.read_parquet(project.folder / chain / "run.parquet")
            found = run.group_by("query_id").agg(pl.col("doc_id").n_unique())["doc_id"]
            assert len(found) > 10
            assert set(found) == {100}
    assert kinds == set(SCHEMES)
    table = pq.read_table(project.folder / chains["hi_gen"] / "docids.parquet").to_pydict()
    products = pq.read_table(project.folder / "results/tiny_es/corpus/products.parquet").to_pydict()
    spelt = {}
    for row, node in enumerate(products["category_id_3"]):
        spelt.setdefault(node, set()).add(tuple(table[f"c_{position}"][row] for position in range(3)))
    assert all(len(paths) == 1 for paths in spelt.values())
    assert len(set.union(*spelt.values())) == len(spelt)


def test_is_finished_and_stays_so(tiny_run):
    assert tiny_run.planned(*TINY_CONFIG) == set()


def test_snakemake_makes_its_own_report(tiny_run, tmp_path):
    project = tiny_run.copy(tmp_path / "copy")
    project.snakemake("--report", "snakemake-report.zip", *TINY_CONFIG)
    with ZipFile(project.folder / "snakemake-report.zip") as archive:
        assert "snakemake-report/report.html" in archive.namelist()
        held = {Path(name).name: archive.read(name) for name in archive.namelist()}
    for name in ("recall.svg", "layers.svg", "recall_geometry.svg"):
        assert held[name] == (project.folder / "results" / "tiny_es" / "figures" / name).read_bytes()


def test_a_cut_raw_file_is_one_line_and_leaves_no_corpus(tiny_run, tmp_path):
    project = tiny_run.copy(tmp_path / "copy")
    raw = next((project.folder / "resources" / "tiny").glob("*products.parquet"))
    raw.write_bytes(raw.read_bytes()[:-1000])
    shutil.rmtree(project.folder / "results" / "tiny_es" / "corpus")
    done = project.snakemake("results/tiny_es/corpus/stats.json", *TINY_CONFIG, check=False)
    assert done.returncode == 1
    log = (project.folder / "logs" / "tiny_es" / "build_corpus.log").read_text()
    errors = [line for line in log.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert raw.name in errors[0]
    assert "Traceback" not in log
    assert not list((project.folder / "results" / "tiny_es").glob("corpus/*"))
