"""The makers of trees by the `kind` of their settings (catid2.config.taxonomy).

A new maker is a function, a model of its settings, and a case here.
"""

from collections.abc import Callable
from typing import Any

from catid2.taxonomies.catalogue import Catalogue, Paths

Maker = Callable[[Catalogue, Any, int], Paths]  # takes the catalogue, its own settings and the seed


def maker(kind: str) -> Maker:
    """Return the function that makes trees of a kind; KeyError if there is none.

    Only the module of this kind is imported, because PyTorch and scikit-learn, which some kinds need, take seconds to
    load. Each import is a statement, so that catid2.runtime.code finds it.
    """
    match kind:
        case "noisy":
            from catid2.taxonomies.noisy import noisy as found
        case "clusters":
            from catid2.taxonomies.clusters import clusters as found
        case "topics":
            from catid2.taxonomies.topics import topics as found
        case "keywords":
            from catid2.taxonomies.words import keywords as found
        case "tags":
            from catid2.taxonomies.words import tags as found
        case _:
            raise KeyError(kind)
    return found
