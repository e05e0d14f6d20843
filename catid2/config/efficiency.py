"""Settings of the table of times: the study it covers, and how the latency of a query is measured."""

from typing import Annotated

from pydantic import Field, field_validator

from catid2.config.base import StageConfig

Batch = Annotated[int, Field(ge=1)]


class EfficiencyConfig(StageConfig):
    """What results/{dataset}/efficiency.tsv covers. It is made only on request."""

    study: str = Field(
        "recall", description="key of `studies`; each of its methods is measured in the study's first seed"
    )
    batches: tuple[Batch, ...] = Field(
        (1, 32),
        min_length=1,
        description="numbers of queries searched at once; latency is measured for each number",
    )
    searches: int = Field(
        100, ge=1, description="timed searches per batch size, of which p50 and p95 are reported"
    )
    warm_up: int = Field(3, ge=0, description="searches before the timed ones, per batch size")

    @field_validator("batches")
    @classmethod
    def _rising(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if list(batches) != sorted(set(batches)):
            raise ValueError("batches must rise")
        return batches
