"""Settings of `evaluate`: the metrics, what counts as relevant, and the statistics."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator

from catid2.config.base import StageConfig
from catid2.runtime.tables import METRIC

Metric = Annotated[str, Field(pattern=f"^{METRIC}$")]


def _in_order(labels: str) -> str:
    if list(labels) != [letter for letter in "ESCI" if letter in labels]:
        raise ValueError(f"write the label set {labels!r} with each letter once, in the order ESCI")
    return labels


Labels = Annotated[str, Field(pattern="^[ESCI]+$"), AfterValidator(_in_order)]


class EvaluateConfig(StageConfig):
    """One row of recall.tsv per method, seed, protocol and set of labels."""

    metrics: tuple[Metric, ...] = Field(
        ("recall@5", "recall@10", "recall@20", "recall@50", "recall@100", "ndcg@10", "success@10"),
        min_length=1,
        description="What tables and figures show: `recall@k` (by default the paper's), `ndcg@k` with the gains "
        "of ESCI (E 1, S 0.1, C 0.01, I 0), `success@k`.",
    )
    labels: tuple[Labels, ...] = Field(
        ("ES",), min_length=1, description="Sets of labels that count as relevant, such as ES, E or ESC."
    )
    protocols: tuple[Literal["seen", "all"], ...] = Field(
        ("seen", "all"),
        min_length=1,
        description="`seen`: only test pairs whose document occurs in a training pair with one of the corpus's "
        "`seen_labels` (the protocol of the paper's group). `all`: every test pair.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the bootstrap intervals.")
    n_resamples: int = Field(
        10_000, ge=100, description="Resamples of the bootstrap, and sign flips of the randomization test."
    )
    significance: Literal["randomization", "t_test"] = Field(
        "randomization",
        description="Paired two-sided test against the first method (Smucker et al., CIKM 2007).",
    )

    def cutoffs(self) -> list[int]:
        """Return the k of the metrics, the cutoffs, each once, in rising order."""
        return sorted({int(metric.partition("@")[2]) for metric in self.metrics})

    def beyond_bm25(self) -> Self:
        """Return what compare_with_bm25 runs with: of the metrics it reads the cutoffs alone, and it tests nothing."""
        read = self.model_dump(include={"labels", "protocols", "confidence", "n_resamples"})
        return type(self)(metrics=tuple(f"recall@{k}" for k in self.cutoffs()), **read)

    @field_validator("metrics", "labels", "protocols")
    @classmethod
    def _no_repeats(cls, values: tuple) -> tuple:
        if len(set(values)) != len(values):
            raise ValueError("a value is repeated")
        return values
