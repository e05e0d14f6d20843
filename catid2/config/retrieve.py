"""Settings of retrieve: how the test queries are decoded."""

from pydantic import Field, model_validator

from catid2.config.base import StageConfig


class RetrieveConfig(StageConfig):
    """Constrained beam search; the paper uses 100 beams and reports recall up to 100."""

    beams: int = Field(100, ge=1, description="beams per query")
    top_k: int = Field(100, ge=1, description="documents kept per query")
    rank_below_level: int | None = Field(
        None,
        ge=1,
        description="decode only this many positions, and rank the documents below the beams by cosine with the "
        "query, in the method's view; null: decode complete DocIDs",
    )

    @model_validator(mode="after")
    def _enough_beams(self) -> "RetrieveConfig":
        if self.rank_below_level is None and self.beams < self.top_k:
            raise ValueError(f"{self.beams} beams cannot give top_k {self.top_k} documents")
        return self
