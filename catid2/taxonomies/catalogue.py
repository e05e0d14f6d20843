"""Input of the makers of trees: the N documents of a corpus, row = doc_id."""

from collections.abc import Sequence
from typing import NamedTuple

from catid2.docids.schemes.coding import Documents

OTHER = "(other)"  # the category of documents with none of the words that split their node
Paths = list[tuple[str, ...]]  # (N,) names from the top down, all of the same length


class Catalogue(NamedTuple):
    """A corpus. Fields that the kind of tree does not read are None."""

    paths: Paths  # of the corpus's own tree
    documents: Documents | None  # with the embeddings
    texts: Sequence[str] | None
    tags: Sequence[Sequence[str]] | None
