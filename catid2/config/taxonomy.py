"""Which categories a method learns from: one model per kind, with just what its function in catid2.taxonomies reads."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from catid2.config.base import StageConfig
from catid2.config.template import Tokenizer, parse_template


class Taxonomy(StageConfig):
    """Base of the kinds: what the workflow has to know of one before it runs."""

    made: ClassVar[bool] = True  # is it another tree than the corpus's, which make_taxonomy makes first?
    reads: ClassVar[Literal["text", "vectors", "tags"] | None] = None  # besides the corpus's categories

    def levels_of(self, corpus_levels: int) -> int:
        """Return how many levels the tree has, where that of the corpus has `corpus_levels`."""
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
        description="of the products that get a wrong path; with one seed a larger share includes a smaller one",
    )
    to: Literal["sibling", "category", "parent"] = Field(
        "sibling",
        description="sibling: another node under the parent of the deepest node that has siblings. category: any other "
        "path. parent: the path without the level above its last, as if that were not known.",
    )


class MadeTaxonomy(Taxonomy):
    """Base of the trees for a catalogue that has none."""

    levels: int = Field(3, ge=1, le=9, description="H, levels of the tree")
    least_documents: int = Field(
        20, ge=1, description="nodes of fewer documents are not divided; their name stands again below them"
    )

    def levels_of(self, corpus_levels: int) -> int:
        """Return H."""
        return self.levels


class ClustersTaxonomy(MadeTaxonomy):
    """K-means within k-means of the embeddings of the method's view."""

    reads: ClassVar[Literal["vectors"]] = "vectors"
    kind: Literal["clusters"]
    branches: int = Field(12, ge=2, description="clusters that a node is cut into")
    kmeans_documents: int = Field(
        65_536, ge=1, description="documents that one k-means sees, or all if there are fewer"
    )


class TextTaxonomy(MadeTaxonomy):
    """Base of the trees made from words."""

    reads: ClassVar[Literal["text"]] = "text"
    template: str = Field(
        "{title}. {description}",
        description="fields of the text, as in `views`; those of the category are refused",
    )
    max_characters: int = Field(4000, ge=1, description="texts are cut to this length")
    tokenizer: Tokenizer = Field(
        "words_cjk_bigrams", description="what a word is, as in `views.*.encoder` of kind tfidf_svd"
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
    branches: int = Field(12, ge=2, description="topics of a node")
    max_features: int = Field(20_000, ge=1, description="the most frequent words are counted")


WIDEST = Field(
    0.5, gt=0, le=1, description="a word or tag of more than this share of a node's documents tells nothing"
)


class KeywordsTaxonomy(TextTaxonomy):
    """The most widespread word of the text, then the most widespread beside it, and so on."""

    kind: Literal["keywords"]
    widest: float = WIDEST


class TagsTaxonomy(MadeTaxonomy):
    """As `keywords`, of the flat tags of a catalogue."""

    reads: ClassVar[Literal["tags"]] = "tags"
    kind: Literal["tags"]
    widest: float = WIDEST


AnyTaxonomy = Annotated[
    GivenTaxonomy | NoisyTaxonomy | ClustersTaxonomy | TopicsTaxonomy | KeywordsTaxonomy | TagsTaxonomy,
    Field(discriminator="kind"),
]
