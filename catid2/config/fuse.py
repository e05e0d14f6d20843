"""Settings of `fuse_runs`: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from pydantic import Field

from catid2.config.base import StageConfig

# Bounds of a run's weight. A score is a float32, which far larger weights would make infinite.
LEAST_WEIGHT, LARGEST_WEIGHT = 1e-3, 1e3


class FuseConfig(StageConfig):
    """How ranks become scores. The method (`runs`) names the runs and their weights."""

    k: float = Field(
        60,
        ge=0,
        le=100_000,  # a far larger one gives neighbouring ranks the same score (float32)
        description="a document at rank r of a run gets weight / (k + r). The larger k, the smaller is the "
        "advantage of the first ranks; 60 is the authors' value",
    )
    top_k: int = Field(100, ge=1, description="documents listed per query")
