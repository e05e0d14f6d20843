"""Settings of the table of times: the study it covers, and how the latency of a query is measured."""

from typing import Annotated

from pydantic import Field, field_validator

from catid2.config.base import StageConfig

Batch = Annotated[int, Field(ge=1)]


class EfficiencyConfig(StageConfig):
    """What results/{dataset}/efficiency.tsv covers; made only when it is asked for."""

    study: str = Field("recall", description="key of `studies`: its methods, each in the first of its seeds")
    batches: tuple[Batch, ...] = Field(
        (1, 32), min_length=1, description="queries searched at once; latency is measured for each of these"
    )
    searches: int = Field(100, ge=1, description="searches timed per batch size; p50 and p95 are over these")
    warm_up: int = Field(3, ge=0, description="searches before them that do not count, per batch size")

    @field_validator("batches")
    @classmethod
    def _rising(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if list(batches) != sorted(set(batches)):
            raise ValueError("batches must rise")
        return batches
