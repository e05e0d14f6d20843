"""Settings of `build_corpus`: which judgements and products make a corpus."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from catid2.config.base import StageConfig

Label = Literal["E", "S", "C", "I"]


class CorpusConfig(StageConfig):
    """Which part of ESCI is kept, how deep its category tree is, and what counts as `seen`."""

    version: Literal["small", "large"] = Field(
        "small",
        description="Part of ESCI: `small` has the harder queries of ESCI's Task 1 and is what the paper and its "
        "group use; `large` has every judgement.",
    )
    levels: int = Field(
        3,
        ge=1,
        le=9,
        description="H, levels of the category tree. Products with a shorter path are dropped, longer paths are cut "
        "(paper, experimental setup).",
    )
    documents: Literal["judged", "all"] = Field(
        "judged",
        description="Which products become documents, if their category path is long enough: `judged`, those that a "
        "kept judgement names (the paper), or `all`, which is the default for datasets of a `catalogue` source.",
    )
    labels: tuple[Label, ...] = Field(
        ("E", "S", "C", "I"),
        min_length=1,
        description="ESCI labels of the judgements kept (exact, substitute, complement, irrelevant).",
    )
    seen_labels: tuple[Label, ...] = Field(
        ("E", "S", "C"),
        min_length=1,
        description="A document is `seen` if a training pair with one of these labels holds it; must be among "
        "`labels` (protocol of the paper's group).",
    )
    drop_repeated_texts: bool = Field(
        False,
        description="Leave out of test the queries whose text a train query has too, apart from case, compatibility "
        "forms (NFKC) and white space: the model may have memorised their answers. `test_texts_in_train` in stats.json "
        "counts them either way. A split made by `import_catalogue` has none.",
    )
    clean_html: bool = Field(
        True,
        description="Remove HTML tags from the products' text and decode its entities. White space and control "
        "characters are collapsed either way.",
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
