"""The named entries of a configuration file: datasets, methods, and the studies that compare them.

A method says what differs from the defaults; so may a dataset. Their keys for stages come from catid2.config.stages.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catid2.config.base import LARGEST_SEED, StageConfig
from catid2.config.fuse import LARGEST_WEIGHT, LEAST_WEIGHT, FuseConfig
from catid2.config.grids import Grid
from catid2.config.sources import Locale
from catid2.config.stages import Overrides, with_overrides

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


@with_overrides
class Dataset(StageConfig):
    """One locale of a source. The other keys replace defaults of stages, for this dataset only."""

    source: Name = Field(description="a key of `sources`")
    locale: Locale = Field(description="product_locale of its queries and products")
    corpus: Overrides = Field({}, description="keys of `corpus` that differ here")
    views: dict[Name, Overrides] = Field({}, description="keys of `views` that differ here, by view")


@with_overrides
class GenerativeMethod(StageConfig):
    """DocIDs from an ID scheme, a generative retriever, constrained beam search."""

    search: Literal["generative"] = "generative"
    view: Name | None = Field(
        None, description="embedding view that the ID scheme reads; null: the default `view`"
    )


@with_overrides
class Bm25Method(StageConfig):
    """Lexical search; needs no DocIDs and has no seed."""

    search: Literal["bm25"]


@with_overrides
class DenseMethod(StageConfig):
    """Exact search by inner product in a view; nothing is trained and there is no seed."""

    search: Literal["dense"]
    view: Name | None = Field(
        None, description="embedding view of documents and queries; null: the default `view`"
    )


@with_overrides
class DualEncoderMethod(StageConfig):
    """Exact search by inner product of an encoder fine-tuned on the train queries (DPR)."""

    search: Literal["dual_encoder"]


class FusedRun(StageConfig):
    """A run that a method of kind `fuse` reads."""

    method: Name = Field(description="key of `methods`; its run for the same dataset and seed is read")
    weight: float = Field(1.0, ge=LEAST_WEIGHT, le=LARGEST_WEIGHT, description="weight of the run in the sum")
    seed_offset: int = Field(
        0,
        ge=0,
        description="added to the seed: of two runs of one method, 0 and 1, the second has the next seed. This is "
        "the control: it shows what any second run gains",
    )


@with_overrides
class FuseMethod(StageConfig):
    """Reciprocal rank fusion of the runs of other methods."""

    search: Literal["fuse"]
    runs: list[FusedRun] = Field(
        min_length=2,
        description="what is fused; the run of a method without a seed is there once, for all seeds",
    )

    @model_validator(mode="after")
    def _once_each(self) -> "FuseMethod":
        runs = [(run.method, run.seed_offset) for run in self.runs]
        if twice := [method for method, offset in runs if runs.count((method, offset)) > 1]:
            raise ValueError(
                f"runs names {twice[0]!r} twice; give it a larger weight, or another seed_offset"
            )
        return self

    def note(self, config: FuseConfig) -> str:
        """Return what a reader of a figure of fused runs must know: k, and the runs with their weights."""
        named = [
            run.method
            + (f" of seed + {run.seed_offset}" if run.seed_offset else "")
            + (f" × {run.weight:g}" if run.weight != 1 else "")
            for run in self.runs
        ]
        return f"reciprocal rank fusion (k {config.k:g}) of the runs {', '.join(named)}"


Method = Annotated[
    GenerativeMethod | Bm25Method | DenseMethod | DualEncoderMethod | FuseMethod,
    Field(discriminator="search"),
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
        None,
        description="a key of `variants`, whose changes apply to the generative methods and grids of the study",
    )

    @model_validator(mode="after")
    def _once_each(self) -> "Study":
        for key in ("methods", "seeds", "datasets"):
            values = getattr(self, key) or []
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {', '.join(map(str, values))}")
        return self

    def variant_end(self) -> str:
        """Return the ending that the variant adds to the name of a method."""
        return f"-{self.variant}" if self.variant else ""
