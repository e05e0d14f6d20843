"""Settings of train_dual_encoder, the retriever DPR (Karpukhin et al., EMNLP 2020); its values are the defaults."""

from typing import Literal

from pydantic import Field, model_validator

from catid2.config.base import StageConfig, UserPath
from catid2.config.embed import HfEncoder, ViewConfig
from catid2.config.pretrained import PretrainedModel
from catid2.config.template import WITH_CATEGORY, TemplateText
from catid2.config.training import Labels, Schedule, ValidShare, Warmup


class SmallBert(StageConfig):
    """A BERT with random weights and a tokenizer made from the corpus, for use without pretrained weights."""

    hidden_size: int = Field(128, ge=8, description="width of the hidden states, and of the vectors")
    num_attention_heads: int = Field(4, ge=1, description="attention heads")
    intermediate_size: int = Field(512, ge=8, description="width of the feed-forward layers")
    num_hidden_layers: int = Field(2, ge=1, description="layers")
    hidden_dropout_prob: float = Field(
        0.1, ge=0, lt=1, description="dropout probability, of attention weights too"
    )
    vocabulary: int = Field(
        8000, ge=300, description="text tokens: byte-level BPE trained on products and train queries"
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> "SmallBert":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        return self


class DualEncoderConfig(StageConfig):
    """One encoder for queries and documents, fine-tuned on train queries with in-batch negatives."""

    pretrained: UserPath | None = Field(
        "google-bert/bert-base-uncased",
        min_length=1,
        description="hub name or folder of an encoder, as in a view (google-bert/bert-base-multilingual-cased for es "
        "and jp); null: `small`",
    )
    revision: str = Field("main", min_length=1, description="branch, tag or commit of a model on the hub")
    small: SmallBert = Field(SmallBert(), description="the encoder if `pretrained` is null")
    pooling: Literal["mean", "cls"] = Field(
        "cls", description="vector of a text: the first token's state (`cls`), or the mean of all (`mean`)"
    )
    normalize: bool = Field(False, description="scale every vector to length 1, so that scores are cosines")
    temperature: float = Field(1.0, gt=0, description="τ: scores are divided by it in training")
    template: TemplateText = Field(WITH_CATEGORY, description="text of a document, as in a view")
    max_characters: int = Field(4000, ge=1, description="the text is cut to this many characters")
    max_tokens: int = Field(256, ge=2, description="documents and queries are cut to this many tokens")
    labels: Labels = ("E", "S")
    epochs: int = Field(40, ge=1, description="passes over the pairs of query and relevant document")
    batch_size: int = Field(
        128,
        ge=2,
        description="pairs per step, over all ranks; the documents of the other pairs are a query's "
        "negatives",
    )
    learning_rate: float = Field(1e-5, gt=0, description="highest learning rate of AdamW")
    schedule: Schedule = "linear"
    warmup: Warmup = 0.05
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    clip_norm: float = Field(2.0, gt=0, description="gradients are scaled down to this norm")
    bf16: bool = Field(
        True, description="on a GPU, compute steps in bfloat16, with float32 weights (a CPU: float32)"
    )
    valid_share: ValidShare = 0.05
    valid_every: int = Field(
        5,
        ge=1,
        description="epochs between validations, each of which encodes every document; the last epoch always has one",
    )
    select_by: Literal["recall@10", "recall@50", "recall@100", "last"] = Field(
        "recall@50", description="what picks the checkpoint: validation recall, or `last`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "DualEncoderConfig":
        if self.valid_share == 0 and self.select_by != "last":
            raise ValueError('without validation queries (valid_share 0) select_by must be "last"')
        return self

    @property
    def pretrained_model(self) -> PretrainedModel | None:
        """The model that training starts from; None: a small one with random weights."""
        return PretrainedModel(name=self.pretrained, revision=self.revision) if self.pretrained else None

    def view(self, encoder: str) -> ViewConfig:
        """Return what embed runs with once training has written the folder `encoder`."""
        return ViewConfig(
            template=self.template,
            max_characters=self.max_characters,
            encoder=HfEncoder(
                model=encoder, pooling=self.pooling, max_tokens=self.max_tokens, normalize=self.normalize
            ),
        )

    def note(self) -> str:
        """Return what a reader of a figure of a dual encoder must know: encoder, pooling, negatives, encoded text."""
        start = self.pretrained or "a small BERT of random weights"
        score = "cosine" if self.normalize else "inner product"
        return (
            f"dual encoder fine-tuned from {start}, pooling {self.pooling}, {score}, in-batch negatives of batches of "
            f"{self.batch_size}, labels {''.join(self.labels)}, text {self.template!r}"
        )
