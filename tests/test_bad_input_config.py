"""Broken settings: any value in any key of any stage is legal or one line; broken YAML; names that are no names."""

import copy
import json
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from catid2.config.base import StageConfig, parse
from catid2.config.bm25 import Bm25Config
from catid2.config.catalogue import CatalogueConfig
from catid2.config.corpus import CorpusConfig
from catid2.config.dense import DenseConfig
from catid2.config.docids import DocidsConfig
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.config.efficiency import EfficiencyConfig
from catid2.config.embed import ViewConfig
from catid2.config.evaluate import EvaluateConfig
from catid2.config.fetch import FetchEsciConfig, FetchEsciSampleConfig, FetchEsciSConfig
from catid2.config.file import read_settings
from catid2.config.fuse import FuseConfig
from catid2.config.geometry import GeometryConfig
from catid2.config.report import ReportConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.config.retriever import LightConfig, RetrieverConfig
from catid2.config.rqvae import RqvaeConfig
from catid2.config.simulate import SimulateConfig
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError
from workflow import ROOT

STAGES = (
    Bm25Config,
    CatalogueConfig,
    CorpusConfig,
    DenseConfig,
    DocidsConfig,
    DualEncoderConfig,
    EfficiencyConfig,
    EvaluateConfig,
    FetchEsciConfig,
    FetchEsciSampleConfig,
    FetchEsciSConfig,
    FuseConfig,
    GeometryConfig,
    LightConfig,
    ReportConfig,
    RetrieveConfig,
    RetrieverConfig,
    RqvaeConfig,
    SimulateConfig,
    ViewConfig,
)
HOSTILE = [
    math.nan,
    math.inf,
    -math.inf,
    -1,
    0,
    10**30,
    1e308,
    True,
    None,
    "1",
    "",
    "\x00",
    [],
    {},
    [[]],
    {"a": {}},
]
WORDS = ["x" * 10_000, "é\u2028\n", "__class__", "../..", "{title!r}"]


def places(model: type[StageConfig], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key of a model and of the models in it."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        kinds = [field.annotation]
        while kinds:
            kind = kinds.pop()
            if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
                if issubclass(kind, StageConfig) and not typing.get_origin(field.annotation):
                    yield from places(kind, (*above, name))
            else:
                kinds += typing.get_args(kind)


def with_value(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return nested settings that hold one value."""
    for name in reversed(place):
        value = {name: value}
    return value


@pytest.mark.parametrize("model", STAGES)
def test_any_value_in_any_key_is_legal_or_one_line(model):
    lines = []
    for place in places(model):
        for value in [*HOSTILE, *WORDS]:
            try:
                config = parse(model, json.dumps(with_value(place, value)))
            except InputError as error:
                lines.append(str(error))
            else:
                text = config.model_dump_json()
                assert "NaN" not in text, place
                assert "Infinity" not in text, place
    assert len(lines) > 10
    for line in lines:
        assert line.startswith("--config: ")
        assert "\n" not in line
        assert len(line) < 1500


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[1]",
        "null",
        "7",
        '"x"',
        "NaN",
        "",
        "\x00",
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        '{"seed": 1' + "0" * 5000 + "}",
    ],
)
def test_settings_that_are_no_json_object(value):
    with pytest.raises(InputError, match=r"^--config: .+; .+$"):
        parse(RqvaeConfig, value)


# --- the file ---------------------------------------------------------------------------------------

TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text(encoding="utf-8"))


def edited(path: str, value: Any) -> dict[str, Any]:
    """Return the tiny configuration with one value changed; `...` removes the key."""
    values = copy.deepcopy(TINY)
    *above, last = path.split("/")
    inner = values
    for key in above:
        inner = inner.setdefault(key, {})
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("rqvea", {}, "unknown key 'rqvea'.*did you mean 'rqvae'"),
        ("rqvae/epoch", 3, "unknown key 'rqvae.epoch'.*did you mean 'epochs'"),
        ("retriever/small/heads", 3, "unknown key 'retriever.small.heads'"),
        (
            "methods/tiger/rqvae/alpa",
            0,
            "rqvae of datasets.tiny_es with methods.tiger: unknown key 'alpa'.*'alpha'",
        ),
        ("methods/tiger/rqvea", {}, "unknown key 'methods.tiger.rqvea'"),
        ("datasets/tiny_es/local", "es", "unknown key 'datasets.tiny_es.local'.*'locale'"),
        ("studies/recall/method", [], "unknown key 'studies.recall.method'.*'methods'"),
        (
            "sources/tiny/simulate/locales/es/product",
            1,
            "unknown key 'sources.tiny.simulate.locales.es.product'",
        ),
        ("views/text/encoder/dim", 1, "unknown key 'views.text.encoder.dim'.*'dims'"),
        ("sources", ..., "missing key 'sources'"),
        ("datasets/tiny_es/source", "tyni", "names 'tyni', known are tiny"),
        ("datasets/tiny_es/locale", "us", "datasets.tiny_es.locale names 'us', known are es;"),
        ("datasets/tiny_es/locale", "de", "'us', 'es' or 'jp'"),
        ("view", "Txt", r"view names 'Txt', known are text, .* \(did you mean 'text'\?\)"),
        ("methods/tiger/view", "txt", "methods.tiger.view names 'txt'"),
        ("methods/tiger/search", "lexical", "'generative', 'bm25'"),
        ("methods/bm25/rqvae", {}, "unknown key 'methods.bm25.rqvae'"),
        ("methods/tiger", None, "methods.tiger"),
        ("methods", {}, "methods"),
        (
            "studies/recall/methods",
            ["catid3"],
            "studies.recall.methods names 'catid3', known are catid2, tiger",
        ),
        ("studies/recall/methods", ["tiger", "tiger"], "methods names something twice: tiger"),
        ("studies/recall/datasets", ["x"], "studies.recall.datasets names 'x'"),
        ("studies/recall/seeds", [-1], "greater than or equal to 0, got -1"),
        ("studies/recall/seeds", [2**32], "less than or equal to 4294967295"),
        ("studies/recall/seeds", [0.5], "valid integer"),
        ("studies/recall/seeds", [], "at least 1 item"),
        (
            "sources/amazon",
            {"kind": "esci", "examples": ""},
            "key 'sources.amazon.examples'.*at least 1 character, got ''",
        ),
        ("sources/tiny/seed", -1, "key 'sources.tiny.seed'"),
        ("sources/tiny/kind", "csv", "'esci', 'esci_sample', 'simulated', 'catalogue'"),
        ("datasets/a b", {"source": "tiny", "locale": "es"}, "datasets.a b"),
        ("datasets/..", {"source": "tiny", "locale": "es"}, "pattern"),
        ("methods/a\\b", {}, "pattern"),
        ("views/tex\nt", {}, "pattern"),
        ("rqvae/epochs", 0, "key 'rqvae.epochs'.*greater than or equal to 1"),
        ("rqvae/codebook_size", 1, "key 'rqvae.codebook_size'.*greater than or equal to 2"),
        ("rqvae/alpha", -0.1, "key 'rqvae.alpha'.*greater than or equal to 0"),
        ("rqvae/hccl_temperature", 0, "key 'rqvae.hccl_temperature'.*greater than 0"),
        ("rqvae/beta", math.nan, "key 'rqvae.beta'.*finite number, got nan"),
        ("rqvae/learning_rate", math.inf, "key 'rqvae.learning_rate'.*finite number, got inf"),
        ("methods/tiger/rqvae/alpha", math.nan, "key 'alpha'.*finite number, got nan"),
        ("rqvae/layers", 3, r"levels \(3\) must be below layers \(3\)"),
        ("corpus/levels", 2, "rqvae.levels of catid2 is 3, but the corpus has 2 category levels"),
        ("corpus/labels", ["E", "I", "C"], "corpus.*S"),
        ("evaluate/labels", ["EX"], "pattern"),
        (
            "evaluate/metrics",
            ["recall@10", "mrr@10"],
            r"key 'evaluate.metrics.1'.*recall\|ndcg.*, got 'mrr@10'",
        ),
        ("report/metric", "recall@7", "report.metric is recall@7, evaluate.metrics are recall@5, recall@10"),
        ("retrieve/beams", 10, "10 beams cannot give top_k 100"),
        ("retrieve/rank_below_level", 4, "rank_below_level is 4"),
        ("docids/allow_collisions", True, "cannot be searched"),
        ("retriever/tasks", [], "one query task"),
        ("views/text/template", "{nmae}", "unknown template field 'nmae'"),
        ("views/text/template", "{title", "views.text.template"),
    ],
)
def test_a_wrong_key_or_value_is_named(path, value, says):
    with pytest.raises(InputError, match=says) as caught:
        Pipeline(edited(path, value), "config/mine.yaml")
    assert str(caught.value).startswith("config/mine.yaml: ")
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a mapping"),
        (b"- a\n- b\n", "not a mapping"),
        (b"7\n", "not a mapping"),
        (b"a: [1, 2\nb: 3\n", "not YAML .*line 2"),
        (b"a:\n\t- b\n", "not YAML .*line 2"),
        (b"a: \xff\xfe\n", "not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"a: !!python/object/apply:os.system [ls]\n", "not YAML"),
        (b"&a [*a]\n", "not a mapping"),
        (b"a: &a\n  b: *a\n", "missing key 'sources'"),
        (b"1: 2\n", "mine.yaml"),
        (b"[" * 100_000, "not YAML"),
        (b"a: 2024-13-45\n", "not YAML .*month"),
        (b"a: 1" + b"0" * 5000 + b"\n", "not YAML .*digits"),
        (b"a: !!int x\n", "not YAML"),
        (b"a: !!int ''\n", "not YAML"),
        (b"a: !!bool x\n", "not YAML"),
        (b"a: !!timestamp x\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_configuration(content, says, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        Pipeline(read_settings(str(path)), str(path))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_stage_is_tried():
    models = {
        model
        for path in (ROOT / "catid2" / "config").glob("*.py")
        for model in vars(__import__(f"catid2.config.{Path(path).stem}", fromlist=["x"])).values()
        if isinstance(model, type)
        and issubclass(model, pydantic.BaseModel)
        and model.__name__.endswith("Config")
    }
    assert {model.__name__ for model in models} - {model.__name__ for model in STAGES} == {
        "StageConfig",
        "PipelineConfig",
    }
