"""Settings of `build_corpus`: which judgements and products make a corpus."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from catid2.config.base import Label, StageConfig


class CorpusConfig(StageConfig):
    """Which part of ESCI is kept, how deep its category tree is, and what counts as `seen`."""

    version: Literal["small", "large"] = Field(
        "small",
        description="Part of ESCI. `small`: the harder queries of ESCI's Task 1, which the paper and its group use. "
        "`large`: every judgement.",
    )
    levels: int = Field(
        3,
        ge=1,
        le=9,
        description="H, levels of the category tree. Products with a shorter path are dropped, and longer paths are "
        "cut (paper, experimental setup).",
    )
    documents: Literal["judged", "all"] = Field(
        "judged",
        description="Which products become documents, if their category path is long enough. `judged`: products of "
        "a kept judgement (the paper). `all`: every product, the default for a `catalogue` source.",
    )
    labels: tuple[Label, ...] = Field(
        ("E", "S", "C", "I"),
        min_length=1,
        description="ESCI labels of the judgements that are kept (exact, substitute, complement, irrelevant).",
    )
    seen_labels: tuple[Label, ...] = Field(
        ("E", "S", "C"),
        min_length=1,
        description="A document is `seen` if it occurs in a training pair with one of these labels, which must be "
        "among `labels` (protocol of the paper's group).",
    )
    drop_repeated_texts: bool = Field(
        False,
        description="Remove test queries whose text is also that of a train query, ignoring case, compatibility "
        "forms (NFKC) and white space: the model may have memorised their answers. `test_texts_in_train` in "
        "stats.json counts them in any case. Splits made by `import_catalogue` have none.",
    )
    clean_html: bool = Field(
        True,
        description="Remove HTML tags from the products' text and decode its entities. White space and control "
        "characters are collapsed in any case.",
    )

    @field_validator("labels", "seen_labels")
    @classmethod
    def _once_each(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) < len(values):
            raise ValueError("each value may stand there once")
        return values

    @model_validator(mode="after")
    def _seen_is_kept(self) -> "CorpusConfig":
        if missing := [label for label in self.seen_labels if label not in self.labels]:
            raise ValueError(f"seen_labels holds {', '.join(missing)}, which labels leaves out")
        return self
