"""The categories that a method learns from: one model per kind, with the settings that its function reads."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from catid2.config.base import StageConfig
from catid2.config.template import Tokenizer, parse_template


class Taxonomy(StageConfig):
    """Base of the kinds: what the workflow must know before a tree is made."""

    made: ClassVar[bool] = True  # is it another tree than the corpus's, which make_taxonomy makes first?
    reads: ClassVar[Literal["text", "vectors", "tags"] | None] = None  # besides the corpus's categories

    def levels_of(self, corpus_levels: int) -> int:
        """Return how many levels the tree has if the tree of the corpus has `corpus_levels`."""
        return corpus_levels


class GivenTaxonomy(Taxonomy):
    """The categories of the corpus."""

    made: ClassVar[bool] = False
    kind: Literal["given"] = "given"


class NoisyTaxonomy(Taxonomy):
    """The categories of the corpus, some of them wrong (label noise)."""

    kind: Literal["noisy"]
    share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of the products that get a wrong path; with the same seed, a larger share includes the "
        "products of a smaller one",
    )
    to: Literal["sibling", "category", "parent"] = Field(
        "sibling",
        description="`sibling`: another node under the parent of the deepest node that has siblings. `category`: "
        "any other path. `parent`: the path without the level above its last, as if that level were unknown.",
    )


class MadeTaxonomy(Taxonomy):
    """Base of the trees for a catalogue without one."""

    levels: int = Field(3, ge=1, le=9, description="H, levels of the tree")
    least_documents: int = Field(
        20,
        ge=1,
        description="nodes with fewer documents are not split; their name is repeated at the lower levels",
    )

    def levels_of(self, corpus_levels: int) -> int:
        """Return H."""
        return self.levels


class ClustersTaxonomy(MadeTaxonomy):
    """K-means within k-means of the embeddings of the method's view."""

    reads: ClassVar[Literal["vectors"]] = "vectors"
    kind: Literal["clusters"]
    branches: int = Field(12, ge=2, description="clusters that a node is split into")
    kmeans_documents: int = Field(
        65_536, ge=1, description="documents that one k-means uses; all if there are fewer"
    )


class TextTaxonomy(MadeTaxonomy):
    """Base of the trees made from words."""

    reads: ClassVar[Literal["text"]] = "text"
    template: str = Field(
        "{title}. {description}",
        description="template of the text, as in `views`, without the fields of the category",
    )
    max_characters: int = Field(4000, ge=1, description="texts are cut to this length")
    tokenizer: Tokenizer = Field(
        "words_cjk_bigrams",
        description="how texts are split into words, as in `views.*.encoder` of kind tfidf_svd",
    )

    @field_validator("template")
    @classmethod
    def _without_category(cls, value: str) -> str:
        if any(field.startswith("category") for field, _ in parse_template(value).fields):
            raise ValueError("a tree made from text that holds the categories is theirs")
        return value


class TopicsTaxonomy(TextTaxonomy):
    """Topics of the text, and topics within each (non-negative matrix factorisation of TF-IDF)."""

    kind: Literal["topics"]
    branches: int = Field(12, ge=2, description="topics that a node is split into")
    max_features: int = Field(
        20_000, ge=1, description="number of words that are counted, the most frequent first"
    )


WIDEST = Field(
    0.5,
    gt=0,
    le=1,
    description="words or tags that more than this share of a node's documents have are ignored",
)


class KeywordsTaxonomy(TextTaxonomy):
    """The most frequent word of a text (over the documents), then the most frequent of its other words, and so on."""

    kind: Literal["keywords"]
    widest: float = WIDEST


class TagsTaxonomy(MadeTaxonomy):
    """Like `keywords`, with the flat tags of a catalogue."""

    reads: ClassVar[Literal["tags"]] = "tags"
    kind: Literal["tags"]
    widest: float = WIDEST


AnyTaxonomy = Annotated[
    GivenTaxonomy | NoisyTaxonomy | ClustersTaxonomy | TopicsTaxonomy | KeywordsTaxonomy | TagsTaxonomy,
    Field(discriminator="kind"),
]
