"""Configuration: overlays, shared stages, one-line errors, and documents that are in step."""

import copy
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from catid2.config import document
from catid2.config.base import parse
from catid2.config.entries import (
    Bm25Method,
    Dataset,
    DenseMethod,
    DualEncoderMethod,
    FuseMethod,
    GenerativeMethod,
)
from catid2.config.file import PipelineConfig, read_settings
from catid2.config.retriever import LightConfig, RetrieverConfig
from catid2.config.rqvae import RqvaeConfig
from catid2.config.stages import STAGES
from catid2.plan.comparison import comparison, require_own_report
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError

ROOT = Path(__file__).parent.parent
CONFIGS = [
    ["config.yaml"],
    ["demo.yaml"],
    ["demo.yaml", "baselines.yaml"],
    ["demo.yaml", "seeds.yaml"],
    ["demo.yaml", "light.yaml"],
    ["sample.yaml"],
    ["sample.yaml", "baselines.yaml"],
    ["sample.yaml", "seeds.yaml"],
    ["sample.yaml", "minilm.yaml"],
    ["sample.yaml", "evidence.yaml"],
    ["demo.yaml", "evidence.yaml", "evidence_demo.yaml"],
    ["sample.yaml", "studies.yaml", "studies_sample.yaml"],
    ["recipe.yaml", "candidates.yaml"],
    ["demo.yaml", "studies.yaml"],
    ["demo.yaml", "studies.yaml", "studies_demo.yaml"],
    ["config.yaml", "studies.yaml"],
]


def values(*names):
    """Return configuration files laid over each other, as Snakemake does."""

    def lay(base, changes):
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(base.get(key), dict)
            base[key] = lay(base[key], value) if both else value
        return base

    merged = {}
    for name in names:
        lay(merged, yaml.safe_load((ROOT / "config" / name).read_text()))
    return merged


@pytest.fixture
def demo():
    return values("demo.yaml")


@pytest.mark.parametrize("names", CONFIGS, ids="+".join)
def test_the_projects_configs_are_valid(names):
    pipeline = Pipeline(values(*names), "+".join(names))
    assert pipeline.runs("recall")


@pytest.mark.parametrize("method", ["catid2_paper_weights", "catid2_group_choices"])
def test_a_reading_of_the_paper_is_the_same_wherever_it_stands(method):
    paper, candidates = (values(name)["methods"][method] for name in ("config.yaml", "candidates.yaml"))
    assert paper == candidates


def test_the_default_weights_are_the_candidate_that_was_chosen():
    chosen = RqvaeConfig(**values("candidates.yaml")["methods"]["structured"]["rqvae"])
    assert chosen == RqvaeConfig()


def test_no_config_is_forgotten_here():
    known = {name for names in CONFIGS for name in names}
    assert known == {path.name for path in (ROOT / "config").glob("*.yaml")}


def test_schema_and_readme_are_written_from_the_models():
    remedy = "run `make document`"
    assert (ROOT / document.SCHEMA).read_text() == document.schema(), remedy
    assert (ROOT / document.README).read_text() == document.readme(), remedy


def test_every_key_is_described():
    def undescribed(name, definition):
        return [
            f"{name}.{key}" for key, field in definition["properties"].items() if not field.get("description")
        ]

    schema = document.PipelineConfig.model_json_schema()
    missing = undescribed("PipelineConfig", schema)
    for name, definition in schema["$defs"].items():
        missing += undescribed(name, definition)
    assert [key for key in missing if not key.endswith((".kind", ".search", ".source"))] == []


def test_method_goes_over_dataset_goes_over_default(demo):
    demo["rqvae"] = {"epochs": 30, "mu": 0.5, "beta": 0.1}
    demo["datasets"]["demo_es"]["rqvae"] = {"mu": 0.6, "beta": 0.2}
    demo["methods"] = {"one": {"rqvae": {"beta": 0.3}}}
    demo["studies"] = {"recall": {"methods": ["one"]}}
    pipeline = Pipeline(demo, "test")
    here, there = (pipeline.stage("rqvae", name, "one") for name in ("demo_es", "demo_us"))
    assert (here.epochs, here.mu, here.beta) == (30, 0.6, 0.3)
    assert (there.epochs, there.mu, there.beta) == (30, 0.5, 0.3)
    assert here.layers == RqvaeConfig().layers


def test_another_kind_replaces_a_mapping_whole(demo):
    demo["datasets"]["demo_es"]["views"] = {"text": {"encoder": {"kind": "hf", "model": "x"}}}
    pipeline = Pipeline(demo, "test")
    assert pipeline.view("demo_es", "text").encoder.kind == "hf"
    assert pipeline.view("demo_us", "text").encoder.kind == "tfidf_svd"


LIGHT = {"kind": "light", "epochs": 3}


def test_a_method_may_have_another_kind_of_retriever(demo):
    demo["datasets"]["demo_es"]["retriever"] = {"epochs": 7}
    demo["methods"] = {"t5": {}, "light": {"retriever": LIGHT}, "again": {"retriever": LIGHT | {"epochs": 4}}}
    demo["studies"] = {"recall": {"methods": list(demo["methods"])}}
    pipeline = Pipeline(demo, "test")
    t5, light, again = (pipeline.stage("retriever", "demo_es", name) for name in demo["methods"])
    assert (t5.kind, t5.epochs, t5.pretrained) == ("t5", 7, None)
    assert light == LightConfig(kind="light", epochs=3)  # nothing of T5's settings
    assert again.epochs == 4
    assert [pipeline.owner("docids", "demo_es", name) for name in demo["methods"]] == ["t5"] * 3
    assert [pipeline.owner("retriever", "demo_es", name) for name in demo["methods"]] == [*demo["methods"]]


def test_the_default_retriever_may_be_light(demo):
    demo["retriever"] = LIGHT
    demo["methods"] = {"one": {"retriever": {"d_model": 64}}, "t5": {"retriever": {"kind": "t5"}}}
    demo["studies"] = {"recall": {"methods": list(demo["methods"])}}
    pipeline = Pipeline(demo, "test")
    one, t5 = (pipeline.stage("retriever", "demo_us", name) for name in demo["methods"])
    assert one == LightConfig(kind="light", epochs=3, d_model=64)
    assert t5 == RetrieverConfig()


def test_a_method_shares_the_stages_in_which_it_agrees_with_an_earlier_one(demo):
    demo["methods"] = {
        "first": {},
        "other_ids": {"docids": {"repair": "digit"}},
        "other_search": {"retrieve": {"beams": 150}},
        "other_weights": {"rqvae": {"beta": 0.7}},
    }
    demo["studies"] = {"recall": {"methods": list(demo["methods"])}}
    pipeline = Pipeline(demo, "test")
    owners = {
        method: [pipeline.owner(stage, "demo_us", method) for stage in ("rqvae", "docids", "retriever")]
        for method in demo["methods"]
    }
    assert owners == {
        "first": ["first"] * 3,
        "other_ids": ["first", "other_ids", "other_ids"],
        "other_search": ["first"] * 3,
        "other_weights": ["other_weights"] * 3,
    }


def test_an_id_scheme_that_reads_no_rqvae_shares_and_hangs_on_none(demo):
    arbitrary = {"docids": {"scheme": {"kind": "random"}}}
    demo["methods"] = {
        "first": {},
        "one": arbitrary,
        "two": arbitrary | {"rqvae": {"beta": 0.7}},
        "larger": arbitrary | {"rqvae": {"codebook_size": 128}},
        "own": {"docids": {"scheme": {"kind": "random", "codebook_size": 7}}},
    }
    demo["studies"] = {"recall": {"methods": list(demo["methods"])}}
    pipeline = Pipeline(demo, "test")
    assert pipeline.chain("demo_us", "first") == ["rqvae", "docids", "retriever"]
    assert pipeline.chain("demo_us", "one") == ["docids", "retriever"]
    owners = {name: pipeline.owner("docids", "demo_us", name) for name in demo["methods"]}
    assert owners == {"first": "first", "one": "one", "two": "one", "larger": "larger", "own": "own"}
    schemes = [pipeline.stage("docids", "demo_us", name).scheme for name in ("one", "larger", "own")]
    assert [(scheme.layers, scheme.codebook_size) for scheme in schemes] == [(4, 64), (4, 128), (4, 7)]

    methods = {method.name: method for method in comparison(pipeline, "recall").datasets[0].methods}
    assert (methods["one"].rqvae, methods["two"].docids) == (None, "one")
    assert (
        methods["two"].changes
        == methods["one"].changes
        == {
            "docids.scheme.kind": "random",
            "docids.scheme.layers": 4,
            "docids.scheme.codebook_size": 64,
        }
    )


def test_the_schemes_of_the_studies_share_all_but_the_ids(demo):
    pipeline = Pipeline(values("demo.yaml", "studies.yaml"), "test")
    for name in pipeline.config.studies["id_schemes"].methods:
        assert pipeline.stage("retriever", "demo_us", name) == pipeline.stage(
            "retriever", "demo_us", "catid2"
        )
        assert pipeline.stage("retrieve", "demo_us", name) == pipeline.stage("retrieve", "demo_us", "catid2")
    shared = [
        name
        for name in pipeline.config.studies["ablation"].methods
        if name not in ("three_losses", "wo_repair")
    ]
    assert all(pipeline.owner("rqvae", "demo_us", name) == name for name in shared)
    assert pipeline.owner("rqvae", "demo_us", "wo_repair") == "three_losses"


def test_a_method_without_training_runs_once(demo):
    demo["studies"]["recall"] = {"methods": ["catid2", "bm25"], "seeds": [3, 4]}
    assert Pipeline(demo, "test").runs("recall") == [("catid2", 3), ("catid2", 4), ("bm25", 3)]


def test_comparison_names_what_differs(demo):
    compared = comparison(Pipeline(demo, "test"), "recall")
    methods = {method.name: method for method in compared.datasets[0].methods}
    assert methods["tiger"].changes["docids.repair"] == "digit"
    assert compared.defaults["docids.repair"] == "transport"
    assert methods["bm25"].docids is None
    assert compared.datasets[0].simulated


def set_in(tree, path, value):
    tree = copy.deepcopy(tree)
    *parents, last = path.split(".")
    node = tree
    for key in parents:
        node = node[key]
    node[last] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "rqvae.bta",
            1,
            ["unknown key 'rqvae.bta'", "did you mean 'beta'?", "allowed keys: align_to, allow_levels"],
        ),
        ("methods.catid2", {"rqvea": {}}, ["unknown key 'methods.catid2.rqvea'", "did you mean 'rqvae'?"]),
        (
            "methods.catid2",
            {"rqvae": {"bta": 1}},
            ["methods.catid2", "unknown key 'bta'", "did you mean 'beta'?"],
        ),
        ("methods.catid2", {"search": "sparse"}, ["'methods.catid2'", "'bm25'", "'generative'", "'dense'"]),
        ("rqvae.levels", 4, ["levels (4) must be below layers (4)"]),
        ("rqvae.epochs", "many", ["'rqvae.epochs'", "integer", "'many'"]),
        ("datasets.demo_us.locale", "fr", ["'datasets.demo_us.locale'", "'us', 'es' or 'jp'", "'fr'"]),
        ("datasets.demo_us.source", "nowhere", ["datasets.demo_us.source names 'nowhere'", "known are demo"]),
        (
            "datasets.demo_us.corpus",
            {"levls": 2},
            ["datasets.demo_us", "unknown key 'levls'", "did you mean 'levels'?"],
        ),
        ("views.text.encoder", {"kind": "bert"}, ["'views.text.encoder'", "'hf'", "'tfidf_svd'"]),
        ("retriever.pretrained", "", ["'retriever", "pretrained'", "at least 1"]),
        ("views.text.template", "{titel}", ["'views.text.template'", "titel"]),
        ("view", "picture", ["view names 'picture'"]),
        ("studies.recall", {"methods": []}, ["'studies.recall.methods'", "at least 1"]),
        ("studies.recall", {"methods": ["catid3"]}, ["'catid3'", "known are catid2"]),
        (
            "retrieve",
            {"rank_below_level": 4},
            ["methods.catid2", "rank_below_level is 4", "below layers (4)"],
        ),
        ("views.text_queries", {}, ["views.text_queries", "end in _queries are kept"]),
        ("retriever.kind", "lite", ["'retriever'", "'t5', 'light'"]),
        (
            "retriever",
            {"kind": "light", "small": {}},
            ["unknown key 'retriever.small'", "allowed keys: batch_size"],
        ),
        ("methods.catid2", {"retriever": {"d_model": 64}}, ["methods.catid2", "unknown key 'd_model'"]),
        (
            "methods.catid2",
            {"retriever": {"kind": "light", "depth": 2}},
            ["methods.catid2", "unknown key 'depth'", "d_model"],
        ),
        (
            "methods.catid2",
            {"docids": {"scheme": {"kind": "random", "branches": 3}}},
            ["unknown key 'scheme.branches'", "codebook_size, kind, layers"],
        ),
        ("docids", {"scheme": {"kind": "kmeans"}}, ["'docids.scheme'", "'hierarchical_kmeans'"]),
        ("docids", {"allow_collisions": True}, ["allow_collisions", "cannot be searched"]),
        ("geometry", {"studies": ["recal"]}, ["geometry.studies names 'recal'", "known are recall"]),
        ("sources.demo.simulate", {"locales": {"us": {"products": 1}}}, ["sources.demo.simulate", "100"]),
    ],
)
def test_a_wrong_value_is_one_line(demo, path, value, words):
    with pytest.raises(InputError) as caught:
        Pipeline(set_in(demo, path, value), "some.yaml")
    message = str(caught.value)
    assert message.startswith("some.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_files_that_hold_no_configuration(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(InputError, match="no such file"):
        read_settings(str(path))
    path.write_text("a: [1")
    with pytest.raises(InputError, match="not YAML"):
        read_settings(str(path))
    path.write_text("- 1")
    with pytest.raises(InputError, match="not a mapping"):
        read_settings(str(path))


def test_a_stage_reads_its_settings_from_json():
    assert parse(RqvaeConfig, '{"beta": 0.5}').beta == 0.5
    for text in ("{", '{"betta": 1}', "[]"):
        with pytest.raises(InputError, match="--config"):
            parse(RqvaeConfig, text)


def test_a_stage_is_a_key_of_the_file_of_datasets_and_of_the_methods_that_run_through_it():
    methods = (GenerativeMethod, Bm25Method, DenseMethod, DualEncoderMethod, FuseMethod)
    for name, stage in STAGES.items():
        assert PipelineConfig.model_fields[name].description
        assert name in Dataset.model_fields
        found = {
            get_args(model.model_fields["search"].annotation)[0]
            for model in methods
            if name in model.model_fields
        }
        assert found == set(stage.searches)


def test_constraints_are_exact_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+", line) for line in pins)
    assert "torch==2.13.0" in pins


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corpus.levels": 2}, ["rqvae.levels of catid2 is 3", "2 category levels"]),
        (
            {"methods.bm25": {"docids": {"scheme": {"kind": "category", "levels": 4}}}},
            ["docids.scheme.levels of bm25 is 4", "3 category levels"],
        ),
        (
            {"evaluate": {"metrics": ["recall@5", "ndcg@10"]}},
            ["report.metric is recall@10", "recall@5, ndcg@10"],
        ),
        (
            {"evaluate": {"labels": ["ESC"]}, "corpus": {"labels": ["E", "S"], "seen_labels": ["E"]}},
            ["asks for C"],
        ),
        ({"studies.recall": {"methods": ["catid2", "catid2"]}}, ["names something twice"]),
        (
            {"sources.demo.simulate": {"locales": {"us": {}}}},
            ["datasets.demo_es.locale names 'es'", "known are us"],
        ),
        ({"sources.demo": {"kind": "esci_sample"}}, ["datasets.demo_es.locale names 'es'", "known are us"]),
        ({"sources.esci": {"kind": "simulated"}}, ["kept for the downloaded files"]),
        (
            {"studies.words": {"methods": ["bm25"]}, "geometry": {"studies": ["words"]}},
            ["geometry.studies names 'words'", "has DocIDs"],
        ),
        (
            {"studies.recall_geometry": {"methods": ["catid2"]}, "geometry": {"studies": ["recall"]}},
            ["studies.recall_geometry", "names that end in _grids, _geometry or _beyond_bm25 are kept"],
        ),
        ({"rqvae.alpha": float("inf")}, ["'rqvae.alpha'", "finite"]),
    ],
)
def test_contradictions_are_found_before_any_job(demo, changes, words):
    demo.setdefault("corpus", {})
    for path, value in changes.items():
        demo = set_in(demo, path, value)
    with pytest.raises(InputError) as caught:
        Pipeline(demo, "some.yaml")
    for word in words:
        assert word in str(caught.value)


def test_the_report_claims_no_checksum_of_files_that_were_not_checked():
    paper = values("config.yaml")
    paper["sources"]["mine"] = {"kind": "esci", "examples": "e.parquet", "products": "p.parquet"}
    paper["datasets"] = {
        "esci_us": paper["datasets"]["esci_us"],
        "mine_us": {"source": "mine", "locale": "us"},
    }
    downloaded, own = comparison(Pipeline(paper, "test"), "recall").datasets
    assert downloaded.inputs["resources/esci/shopping_queries_dataset_examples.parquet"].startswith(
        "sha256 4a735b69"
    )
    assert "no checksum known" in own.inputs["e.parquet"]


# --- whose report it is


def test_a_report_of_other_datasets_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = Pipeline(values("demo.yaml"), "mine.yaml")
    table = Path("results/locales.tsv")
    require_own_report(demo, str(table))  # there is none yet
    table.parent.mkdir()
    for rows in (
        "",
        "demo_us\tus\ndemo_us\tus\n",
    ):  # cut short, or of a dataset that is this configuration's too
        table.write_text(f"# recall@k: a share\ndataset\tlocale\n{rows}")
        require_own_report(demo, str(table))
    table.write_text("# recall@k: a share\ndataset\tlocale\ndemo_us\tus\nshop\tus\nshop\tus\nother\tes\n")
    with pytest.raises(InputError) as caught:
        require_own_report(demo, str(table))
    assert str(caught.value) == (
        "results/locales.tsv: compares shop, other, which mine.yaml does not have; set report.folder in mine.yaml, or "
        "remove results/locales.tsv and results/report.html"
    )


@pytest.mark.parametrize(
    "folder", ["/tmp", "results/..", "results/", "results/{dataset}", "elsewhere", "results/a b"]
)
def test_a_report_lies_below_results(folder):
    with pytest.raises(InputError, match=r"report\.folder"):
        Pipeline(values("demo.yaml") | {"report": {"folder": folder}}, "test")
