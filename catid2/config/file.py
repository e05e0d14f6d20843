"""The configuration file: sources, datasets, one default per stage, methods and studies; how it is read."""

from typing import Any

from pydantic import BaseModel, Field, model_validator

from catid2.config.base import StageConfig
from catid2.config.corpus import CorpusConfig
from catid2.config.efficiency import EfficiencyConfig
from catid2.config.embed import View
from catid2.config.entries import Dataset, DenseMethod, FuseMethod, GenerativeMethod, Method, Name, Study
from catid2.config.evaluate import EvaluateConfig
from catid2.config.fetch import FetchEsciConfig, FetchEsciSampleConfig, FetchEsciSConfig
from catid2.config.geometry import Geometry
from catid2.config.report import ReportConfig
from catid2.config.sources import CatalogueSource, EsciSampleSource, EsciSource, SimulatedSource, Source
from catid2.config.stages import Overrides, differs_by_seed, with_settings
from catid2.runtime.errors import InputError, did_you_mean


@with_settings
class _UpToMethods(BaseModel):
    """The first keys of a configuration file, down to the settings of the methods' stages, which come last."""

    model_config = StageConfig.model_config

    fetch_esci: FetchEsciConfig = Field(FetchEsciConfig(), description="rule fetch_esci")
    fetch_esci_s: FetchEsciSConfig = Field(FetchEsciSConfig(), description="rule fetch_esci_s")
    fetch_esci_sample: FetchEsciSampleConfig = Field(
        FetchEsciSampleConfig(), description="rule fetch_esci_sample"
    )
    sources: dict[Name, Source] = Field(description="where raw files come from")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="what results/{dataset} is made from")
    corpus: CorpusConfig = Field(CorpusConfig(), description="rule build_corpus")
    views: dict[Name, View] = Field(
        min_length=1,
        description="rules embed and embed_queries: each view is a text template and an encoder; no name may end in "
        "_queries",
    )
    view: Name = Field(description="the view of methods that name no other")


class PipelineConfig(_UpToMethods):
    """A configuration file."""

    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="rule evaluate")
    efficiency: EfficiencyConfig = Field(
        EfficiencyConfig(), description="rules measure_latency and summarize_efficiency"
    )
    geometry: Geometry = Field(
        Geometry(),
        description="rules measure_geometry and compare_geometry, for the studies that it names",
    )
    report: ReportConfig = Field(ReportConfig(), description="rule report_locales")
    methods: dict[Name, Method] = Field(min_length=1, description="what is compared")
    variants: dict[Name, Overrides] = Field(
        {},
        description="changes to generative methods, for studies that name the variant; METHOD with VARIANT is "
        "called METHOD-VARIANT",
    )
    studies: dict[Name, Study] = Field(min_length=1, description="tables; `recall` is the main one")

    @model_validator(mode="before")
    @classmethod
    def _methods_are_generative_unless_they_say_otherwise(cls, values: Any) -> Any:
        methods = values.get("methods") if isinstance(values, dict) else None
        if not isinstance(methods, dict):
            return values
        tagged = {
            name: {"search": "generative"} | method if isinstance(method, dict) else method
            for name, method in methods.items()
        }
        return values | {"methods": tagged}

    @model_validator(mode="after")
    def _names_exist(self) -> "PipelineConfig":
        def known(name: str, names: dict, place: str) -> None:
            if name not in names:
                hint = did_you_mean(name, names).strip()
                hint = f" ({hint})" if hint else ""
                raise ValueError(f"{place} names {name!r}, known are {', '.join(names)}{hint}")

        for key, source in self.sources.items():
            if not isinstance(source, EsciSource) and key in ("esci", "esci_s"):
                what = f"sources.{key} is of kind {source.kind}"
                raise ValueError(f"{what}, but that name is kept for the downloaded files")
        for view in self.views:
            if view.endswith("_queries"):
                raise ValueError(
                    f"views.{view}: names that end in _queries are kept for the queries' vectors"
                )
        known(self.view, self.views, "view")
        if self.report.metric not in self.evaluate.metrics:
            metrics = ", ".join(self.evaluate.metrics)
            raise ValueError(f"report.metric is {self.report.metric}, evaluate.metrics are {metrics}")
        known("recall", self.studies, "the report")
        known(self.efficiency.study, self.studies, "efficiency.study")
        if "efficiency" in self.studies:
            raise ValueError("studies.efficiency: that name is kept for the table of times")
        for key, dataset in self.datasets.items():
            known(dataset.source, self.sources, f"datasets.{key}.source")
            source = self.sources[dataset.source]
            if isinstance(source, SimulatedSource):
                known(dataset.locale, source.simulate.locales, f"datasets.{key}.locale")
            if isinstance(source, EsciSampleSource):
                known(dataset.locale, {"us": source}, f"datasets.{key}.locale")
            if isinstance(source, CatalogueSource):
                known(dataset.locale, {source.locale: source}, f"datasets.{key}.locale")
            for view in dataset.views:
                known(view, self.views, f"datasets.{key}.views")
        for key, method in self.methods.items():
            if isinstance(method, GenerativeMethod | DenseMethod) and method.view:
                known(method.view, self.views, f"methods.{key}.view")
            for run in method.runs if isinstance(method, FuseMethod) else ():
                known(run.method, self.methods, f"methods.{key}.runs")
                search = self.methods[run.method].search
                if search == "fuse":
                    what = f"methods.{key}.runs names {run.method!r}, which is fused itself"
                    raise ValueError(f"{what}; name the methods that it is fused from")
                if run.seed_offset and not differs_by_seed(search):
                    raise ValueError(f"methods.{key}.runs: seed_offset of {run.method!r}, which has no seed")
        for key, study in self.studies.items():
            if key == "layers" or key.endswith(("_grids", "_geometry", "_beyond_bm25")):
                what = (
                    "`layers` and names that end in _grids, _geometry or _beyond_bm25 are kept for other tables "
                    "and figures"
                )
                raise ValueError(f"studies.{key}: {what}")
            for method in study.methods:
                known(method, self.methods, f"studies.{key}.methods")
            for grid in study.grids:
                known(grid.method, self.methods, f"studies.{key}.grids")
            if study.variant:
                known(study.variant, self.variants, f"studies.{key}.variant")
            for dataset in study.datasets or []:
                known(dataset, self.datasets, f"studies.{key}.datasets")
                if not self.has_queries(dataset):
                    source = self.datasets[dataset].source
                    raise ValueError(
                        f"studies.{key}.datasets names {dataset!r}, but sources.{source} has no queries"
                    )
        for key in self.geometry.studies:
            known(key, self.studies, "geometry.studies")
            if not any(
                isinstance(self.methods[name], GenerativeMethod) for name in self.studies[key].methods
            ):
                raise ValueError(f"geometry.studies names {key!r}, but no method of that study has DocIDs")
        return self

    def has_queries(self, dataset: str) -> bool:
        """Return whether `dataset` has queries and judgements, which search and evaluation need."""
        source = self.sources[self.datasets[dataset].source]
        return not isinstance(source, CatalogueSource) or source.queries is not None


def read_settings(path: str) -> dict[str, Any]:
    """Return the mapping that the YAML file `path` holds.

    Raises:
        InputError: the file is missing or no YAML mapping.
    """
    import yaml

    # PyYAML makes numbers and dates of any text that has their tag or shape, and lets their errors through.
    not_yaml = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
    try:
        with open(path, encoding="utf-8") as file:
            values = yaml.safe_load(file)
    except FileNotFoundError:
        raise InputError(path, "no such file", "name an existing configuration file") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "name a configuration file") from None
    except not_yaml as error:
        raise InputError(path, f"not YAML ({error})", "correct the file") from None
    if not isinstance(values, dict):
        raise InputError(path, "not a mapping of keys", "see config/README.md")
    return values
