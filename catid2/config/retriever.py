"""Settings of train_retriever: the kind of model, what it is taught, and how."""

import os.path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from catid2.config.base import StageConfig, UserPath
from catid2.config.pretrained import PretrainedModel
from catid2.config.template import TemplateText
from catid2.config.training import ExampleWeight, Labels, Schedule, ValidShare, Warmup


class SmallT5(StageConfig):
    """A T5 with random weights and a tokenizer made from the corpus, for use without pretrained weights."""

    d_model: int = Field(128, ge=8, description="width of the hidden states")
    num_heads: int = Field(4, ge=1, description="attention heads")
    d_kv: int = Field(32, ge=4, description="width of one head's keys and values")
    d_ff: int = Field(512, ge=8, description="width of the feed-forward layers")
    num_layers: int = Field(2, ge=1, description="encoder layers")
    num_decoder_layers: int = Field(2, ge=1, description="decoder layers")
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="dropout probability")
    vocabulary: int = Field(
        8000, ge=300, description="text tokens: byte-level BPE trained on products and train queries"
    )


class QueryTask(StageConfig):
    """Train query → DocID of each document judged relevant to it."""

    source: Literal["query"]
    prefix: str = Field("", description="text before every query, in training and in search")
    labels: Labels = ("E", "S")
    weight: ExampleWeight = 1.0


class DocumentTask(StageConfig):
    """Text of a document → its DocID. It teaches the DocIDs of documents without a train query."""

    source: Literal["document"]
    prefix: str = Field("", description="text before every document")
    template: TemplateText = Field(
        "{title} {brand} {bullets} {description}", description="text of a document, as in embed"
    )
    weight: ExampleWeight = 1.0


class PairsTask(StageConfig):
    """Texts of a file → DocIDs of their products, such as queries that a model generated (NCI), or a search log."""

    source: Literal["pairs"]
    path: UserPath = Field(
        pattern=r"\.parquet$",
        description="parquet with string columns product_id and text, any number of rows per product. Rows whose "
        "product is not in the corpus, or whose text is a held-out query, are skipped. The file must contain "
        "nothing from the test split",
    )
    prefix: str = Field(
        "", description="text before every text; for queries, use the prefix of the query task"
    )
    weight: ExampleWeight = 1.0


Task = Annotated[QueryTask | DocumentTask | PairsTask, Field(discriminator="source")]


class Validated(StageConfig):
    """How a retriever is validated, and which of its checkpoints is kept."""

    valid_share: ValidShare = 0.05
    valid_beams: int = Field(100, ge=1, description="beams of the validation search")
    valid_every: int = Field(
        5,
        ge=1,
        description="epochs between validations; each writes a checkpoint (others follow the clock), and the last "
        "epoch always has one",
    )
    select_by: Literal["recall@10", "recall@50", "recall@100", "last"] = Field(
        "recall@50",
        description="what picks the checkpoint: validation recall (with the query task's labels), or `last`",
    )

    @model_validator(mode="after")
    def _can_select(self) -> "Validated":
        if self.valid_share == 0 and self.select_by != "last":
            raise ValueError('without validation queries (valid_share 0) select_by must be "last"')
        if self.select_by != "last" and self.valid_beams < int(self.select_by.removeprefix("recall@")):
            raise ValueError(
                f"{self.valid_beams} valid_beams find too few documents to select_by {self.select_by}"
            )
        return self


class RetrieverConfig(Validated):
    """T5, the retriever of the paper's run, with the schedule that its group published (MERGE)."""

    kind: Literal["t5"] = "t5"
    reads_vectors: ClassVar[bool] = False
    pretrained: UserPath | None = Field(
        "google-t5/t5-base",
        min_length=1,
        description="hub name or folder of a T5 or mT5 (google/mt5-base for es and jp), or the folder of a retriever "
        "that train_retriever made for DocIDs of the same length: training starts from it; null: `small`",
    )
    revision: str = Field("main", min_length=1, description="branch, tag or commit of a model on the hub")
    small: SmallT5 = Field(SmallT5(), description="the model if `pretrained` is null")
    tasks: tuple[Task, ...] = Field(
        (QueryTask(source="query"), DocumentTask(source="document")),
        description="what is taught: one query task, at most one document task, any number of pairs tasks",
    )
    max_query_tokens: int = Field(
        32, ge=2, description="queries and texts of pairs are cut to this many tokens, end token included"
    )
    max_document_tokens: int = Field(128, ge=2, description="documents are cut to this many tokens")
    epochs: int = Field(100, ge=1, description="passes over the examples")
    batch_size: int = Field(1024, ge=1, description="examples per step, over all ranks")
    microbatch: int | None = Field(
        None,
        ge=1,
        description="most examples that a rank processes at once; null: its share of `batch_size`. A smaller number "
        "needs less memory and takes the same step, except for rounding and the draws of dropout",
    )
    learning_rate: float = Field(5e-4, gt=0, description="highest learning rate of AdamW")
    schedule: Schedule = "cosine"
    warmup: Warmup = 0.01
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    bf16: bool = Field(
        True, description="on a GPU, compute steps in bfloat16, with float32 weights (a CPU: float32)"
    )

    @model_validator(mode="after")
    def _one_query_task(self) -> "RetrieverConfig":
        sources = [task.source for task in self.tasks]
        if sources.count("query") != 1 or sources.count("document") > 1:
            raise ValueError("tasks needs one query task and at most one document task")
        return self

    @property
    def pretrained_model(self) -> PretrainedModel | None:
        """The model that training starts from; None: a small one with random weights."""
        return PretrainedModel(name=self.pretrained, revision=self.revision) if self.pretrained else None

    @property
    def pairs_files(self) -> list[str]:
        """The files of the pairs tasks, in their order."""
        return [task.path for task in self.tasks if isinstance(task, PairsTask)]

    @property
    def query_task(self) -> QueryTask:
        """The task query → DocID."""
        return next(task for task in self.tasks if isinstance(task, QueryTask))


class LightConfig(Validated):
    """A small decoder on frozen vectors of the method's view. It compares DocIDs in minutes; not the paper's model."""

    kind: Literal["light"] = "light"
    reads_vectors: ClassVar[bool] = True
    pairs_files: ClassVar[list[str]] = []  # it reads no text
    bf16: ClassVar[bool] = False  # it trains in float32
    pretrained: UserPath | None = Field(
        None,
        description="folder of a light retriever that train_retriever made, with the same d_model, layers and heads, "
        "for DocIDs of the same length and vectors of the same encoder (TF-IDF + SVD is another one for every corpus): "
        "training starts from it; null: random weights",
    )
    d_model: int = Field(128, ge=8, description="width of the hidden states")
    num_layers: int = Field(2, ge=1, description="decoder layers")
    num_heads: int = Field(4, ge=1, description="attention heads; must divide d_model")
    d_ff: int = Field(512, ge=8, description="width of the feed-forward layers")
    query_tokens: int = Field(1, ge=1, description="tokens that the vector is projected to")
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="dropout probability")
    labels: Labels = ("E", "S")
    query_weight: float = Field(
        1.0, gt=0, description="how often each pair of a train query and its document is seen per epoch"
    )
    document_weight: float = Field(
        1.0, ge=0, description="how often each document's own vector is seen per epoch, in place of a query's"
    )
    epochs: int = Field(15, ge=1, description="passes over the examples")
    batch_size: int = Field(256, ge=1, description="examples per step")
    learning_rate: float = Field(
        2e-3, gt=0, description="highest learning rate of AdamW; it falls to 0 along a cosine"
    )
    warmup: Warmup = 0.05
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of AdamW, on matrices only")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    valid_every: int = Field(1, ge=1, description="epochs between validations; the last epoch always has one")

    @model_validator(mode="after")
    def _heads_fit(self) -> "LightConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model {self.d_model} is no multiple of num_heads {self.num_heads}")
        return self

    @property
    def pretrained_model(self) -> PretrainedModel | None:
        """The retriever that training starts from, as a path: there is none on the hub."""
        return PretrainedModel(name=os.path.join(".", self.pretrained)) if self.pretrained else None


def _t5_unless_it_says_otherwise(values: Any) -> Any:
    return {"kind": "t5"} | values if isinstance(values, dict) else values


AnyRetriever = Annotated[
    RetrieverConfig | LightConfig,
    Field(discriminator="kind"),
    BeforeValidator(_t5_unless_it_says_otherwise),
]
