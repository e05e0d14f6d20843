"""What each stage of each dataset and method runs with, and whether that can work.

What a stage of (dataset, method) runs with is the default, overlaid with the dataset's keys, overlaid with the
method's.
"""

import json
from functools import cache
from typing import Any

from catid2.config.base import LARGEST_SEED, StageConfig, validate
from catid2.config.corpus import CorpusConfig
from catid2.config.docids import DocidsConfig
from catid2.config.embed import View, ViewConfig
from catid2.config.entries import FusedRun, FuseMethod, GenerativeMethod
from catid2.config.file import PipelineConfig
from catid2.config.grids import GridPoints, GridSummary, nested
from catid2.config.index import IndexSettings
from catid2.config.pretrained import PretrainedModel
from catid2.config.sources import CatalogueSource, EsciSampleSource, EsciSource, SimulatedSource
from catid2.config.stages import STAGES, Overrides, differs_by_seed, stages_of
from catid2.config.taxonomy import MadeTaxonomy
from catid2.runtime.errors import InputError


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
            for method in (*study.methods, *(grid.method for grid in study.grids))
            for name in _with_fused(written, method)
        }
        self.config = self._with_points(written)
        self._check_seeds()
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
            values = _merge(entry.model_dump(mode="json"), changes)
            entry = validate(type(entry), values, f"{self.where}: {where}: {name}")
            if methods.setdefault(name, entry) != entry:
                what = f"two methods of different settings are named {name}"
                raise InputError(f"{self.where}: {where}", what, "rename one")
            return name

        def varied(base: str, changes: Overrides, end: str, where: str) -> str:
            """Add `base` with what a variant changes in it and return the name; if nothing changes, `base`."""
            own = changes_of(base, changes, end, where)
            return base if own is None else add(f"{base}{end}", base, own, where)

        def changes_of(base: str, changes: Overrides, end: str, where: str) -> Overrides | None:
            """Return what a variant changes in `base`: in a generative method `changes`, in a fused one its runs."""
            entry = config.methods[base]
            if isinstance(entry, GenerativeMethod):
                return changes
            if not isinstance(entry, FuseMethod):
                return None
            runs = entry.model_dump(mode="json")["runs"]
            varied_runs = [run | {"method": varied(run["method"], changes, end, where)} for run in runs]
            return {"runs": varied_runs} if varied_runs != runs else None

        for key, changes in config.variants.items():
            validate(GenerativeMethod, changes, f"{self.where}: variants.{key}")
        for key, study in config.studies.items():
            changes = config.variants[study.variant] if study.variant else {}
            end = study.variant_end()
            names = []
            for method in study.methods:
                names.append(varied(method, changes, end, f"studies.{key}.variant") if end else method)
            for grid in study.grids:
                where = f"studies.{key}.grids"
                own = changes_of(grid.method, changes, end, where) if end else None
                for name, point in grid.points(end).items():
                    names.append(add(name, grid.method, _merge(own or {}, nested(point)), where))
            studies[key] = study.model_copy(update={"methods": list(dict.fromkeys(names))})
        return config.model_copy(update={"methods": methods, "studies": studies})

    def source(self, dataset: str) -> EsciSource | EsciSampleSource | SimulatedSource | CatalogueSource:
        """Return the source that `dataset` is made from."""
        return self.config.sources[self.config.datasets[dataset].source]

    @cache  # noqa: B019 - one Pipeline lives as long as the process
    def corpus(self, dataset: str) -> CorpusConfig:
        """Return what build_corpus runs with for `dataset`; of a catalogue, all products unless it says otherwise."""
        default = self.config.corpus
        if self.source(dataset).kind == "catalogue" and "documents" not in default.model_fields_set:
            default = default.model_copy(update={"documents": "all"})
        return self._overlay("corpus", CorpusConfig, default, f"datasets.{dataset}")

    @cache  # noqa: B019
    def view(self, dataset: str, view: str) -> View:
        """Return what embed and embed_queries run with for `dataset` and `view`."""
        values = self.config.views[view].model_dump(mode="json")
        values = _merge(values, self.config.datasets[dataset].views.get(view, {}))
        return validate(View, values, f"{self.where}: datasets.{dataset}.views.{view}")

    def documents_view(self, dataset: str, view: str) -> ViewConfig:
        """Return what embed runs with for `dataset` and `view`."""
        return self.view(dataset, view).of_documents()

    def own_view(self, dataset: str, method: str, seed: str) -> ViewConfig:
        """Return what embed runs with for the encoder that `method` has trained."""
        encoder = f"results/{dataset}/{method}/seed{seed}/encoder"
        return self.stage("dual_encoder", dataset, method).view(encoder)

    def method_view(self, method: str) -> str | None:
        """Return the name of the view that the ID scheme or the search of `method` reads; None if it reads none."""
        entry = self.config.methods[method]
        return (entry.view or self.config.view) if "view" in type(entry).model_fields else None

    @cache  # noqa: B019
    def stage(self, stage: str, dataset: str, method: str) -> StageConfig:
        """Return what `stage` (a key of STAGES) runs with for `dataset` and `method`."""
        places = (f"datasets.{dataset}", f"methods.{method}")
        settings = self._overlay(stage, STAGES[stage].model, getattr(self.config, stage), *places)
        if isinstance(settings, DocidsConfig):
            rqvae = self.stage("rqvae", dataset, method)
            scheme = settings.scheme.sized(rqvae.layers, rqvae.codebook_size)
            return settings.model_copy(update={"scheme": scheme})
        return settings

    def index(self, dataset: str, method: str, seed: str) -> IndexSettings:
        """Return what export_index runs with; other searches than the method's are set as for the whole dataset."""
        others = {
            stage: self._overlay(
                stage, STAGES[stage].model, getattr(self.config, stage), f"datasets.{dataset}"
            )
            for stage in ("bm25", "fuse")
        }
        own = {stage: self.stage(stage, dataset, method) for stage in ("docids", "retrieve")}
        view = self.view(dataset, self.method_view(method))
        source, clean_html = self.source(dataset).kind, self.corpus(dataset).clean_html
        made_from = {"dataset": dataset, "method": method, "seed": int(seed), "source": source}
        return IndexSettings(**made_from, view=view, clean_html=clean_html, **own, **others)

    @cache  # noqa: B019
    def run_stages(self, dataset: str, method: str) -> list[str]:
        """Return the stages (keys of STAGES) that `method` runs through.

        There is no taxonomy where it has the corpus's, and no RQ-VAE where its ID scheme reads none.
        """
        stages = self.stages(method)
        runs = {}
        if "docids" in stages:
            runs["taxonomy"] = self.stage("taxonomy", dataset, method).made
            runs["rqvae"] = self.stage("docids", dataset, method).scheme.trained
        return [stage for stage in stages if runs.get(stage, True)]

    def chain(self, dataset: str, method: str) -> list[str]:
        """Return the stages that `method` runs through whose results methods can share."""
        return [stage for stage in self.run_stages(dataset, method) if STAGES[stage].chained]

    @cache  # noqa: B019
    def owner(self, stage: str, dataset: str, method: str) -> str:
        """Return the first method of the file whose chain up to `stage` runs with the same settings.

        Its results are those of `method` too, so that methods which differ only later share the work. `stage` is one
        that `method` runs through; one that is not of the chain is its own.
        """
        if not STAGES[stage].chained:
            return method
        own = self._chain(stage, dataset, method)
        for other in self.methods("generative"):
            if self._chain(stage, dataset, other) == own:
                return other
        raise AssertionError(f"{method} is not a generative method")

    def sources(self, kind: str) -> list[str]:
        """Return the names of the sources of a kind."""
        return [name for name, source in self.config.sources.items() if source.kind == kind]

    def hub_models(self) -> dict[str, PretrainedModel]:
        """Return the models of the hub that any dataset's views and methods name, by their keys."""
        readers = [
            self.view(dataset, view).encoder for dataset in self.config.datasets for view in self.config.views
        ]
        readers += [
            self.stage(stage, dataset, method)
            for dataset in self.config.datasets
            for method in self.config.methods
            for stage in self.stages(method)
        ]
        models = {getattr(reader, "pretrained_model", None) for reader in readers} - {None}
        return {model.key: model for model in models if model.on_hub}

    def methods(self, search: str) -> list[str]:
        """Return the names of the methods that search in the way `search`."""
        return [name for name, method in self.config.methods.items() if method.search == search]

    def is_seeded(self, method: str) -> bool:
        """Return whether the runs of `method` differ by seed."""
        names = _with_fused(self.config, method)
        return any(differs_by_seed(self.config.methods[name].search) for name in names)

    def fused(self, method: str, seed: int) -> list[tuple[FusedRun, int]]:
        """Return the runs that `method`, a fused one, reads for its run of `seed`, each with its own seed.

        A method whose runs do not differ by seed has one run: with the first seed of the first study that has it, or
        with seed 0.
        """
        runs = self.config.methods[method].runs
        return [(run, self._own_seed(run.method, seed + run.seed_offset)) for run in runs]

    def _own_seed(self, method: str, seed: int) -> int:
        if self.is_seeded(method):
            return seed
        studies = self.config.studies.values()
        return next((study.seeds[0] for study in studies if method in study.methods), 0)

    def note(self, dataset: str, method: str) -> str | None:
        """Return what a figure of `method` needs next to it, if it is found without DocIDs; None otherwise."""
        search = self.config.methods[method].search
        if search == "dense":
            return self.view(dataset, self.method_view(method)).note()
        if search == "fuse":
            return self.config.methods[method].note(self.stage("fuse", dataset, method))
        return None if search == "generative" else self.stage(search, dataset, method).note()

    def stages(self, method: str) -> list[str]:
        """Return the stages (keys of STAGES) whose settings `method` has."""
        return [stage.name for stage in stages_of(self.config.methods[method].search)]

    def runs(self, study: str) -> list[tuple[str, int]]:
        """Return the (method, seed) pairs of a study; a method whose runs do not differ by seed has one."""
        entry = self.config.studies[study]
        return [
            (method, seed)
            for method in entry.methods
            for seed in (entry.seeds if self.is_seeded(method) else entry.seeds[:1])
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
            metric=self.config.report.metric,
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
        studied = self._bases | {method for study in self.config.studies for method in self._searched(study)}
        here = {
            method
            for study in self.config.studies
            if dataset in self.study_datasets(study)
            or (study == "recall" and not self.config.has_queries(dataset))
            for method in self._searched(study)
        }
        return [method for method in self.methods("generative") if method in here or method not in studied]

    def _searched(self, study: str) -> list[str]:
        """Return the methods of a study and those whose runs they fuse."""
        methods = self.config.studies[study].methods
        return [name for method in methods for name in _with_fused(self.config, method)]

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

    def _check_seeds(self) -> None:
        """Refuse a fused method whose runs would have a seed that no training takes."""
        for key, study in self.config.studies.items():
            for name in study.methods:
                method = self.config.methods[name]
                offsets = [run.seed_offset for run in method.runs] if isinstance(method, FuseMethod) else [0]
                if max(study.seeds) + max(offsets) > LARGEST_SEED:
                    what = f"{max(study.seeds)} and the seed_offset {max(offsets)} of {name!r} exceed {LARGEST_SEED}"
                    raise InputError(f"{self.where}: studies.{key}.seeds", what, "take smaller seeds")

    def _check_search(self, dataset: str, method: str) -> None:
        """Refuse what only `retrieve`, after hours of training, would find impossible."""
        where = f"{self.where}: retrieve of datasets.{dataset} with methods.{method}"
        level = self.stage("retrieve", dataset, method).rank_below_level
        scheme = self.stage("docids", dataset, method).scheme
        layers = self.stage("rqvae", dataset, method).layers if scheme.trained else scheme.positions()
        if level is not None and layers is not None and level >= layers:
            raise InputError(where, f"rank_below_level is {level}", f"it must be below layers ({layers})")
        studied = any(method in self._searched(study) for study in self.config.studies)
        if studied and self.stage("docids", dataset, method).allow_collisions:
            what = "DocIDs of several documents (docids.allow_collisions) cannot be searched"
            raise InputError(where, what, "take the method out of the studies, or choose a repair")

    @cache  # noqa: B019
    def _chain(self, stage: str, dataset: str, method: str) -> str:
        order = list(STAGES)
        stages = [name for name in self.chain(dataset, method) if order.index(name) <= order.index(stage)]
        settings = [self.stage(name, dataset, method).model_dump(mode="json") for name in stages]
        return json.dumps([self.method_view(method), settings], sort_keys=True)

    def _overlay(
        self, stage: str, model: type[StageConfig], default: StageConfig, *places: str
    ) -> StageConfig:
        values = default.model_dump(mode="json")
        for place in places:
            group, name = place.split(".", 1)
            values = _merge(values, getattr(getattr(self.config, group)[name], stage, {}))
        return validate(model, values, f"{self.where}: {stage} of {' with '.join(places)}")


def _with_fused(config: PipelineConfig, method: str) -> list[str]:
    """Return `method`, and if it is a fused one the methods of its runs."""
    entry = config.methods[method]
    return [method, *(run.method for run in entry.runs)] if isinstance(entry, FuseMethod) else [method]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Overlay `changes` on `base`, key by key; a mapping of another `kind` replaces the old one."""
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return dict(changes)
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value
    return merged
