"""The stages that methods run through, one row each.

Everything else that lists stages follows from the rows: the keys of the configuration file with the settings, the keys
of datasets and methods with what differs there, chains of shared results, logs, the schema.
"""

from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, Field, create_model

from catid2.config.base import StageConfig
from catid2.config.bm25 import Bm25Config
from catid2.config.dense import DenseConfig
from catid2.config.docids import DocidsConfig
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.config.fuse import FuseConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.config.retriever import AnyRetriever, RetrieverConfig
from catid2.config.rqvae import RqvaeConfig
from catid2.config.taxonomy import AnyTaxonomy, GivenTaxonomy

Overrides = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
GENERATIVE = "generative"


class Stage(NamedTuple):
    """A stage of a method."""

    name: str  # its key
    model: type[StageConfig]  # its settings, or a union of models
    rule: str
    searches: tuple[str, ...]  # methods that search in these ways run through it
    # Built on the chained stages before it: methods whose settings agree so far share its result.
    chained: bool = False
    seeded: bool = False  # the result differs by seed
    default: StageConfig | None = None  # None: the model's own
    description: str = ""  # of its key in the file; empty: names the rule
    in_method: str = ""  # added to the description of its key in a method


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "taxonomy", AnyTaxonomy, "make_taxonomy", (GENERATIVE,), chained=True, seeded=True,
            default=GivenTaxonomy(),
            description="the categories that ID schemes learn from: those of the corpus (`kind: given`), or others "
            "made by rule make_taxonomy. Texts (`views`, the retriever's documents) have the corpus's categories in "
            "any case.",
        ),
        Stage(
            "rqvae", RqvaeConfig, "train_rqvae", (GENERATIVE,), chained=True, seeded=True,
            in_method="; ignored if `docids.scheme` trains no RQ-VAE",
        ),
        Stage("docids", DocidsConfig, "assign_docids", (GENERATIVE,), chained=True, seeded=True),
        Stage(
            "retriever", AnyRetriever, "train_retriever", (GENERATIVE,), chained=True, seeded=True,
            default=RetrieverConfig(),
            description="rule train_retriever; `kind: t5` (the default) or `kind: light`",
        ),
        Stage("retrieve", RetrieveConfig, "retrieve", (GENERATIVE,)),
        Stage("bm25", Bm25Config, "search_bm25", ("bm25",)),
        Stage("dual_encoder", DualEncoderConfig, "train_dual_encoder", ("dual_encoder",), seeded=True),
        Stage("dense", DenseConfig, "search_dense", ("dense", "dual_encoder")),
        Stage("fuse", FuseConfig, "fuse_runs", ("fuse",)),
    )
}  # fmt: skip


def stages_of(search: str) -> list[Stage]:
    """Return the stages of methods that search in the way `search`, in their order."""
    return [stage for stage in STAGES.values() if search in stage.searches]


def differs_by_seed(search: str) -> bool:
    """Return whether a stage of methods that search in the way `search` draws by the seed."""
    return any(stage.seeded for stage in stages_of(search))


def with_settings(model: type[Model]) -> type[Model]:
    """Decorate a model: it gets a key for each stage, the stage's settings."""
    return _with(
        model,
        {
            stage.name: (
                stage.model,
                Field(stage.default or stage.model(), description=stage.description or f"rule {stage.rule}"),
            )
            for stage in STAGES.values()
        },
    )


def with_overrides(model: type[Model]) -> type[Model]:
    """Decorate a dataset's model, or a method's: it gets a key for each of its stages, with what differs."""
    of_method = "search" in model.model_fields
    stages = STAGES.values()
    if of_method:
        [search] = get_args(model.model_fields["search"].annotation)
        stages = stages_of(search)
    place = "in this method" if of_method else "here"
    return _with(
        model,
        {
            stage.name: (
                Overrides,
                Field(
                    {},
                    description=f"keys of `{stage.name}` that differ {place}{stage.in_method if of_method else ''}",
                ),
            )
            for stage in stages
        },
    )


def _with(model: type[Model], keys: dict[str, Any]) -> type[Model]:
    return create_model(
        model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **keys
    )
