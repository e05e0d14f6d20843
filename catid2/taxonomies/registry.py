"""The makers of trees by the `kind` of their settings (catid2.config.taxonomy).

A new one is a function, a model of its settings, and a line here.
"""

from collections.abc import Callable
from typing import Any

from catid2.taxonomies.catalogue import Catalogue, Paths
from catid2.taxonomies.clusters import clusters
from catid2.taxonomies.noisy import noisy
from catid2.taxonomies.topics import topics
from catid2.taxonomies.words import keywords, tags

# Each takes the catalogue, its own settings and the seed.
TAXONOMIES: dict[str, Callable[[Catalogue, Any, int], Paths]] = {
    "noisy": noisy,
    "clusters": clusters,
    "topics": topics,
    "keywords": keywords,
    "tags": tags,
}
