"""Settings of `fuse_runs`: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from pydantic import Field

from catid2.config.base import StageConfig


class FuseConfig(StageConfig):
    """How ranks become scores. Which runs are fused, and their weights, is said by the method (`runs`)."""

    k: float = Field(
        60,
        ge=0,
        description="a run lists a document at rank r: that adds weight / (k + r) to its score. The larger k, the "
        "less the first ranks count more than the others; 60 is the authors' value",
    )
    top_k: int = Field(100, ge=1, description="documents listed per query")
