"""Settings of the RQ-VAE: model, losses, training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catid2.config.base import StageConfig, UserPath

Width = Annotated[int, Field(ge=1)]


class RqvaeConfig(StageConfig):
    """Model, losses and training of the RQ-VAE. α = β = γ = 0 is the plain RQ-VAE of TIGER."""

    # Model
    layers: int = Field(4, ge=1, description="L, number of codebooks and so positions of a DocID (paper: 4)")
    codebook_size: int = Field(
        256, ge=2, description="K, codes per layer (paper: 256 or 512, by catalogue size)"
    )
    latent_dim: int = Field(32, ge=1, description="dimensions of the latent z and of a code")
    hidden: tuple[Width, ...] = Field(
        (512, 256, 128), description="widths of the encoder's hidden layers; the decoder mirrors them"
    )
    layer_norm: bool = Field(False, description="normalise each hidden layer before its ReLU")
    standardize: Literal["none", "unit", "center"] = Field(
        "center",
        description="`none`: embeddings as they are. `unit`: scaled to length 1. `center`: the corpus mean is "
        "subtracted, then scaled to length 1",
    )

    # Losses
    alpha: float = Field(0.1, ge=0, description="α, weight of DisL; 0 skips it (paper: 0.1)")
    beta: float = Field(0.3, ge=0, description="β, weight of HCCL; 0 skips it (paper: 0.0001)")
    gamma: float = Field(0.3, ge=0, description="γ, weight of CSCL; 0 skips it (paper: 1.0)")
    mu: float = Field(0.25, ge=0, description="μ, weight of the commitment term of L_rq")
    error_reduction: Literal["sum", "mean"] = Field(
        "sum",
        description="how squared errors of L_rq are combined over dimensions: summed, as in the equation, or "
        "averaged",
    )
    levels: int = Field(
        3, ge=1, description="H, category levels that HCCL reads (paper: 3, which must be below L)"
    )
    allow_levels_ge_layers: bool = Field(
        False,
        description="allow H ≥ L, for a study; levels deeper than L have no layer and are not contrasted",
    )
    hccl_positives: Literal["all", "one", "one_or_self"] = Field(
        "all",
        description="positives of an anchor: every document of its category in the batch (`all`), or one of "
        "them, drawn at random (`one`). `one_or_self`: one, or the anchor itself where there is none, and its own "
        "category counts among the negatives (MACRec)",
    )
    hccl_hard_negatives: bool = Field(
        True,
        description="from level 2 on, contrast only with siblings (the paper); false: with every other category, as "
        "at level 1",
    )
    hccl_similarity: Literal["cosine", "l2"] = Field(
        "l2",
        description="`l2`: negative squared distance. `cosine`: its gradient is unbounded on residuals that are "
        "coded well, and then ruins the reconstruction (unpublished; MERGE: cosine)",
    )
    hccl_temperature: float = Field(1.0, gt=0, description="τ of HCCL (unpublished; MERGE: 0.1 with cosine)")
    hccl_negatives: int | None = Field(
        1023,
        ge=1,
        description="level 1 is contrasted within blocks of the batch, in which an anchor has at least this "
        "many other documents; null: within the complete batch. Deeper levels contrast all documents with the same "
        "parent; with `hccl_hard_negatives: false`, they use the same blocks",
    )
    hccl_reduction: Literal["mean", "sum"] = Field(
        "mean", description="how the anchors of a level are combined; levels are summed"
    )
    disl_negatives: int | None = Field(
        255, ge=1, description="least number of other documents per anchor of DisL; null: the complete batch"
    )
    disl_similarity: Literal["cosine", "l2"] = Field(
        "cosine", description="cosine, or negative squared distance (`l2`)"
    )
    disl_temperature: float = Field(0.1, gt=0, description="τ of DisL (unpublished; MERGE: 0.1)")
    disl_reduction: Literal["mean", "sum"] = Field(
        "mean", description="how the documents of the batch are combined"
    )
    cscl_scaling: Literal["batch_mean", "literal"] = Field(
        "batch_mean",
        description="distances in the soft assignment p: divided by their batch mean, or as they are (`literal`, "
        "the paper's equation, with which p is nearly uniform)",
    )
    cscl_temperature: float = Field(1.0, gt=0, description="τ of the soft assignment p")

    # Codebooks
    codebook_update: Literal["ema", "gradient"] = Field(
        "ema",
        description="what moves the codes: an exponential moving average, or the gradient of the codebook "
        "term of L_rq",
    )
    ema_decay: float = Field(0.95, gt=0, lt=1, description="share of the old average that each step keeps")
    warmup_epochs: int = Field(
        5, ge=0, description="epochs of auto-encoding before k-means initialises the codebooks"
    )
    kmeans_documents: int = Field(
        65_536,
        ge=1,
        description="documents that k-means and the revival of codes use; all if there are fewer",
    )
    revive_dead_codes: bool = Field(
        True, description="after each epoch, move unused codes to residuals that are coded badly"
    )

    # Training
    epochs: int = Field(300, ge=1, description="passes over the corpus, warm-up included (paper: 300)")
    batch_size: int = Field(4096, ge=2, description="documents per step, over all ranks (paper: 4096)")
    batches: Literal["random", "category"] = Field(
        "random",
        description="`random`: every epoch deals the documents to batches at random. `category`: it deals runs of 8 of "
        "one category of level 2 (of level 1 with `levels: 1`), so that fewer documents drop out of HCCL at level 3 "
        "and more at level 2",
    )
    learning_rate: float = Field(0.001, gt=0, description="peak learning rate of AdamW (MERGE: 0.001)")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="learning rate after the rise")
    rise_steps: int = Field(0, ge=0, description="steps over which the learning rate rises linearly")
    weight_decay: float = Field(
        0.0001, ge=0, description="weight decay of AdamW, on weight matrices (MERGE: 0.0001)"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of encoder and decoder (autocast), also for the codes that the history describes; "
        "quantisation and losses are always float32",
    )

    # A refreshed catalogue
    align_to: UserPath | None = Field(
        None,
        pattern=r"\.parquet$",
        description="docids.parquet of an earlier catalogue, made with the same `layers` and at most `codebook_size` "
        "codes: after training, codes are renamed so that many products keep those that they had, and assign_docids "
        "gives products whose codes are the same their DocIDs again",
    )

    # Stopping
    collapse_perplexity: float = Field(
        0.05, ge=0, lt=1, description="a layer whose perplexity falls below this share of K has collapsed"
    )
    collapse_grace_epochs: int = Field(
        5, ge=0, description="epochs after the warm-up in which a collapse is ignored"
    )
    on_collapse: Literal["stop", "report"] = Field(
        "stop", description="stop with an error, or continue and log a warning; NaN always stops"
    )

    @model_validator(mode="after")
    def _levels_below_layers(self) -> "RqvaeConfig":
        if self.levels >= self.layers and not self.allow_levels_ge_layers:
            raise ValueError(
                f"levels ({self.levels}) must be below layers ({self.layers}), or the IDs collapse; "
                "allow_levels_ge_layers: true runs it all the same"
            )
        return self

    @model_validator(mode="after")
    def _some_epochs_quantise(self) -> "RqvaeConfig":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs})")
        return self
