"""Settings of `measure_geometry`: which documents are sampled, and how a linear probe is fitted."""

from pydantic import Field

from catid2.config.base import LARGEST_SEED, StageConfig


class GeometryConfig(StageConfig):
    """One sample and one split for all methods and seeds, so that their figures describe the same documents."""

    documents: int = Field(
        5000, ge=2, description="documents in the sample, drawn at random; all if there are fewer"
    )
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the sample that is held out from the probe and measures its accuracy",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the sample and of the split")
    ridge: float = Field(
        0.01,
        gt=0,
        description="added to the variance within categories when the linear probe is fitted, in units of the "
        "variance of a dimension over all documents",
    )


class Geometry(GeometryConfig):
    """What is measured, and for which studies."""

    studies: tuple[str, ...] = Field(
        (),
        description="keys of `studies` for which results/{dataset}/{study}_geometry.tsv is made; methods without "
        "DocIDs are left out",
    )

    def of_method(self) -> GeometryConfig:
        """Return what measure_geometry runs with; the list of studies changes no figure."""
        return GeometryConfig(**self.model_dump(exclude={"studies"}))
