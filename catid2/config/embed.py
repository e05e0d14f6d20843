"""Settings of `embed`: a view of the catalogue, that is a text template and an encoder."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from catid2.config.base import StageConfig, UserPath
from catid2.config.pretrained import PretrainedModel
from catid2.config.template import WITH_CATEGORY, TemplateText, Tokenizer


class HfEncoder(StageConfig):
    """A transformer encoder in the Hugging Face format: T5, mT5, BERT, E5, …"""

    kind: Literal["hf"] = "hf"
    model: UserPath = Field(
        "google-t5/t5-base",
        min_length=1,
        description="Name on the Hugging Face hub, or a folder (`./…` or an absolute path). For an encoder-decoder "
        "model, only the encoder is used. The paper does not name its encoder; its retriever is T5-base, and mT5 "
        "for es and jp.",
    )
    revision: str = Field("main", min_length=1, description="Branch, tag or commit of a model on the hub.")
    pooling: Literal["mean", "cls", "modules"] = Field(
        "mean",
        description="How the vector of a text is made. `mean`: the mean of its tokens' states, without padding. "
        "`cls`: the first token's state. `modules`: for a sentence-transformers model, its own pooling, dense "
        "layers and normalisation.",
    )
    max_tokens: int = Field(512, ge=2, description="Longer texts are cut to this many tokens.")
    prefix: str = Field("", description='Added before every text, such as "passage: " for E5 models.')
    normalize: bool = Field(False, description="Scale every vector to length 1.")

    @property
    def pretrained_model(self) -> PretrainedModel:
        """The model that is read."""
        return PretrainedModel(name=self.model, revision=self.revision)


class TfidfSvdEncoder(StageConfig):
    """TF-IDF and a truncated SVD (LSA, Deerwester et al. 1990): no download, no GPU."""

    kind: Literal["tfidf_svd"]
    pretrained_model: ClassVar[None] = None
    dims: int = Field(256, ge=1, description="Dimensions kept by the SVD.")
    tokenizer: Tokenizer = Field(
        "words_cjk_bigrams",
        description="`words`: lower-cased Unicode words; in Thai, Lao, Khmer and Burmese, the text between two "
        "spaces. `words_cjk_bigrams`: also pairs of characters in runs of Han, kana and Hangul.",
    )
    fit_documents: int = Field(
        2**19,
        ge=2,
        description="Words, weights and SVD are learnt from at most this many documents, drawn at random, and "
        "applied to all. This limits the memory that learning needs.",
    )
    max_features: int = Field(
        2**18, ge=1, description="Number of words that are counted, the most frequent first."
    )
    normalize: bool = Field(True, description="Scale every vector to length 1.")


class ViewConfig(StageConfig):
    """One view: how a product becomes a text, and a text a vector."""

    template: TemplateText = Field(
        WITH_CATEGORY,
        description="Text with fields in braces: title, brand, color, bullets, description, category_path, "
        "category_1, …. If a field is missing, it is left out together with the text between it and the next field.",
    )
    max_characters: int = Field(4000, ge=1, description="The text is cut to this many characters.")
    encoder: Annotated[HfEncoder | TfidfSvdEncoder, Field(discriminator="kind")] = Field(
        default_factory=HfEncoder, description="`kind: hf` or `kind: tfidf_svd`, and its settings."
    )


class View(ViewConfig):
    """An entry of `views`: what embed reads, and how the same encoder gets queries."""

    query_prefix: str = Field(
        "", description='Rule embed_queries: added before every query, such as "query: " for E5 models.'
    )

    def note(self) -> str:
        """Return what a reader of a figure of dense search in this view must know: encoder, pooling, encoded text."""
        encoder = self.encoder
        if encoder.kind == "hf":
            made = f"{encoder.model}, pooling {encoder.pooling}, {encoder.max_tokens} tokens"
        else:
            made = f"TF-IDF + SVD of {encoder.dims} dimensions"
        score = "cosine" if encoder.normalize else "inner product"
        return f"exact search by {score}, not fine-tuned: {made}, text {self.template!r}"

    def of_documents(self) -> ViewConfig:
        """Return what embed runs with: everything but what is only for queries."""
        return ViewConfig.model_validate(self.model_dump(include=set(ViewConfig.model_fields)))
