"""Settings of `measure_geometry`: which documents are looked at, and how a linear probe is fitted."""

from pydantic import Field

from catid2.config.base import LARGEST_SEED, StageConfig


class GeometryConfig(StageConfig):
    """One sample and one split for all methods and seeds, so that their figures are of the same documents."""

    documents: int = Field(
        5000, ge=2, description="documents looked at, drawn at random, or all if there are fewer"
    )
    held_out: float = Field(
        0.2, gt=0, lt=1, description="share of them that no probe is fitted on, and accuracy is measured on"
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of the sample and of the split")
    ridge: float = Field(
        0.01,
        gt=0,
        description="of a linear probe: added to the variance within categories, in units of the variance of a "
        "dimension over all documents",
    )


class Geometry(GeometryConfig):
    """What is measured, and for which studies."""

    studies: tuple[str, ...] = Field(
        (),
        description="keys of `studies` that results/{dataset}/{study}_geometry.tsv is made for; their methods without "
        "DocIDs are left out",
    )

    def of_method(self) -> GeometryConfig:
        """Return what measure_geometry runs with: a study more changes no figure."""
        return GeometryConfig(**self.model_dump(exclude={"studies"}))
