"""The named entries of a configuration file: datasets, methods, and the studies that compare them.

A method says what differs from the defaults; so may a dataset.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from catid2.config.base import LARGEST_SEED, StageConfig
from catid2.config.grids import Grid
from catid2.config.sources import Locale

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Overrides = dict[str, Any]


class Dataset(StageConfig):
    """One locale of a source. The other keys replace defaults of stages, for this dataset only."""

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
        description="keys of `rqvae` that differ in this method; ignored if `docids.scheme` trains no RQ-VAE",
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
