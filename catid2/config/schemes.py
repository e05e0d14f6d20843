"""Where DocIDs come from: one model per ID scheme, with the settings of its function in catid2.docids.schemes."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from catid2.config.base import StageConfig
from catid2.runtime.errors import InputError


class Scheme(StageConfig):
    """Base of the schemes: what the workflow must know before a scheme runs."""

    trained: ClassVar[bool] = False  # does it read an RQ-VAE, which train_rqvae makes first?

    def category_levels(self) -> int:
        """Return how many levels of the category tree the scheme reads."""
        return 0

    def positions(self) -> int | None:
        """Return the positions of a DocID before any repair, or None if the settings do not determine them."""
        return None

    def sized(self, layers: int, codebook_size: int) -> Self:
        """Return the scheme with these sizes where its own are null."""
        return self


class RqvaeScheme(Scheme):
    """Codes of a trained RQ-VAE (CAT-ID², TIGER); the settings are those of `rqvae`."""

    trained: ClassVar[bool] = True
    kind: Literal["rqvae"] = "rqvae"


class SizedScheme(Scheme):
    """Base of the schemes whose DocIDs have L positions of K codes."""

    layers: int | None = Field(
        None, ge=1, description="L, positions of a DocID; null: `layers` of `rqvae` for the same dataset"
    )
    codebook_size: int | None = Field(
        None, ge=2, description="K, codes per position; null: `codebook_size` of `rqvae` for the same dataset"
    )

    def positions(self) -> int | None:
        """Return L."""
        return self.layers

    def sized(self, layers: int, codebook_size: int) -> Self:
        """Return the scheme with these sizes where its own are null."""
        sizes = {"layers": self.layers or layers, "codebook_size": self.codebook_size or codebook_size}
        return self.model_copy(update=sizes)

    def sizes(self) -> tuple[int, int]:
        """Return (L, K); InputError if one is null."""
        if self.layers is None or self.codebook_size is None:
            what = "scheme.layers or scheme.codebook_size is null"
            raise InputError("--config", what, "name both; the workflow takes them from `rqvae`")
        return self.layers, self.codebook_size


KmeansDocuments = Annotated[int, Field(ge=1)]
KMEANS_DOCUMENTS = Field(65_536, description="documents that one k-means uses; all if there are fewer")


class ResidualKmeansScheme(SizedScheme):
    """K-means on the embeddings, then on its residuals, layer by layer (RK-means of GRID)."""

    kind: Literal["residual_kmeans"]
    standardize: Literal["none", "unit", "center"] = Field(
        "center",
        description="`none`: embeddings as they are. `unit`: scaled to length 1. `center`: the corpus mean is "
        "subtracted, then scaled to length 1",
    )
    kmeans_documents: KmeansDocuments = KMEANS_DOCUMENTS


class RandomScheme(SizedScheme):
    """Distinct strings of codes, drawn at random (DSI's naive string identifiers)."""

    kind: Literal["random"]


class TreeScheme(Scheme):
    """Base of the schemes that divide the embeddings into a tree of clusters."""

    branches: int = Field(10, ge=2, description="clusters that a cluster is split into (DSI: 10, NCI: 30)")
    leaf_documents: int = Field(
        100, ge=1, description="clusters of at most this many documents are not split (DSI: 100, NCI: 30)"
    )
    depth: int = Field(
        8,
        ge=1,
        description="largest number of levels of clusters; the documents of the last level are numbered, however "
        "many there are",
    )
    kmeans_documents: KmeansDocuments = KMEANS_DOCUMENTS


class HierarchicalKmeansScheme(TreeScheme):
    """K-means within k-means, then a number (DSI's semantic identifiers, NCI)."""

    kind: Literal["hierarchical_kmeans"]


class CategoryScheme(TreeScheme):
    """The category path, then k-means within the category, then a number (after Hi-Gen)."""

    kind: Literal["category"]
    levels: int = Field(3, ge=1, description="H, levels of the category tree that the first positions encode")

    def category_levels(self) -> int:
        """Return H."""
        return self.levels


AnyScheme = Annotated[
    RqvaeScheme | ResidualKmeansScheme | RandomScheme | HierarchicalKmeansScheme | CategoryScheme,
    Field(discriminator="kind"),
]
