"""Settings of `search_dense`: exact search of a view's documents by inner product."""

from pydantic import Field

from catid2.config.base import StageConfig


class DenseConfig(StageConfig):
    """How many documents are listed. The score is the inner product, which is the cosine if the encoder normalises."""

    top_k: int = Field(100, ge=1, description="documents listed per query")
