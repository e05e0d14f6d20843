"""The files of jobs as plain functions tell them, without Snakemake. What whole jobs get is in test_plan.py."""

from pathlib import Path

import pytest
import yaml

from catid2.plan import files, tables
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError

VALUES = yaml.safe_load((Path(__file__).parent / "plan.yaml").read_text())
PLAN = Pipeline(VALUES, "plan.yaml")


def with_products(path: Path) -> Pipeline:
    """Return the configuration with other ESCI products."""
    sources = VALUES["sources"] | {"esci": {"kind": "esci", "products": str(path)}}
    return Pipeline(VALUES | {"sources": sources}, "plan.yaml")


def test_a_shared_stage_is_its_owners_and_one_that_a_method_has_not_is_none():
    assert files.of_stage(PLAN, "docids", "docids.parquet", "own", "light", "3") == [
        "results/own/catid2/seed3/docids.parquet"
    ]
    assert files.of_stage(PLAN, "retriever", "retriever", "own", "light", "3") == [
        "results/own/light/seed3/retriever"
    ]
    assert files.of_stage(PLAN, "rqvae", "rqvae/config.json", "own", "tagged", "3") == []
    assert files.of_stage(PLAN, "docids", "docids.parquet", "own", "bm25", "8") == []


def test_categories_are_the_corpuss_unless_the_method_makes_its_own():
    assert files.categories(PLAN, "own", "catid2", "8") == ["results/own/corpus/products.parquet"]
    assert files.categories(PLAN, "own", "clustered", "8") == ["results/own/clustered/seed8/taxonomy.parquet"]


def test_raw_files_are_the_users_only_where_the_configuration_names_them(tmp_path):
    path = tmp_path / "products.parquet"
    path.touch()
    [own] = files.raw_file(with_products(path), "products", "esci")
    assert (own, type(own)) == (str(path), files.OwnFile)
    for source in ("esci", "shop", "toys"):
        [made] = files.raw_file(PLAN, "products", source)
        assert made == f"resources/{source}/shopping_queries_dataset_products.parquet"
        assert type(made) is str


def test_a_table_in_parts_is_all_its_parts(tmp_path):
    for name in ("b.parquet", "a.parquet", "_SUCCESS"):
        (tmp_path / name).touch()
    parts = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    assert files.raw_file(with_products(tmp_path), "products", "esci") == parts


@pytest.mark.parametrize(
    ("name", "says"),
    [("none.parquet", "no file .*correct the path or drop the key"), ("{x}.parquet", "braces .*rename it")],
)
def test_a_path_that_cannot_be_read_is_named_with_its_place(name, says, tmp_path):
    with pytest.raises(InputError, match=rf"plan\.yaml: sources\.esci\.products: .*{says}"):
        files.raw_file(with_products(tmp_path / name), "products", "esci")


def test_what_a_catalogue_does_not_have_is_no_file():
    sources = VALUES["sources"]["shop"] | {"queries": None, "judgements": None}
    values = {key: value for key, value in VALUES.items() if key not in ("geometry", "efficiency")}
    values |= {"sources": {"shop": sources}, "datasets": {"own": {"source": "shop", "locale": "jp"}}}
    values["studies"] = {"recall": {"methods": ["catid2"]}}
    bare = Pipeline(values, "plan.yaml")
    assert files.own_path(bare, "queries", "shop") == files.own_file(bare, "queries", "shop") == []
    with pytest.raises(InputError, match=r"datasets\.own: nothing to evaluate, sources\.shop has no queries"):
        tables.runs(bare, "own", "recall")
    assert tables.everything(bare) == ["results/own/catid2/seed0/docids.parquet"]


def test_methods_that_share_docids_are_named_each_and_their_files_once():
    named = tables.named_docids(PLAN, "own", "recall")
    assert [name.split(":")[0] for name in named] == ["tiger", "tiger", "catid2", "catid2", "light", "light"]
    paths = [f"results/own/{owner}/seed{seed}/docids" for owner in ("catid2", "tiger") for seed in (3, 8)]
    expected = [f"{path}.{end}" for path in paths for end in ("json", "parquet")]
    assert tables.docids(PLAN, "own", "recall") == expected
