"""Settings that several kinds of training share."""

from typing import Annotated, Literal

from pydantic import Field

from catid2.config.base import Label

Labels = Annotated[tuple[Label, ...], Field(min_length=1, description="labels that count as relevant")]
ExampleWeight = Annotated[
    float,
    Field(
        gt=0,
        description="how often each example is seen per epoch; for a fraction, examples are drawn anew in each epoch",
    ),
]
Schedule = Annotated[
    Literal["cosine", "linear", "constant_with_warmup"], Field(description="learning rate after the warm-up")
]
Warmup = Annotated[
    float, Field(ge=0, lt=1, description="share of the steps during which the learning rate rises")
]
ValidShare = Annotated[
    float, Field(ge=0, lt=1, description="share of the train queries held out for validation")
]
