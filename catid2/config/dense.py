"""Settings of `search_dense`: exact search of a view's documents by inner product."""

from pydantic import Field

from catid2.config.base import StageConfig


class DenseConfig(StageConfig):
    """What is listed. The score is the inner product: the cosine where the encoder normalises."""

    top_k: int = Field(100, ge=1, description="documents listed per query")
