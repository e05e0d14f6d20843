"""The whole configuration file: sources, datasets, one default per stage, methods and studies.

A method is an entry that says what differs from the defaults; a dataset may differ too. What a stage of
(dataset, method) runs with is the default, overlaid with the dataset's keys, overlaid with the method's.
"""

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from catid2.config.base import LARGEST_SEED, StageConfig, validate
from catid2.config.bm25 import Bm25Config
from catid2.config.catalogue import CatalogueConfig
from catid2.config.corpus import CorpusConfig
from catid2.config.dense import DenseConfig
from catid2.config.docids import DocidsConfig
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.config.efficiency import EfficiencyConfig
from catid2.config.embed import View
from catid2.config.evaluate import EvaluateConfig
from catid2.config.fetch import FetchEsciConfig, FetchEsciSConfig
from catid2.config.geometry import Geometry
from catid2.config.grids import Grid, GridPoints, GridSummary, nested
from catid2.config.report import ReportConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.config.retriever import AnyRetriever, RetrieverConfig
from catid2.config.rqvae import RqvaeConfig
from catid2.config.simulate import SimulateConfig
from catid2.config.taxonomy import AnyTaxonomy, GivenTaxonomy, MadeTaxonomy
from catid2.errors import InputError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Locale = Literal["us", "es", "jp"]
OwnFile = Annotated[str, Field(pattern=r"\.(parquet|csv)$")]
Overrides = dict[str, Any]


class EsciSource(StageConfig):
    """Amazon's files. Those at their default path are downloaded when missing; another path must exist."""

    kind: Literal["esci"]
    examples: str = Field(
        "resources/esci/shopping_queries_dataset_examples.parquet", description="ESCI judgements, parquet"
    )
    products: str = Field(
        "resources/esci/shopping_queries_dataset_products.parquet", description="ESCI products, parquet"
    )
    esci_s: str = Field("resources/esci_s/esci.json.zst", description="ESCI-S records, zstd JSON lines")


class SimulatedSource(StageConfig):
    """ESCI-shaped files made by catid2.simulate: they prove the machinery, not the paper's figures."""

    kind: Literal["simulated"]
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the simulation")
    simulate: SimulateConfig = Field(SimulateConfig(), description="sizes and shares")


class CatalogueSource(CatalogueConfig):
    """Files of one's own, parquet or CSV, as docs/catalogue.md describes them; all keys but these go to the import."""

    kind: Literal["catalogue"]
    locale: Locale = Field(
        "us",
        description="locale of the datasets made from it, a name for the language (us: English); tokenisers and "
        "encoders are chosen in `bm25` and `views`",
    )
    products: OwnFile = Field(description="products, one a row")
    queries: OwnFile | None = Field(
        None,
        description="queries, one a row; null, with `judgements`: DocIDs only, nothing to search or evaluate",
    )
    judgements: OwnFile | None = Field(None, description="judgements, a query and a product a row")

    def importing(self) -> str:
        """Return what import_catalogue runs with, as JSON."""
        return self.model_dump_json(include=set(CatalogueConfig.model_fields))

    @model_validator(mode="after")
    def _queries_are_judged(self) -> "CatalogueSource":
        if (self.queries is None) != (self.judgements is None):
            raise ValueError("queries and judgements: one is given without the other; name both or neither")
        return self


Source = Annotated[EsciSource | SimulatedSource | CatalogueSource, Field(discriminator="kind")]


class Dataset(StageConfig):
    """One locale of a source; further keys replace stage defaults for this dataset alone."""

    source: Name = Field(description="a key of `sources`")
    locale: Locale = Field(description="product_locale of its queries and products")
    corpus: Overrides = Field({}, description="keys of `corpus` that differ here")
    views: dict[Name, Overrides] = Field({}, description="keys of `views` that differ here, by view")
    taxonomy: Overrides = Field({}, description="keys of `taxonomy` that differ here")
    rqvae: Overrides = Field({}, description="keys of `rqvae` that differ here")
    docids: Overrides = Field({}, description="keys of `docids` that differ here")
    retriever: Overrides = Field({}, description="keys of `retriever` that differ here")
    retrieve: Overrides = Field({}, description="keys of `retrieve` that differ here")
    bm25: Overrides = Field({}, description="keys of `bm25` that differ here")
    dual_encoder: Overrides = Field({}, description="keys of `dual_encoder` that differ here")
    dense: Overrides = Field({}, description="keys of `dense` that differ here")


class GenerativeMethod(StageConfig):
    """DocIDs from an ID scheme, a generative retriever, constrained beam search."""

    search: Literal["generative"] = "generative"
    view: Name | None = Field(
        None, description="embedding view that the ID scheme reads; null: the default `view`"
    )
    taxonomy: Overrides = Field({}, description="keys of `taxonomy` that differ in this method")
    rqvae: Overrides = Field(
        {},
        description="keys of `rqvae` that differ in this method; of no effect where `docids.scheme` trains none",
    )
    docids: Overrides = Field({}, description="keys of `docids` that differ in this method")
    retriever: Overrides = Field({}, description="keys of `retriever` that differ in this method")
    retrieve: Overrides = Field({}, description="keys of `retrieve` that differ in this method")


class Bm25Method(StageConfig):
    """Lexical search; needs no DocIDs and has no seed."""

    search: Literal["bm25"]
    bm25: Overrides = Field({}, description="keys of `bm25` that differ in this method")


class DenseMethod(StageConfig):
    """Exact search by inner product in a view; nothing is trained and there is no seed."""

    search: Literal["dense"]
    view: Name | None = Field(
        None, description="embedding view of documents and queries; null: the default `view`"
    )
    dense: Overrides = Field({}, description="keys of `dense` that differ in this method")


class DualEncoderMethod(StageConfig):
    """Exact search by inner product of an encoder fine-tuned on the train queries (DPR)."""

    search: Literal["dual_encoder"]
    dual_encoder: Overrides = Field({}, description="keys of `dual_encoder` that differ in this method")
    dense: Overrides = Field({}, description="keys of `dense` that differ in this method")


Method = Annotated[
    GenerativeMethod | Bm25Method | DenseMethod | DualEncoderMethod, Field(discriminator="search")
]


class Study(StageConfig):
    """Methods compared in one table, results/{dataset}/{study}.tsv; significance is against the first."""

    methods: list[Name] = Field(min_length=1, description="keys of `methods`, the reference first")
    seeds: list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = Field(
        [0], min_length=1, description="one training run per seed"
    )
    datasets: list[Name] | None = Field(None, min_length=1, description="keys of `datasets`; null: all")
    grids: list[Grid] = Field(
        [], description="settings to vary; each point is compared as a method of its own"
    )
    variant: Name | None = Field(
        None, description="a key of `variants`: generative methods and grids are compared with its changes"
    )

    @model_validator(mode="after")
    def _once_each(self) -> "Study":
        for key in ("methods", "seeds", "datasets"):
            values = getattr(self, key) or []
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {', '.join(map(str, values))}")
        return self

    def variant_end(self) -> str:
        """Return what the variant adds to the name of a method."""
        return f"-{self.variant}" if self.variant else ""


class PipelineConfig(BaseModel):
    """A configuration file."""

    model_config = StageConfig.model_config

    fetch_esci: FetchEsciConfig = Field(FetchEsciConfig(), description="rule fetch_esci")
    fetch_esci_s: FetchEsciSConfig = Field(FetchEsciSConfig(), description="rule fetch_esci_s")
    sources: dict[Name, Source] = Field(description="where raw files come from")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="what results/{dataset} is made from")
    corpus: CorpusConfig = Field(CorpusConfig(), description="rule build_corpus")
    views: dict[Name, View] = Field(
        min_length=1,
        description="rules embed and embed_queries: a text template and an encoder each; no name ends in _queries",
    )
    view: Name = Field(description="the view that methods use unless they name another")
    taxonomy: AnyTaxonomy = Field(
        GivenTaxonomy(),
        description="the categories that ID schemes learn from; `kind: given` are those of the corpus, others are "
        "made by rule make_taxonomy. Texts (`views`, the retriever's documents) have the corpus's either way.",
    )
    rqvae: RqvaeConfig = Field(RqvaeConfig(), description="rule train_rqvae")
    docids: DocidsConfig = Field(DocidsConfig(), description="rule assign_docids")
    retriever: AnyRetriever = Field(
        RetrieverConfig(),
        description="rule train_retriever; `kind: t5` (unless it says otherwise) or `kind: light`",
    )
    retrieve: RetrieveConfig = Field(RetrieveConfig(), description="rule retrieve")
    bm25: Bm25Config = Field(Bm25Config(), description="rule search_bm25")
    dual_encoder: DualEncoderConfig = Field(DualEncoderConfig(), description="rule train_dual_encoder")
    dense: DenseConfig = Field(DenseConfig(), description="rule search_dense")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="rule evaluate")
    efficiency: EfficiencyConfig = Field(
        EfficiencyConfig(), description="rules measure_latency and summarize_efficiency"
    )
    geometry: Geometry = Field(
        Geometry(),
        description="rules measure_geometry and compare_geometry; for no study unless it names some",
    )
    report: ReportConfig = Field(ReportConfig(), description="rule report_locales")
    methods: dict[Name, Method] = Field(min_length=1, description="what is compared")
    variants: dict[Name, Overrides] = Field(
        {},
        description="changes to generative methods that a study can ask for; METHOD with VARIANT is METHOD-VARIANT",
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
                raise ValueError(f"{place} names {name!r}, known are {', '.join(names)}")

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
        if self.report.cutoff not in self.evaluate.cutoffs:
            cutoffs = ", ".join(map(str, self.evaluate.cutoffs))
            raise ValueError(f"report.cutoff is {self.report.cutoff}, evaluate.cutoffs are {cutoffs}")
        known("recall", self.studies, "the report")
        known(self.efficiency.study, self.studies, "efficiency.study")
        if "efficiency" in self.studies:
            raise ValueError("studies.efficiency: that name is kept for the table of times")
        for key, dataset in self.datasets.items():
            known(dataset.source, self.sources, f"datasets.{key}.source")
            source = self.sources[dataset.source]
            if isinstance(source, SimulatedSource):
                known(dataset.locale, source.simulate.locales, f"datasets.{key}.locale")
            if isinstance(source, CatalogueSource):
                known(dataset.locale, {source.locale: source}, f"datasets.{key}.locale")
            for view in dataset.views:
                known(view, self.views, f"datasets.{key}.views")
        for key, method in self.methods.items():
            if isinstance(method, GenerativeMethod | DenseMethod) and method.view:
                known(method.view, self.views, f"methods.{key}.view")
        for key, study in self.studies.items():
            if key == "layers" or key.endswith(("_grids", "_geometry")):
                what = (
                    "`layers` and names that end in _grids or _geometry are kept for other tables and figures"
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
        """Return whether `dataset` has queries and judgements, so that something can be searched for and evaluated."""
        source = self.sources[self.datasets[dataset].source]
        return not isinstance(source, CatalogueSource) or source.queries is not None


METHOD_STAGES: dict[str, type[StageConfig]] = {
    "taxonomy": AnyTaxonomy,
    "rqvae": RqvaeConfig,
    "docids": DocidsConfig,
    "retriever": AnyRetriever,
    "retrieve": RetrieveConfig,
    "bm25": Bm25Config,
    "dual_encoder": DualEncoderConfig,
    "dense": DenseConfig,
}
CHAIN = (
    "taxonomy",
    "rqvae",
    "docids",
    "retriever",
)  # stages whose results methods can share, each built on the one before


class Pipeline:
    """A valid configuration, and what each stage of each dataset and method runs with."""

    def __init__(self, values: dict[str, Any], where: str):
        """Validate `values`, the content of the file(s) `where`, for every dataset and method.

        Raises:
            InputError: a misspelt key, an impossible value or an unknown name.
        """
        self.where = where
        written = validate(PipelineConfig, values, where)
        self._bases = {
            name
            for study in written.studies.values()
            for name in (*study.methods, *(grid.method for grid in study.grids))
        }
        self.config = self._with_points(written)
        for dataset in self.config.datasets:
            self.corpus(dataset)
            for view in self.config.views:
                self.view(dataset, view)
            for method in self.config.methods:
                for stage in self.stages(method):
                    self.stage(stage, dataset, method)
            self._check_corpus(dataset)
            for method in self._used(dataset):
                self._check_search(dataset, method)

    def _with_points(self, config: PipelineConfig) -> PipelineConfig:
        """Return the configuration with the studies' variants and the points of their grids among the methods."""
        methods, studies = dict(config.methods), {}

        def add(name: str, base: str, changes: Overrides, where: str) -> str:
            entry = config.methods[base]
            entry = validate(type(entry), _merge(_as_dict(entry), changes), f"{self.where}: {where}: {name}")
            if methods.setdefault(name, entry) != entry:
                what = f"two methods of different settings are named {name}"
                raise InputError(f"{self.where}: {where}", what, "rename one")
            return name

        for key, changes in config.variants.items():
            validate(GenerativeMethod, changes, f"{self.where}: variants.{key}")
        for key, study in config.studies.items():
            changes = config.variants[study.variant] if study.variant else {}
            end = study.variant_end()
            names = []
            for method in study.methods:
                varied = study.variant and config.methods[method].search == "generative"
                where = f"studies.{key}.variant"
                names.append(add(f"{method}{end}", method, changes, where) if varied else method)
            for grid in study.grids:
                points = grid.points(end)
                for name, point in points.items():
                    names.append(
                        add(name, grid.method, _merge(changes, nested(point)), f"studies.{key}.grids")
                    )
            studies[key] = study.model_copy(update={"methods": list(dict.fromkeys(names))})
        return config.model_copy(update={"methods": methods, "studies": studies})

    def source(self, dataset: str) -> EsciSource | SimulatedSource | CatalogueSource:
        """Return the source that `dataset` is made from."""
        return self.config.sources[self.config.datasets[dataset].source]

    @cache  # noqa: B019 - one Pipeline lives as long as the process
    def corpus(self, dataset: str) -> CorpusConfig:
        """Return what build_corpus runs with for `dataset`; of a catalogue, all products unless it says otherwise."""
        default = self.config.corpus
        if self.source(dataset).kind == "catalogue" and "documents" not in default.model_fields_set:
            default = default.model_copy(update={"documents": "all"})
        return self._overlay("corpus", CorpusConfig, default, {f"datasets.{dataset}": "corpus"})

    @cache  # noqa: B019
    def view(self, dataset: str, view: str) -> View:
        """Return what embed and embed_queries run with for `dataset` and `view`."""
        values = _merge(_as_dict(self.config.views[view]), self.config.datasets[dataset].views.get(view, {}))
        return validate(View, values, f"{self.where}: datasets.{dataset}.views.{view}")

    def method_view(self, method: str) -> str | None:
        """Return the name of the view that the ID scheme or the search of `method` reads; None if it reads none."""
        entry = self.config.methods[method]
        return (entry.view or self.config.view) if "view" in type(entry).model_fields else None

    @cache  # noqa: B019
    def stage(self, stage: str, dataset: str, method: str) -> StageConfig:
        """Return what `stage` (a key of METHOD_STAGES) runs with for `dataset` and `method`."""
        places = {f"datasets.{dataset}": stage, f"methods.{method}": stage}
        settings = self._overlay(stage, METHOD_STAGES[stage], getattr(self.config, stage), places)
        if isinstance(settings, DocidsConfig):
            rqvae = self.stage("rqvae", dataset, method)
            scheme = settings.scheme.sized(rqvae.layers, rqvae.codebook_size)
            return settings.model_copy(update={"scheme": scheme})
        return settings

    @cache  # noqa: B019
    def chain(self, dataset: str, method: str) -> list[str]:
        """Return the stages of CHAIN that `method` runs through.

        There is no taxonomy where it has the corpus's, and no RQ-VAE where its ID scheme reads none.
        """
        run = {
            "taxonomy": self.stage("taxonomy", dataset, method).made,
            "rqvae": self.stage("docids", dataset, method).scheme.trained,
        }
        return [stage for stage in CHAIN if run.get(stage, True)]

    @cache  # noqa: B019
    def owner(self, stage: str, dataset: str, method: str) -> str:
        """Return the first method of the file whose chain up to `stage` runs with the same settings.

        Its results are those of `method` too, so that methods which differ only later share the work. `stage` is one
        of the `chain` of `method`.
        """
        own = self._chain(stage, dataset, method)
        for other in self.methods("generative"):
            if self._chain(stage, dataset, other) == own:
                return other
        raise AssertionError(f"{method} is not a generative method")

    def sources(self, kind: str) -> list[str]:
        """Return the names of the sources of a kind."""
        return [name for name, source in self.config.sources.items() if source.kind == kind]

    def methods(self, search: str) -> list[str]:
        """Return the names of the methods that search in the way `search`."""
        return [name for name, method in self.config.methods.items() if method.search == search]

    def is_trained(self, method: str) -> bool:
        """Return whether `method` trains something, so that its runs differ by seed."""
        return bool({"retriever", "dual_encoder"} & set(self.stages(method)))

    def note(self, dataset: str, method: str) -> str | None:
        """Return what a figure of `method` needs beside it, if it is found without DocIDs; None otherwise."""
        search = self.config.methods[method].search
        if search == "dense":
            return self.view(dataset, self.method_view(method)).note()
        return None if search == "generative" else self.stage(search, dataset, method).note()

    def stages(self, method: str) -> list[str]:
        """Return the stages (keys of METHOD_STAGES) that `method` runs through."""
        fields = type(self.config.methods[method]).model_fields
        return [stage for stage in METHOD_STAGES if stage in fields]

    def runs(self, study: str) -> list[tuple[str, int]]:
        """Return the (method, seed) pairs of a study; a method without training has one seed."""
        entry = self.config.studies[study]
        return [
            (method, seed)
            for method in entry.methods
            for seed in (entry.seeds if self.is_trained(method) else entry.seeds[:1])
        ]

    def grid_summary(self, dataset: str, study: str) -> GridSummary:
        """Return what summarize_grids runs with for a study that has grids."""
        entry = self.config.studies[study]
        return GridSummary(
            grids=tuple(
                GridPoints(
                    keys=tuple(grid.over),
                    points={name: tuple(point.values()) for name, point in points.items()},
                    # a grid that varies this, too, is judged by its first point
                    collapse_perplexity=self.stage("rqvae", dataset, next(iter(points))).collapse_perplexity,
                )
                for grid in entry.grids
                for points in [grid.points(entry.variant_end())]
            ),
            cutoff=self.config.report.cutoff,
            stable_share=self.config.report.stable_share,
        )

    def first_seed(self, study: str) -> int:
        """Return the seed of a study that every method of it has a run of."""
        return self.config.studies[study].seeds[0]

    def study_datasets(self, study: str) -> list[str]:
        """Return the datasets that a study covers: those it names, or all that have queries."""
        with_queries = [dataset for dataset in self.config.datasets if self.config.has_queries(dataset)]
        return self.config.studies[study].datasets or with_queries

    def _has_tags(self, dataset: str) -> bool:
        source = self.source(dataset)
        return isinstance(source, CatalogueSource) and source.columns.products.tags is not None

    def _used(self, dataset: str) -> list[str]:
        """Return the generative methods that a study has for `dataset`, or that no study has for any.

        A dataset without queries, which no study covers, has the DocIDs of the main study's.
        """
        studied = self._bases | {method for study in self.config.studies.values() for method in study.methods}
        here = {
            method
            for name, study in self.config.studies.items()
            if dataset in self.study_datasets(name)
            or (name == "recall" and not self.config.has_queries(dataset))
            for method in study.methods
        }
        return [method for method in self.methods("generative") if method in here or method not in studied]

    def _check_corpus(self, dataset: str) -> None:
        """Refuse stages that ask for more than the dataset's corpus will hold."""
        corpus = self.corpus(dataset)
        where = f"{self.where}: datasets.{dataset}"
        if corpus.documents == "judged" and not self.config.has_queries(dataset):
            what = "corpus.documents is judged, but its source has no judgements"
            raise InputError(where, what, "name queries and judgements, or set corpus.documents to all")
        level = self.config.report.category_level
        if level > corpus.levels:
            what = f"report.category_level is {level}, but the corpus has {corpus.levels} category levels"
            raise InputError(where, what, "raise corpus.levels or lower the other")
        for name in self._used(dataset):
            taxonomy = self.stage("taxonomy", dataset, name)
            if taxonomy.reads == "tags" and not self._has_tags(dataset):
                what = f"the taxonomy of {name} is made of tags, but the dataset's source has none"
                raise InputError(where, what, "name columns.products.tags of a catalogue, or another kind")
            have = taxonomy.levels_of(corpus.levels)
            wanted = {"docids.scheme": self.stage("docids", dataset, name).scheme.category_levels()}
            if "rqvae" in self.chain(dataset, name):
                wanted["rqvae"] = self.stage("rqvae", dataset, name).levels
            for key, levels in wanted.items():
                if levels > have:
                    tree = "taxonomy" if isinstance(taxonomy, MadeTaxonomy) else "corpus"
                    what = f"{key}.levels of {name} is {levels}, but the {tree} has {have} category levels"
                    raise InputError(where, what, f"raise {tree}.levels or lower the other")
        for labels in self.config.evaluate.labels:
            if missing := set(labels) - set(corpus.labels):
                what = (
                    f"evaluate.labels asks for {', '.join(sorted(missing))}, which corpus.labels leaves out"
                )
                raise InputError(where, what, "keep these labels in the corpus")

    def _check_search(self, dataset: str, method: str) -> None:
        """Refuse what only `retrieve`, after hours of training, would find impossible."""
        where = f"{self.where}: retrieve of datasets.{dataset} with methods.{method}"
        level = self.stage("retrieve", dataset, method).rank_below_level
        scheme = self.stage("docids", dataset, method).scheme
        layers = self.stage("rqvae", dataset, method).layers if scheme.trained else scheme.positions()
        if level is not None and layers is not None and level >= layers:
            raise InputError(where, f"rank_below_level is {level}", f"it must be below layers ({layers})")
        studied = any(method in study.methods for study in self.config.studies.values())
        if studied and self.stage("docids", dataset, method).allow_collisions:
            what = "DocIDs of several documents (docids.allow_collisions) cannot be searched"
            raise InputError(where, what, "take the method out of the studies, or choose a repair")

    def _chain(self, stage: str, dataset: str, method: str) -> str:
        stages = [name for name in self.chain(dataset, method) if CHAIN.index(name) <= CHAIN.index(stage)]
        settings = [self.stage(name, dataset, method).model_dump(mode="json") for name in stages]
        return json.dumps([self.method_view(method), settings], sort_keys=True)

    def _overlay(
        self, stage: str, model: type[StageConfig], default: StageConfig, places: dict[str, str]
    ) -> StageConfig:
        values = _as_dict(default)
        for place, key in places.items():
            group, name = place.split(".", 1)
            values = _merge(values, getattr(getattr(self.config, group)[name], key, {}))
        return validate(model, values, f"{self.where}: {stage} of {' with '.join(places)}")


def _as_dict(model: StageConfig) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Overlay `changes` on `base`, key by key; a mapping of another `kind` replaces the old one whole."""
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return dict(changes)
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value
    return merged


def read_pipeline(path: str) -> Pipeline:
    """Return the pipeline configured by the YAML file `path`, for use outside Snakemake.

    Raises:
        InputError: as `read_settings` or `Pipeline`.
    """
    return Pipeline(read_settings(path), path)


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
