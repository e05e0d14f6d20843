"""CAT-ID²: category-tree integrated document identifiers for generative retrieval (arXiv 2511.01461).

`open_index` opens a folder that rule export_index made (catid2.index.index.Index).
"""

from importlib import import_module
from typing import Any

__all__ = ["open_index"]


def open_index(folder: Any, device: Any = "cpu") -> Any:
    """Return the catid2.index.index.Index in `folder`, on `device`; errors as there."""
    # Not an import statement: the digests of scripts (catid2.runtime.code) would follow it from every script.
    return import_module("catid2.index.index").Index(folder, device)
