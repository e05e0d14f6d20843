"""What the makers of trees read: the N documents of a corpus, row = doc_id."""

from collections.abc import Sequence
from typing import NamedTuple

from catid2.docids.schemes.coding import Documents

OTHER = "(other)"  # names the documents of a node that have none of the words it is divided by
Paths = list[tuple[str, ...]]  # (N,) names from the top down, all as long


class Catalogue(NamedTuple):
    """A corpus; fields that the kind of tree does not read are None."""

    paths: Paths  # of the corpus's own tree
    documents: Documents | None  # with the embeddings
    texts: Sequence[str] | None
    tags: Sequence[Sequence[str]] | None
